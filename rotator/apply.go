package rotator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// apply writes exactly the desired version to every target, one PUT each, and commits when all are verified. It
// runs forward, and in the same way backward, when the desired version holds the previous values.
func (e *Engine) apply(ctx context.Context, c *cursor) *pause {
	rec := c.record()
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
	failed := slices.ContainsFunc(states, func(s TargetState) bool { return s.After == "" })
	if failed {
		return e.short(ctx, c, states, p.failures())
	}
	return e.commit(ctx, c, states, overlap(p.facts))
}

// press is one pass over the targets of a bundle.
type press struct {
	e     *Engine
	c     *cursor
	facts Facts
	set   secret.Set
	key   secret.Key
	rot   Rotation

	mu   sync.Mutex
	errs map[Ref]error
}

// press gathers what one pass needs. In the process that planned the rotation the targets are known already;
// anywhere else they are observed again.
func (e *Engine) press(ctx context.Context, c *cursor) (*press, error) {
	if c.run.minted && c.run.facts != nil {
		c.run.minted = false // for one pass; later ones look again
		return e.pressWith(ctx, c, *c.run.facts)
	}
	facts, err := e.glance(ctx, c.bundle, c.bundle.Policy.Rule(c.record().Rotation.Kind))
	if err != nil {
		return nil, err
	}
	return e.pressWith(ctx, c, facts)
}

func (e *Engine) pressWith(ctx context.Context, c *cursor, facts Facts) (*press, error) {
	rot := c.record().Rotation
	desired, err := e.Secrets.Read(ctx, c.bundle.Secret, rot.Desired)
	if err != nil {
		return nil, fmt.Errorf("reading version %d of bundle %s: %w", rot.Desired, c.bundle.Name, err)
	}
	key, err := e.Secrets.Key(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the fingerprint key: %w", err)
	}
	return &press{e: e, c: c, facts: facts, set: desired.Set, key: key, rot: *rot, errs: make(map[Ref]error)}, nil
}

// compose builds the PUT for one target from the desired version.
func (p *press) compose(s Sight) (composed, Stamp) {
	stamp := stampFor(p.key, s.Target, p.set, p.rot.ID, p.rot.Desired)
	return compose(s.Target, p.c.bundle.Name, p.set, s.Observed, expected(p.facts, s, p.set), stamp), stamp
}

// glance is gather without the bundle: targets and limits only.
func (e *Engine) glance(ctx context.Context, b Bundle, rule Rule) (Facts, error) {
	f := Facts{Bundle: b, Rule: rule, Zombie: e.Zombie, Limits: make(map[string]Limits)}
	for _, t := range b.Targets {
		l, err := e.Platform.Limits(ctx, t.Host)
		if err != nil {
			return f, fmt.Errorf("reading the limits of host %s: %w", t.Host, err)
		}
		f.Limits[t.Host] = l
	}
	var err error
	f.Sights, err = e.look(ctx, b.Targets, f.Limits)
	return f, err
}

// all writes packages first, then actions - one alone, as the canary - and triggers last, because that is the order
// in which one beats the other. It returns the state of every target, in the bundle's order.
func (p *press) all(ctx context.Context) []TargetState {
	states := make([]TargetState, len(p.facts.Sights))
	for i, s := range p.facts.Sights {
		states[i] = TargetState{Ref: s.Target.Ref, Before: p.before(s)}
	}
	canary := true
	for _, kind := range []Kind{Package, Action, Trigger} {
		var todo []int
		for i, s := range p.facts.Sights {
			if s.Target.Kind == kind {
				todo = append(todo, i)
			}
		}
		if canary && len(todo) > 0 {
			states[todo[0]] = p.write(ctx, states[todo[0]], p.facts.Sights[todo[0]])
			if states[todo[0]].After == "" {
				return states
			}
			todo, canary = todo[1:], false
		}
		p.parallel(ctx, states, todo)
	}
	return states
}

// before keeps the version from the first time the rotation saw the target.
func (p *press) before(s Sight) string {
	for _, t := range p.rot.Targets {
		if t.Ref == s.Target.Ref && t.Before != "" {
			return t.Before
		}
	}
	return s.Observed.Version
}

func (p *press) parallel(ctx context.Context, states []TargetState, todo []int) {
	gates := make(map[string]chan struct{})
	for host, l := range p.facts.Limits {
		gates[host] = make(chan struct{}, max(l.Parallel, 1))
	}
	var wg sync.WaitGroup
	for _, i := range todo {
		wg.Go(func() {
			gate := gates[states[i].Ref.Host]
			gate <- struct{}{}
			defer func() { <-gate }()
			states[i] = p.write(ctx, states[i], p.facts.Sights[i])
		})
	}
	wg.Wait()
}

// writeTries bounds the attempts on one target within a pass; longer pauses are the journal's.
const writeTries = 4

