package rotator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	if ev.Offboarding != nil {
		return e.acceptLeaver(ctx, ev, stored)
	}
	t, later := e.resolver.touched(ctx, ev)
	if later != nil && len(t.Hits) == 0 {
		e.suspect(ev, stored, later)
		return later
	}
	w := waiting(ev, stored)
	if err := e.unknown(ctx, w, t.Refused, t.Notes); err != nil {
		return err
	}
	verdict, why := e.judge(ev, t, 0)
	err := e.spread(ctx, t.Hits, w, verdict, why)
	if err == nil {
		e.pursue(ev, stored, t.Hits)
	}
	if _, refused := errors.AsType[*UnmatchedError](err); refused && later != nil { // it comes back for what could not be read, and is refused then
		return later
	}
	return errors.Join(err, later)
}

// waiting is what every bundle's record takes of an event.
func waiting(ev events.Event, stored time.Time) Waiting {
	return Waiting{Event: ev.Key(), ID: ev.Source + " " + ev.ID, Kind: ev.Kind, Stored: stored, Severity: ev.Severity()}
}

// judge says what an event may do by itself: that is for the rules, for the bounds, and for somebody to decide when it may be about
// two persons.
func (e *Engine) judge(ev events.Event, t Touched, logins int) (Verdict, string) {
	lastHour := 0
	if e.Gate.PerHour > 0 {
		lastHour = begun(e.view.records(), e.Now())
	}
	claimed := count(t.Hits, func(h Hit) bool { return !h.Proven }) // who knows a live value cannot be a forger: the bounds do not hold it
	verdict, why := e.Gate.Judge(ev, claimed, lastHour)
	if verdict == Report {
		return verdict, why
	}
	reasons := []string{why}
	if t.Doubt != "" {
		reasons = append(reasons, t.Doubt)
	}
	if ended := e.view.ended(e.Now().Add(-time.Hour)); e.LoginsPerHour > 0 && logins > 0 && ended+logins > e.LoginsPerHour {
		reasons = append(reasons, fmt.Sprintf("it ends %d logins, %d were ended within an hour, and %d are enough", logins, ended, e.LoginsPerHour))
	}
	if reasons = slices.DeleteFunc(reasons, func(s string) bool { return s == "" }); len(reasons) > 0 {
		return Ask, strings.Join(reasons, "; ")
	}
	return verdict, ""
}

// spread puts an event into the record of every bundle that it touches.
func (e *Engine) spread(ctx context.Context, hits []Hit, w Waiting, verdict Verdict, why string) error {
	var unread, full error
	for _, h := range hits {
		if _, known := e.Bundles[h.Bundle]; !known {
			continue // taken out of the configuration since
		}
		w.Why, w.Proven, w.Version = h.Why, h.Proven, h.Version
		if h.Retired {
			if err := e.stillDead(ctx, h, w, w.Stored); err != nil {
				return err
			}
			continue
		}
		switch verdict {
		case Allow:
		case Ask:
			w.Held = why
		case Report:
			if err := e.tell(ctx, h.Bundle, w, w.Stored, events.ResultReported, why, ""); err != nil {
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
	if unread == nil { // what can be read again comes back, and is refused then
		return full
	}
	return unread
}

// unknown raises what Vault does not tell of the person an event is about, and what else of theirs deserves a look.
func (e *Engine) unknown(ctx context.Context, w Waiting, refused, notices []string) error {
	if len(refused) > 0 {
		err := e.say(ctx, w, "unknown", events.ResultReported, "Vault does not tell all that the person could read, so that bundles may be missing: "+strings.Join(refused, "; "),
			"mend it (rotator check), look again (rotator affected), and rotate by hand what is missing (rotator emit manual)")
		if err != nil {
			return err
		}
	}
	if len(notices) == 0 {
		return nil
	}
	return e.say(ctx, w, "notice", events.ResultReported, strings.Join(notices, "; "), "look for what the person has minted: leases end with their login (people.disable), secret-ids do not")
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

// say publishes something about an event that belongs to no bundle. Said again it is the same message.
func (e *Engine) say(ctx context.Context, w Waiting, about, result, reason, remedy string) error {
	o := events.Outcome{Rotation: strings.TrimSuffix("event-"+ApprovalID(w.Event)+"-"+about, "-"), Result: result, Kind: w.Kind, Events: []string{w.ID}, Started: w.Stored.UTC(), Finished: w.Stored.UTC(),
		Reason: reason, Remedy: remedy}
	if err := e.Outbox.Outcome(ctx, o); err != nil {
		return fmt.Errorf("publishing what there is to say about an event: %w", err)
	}
	e.Log.Warn().Str("event", w.ID).Str("result", result).Str("reason", reason).Str("remedy", remedy).Msg("about a person")
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
		due, any := rec.Due()
		claims := any && rec.State == Idle && rec.Owner == "" && !due.After(now) && e.lanes.book(bundle, rec.Urgent())
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
