package rotator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// UnmatchedError says that an event names nothing this rotator manages. Delivering it again would not help.
type UnmatchedError struct{ Text, Remedy string }

// Error is one line for people.
func (e *UnmatchedError) Error() string { return e.Text }

// DeadLetter gives the reason and the remedy under which the event is kept for inspection.
func (e *UnmatchedError) DeadLetter() (reason, remedy string) { return "unmatched", e.Remedy }

// Accept takes an event into the journal: it finds the bundles and puts the event into each one's record by
// compare-and-swap. When it returns nil the event may be acknowledged: it will be worked off without any further
// delivery. The same event again changes nothing. stored is when the stream stored it. A record that cannot be read
// holds up its own bundle only: the others take the event, and the error brings it back for the one.
func (e *Engine) Accept(ctx context.Context, ev events.Event, stored time.Time) error {
	hits, err := e.resolver.resolve(ctx, ev)
	if err != nil {
		e.suspect(ev, stored, err)
		return err
	}
	lastHour := 0
	if e.Gate.PerHour > 0 {
		lastHour = begun(e.view.records(), e.Now())
	}
	verdict, why := e.Gate.Judge(ev, len(hits), lastHour)
	if len(hits) == 0 && verdict == Allow {
		return e.leaveAlone(ctx, ev, stored)
	}
	var unread error
	for _, h := range hits {
		w := Waiting{Event: ev.Key(), ID: ev.Source + " " + ev.ID, Kind: ev.Kind, Stored: stored, Why: h.Why, Severity: ev.Severity(), Proven: h.Proven, Leaver: e.leaver(ev)}
		if ev.Offboarding != nil && ev.Offboarding.EffectiveAt.After(e.Now()) {
			w.NotBefore = ev.Offboarding.EffectiveAt
		}
		switch verdict {
		case Allow:
		case Ask:
			w.Held = why
		case Report:
			if err := e.tell(ctx, h.Bundle, w, stored, events.ResultReported, why, ""); err != nil {
				return err
			}
			continue
		}
		err := e.enqueue(ctx, h.Bundle, w)
		if errors.Is(err, ErrBadRecord) || errors.Is(err, ErrNewerRecord) {
			unread = errors.Join(unread, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("journalling the event for bundle %s: %w", h.Bundle, err)
		}
		if w.Held != "" {
			if err := e.ask(ctx, h.Bundle, w); err != nil {
				return err
			}
		}
		e.Log.Info().Str("bundle", h.Bundle).Str("event", w.ID).Str("kind", string(w.Kind)).Str("because", w.Why).Str("held", w.Held).Msg("event accepted")
	}
	e.pursue(ev, stored, hits)
	return unread
}

// ask raises that somebody has to approve an event, unless it has joined a rotation that does what it asks for.
func (e *Engine) ask(ctx context.Context, bundle string, w Waiting) error {
	rec, _, err := e.view.get(bundle)
	if err != nil || !slices.ContainsFunc(rec.Held(), func(h Waiting) bool { return h.Event == w.Event }) {
		return nil
	}
	return e.tell(ctx, bundle, w, w.Stored, events.ResultHeld, w.Held, "look at the plan and decide: rotator approve "+ApprovalID(w.Event))
}

// tell publishes something about an event that no rotation belongs to. Told again it is the same message.
func (e *Engine) tell(ctx context.Context, bundle string, w Waiting, at time.Time, result, why, remedy string) error {
	o := events.Outcome{Rotation: bundle + "-event-" + ApprovalID(w.Event), Bundle: bundle, Result: result, Kind: w.Kind, Events: []string{w.ID}, Started: w.Stored.UTC(), Finished: at.UTC(),
		Reason: why + "; found: " + w.Why, Remedy: remedy}
	if err := e.Outbox.Outcome(ctx, o); err != nil {
		return fmt.Errorf("publishing that an event is %s: %w", result, err)
	}
	e.Log.Warn().Str("bundle", bundle).Str("event", w.ID).Str("result", result).Str("reason", why).Msg("nothing is rotated by itself")
	return nil
}

// enqueue puts the event into one record. When nobody works on the bundle and a worker is free here, the same
// compare-and-swap claims it.
func (e *Engine) enqueue(ctx context.Context, bundle string, w Waiting) error {
	for range 50 {
		rec, rev, err := e.view.get(bundle)
		if err != nil {
			return err
		}
		now := e.Now()
		if rec.Born.IsZero() && rev == 0 {
			rec.Born = now
		}
		if !rec.Take(w, now) {
			return nil
		}
		rec.cool(e.Bundles[bundle])
		e.hasten(&rec, now)
		due, _ := rec.Due()
		claims := rec.State == Idle && rec.Owner == "" && !due.After(now) && e.lanes.book(bundle, rec.Urgent())
		if claims {
			rec.take(e.Replica, now, e.Lease)
		}
		value, err := rec.Encode()
		if err != nil {
			return err
		}
		at, err := e.Journal.Put(ctx, bundle, value, rev)
		if errors.Is(err, ErrUnknown) {
			if got, gotAt, gerr := e.Journal.Get(ctx, bundle); gerr == nil && bytes.Equal(got, value) {
				at, err = gotAt, nil
			} else {
				err = ErrConflict
			}
		}
		if err != nil && claims {
			e.lanes.cancel(bundle)
		}
		switch {
		case err == nil:
			e.view.put(bundle, Stored{Value: value, Revision: at})
			e.wakeUp()
			return nil
		case !errors.Is(err, ErrConflict):
			return err
		}
		if err := e.refresh(ctx, bundle); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return fmt.Errorf("the record is changed too often: %w", ErrUnavailable)
}

// hasten shortens a drain when a leak joined the rotation: what leaked is the generation that is draining away.
func (e *Engine) hasten(rec *Record, now time.Time) {
	rot := rec.Rotation
	if rot == nil || rec.State != Draining || rot.Kind != events.KindLeak {
		return
	}
	rule := e.Bundles[rec.Bundle].Policy.Rule(events.KindLeak)
	if rule.Drain {
		return
	}
	if soon := later(now.Add(rule.Overlap), rec.harmless(rot.Desired)); soon.Before(rot.DrainEnds) {
		rot.DrainEnds, rec.NotBefore = soon, soon
	}
}

// wakeUp makes Run look at its agenda now.
func (e *Engine) wakeUp() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}