// write brings one target to the desired version and verifies it.
func (p *press) write(ctx context.Context, state TargetState, s Sight) TargetState {
	var err error
	for try := range writeTries {
		if try > 0 {
			if sleep(ctx, time.Duration(try)*p.e.Backoff/5) != nil {
				break
			}
			if s.Observed, s.Err = p.e.Platform.Observe(ctx, s.Target.Ref, new(Seen)); s.Err != nil {
				err = s.Err
				continue
			}
		}
		var version string
		if version, err = p.once(ctx, s, try); err == nil {
			state.After, state.Failure = version, ""
			return state
		}
		if errors.Is(err, ErrPermanent) || errors.Is(err, ErrNotFound) || errors.Is(err, errLost) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		err = context.Cause(ctx)
	}
	p.errs[s.Target.Ref] = err
	state.After, state.Failure = "", fmt.Sprint(err)
	return state
}

// once makes the PUT unless the target holds the version already, and judges the answer.
func (p *press) once(ctx context.Context, s Sight, try int) (version string, err error) {
	if out := sightRefusals(s); len(out) > 0 {
		return "", fmt.Errorf("%s: %w", out[0], kindOf(s.Err))
	}
	c, stamp := p.compose(s)
	if vanish := hidden(s, c, p.facts.Limits[s.Target.Host]); len(vanish) > 0 {
		return "", fmt.Errorf("the host hides values, %s would vanish: %w", names(vanish), ErrPermanent)
	}
	if c.holds(s.Observed, p.c.bundle.Name, stamp) || try > 0 && p.applied(s.Observed, stamp) || p.rot.Back && p.untouched(s.Observed, c) {
		return s.Observed.Version, nil
	}
	if err := p.c.held(); err != nil {
		return "", err
	}
	w, err := p.e.Platform.Put(ctx, s.Target.Ref, c.write)
	if err != nil {
		return "", err
	}
	if w.Parameters == nil || !w.answers(c.write.Parameters) || !follows(s.Observed.Version, w.Version) {
		// Somebody wrote between GET and PUT, or the host answers without a body: look again and decide again.
		return "", fmt.Errorf("the answer to the PUT shows version %s after %s, not exactly what was sent: %w", w.Version, s.Observed.Version, ErrConflict)
	}
	if s.Target.Kind == Package && c.freshInit {
		return w.Version, p.touch(ctx, s)
	}
	return w.Version, nil
}

func kindOf(err error) error {
	if errors.Is(err, ErrNotFound) {
		return ErrNotFound
	}
	return ErrPermanent
}

// applied recognises a PUT whose answer was lost on a host whose values cannot be compared: the annotation is ours.
func (p *press) applied(o Observed, stamp Stamp) bool {
	return p.facts.Limits[o.Ref.Host].HidesValues && stamps(o.Annotations)[p.c.bundle.Name] == stamp
}

// untouched reports, on the way back, that a target was never brought forward: it holds the previous values, or - where
// values are hidden - its annotation is not this rotation's. It needs no PUT, which matters when it refuses every PUT.
func (p *press) untouched(o Observed, c composed) bool {
	if p.facts.Limits[o.Ref.Host].HidesValues {
		return stamps(o.Annotations)[p.c.bundle.Name].Rotation != p.rot.ID
	}
	return o.Parameters.Own(o.Inherited).Equal(c.write.Parameters)
}

// touch restarts the actions of a package: containers keep init parameters, which the package PUT does not refresh.
func (p *press) touch(ctx context.Context, s Sight) error {
	for _, name := range s.Observed.Actions {
		ref := Ref{Host: s.Target.Host, Kind: Action, Name: s.Target.Name + "/" + name}
		if slices.ContainsFunc(p.facts.Sights, func(o Sight) bool { return o.Target.Ref == ref }) {
			continue // gets a PUT of its own after this one
		}
		if err := p.e.Platform.Touch(ctx, ref); err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("restarting %s: %w", ref, err)
		}
	}
	return nil
}

func (p *press) failures() map[Ref]error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errs
}

