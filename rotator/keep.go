package rotator

import (
	"context"
	"fmt"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// renewPause is the time between attempts to renew when the last one failed.
const renewPause = time.Minute

// keep renews the generations of a claimed record that are due, so that live credentials outlive any login. When
// the end of one is in sight it asks for a rotation, again and again until the generation is replaced.
func (e *Engine) keep(ctx context.Context, c *cursor) {
	rec := c.record()
	now := e.Now()
	for _, g := range rec.kept() {
		if g.RenewAt.IsZero() || g.RenewAt.After(now) {
			continue
		}
		next, end, err := e.renew(ctx, g)
		if err != nil {
			e.Log.Error().Err(err).Str("bundle", c.bundle.Name).Int("version", g.Version).Msg("live generation cannot be renewed; will try again")
			next, end = now.Add(renewPause), g.Ends
		}
		ending, raised := *g, g.Raised
		ending.Ends = end
		if due, again := ending.reminder(now); !again.IsZero() && rec.inUse(g) {
			if due {
				if err := e.remind(ctx, c, &rec, ending, rec.keeps(g)); err != nil {
					e.report(e.Log.With().Str("bundle", c.bundle.Name).Logger(), err, "raising that a generation ends")
					again = now.Add(renewPause)
				} else {
					raised = now
				}
			}
			next = earliest(next, again)
		}
		rotation := g.Rotation
		err = c.move(ctx, func(r *Record) {
			for _, g := range r.kept() {
				if g.Rotation == rotation {
					g.RenewAt, g.Ends, g.Raised = next, end, raised
				}
			}
		})
		if err != nil {
			e.report(e.Log.With().Str("bundle", c.bundle.Name).Logger(), err, "journalling a renewal")
			return
		}
	}
}

// renew extends what Vault can extend, and tells when to do it again and when the first part of the generation ends for good.
func (e *Engine) renew(ctx context.Context, g *Generation) (next, end time.Time, err error) {
	if len(g.Handles) > 0 {
		if next, end, err = e.Minter.Renew(ctx, g.Handles); err != nil {
			return next, end, err
		}
	}
	if !g.Expires.IsZero() {
		end = earliest(end, g.Expires)
	}
	return next, end, nil
}

// Reminders that a generation ends: daily in the last third of its life, hourly in the last tenth; more often if that life is
// a matter of hours.
const (
	dayPause  = 24 * time.Hour
	hourPause = time.Hour
)

// life is how long a generation lasts from its minting, and last the moment from which only a tenth of it is left.
func (g Generation) life() (life time.Duration, last time.Time) {
	life = 30 * dayPause // when it was minted is not known
	if !g.Minted.IsZero() {
		life = g.Ends.Sub(g.Minted)
	}
	return life, g.Ends.Add(-life / 10)
}

// pace is the time between two reminders.
func (g Generation) pace(now time.Time) time.Duration {
	life, last := g.life()
	if now.Before(last) {
		return min(dayPause, max(life/6, time.Minute))
	}
	return min(hourPause, max(life/20, time.Minute))
}

// reminder reports whether one is due, and when to look again: zero for a generation that does not end.
func (g Generation) reminder(now time.Time) (due bool, again time.Time) {
	if g.Ends.IsZero() {
		return false, time.Time{}
	}
	life, last := g.life()
	if first := g.Ends.Add(-life / 3); now.Before(first) {
		return false, first
	}
	if pace := g.pace(now); g.Raised.IsZero() || !now.Before(g.Raised.Add(pace)) {
		due, again = true, now.Add(pace)
	} else {
		again = g.Raised.Add(pace)
	}
	if now.Before(last) {
		again = earliest(again, last)
	}
	return due, again
}

// keeps reports whether a generation is to stay alive when the rotation in hand is over.
func (r *Record) keeps(g *Generation) bool {
	return r.Rotation == nil || (g == &r.Rotation.Old) == r.Rotation.Back
}

// inUse reports a generation that targets are bound to, or are to be.
func (r *Record) inUse(g *Generation) bool {
	return r.keeps(g) || g == &r.Rotation.Old && !r.Rotation.Contained && r.State != Draining && r.State != Revoking
}

// remind asks for a rotation of a generation that no renewal can save, unless one is in hand that replaces it. In its last tenth it
// is an alarm as well: somebody has to look at what keeps it from being replaced.
func (e *Engine) remind(ctx context.Context, c *cursor, rec *Record, g Generation, ask bool) error {
	now, name := e.Now(), c.bundle.Name
	slot := now.UTC().Truncate(g.pace(now))
	if ask {
		err := e.Outbox.Raise(ctx, events.Event{
			ID: fmt.Sprintf("%s-v%d-expires-%s", name, g.Version, slot.Format("20060102T1504")), Source: "urn:rotator", Kind: events.KindExpiring, Publisher: "rotator", Time: now,
			Expiring: &events.Expiring{Credential: events.Credential{Name: name}, ExpiresAt: g.Ends, Upstream: events.Upstream{System: "rotator"}},
		})
		if err != nil {
			return err
		}
	}
	if _, last := g.life(); now.Before(last) {
		return nil
	}
	why := fmt.Sprintf("the credential of KV version %d ends %s and is not replaced: %s", g.Version, g.Ends.UTC().Format(time.RFC3339), rec.reasonNotToGoOn())
	remedy := "remove the reason; then it is replaced by itself within the hour, or at once: rotator emit manual --bundle " + name + " --reason expiry"
	if rec.State == Quarantined {
		remedy = "decide about the rotation that is held: rotator status " + name
	}
	e.Log.Error().Str("bundle", name).Int("version", g.Version).Time("ends", g.Ends).Str("reason", why).Str("remedy", remedy).Msg("a live credential is about to end")
	return e.Outbox.Outcome(ctx, events.Outcome{Rotation: fmt.Sprintf("%s-v%d-expires", name, g.Version), Bundle: name, Result: events.ResultDelayed, Kind: events.KindExpiring,
		Finished: slot, Reason: clip(why, maxText), Remedy: remedy})
}

// reasonNotToGoOn says, as far as the record knows, why nothing has been rotated.
func (r *Record) reasonNotToGoOn() string {
	if rot := r.Rotation; rot != nil {
		return fmt.Sprintf("a rotation is %s since %s: %s", r.State, rot.Started.UTC().Format(time.RFC3339), rot.LastError)
	}
	for _, w := range r.Queue {
		if w.Held != "" {
			return "an event waits for approval: " + w.Held
		}
	}
	if last := r.Last(); last != nil && last.Reason != "" {
		return fmt.Sprintf("the last rotation was %s: %s", last.Result, last.Reason)
	}
	return "no rotation has begun"
}
