package rotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

const (
	watchEvery = time.Minute
	nobodys    = 5 * time.Minute // a record that is due for so long is taken up by nobody
)

// An alert is what the watchdog raises about one record.
type alert struct {
	outcome events.Outcome
	leaks   int  // that are overdue
	cut     bool // the policy says that the old generation is to be revoked now, and the rotation is held
}

// lookout finds leaks whose credential should be dead by now, leaks that wait behind a rotation which is held, and records that are
// due although their bundle is not configured here. It looks at the journal alone, so it also sees what no step of a rotation
// reports: one that is held, waits for another, or is never begun. It is pure.
func lookout(records map[string]Record, bundles map[string]Bundle, now time.Time) []alert {
	var out []alert
	for _, name := range slices.Sorted(maps.Keys(records)) {
		rec := records[name]
		b, configured := bundles[name]
		switch {
		case Housekeeping(name):
		case !configured:
			if a, found := unattended(rec, now); found {
				out = append(out, a)
			}
		default:
			if a, found := leakAlert(rec, b, now); found {
				out = append(out, a)
			}
		}
	}
	return out
}

// unattended is a record that is due and whose bundle nobody configures any more: nobody works on it.
func unattended(rec Record, now time.Time) (alert, bool) {
	due, any := rec.Due()
	since := later(due, rec.LeaseUntil)
	if rec.Rotation != nil {
		since = later(since, rec.Rotation.Started)
	}
	if !any || since.Add(nobodys).After(now) {
		return alert{}, false
	}
	what := "its live credential needs to be renewed"
	if rec.Rotation != nil {
		what = fmt.Sprintf("its rotation is %s", rec.State)
	} else if len(rec.Queue) > 0 {
		what = fmt.Sprintf("%d events wait for it", len(rec.Queue))
	}
	return alert{outcome: events.Outcome{Rotation: rec.Bundle + "-unattended", Bundle: rec.Bundle, Result: events.ResultDelayed, Finished: now.UTC().Truncate(time.Hour),
		Reason: "the bundle is in the journal, but no longer in the configuration; " + what + " since " + since.UTC().Format(time.RFC3339) + ", and nobody does it",
		Remedy: "put the bundle back into the configuration; or revoke its credentials by hand, then delete the key from the bucket rotator (nats kv del rotator KEY)"}}, true
}

// leakAlert finds the leaks of a record whose credential is still alive and should not be. An overlap that the policy for leaks
// names is theirs; one that was computed is not.
func leakAlert(rec Record, b Bundle, now time.Time) (alert, bool) {
	rule := b.Policy.Rule(events.KindLeak)
	var all, overdue []Waiting
	for _, w := range rec.leaks(now) {
		all = append(all, w)
		if now.After(w.since().Add(rule.patience() + rule.Overlap)) {
			overdue = append(overdue, w)
		}
	}
	blocked := rec.State == Quarantined && slices.ContainsFunc(rec.Queue, func(w Waiting) bool { return w.Kind == events.KindLeak && !w.parked(now) })
	if len(overdue) == 0 && !blocked {
		return alert{}, false
	}
	first := slices.MinFunc(all, func(a, b Waiting) int { return a.since().Compare(b.since()) })
	o := events.Outcome{Rotation: b.Name + "-event-" + ApprovalID(first.Event), Bundle: b.Name, Result: events.ResultDelayed, Kind: events.KindLeak,
		Started: first.since().UTC(), Finished: now.UTC().Truncate(time.Hour)}
	for _, w := range all[:min(len(all), maxListed)] {
		o.Events = append(o.Events, w.ID)
	}
	waits := "it waits behind a rotation that is held"
	if len(overdue) > 0 {
		waits = fmt.Sprintf("the old credential is to be revoked within %s and may be alive", rule.patience()+rule.Overlap)
	}
	o.Reason = clip(fmt.Sprintf("the leak %s of %s: %s; the bundle is %s: %s", first.ID, o.Started.Format(time.RFC3339), waits, rec.State, rec.reasonNotToGoOn()), maxText)
	o.Remedy = rec.wayOut()
	return alert{outcome: o, leaks: len(overdue), cut: len(overdue) > 0 && rule.AfterFailure == Contain && rec.cuttable(now)}, true
}

