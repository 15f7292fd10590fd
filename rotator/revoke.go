package rotator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// drain waits for work in flight - by the journal's clock, nobody sleeps for it - and then looks at every target
// again: a deploy may have written over one.
func (e *Engine) drain(ctx context.Context, c *cursor) *pause {
	rot := c.record().Rotation
	if e.Now().Before(rot.DrainEnds) {
		return &pause{until: rot.DrainEnds}
	}
	if p, verified := e.verify(ctx, c); !verified {
		return p
	}
	err := c.move(ctx, func(r *Record) {
		r.State = Revoking
		r.NotBefore = time.Time{}
		r.Rotation.step("verified", e.Now())
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	return nil
}

// verify looks at every target once more. One that somebody has overwritten is written again, also when the revocation has begun: what it
// holds may be dead already. Nobody can tell what happened since another process looked, so that one's word does not count.
func (e *Engine) verify(ctx context.Context, c *cursor) (p *pause, verified bool) {
	drifted, err := e.drifted(ctx, c)
	switch {
	case err != nil:
		return e.retry(c, err), false
	case len(drifted) == 0:
		c.run.verified = true
		return nil, true
	}
	e.Log.Warn().Str("bundle", c.bundle.Name).Strs("targets", drifted).Msg("targets were overwritten by somebody else; applying again")
	if c.record().Rotation.Redone >= maxRedone {
		return e.quarantine(ctx, c, "somebody keeps overwriting "+names(drifted)+"; stop that deploy, then resume"), false
	}
	return e.again(ctx, c, drifted), false
}

// drifted lists the targets that no longer hold the desired version. One whose version is still that of our PUT
// was not written since; only the others are compared by value.
func (e *Engine) drifted(ctx context.Context, c *cursor) ([]string, error) {
	rot := c.record().Rotation
	facts := e.glance(ctx, c.bundle, c.bundle.Policy.Rule(rot.Kind), rot.abandoned)
	suspects := slices.DeleteFunc(slices.Clone(facts.Sights), func(s Sight) bool {
		return slices.ContainsFunc(rot.Targets, func(t TargetState) bool { return t.Ref == s.Target.Ref && t.settled(s, c.bundle.Name, rot) })
	})
	if len(suspects) == 0 {
		return nil, nil
	}
	p, err := e.pressWith(ctx, c, facts)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range suspects {
		if err := s.passing(); err != nil {
			return nil, fmt.Errorf("reading %s: %w", s.Target.Ref, err)
		}
		if s.Err == nil {
			composed, stamp := p.compose(s)
			if composed.holds(s.Observed, c.bundle.Name, stamp) {
				continue
			}
		}
		out = append(out, s.Target.Ref.String())
	}
	return out, nil
}

// settled reports whether a target needs no look at its values: nobody has written since our PUT, or the rotation goes
// on without it - unless it was deleted and is back. The version alone does not tell: one that was deleted and deployed anew counts from
// the beginning. A target that needed no PUT on the way back has no stamp of this rotation.
func (t TargetState) settled(s Sight, bundle string, rot *Rotation) bool {
	if t.Dropped != "" {
		return t.Missing.IsZero() || errors.Is(s.Err, ErrNotFound)
	}
	stamp := stamps(s.Observed.Annotations)[bundle]
	return s.Err == nil && t.After == s.Observed.Version && (rot.Back || rot.Reapply || stamp.Rotation == rot.ID && stamp.Version == rot.Desired)
}

// maxRedone bounds how often overwritten targets are applied again before an operator is asked.
const maxRedone = 5

func (e *Engine) again(ctx context.Context, c *cursor, drifted []string) *pause {
	err := c.move(ctx, func(r *Record) {
		r.State = Applying
		if r.Rotation.Back {
			r.State = RollingBack
		}
		r.NotBefore = time.Time{}
		r.Rotation.Redone++
		r.Rotation.Deadline = e.Now().Add(DefaultPatience)
		r.Rotation.Warnings = append(r.Rotation.Warnings, "written by somebody else during the drain, applied again: "+names(drifted))
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	return nil
}

// revoke kills the generation that lost, until it is gone, and proves that it is dead.
func (e *Engine) revoke(ctx context.Context, c *cursor) *pause {
	if p := e.leave(ctx, c); p != nil { // an event may have joined since the rotation began
		return p
	}
	rot := c.record().Rotation
	victim, result := rot.Old, events.ResultRotated
	switch {
	case rot.Back:
		victim, result = rot.New, events.ResultRolledBack
	case rot.Reapply:
		result = events.ResultReapplied
	case rot.Contained:
		result = events.ResultContained
	}
	if !c.run.verified && !rot.Contained { // after containment it is dead already
		if p, verified := e.verify(ctx, c); !verified {
			return p
		}
	}
	if err := c.held(); err != nil {
		return &pause{until: e.Now(), why: err}
	}
	if err := e.Revoker.Revoke(ctx, victim.Handles); err != nil {
		return e.retry(c, fmt.Errorf("revoking the old generation: %w", err))
	}
	revoked := e.Now()
	if err := e.proveDead(ctx, c, victim); errors.Is(err, errNoHandle) {
		return e.quarantine(ctx, c, err.Error())
	} else if err != nil {
		return e.retry(c, fmt.Errorf("proving the old generation dead: %w", err))
	}
	receipt := c.receipt(result)
	receipt.Steps = withSteps(rot.Steps, map[string]time.Time{"revoked": revoked, "proven-dead": e.Now()})
	return e.finish(ctx, c, receipt)
}

func withSteps(steps, more map[string]time.Time) map[string]time.Time {
	out := make(map[string]time.Time, len(steps)+len(more))
	for k, v := range more {
		out[k] = v
	}
	for k, v := range steps {
		out[k] = v // what was durable first counts
	}
	return out
}

// errNoHandle says that the old credential lives and nothing is known by which Vault could revoke it.
var errNoHandle = errors.New("the old credential is still accepted, and Vault has no handle to revoke it")

// proveDead logs in with the old values: every probe has to be refused.
func (e *Engine) proveDead(ctx context.Context, c *cursor, victim Generation) error {
	probed := slices.ContainsFunc(c.bundle.Credentials, func(cr Credential) bool { return !cr.Probe.IsZero() })
	if !probed || victim.Version == 0 {
		return nil
	}
	set, err := e.oldValues(ctx, c, victim.Version)
	if err != nil {
		return err
	}
	for _, cr := range c.bundle.Credentials {
		if cr.Probe.IsZero() {
			continue
		}
		if err := e.refused(ctx, cr, set); err != nil {
			if errors.Is(err, ErrNotGone) && len(victim.Handles) == 0 {
				return fmt.Errorf("credential %s: %w; revoke it by hand, then resume", cr.Name, errNoHandle)
			}
			return fmt.Errorf("credential %s: %w", cr.Name, err)
		}
	}
	return nil
}

func (e *Engine) oldValues(ctx context.Context, c *cursor, version int) (secret.Set, error) {
	if c.run.base != nil && c.run.base.Version == version {
		return c.run.base.Set, nil
	}
	old, err := e.Secrets.Read(ctx, c.bundle.Secret, version)
	return old.Set, err
}

// refused probes until the backend says no, a few times: caches may accept a revoked credential for a moment.
func (e *Engine) refused(ctx context.Context, cr Credential, set secret.Set) error {
	wait := e.Backoff / 5
	for attempt := 1; ; attempt++ {
		err := e.Prober.Probe(ctx, cr.Probe, set)
		switch {
		case errors.Is(err, ErrRejected):
			return nil
		case err == nil:
			err = fmt.Errorf("the backend still accepts it: %w", ErrNotGone)
		}
		if attempt == 4 {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		wait *= 2
	}
}
