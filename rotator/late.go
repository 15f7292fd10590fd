package rotator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// late looks at a rotation that cannot go on now. Past the time its policy allows, a leak is contained if the policy
// says so; for everything else the alarm is raised, once, and the rotation keeps trying. A lease that Vault has given
// up on is an alarm at once.
func (e *Engine) late(ctx context.Context, c *cursor, p *pause) *pause {
	rec := c.record()
	rot := rec.Rotation
	now := e.Now()
	kind, since := rec.urgency(now)
	rule := c.bundle.Policy.Rule(kind)
	patience := rule.patience()
	overdue := now.After(since.Add(patience))
	if overdue && kind == events.KindLeak && rot.containable(rec.State) && rule.AfterFailure == Contain {
		return e.decideContain(ctx, c, p)
	}
	if rot.Alarmed || !overdue && !errors.Is(p.why, ErrIrrevocable) {
		return p
	}
	why := fmt.Sprintf("it is %s, for events since %s: %v", rec.State, since.UTC().Format(time.RFC3339), p.why)
	if err := e.alarm(ctx, c, events.ResultDelayed, why); err != nil {
		return p
	}
	if err := c.move(ctx, func(r *Record) { r.Rotation.Alarmed = true }); err != nil {
		return &pause{until: p.until, why: err}
	}
	e.Log.Error().Str("bundle", c.bundle.Name).Str("rotation", rot.ID).Str("state", string(rec.State)).AnErr("why", p.why).Msg("late; still trying")
	return p
}

// decideContain journals the decision, so that nobody turns the rotation around while it is carried out.
func (e *Engine) decideContain(ctx context.Context, c *cursor, p *pause) *pause {
	if c.record().Rotation.Asked == Cutoff {
		return p // decided already; that is what fails
	}
	err := c.move(ctx, func(r *Record) {
		r.Rotation.Asked = Cutoff
		r.Rotation.warn("the containment deadline has passed: " + p.why.Error())
	})
	if err != nil {
		return &pause{until: p.until, why: err}
	}
	return nil
}

// alarm publishes what a rotation raises on its way.
func (e *Engine) alarm(ctx context.Context, c *cursor, result, why string) error {
	return e.raiseReceipt(ctx, c, c.receipt(result), why)
}

func (e *Engine) raiseReceipt(ctx context.Context, c *cursor, receipt Receipt, why string) error {
	receipt.Reason, receipt.Finished = why, e.Now()
	if err := e.Outbox.Outcome(ctx, receipt.Outcome(c.bundle.Name)); err != nil {
		return fmt.Errorf("publishing the alarm: %w", err)
	}
	return nil
}

// urgency is the kind whose policy counts, and since when: a leak that waits for the rotation counts like one that has caused it, because what
// leaked may be what the rotation replaces.
func (r *Record) urgency(now time.Time) (events.Kind, time.Time) {
	kind, since := r.Rotation.Kind, r.Rotation.since()
	for _, w := range r.Queue {
		if w.Kind != events.KindLeak || w.parked(now) {
			continue
		}
		if kind != events.KindLeak || w.since().Before(since) {
			kind, since = events.KindLeak, w.since()
		}
	}
	return kind, since
}

// containable reports a rotation that still has its old generation, on its way forward.
func (rot *Rotation) containable(s State) bool {
	return !rot.Reapply && !rot.Contained && !rot.Back && slices.Contains([]State{Claimed, Minting, Applying, Draining, Revoking}, s)
}

// since is the moment from which the time that a policy allows is counted: of a leak that of its first event, however long it had to wait for
// another rotation, and of everything else that of the rotation.
func (rot *Rotation) since() time.Time {
	first := rot.Started
	for _, w := range rot.Events {
		if at := w.since(); w.Kind == events.KindLeak && at.Before(first) {
			first = at
		}
	}
	return first
}

// since is the moment from which an event asks for a rotation: one that had to be approved, or to wait for its date, does so later.
func (w Waiting) since() time.Time {
	at := later(w.Stored, w.NotBefore)
	if w.Approval != nil {
		at = later(at, w.Approval.At)
	}
	return at
}

// contain revokes the old generation although targets are missing, raises the alarm, and goes on forward. It may come
// at any time before the old generation is revoked anyway, also before anything was planned.
func (e *Engine) contain(ctx context.Context, c *cursor) *pause {
	why := "decided: the old generation is revoked now"
	if ws := c.record().Rotation.Warnings; len(ws) > 0 {
		why = ws[len(ws)-1] // the deadline, or the operator's word
	}
	old, err := e.victim(ctx, c)
	if err != nil {
		return e.retry(c, fmt.Errorf("containing: %w", err))
	}
	if err := c.held(); err != nil {
		return &pause{until: e.Now(), why: err}
	}
	if err := e.Revoker.Revoke(ctx, old.Handles); err != nil {
		return e.retry(c, fmt.Errorf("containing: %w", err))
	}
	if err := e.alarm(ctx, c, events.ResultContaining, why); err != nil {
		return e.retry(c, err)
	}
	err = c.move(ctx, func(r *Record) {
		r.Rotation.Contained, r.Rotation.Asked = true, ""
		r.Rotation.step("contained", e.Now())
		r.Rotation.warn("contained: the old generation was revoked while targets were missing")
		r.NotBefore = time.Time{}
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	e.Log.Error().Str("bundle", c.bundle.Name).Str("why", why).Msg("contained: the old credential is revoked; some targets may hold it still")
	return nil
}

// victim is the generation that containment revokes: known since planning, and looked up before that.
func (e *Engine) victim(ctx context.Context, c *cursor) (Generation, error) {
	if rot := c.record().Rotation; rot.Base > 0 {
		return rot.Old, nil
	}
	base, err := e.Secrets.Read(ctx, c.bundle.Secret, 0)
	if err != nil {
		return Generation{}, err
	}
	return e.oldGeneration(ctx, c, base)
}

// warn adds a line to the receipt, once.
func (rot *Rotation) warn(text string) {
	if !slices.Contains(rot.Warnings, text) {
		rot.Warnings = append(rot.Warnings, text)
	}
}
