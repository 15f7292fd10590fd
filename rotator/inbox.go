package rotator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// UnmatchedError says that an event names nothing this rotator could rotate. Delivering it again would not help.
type UnmatchedError struct {
	Text, Remedy string
	reason       string // empty: unmatched
}

// Error is one line for people.
func (e *UnmatchedError) Error() string { return e.Text }

// DeadLetter gives the reason and the remedy under which the event is kept for inspection.
func (e *UnmatchedError) DeadLetter() (reason, remedy string) {
	return cmp.Or(e.reason, "unmatched"), e.Remedy
}

// Accept takes an event into the journal: it finds the bundles and puts the event into each one's record by
// compare-and-swap. When it returns nil the event may be acknowledged: it will be worked off without any further
// delivery. The same event again changes nothing. stored is when the stream stored it. A record that cannot be read
// holds up its own bundle only: the others take the event, and the error brings it back for the one.
func (e *Engine) Accept(ctx context.Context, ev events.Event, stored time.Time) error {
	hits, later := e.resolver.resolve(ctx, ev)
	if later != nil && len(hits) == 0 {
		e.suspect(ev, stored, later)
		return later
	}
	lastHour := 0
	if e.Gate.PerHour > 0 {
		lastHour = begun(e.view.records(), e.Now())
	}
	claimed := count(hits, func(h Hit) bool { return !h.Proven }) // who knows a live value cannot be a forger: the bounds do not hold it
	verdict, why := e.Gate.Judge(ev, claimed, lastHour)
	if len(hits) == 0 && verdict == Allow {
		return e.leaveAlone(ctx, ev, stored)
	}
	var unread, full error
	for _, h := range hits {
		w := Waiting{Event: ev.Key(), ID: ev.Source + " " + ev.ID, Kind: ev.Kind, Stored: stored, Why: h.Why, Severity: ev.Severity(), Proven: h.Proven, Version: h.Version, Leaver: e.leaver(ev)}
		if ev.Offboarding != nil && ev.Offboarding.EffectiveAt.After(e.Now()) {
			w.NotBefore = ev.Offboarding.EffectiveAt
		}
		if h.Retired {
			if err := e.stillDead(ctx, h, w, stored); err != nil {
				return err
			}
			continue
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
		if errors.Is(err, ErrCrowded) {
			full = crowded(h.Bundle)
			continue
		}
		if errors.Is(err, ErrBadRecord) || errors.Is(err, ErrNewerRecord) {
			unread = errors.Join(unread, err)
			continue
		}
		if errors.Is(err, ErrTooLarge) {
			e.outgrown(ctx, h.Bundle, "", err)
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
	if unread = errors.Join(unread, later); unread == nil { // what can be read again comes back, and is refused then
		return full
	}
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
		if took, err := rec.Take(w, now); !took {
			return err
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

// hasten shortens a drain when a leak has come meanwhile, for the rotation or after it: what leaked may be the generation that is
// draining away.
func (e *Engine) hasten(rec *Record, now time.Time) {
	rot := rec.Rotation
	if rot == nil || rec.State != Draining {
		return
	}
	if soon := later(now.Add(e.leakOverlap(rec, rot.DrainEnds.Sub(now), now)), rec.harmless(rot.Desired)); soon.Before(rot.DrainEnds) {
		rot.DrainEnds, rec.NotBefore = soon, soon
	}
}

// leakOverlap is an overlap, or what the policy for leaks says if that is less and there is a leak about.
func (e *Engine) leakOverlap(rec *Record, overlap time.Duration, now time.Time) time.Duration {
	rule := e.Bundles[rec.Bundle].Policy.Rule(events.KindLeak)
	waits := slices.ContainsFunc(rec.Queue, func(w Waiting) bool { return w.Kind == events.KindLeak && !w.parked(now) })
	if rule.Drain || !waits && rec.Rotation.Kind != events.KindLeak {
		return overlap
	}
	return min(overlap, rule.Overlap)
}

// wakeUp makes Run look at its agenda now.
func (e *Engine) wakeUp() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}