// leaks lists those of a record whose old generation is not revoked.
func (r *Record) leaks(now time.Time) (out []Waiting) {
	if rot := r.Rotation; rot != nil && !rot.Contained && rot.Final == nil {
		out = append(out, rot.Events...)
	}
	out = append(out, r.Queue...)
	return slices.DeleteFunc(out, func(w Waiting) bool { return w.Kind != events.KindLeak || w.parked(now) })
}

// patience is how long failing targets are tried.
func (r Rule) patience() time.Duration {
	if r.ContainWithin == 0 {
		return DefaultPatience
	}
	return r.ContainWithin
}

// cuttable reports a rotation that is held where its old generation can be revoked. One that was held while it revoked cannot.
func (r *Record) cuttable(now time.Time) bool {
	if r.State != Quarantined || r.Rotation.HeldIn == Revoking {
		return false
	}
	_, _, err := r.Decide(Decision{Verb: Cutoff}, now)
	return err == nil
}

// wayOut is what an operator can do about a leak that is late.
func (r *Record) wayOut() string {
	switch {
	case r.State == Idle:
		return "nobody begins it: look at the logs and the readiness of the replicas, and at: rotator status " + r.Bundle
	case r.Rotation.Back:
		return "it goes back to the old credential; when that is over, say again that it has leaked: rotator emit leak --bundle " + r.Bundle
	case r.State == Quarantined:
		return fmt.Sprintf("decide: rotator resume %s, or revoke the old credential now: rotator contain %s", r.Bundle, r.Bundle)
	}
	return "remove the reason, or revoke the old credential now: rotator contain " + r.Bundle
}

// watch raises what lookout finds, each once an hour: replicas raise the same, which the stream recognises.
func (e *Engine) watch(ctx context.Context) {
	raised := make(map[string]time.Time)
	for sleep(ctx, watchEvery) == nil {
		if e.ClockError() != nil { // nothing is late by this clock
			continue
		}
		now := e.Now()
		maps.DeleteFunc(raised, func(_ string, at time.Time) bool { return now.Sub(at) > 2*time.Hour })
		for _, a := range lookout(e.Records(), e.Bundles, now) {
			if a.cut {
				if err := e.containHeld(ctx, a.outcome.Bundle); err != nil {
					e.report(e.Log, err, "containing a leak whose rotation is held")
				}
			}
			if _, told := raised[a.outcome.Key()]; told {
				continue
			}
			e.Log.Error().Str("bundle", a.outcome.Bundle).Str("reason", a.outcome.Reason).Str("remedy", a.outcome.Remedy).Int("overdue", a.leaks).Msg("late: somebody has to look")
			if err := e.Outbox.Outcome(ctx, a.outcome); err != nil {
				e.report(e.Log, err, "raising what is late")
				continue
			}
			raised[a.outcome.Key()] = now
		}
	}
}

// containHeld decides that the old generation of a rotation which is held is revoked now. It reads the record afresh; whoever writes
// first has decided.
func (e *Engine) containHeld(ctx context.Context, bundle string) error {
	value, revision, err := e.Journal.Get(ctx, bundle)
	if err != nil {
		return err
	}
	rec, err := decodeOf(bundle, value)
	if err != nil {
		return err
	}
	now := e.Now()
	if a, found := leakAlert(rec, e.Bundles[bundle], now); !found || !a.cut {
		return nil
	}
	next, _, err := rec.Decide(Decision{Verb: Cutoff, By: "the containment deadline of a leak"}, now)
	if err != nil {
		return err
	}
	if value, err = next.Encode(); err != nil {
		return err
	}
	at, err := e.Journal.Put(ctx, bundle, value, revision)
	if errors.Is(err, ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	e.view.put(bundle, Stored{Value: value, Revision: at})
	e.wakeUp()
	return nil
}

// Overdue counts the leaks whose credential should be dead by now and may be alive.
func (e *Engine) Overdue() (n int) {
	if e.ClockError() != nil {
		return 0
	}
	for _, a := range lookout(e.Records(), e.Bundles, e.Now()) {
		n += a.leaks
	}
	return n
}
