package rotator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// apply writes exactly the desired version to every target, one PUT each, and commits when all are verified. It
// runs forward, and in the same way backward, when the desired version holds the previous values.
func (e *Engine) apply(ctx context.Context, c *cursor) *pause {
	rec := c.record()
	if kind, _ := rec.urgency(e.Now()); rec.Rotation.Reapply && kind == events.KindLeak { // its rotation writes every target anyway
		return e.giveUp(ctx, c)
	}
	if rec.State == RollingBack && rec.Rotation.Desired == rec.Rotation.New.Version {
		return e.stageBack(ctx, c)
	}
	p, err := e.press(ctx, c)
	if err != nil {
		return e.retry(c, err)
	}
	states := p.all(ctx)
	if err := ctx.Err(); err != nil || c.held() != nil {
		return &pause{until: e.Now(), why: errLost}
	}
	failed := slices.ContainsFunc(states, func(s TargetState) bool { return s.After == "" && s.Dropped == "" })
	if failed {
		return e.short(ctx, c, states, p)
	}
	return e.commit(ctx, c, states, p)
}

// commit journals that every target is verified: from here on only forward. What is dead already needs no overlap, but
// a PUT of other values that may still arrive is waited for in any case. Without an overlap the next look follows at once: while the last
// target was written, a deploy may have overwritten the first.
func (e *Engine) commit(ctx context.Context, c *cursor, states []TargetState, p *press) *pause {
	if p.facts.Work == nil && !p.rot.Contained && !p.rot.Reapply { // whoever planned it is gone
		if err := e.work(ctx, &p.facts); err != nil {
			return e.retry(c, err)
		}
	}
	now := e.Now()
	drain, _ := overlap(p.facts)
	err := c.move(ctx, func(r *Record) {
		late := r.harmless(r.Rotation.Desired)
		if p.strayed {
			r.strayed(now, e.Zombie)
		}
		if r.Rotation.Contained || r.Rotation.Reapply {
			drain = 0
		}
		drain = e.leakOverlap(r, drain, now)
		ends := later(now.Add(drain), late)
		r.Rotation.Targets = states
		r.Rotation.Attempts, r.Rotation.LastError = 0, ""
		r.Rotation.step("applied", now)
		for _, t := range states {
			if t.Dropped != "" {
				r.Rotation.warn(t.Ref.String() + ": " + t.Dropped)
			}
		}
		r.State = Draining
		r.Rotation.DrainEnds, r.NotBefore = ends, time.Time{}
		if ends.After(now) {
			r.NotBefore, r.Owner, r.LeaseUntil = ends, "", time.Time{}
		}
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	e.Log.Info().Str("bundle", c.bundle.Name).Str("rotation", c.record().Rotation.ID).Int("targets", len(states)).Dur("overlap_ms", drain).Msg("every target is verified")
	return nil
}

// short decides what follows when targets are missing.
func (e *Engine) short(ctx context.Context, c *cursor, states []TargetState, p *press) *pause {
	rot := c.record().Rotation
	err := c.move(ctx, func(r *Record) {
		r.Rotation.Targets = states
		if p.strayed {
			r.strayed(e.Now(), e.Zombie)
		}
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	why := missing(states)
	rec := c.record()
	kind, _ := rec.urgency(e.Now())
	switch next := afterShort(*rot, kind, c.bundle.Policy.Rule(kind), p.failures(), e.Now()); next {
	case leaveIt:
		if err := e.alarm(ctx, c, events.ResultDrifted, why); err != nil {
			return e.retry(c, err)
		}
		return e.giveUp(ctx, c)
	case Rollback:
		return e.rollBack(ctx, c, why)
	case Hold:
		return e.quarantine(ctx, c, why)
	default:
		return e.retry(c, errors.New(why))
	}
}

// missing lists the targets that could not be written, with the reason of each.
func missing(states []TargetState) string {
	var failed []string
	for _, s := range states {
		if s.Failure != "" && s.Dropped == "" {
			failed = append(failed, fmt.Sprintf("%s (%s)", s.Ref, clip(s.Failure, maxFailure)))
		}
	}
	return "not every target could be updated: " + listed(failed)
}

// giveUp ends the writing again of the live version. Nothing was minted, and nothing is revoked.
func (e *Engine) giveUp(ctx context.Context, c *cursor) *pause {
	err := c.move(ctx, func(r *Record) {
		r.State, r.Rotation = Idle, nil
		r.Owner, r.LeaseUntil, r.NotBefore = "", time.Time{}, time.Time{}
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	return nil
}

// Decisions that no policy names.
const (
	keepTrying AfterFailure = ""         // go on forward
	leaveIt    AfterFailure = "leave it" // the live version is not written again after all
)

// afterShort is the policy: a leak goes forward until its deadline, everything else goes back as soon as a target
// says no for good, or at the deadline. Going back has no way back: it is retried until the deadline, then held. A leak
// that is to be contained goes on either way; see late.
func afterShort(rot Rotation, kind events.Kind, rule Rule, errs map[Ref]error, now time.Time) AfterFailure {
	late := now.After(rot.Deadline)
	final := false
	for _, err := range errs {
		final = final || errors.Is(err, ErrPermanent)
	}
	switch {
	case rot.Contained, rot.Reapply && !late:
		return keepTrying
	case rot.Reapply:
		return leaveIt
	case rot.Back && late:
		return Hold
	case rot.Back:
		return keepTrying
	case late && rule.AfterFailure != Contain:
		return rule.AfterFailure
	case final && kind != events.KindLeak && rule.AfterFailure == Rollback:
		return Rollback
	}
	return keepTrying
}