// commit journals that every target is verified: from here on only forward.
func (e *Engine) commit(ctx context.Context, c *cursor, states []TargetState, drain time.Duration) *pause {
	now := e.Now()
	err := c.move(ctx, func(r *Record) {
		r.Rotation.Targets = states
		r.Rotation.Attempts, r.Rotation.LastError = 0, ""
		r.Rotation.step("applied", now)
		if drain == 0 {
			r.State = Revoking
			return
		}
		r.State = Draining
		r.Rotation.DrainEnds = now.Add(drain)
		r.NotBefore = r.Rotation.DrainEnds
		r.Owner, r.LeaseUntil = "", time.Time{}
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	e.Log.Info().Str("bundle", c.bundle.Name).Str("rotation", c.record().Rotation.ID).Int("targets", len(states)).Dur("overlap_ms", drain).Msg("every target is verified")
	return nil
}

// short decides what follows when targets are missing.
func (e *Engine) short(ctx context.Context, c *cursor, states []TargetState, errs map[Ref]error) *pause {
	rot := c.record().Rotation
	err := c.move(ctx, func(r *Record) { r.Rotation.Targets = states })
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	why := missing(states)
	switch next := afterShort(*rot, c.bundle.Policy.Rule(rot.Kind), errs, e.Now()); next {
	case Rollback:
		return e.rollBack(ctx, c, why)
	case Contain:
		return e.contain(ctx, c, why)
	case Hold:
		return e.quarantine(ctx, c, why)
	default:
		return e.retry(c, errors.New(why))
	}
}

// missing lists the targets that could not be written, with the reason of each.
func missing(states []TargetState) string {
	text := "not every target could be updated:"
	for _, s := range states {
		if s.Failure != "" {
			text += fmt.Sprintf(" %s (%s);", s.Ref, s.Failure)
		}
	}
	return text
}

// keepTrying is the decision to go on forward.
const keepTrying AfterFailure = ""

// afterShort is the policy: a leak goes forward until its deadline, everything else goes back as soon as a target
// says no for good, or at the deadline. Going back has no way back: it is retried until the deadline, then held.
func afterShort(rot Rotation, rule Rule, errs map[Ref]error, now time.Time) AfterFailure {
	late := now.After(rot.Deadline)
	final := false
	for _, err := range errs {
		final = final || errors.Is(err, ErrPermanent) || errors.Is(err, ErrNotFound)
	}
	switch {
	case rot.Contained:
		return keepTrying
	case rot.Back && late:
		return Hold
	case rot.Back:
		return keepTrying
	case late:
		return rule.AfterFailure
	case final && rot.Kind != events.KindLeak && rule.AfterFailure == Rollback:
		return Rollback
	}
	return keepTrying
}

// rollBack journals the intent; stageBack does it.
func (e *Engine) rollBack(ctx context.Context, c *cursor, why string) *pause {
	rule := c.bundle.Policy.Rule(c.record().Rotation.Kind)
	patience := max(rule.ContainWithin, DefaultPatience)
	err := c.move(ctx, func(r *Record) {
		r.State = RollingBack
		r.Rotation.Back = true
		r.Rotation.LastError = why
		r.Rotation.Attempts = 0
		r.Rotation.Deadline = e.Now().Add(patience)
		r.Rotation.Warnings = append(r.Rotation.Warnings, why)
		r.Rotation.step("rolling-back", e.Now())
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	e.Log.Error().Str("bundle", c.bundle.Name).Str("why", why).Msg("rolling back")
	return nil
}

// stageBack writes the previous values as a new version. Its marker names the old generation, which stays alive.
func (e *Engine) stageBack(ctx context.Context, c *cursor) *pause {
	rec := c.record()
	rot := rec.Rotation
	head, err := e.Secrets.Read(ctx, c.bundle.Secret, 0)
	if err != nil {
		return e.retry(c, err)
	}
	back := head.Version
	if head.Marker.Rotation != backOf(rot.ID) {
		base, err := e.Secrets.Read(ctx, c.bundle.Secret, rot.Base)
		if err != nil {
			return e.retry(c, err)
		}
		if err := c.held(); err != nil {
			return &pause{until: e.Now(), why: err}
		}
		back, err = e.Secrets.Write(ctx, c.bundle.Secret, Snapshot{Version: head.Version, Set: base.Set, Marker: Marker{Rotation: backOf(rot.ID), Epoch: rec.Epoch, Handles: rot.Old.Handles}})
		if err != nil {
			return e.retry(c, err) // look again: the answer may have been lost
		}
	}
	err = c.move(ctx, func(r *Record) {
		r.Rotation.Desired = back
		r.Rotation.Old.Version = back
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	return nil
}

func backOf(rotation string) string { return rotation + "-back" }

// contain revokes the leaked generation although targets are missing, raises the alarm, and goes on forward.
func (e *Engine) contain(ctx context.Context, c *cursor, why string) *pause {
	if err := e.Revoker.Revoke(ctx, c.record().Rotation.Old.Handles); err != nil {
		return e.retry(c, fmt.Errorf("containing: %w", err))
	}
	receipt := c.receipt(events.ResultContained)
	receipt.Reason, receipt.Finished = why, e.Now()
	if err := e.Outbox.Outcome(ctx, receipt.Outcome(c.bundle.Name)); err != nil {
		return e.retry(c, err)
	}
	err := c.move(ctx, func(r *Record) {
		r.Rotation.Contained = true
		r.Rotation.step("contained", e.Now())
		r.Rotation.Warnings = append(r.Rotation.Warnings, "contained: the old generation was revoked while targets were missing")
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	e.Log.Error().Str("bundle", c.bundle.Name).Str("why", why).Msg("contained: the leaked credential is revoked; some targets hold it still")
	return e.retry(c, errors.New(why))
}
