package rotator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// press is one pass over the targets of a bundle.
type press struct {
	e     *Engine
	c     *cursor
	facts Facts
	set   secret.Set
	key   secret.Key
	rot   Rotation

	mu      sync.Mutex
	errs    map[Ref]error
	strayed bool // the answer to a PUT was lost: it may still arrive
}

// press gathers what one pass needs. In the process that planned the rotation the targets are known already;
// anywhere else they are observed again.
func (e *Engine) press(ctx context.Context, c *cursor) (*press, error) {
	if c.run.minted && c.run.facts != nil {
		c.run.minted = false // for one pass; later ones look again
		return e.pressWith(ctx, c, *c.run.facts)
	}
	return e.pressWith(ctx, c, e.glance(ctx, c.bundle, c.bundle.Policy.Rule(c.record().Rotation.Kind), c.record().Rotation.abandoned))
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

// glance is gather without the bundle: targets and limits only. What cannot be read is in its Sight: one host that is away must not
// keep the others from being written, or a failure from being decided on. skip names targets that need no look.
func (e *Engine) glance(ctx context.Context, b Bundle, rule Rule, skip func(Ref) bool) Facts {
	f := Facts{Bundle: b, Rule: rule, Zombie: e.Zombie, Limits: make(map[string]Limits)}
	away := make(map[string]error)
	for _, t := range b.Targets {
		if _, ok := f.Limits[t.Host]; ok || away[t.Host] != nil {
			continue
		}
		l, err := e.Platform.Limits(ctx, t.Host)
		if err != nil {
			away[t.Host] = fmt.Errorf("reading the limits of host %s: %w", t.Host, err)
			continue
		}
		f.Limits[t.Host] = l
	}
	f.Sights = e.look(ctx, b.Targets, f.Limits, func(r Ref) error {
		if skip != nil && skip(r) {
			return errSkipped
		}
		return away[r.Host]
	})
	return f
}

// errSkipped stands for a target that nobody wants to see.
var errSkipped = errors.New("not looked at")

// abandoned reports a target that an operator goes on without.
func (rot *Rotation) abandoned(r Ref) bool {
	return slices.ContainsFunc(rot.Targets, func(t TargetState) bool { return t.Ref == r && t.Dropped != "" && t.Missing.IsZero() })
}

// all writes packages first, then actions - one alone, as the canary - and triggers last, because that is the order
// in which one beats the other. It returns the state of every target, in the bundle's order.
func (p *press) all(ctx context.Context) []TargetState {
	states := make([]TargetState, len(p.facts.Sights))
	for i, s := range p.facts.Sights {
		states[i] = p.begin(s)
	}
	defer func() { p.missing(states) }()
	canary := true
	for _, kind := range []Kind{Package, Action, Trigger} {
		var rest []int
		for i, s := range p.facts.Sights {
			if s.Target.Kind == kind && states[i].Dropped == "" {
				rest = append(rest, i)
			}
		}
		for canary && len(rest) > 0 {
			first := rest[0]
			states[first] = p.write(ctx, states[first], p.facts.Sights[first])
			if states[first].After == "" && !errors.Is(p.errs[states[first].Ref], ErrNotFound) && p.facts.Sights[first].passing() == nil {
				return states
			}
			canary = states[first].After == "" // a target that is gone, or its host away, warns of nothing
			rest = rest[1:]
		}
		p.parallel(ctx, states, rest)
	}
	return states
}

// begin keeps what the rotation knows of a target: the version when it first saw it, and whether it goes on without.
func (p *press) begin(s Sight) TargetState {
	state := TargetState{Ref: s.Target.Ref, Before: s.Observed.Version, Holds: stamps(s.Observed.Annotations)[p.c.bundle.Name].Version}
	for _, t := range p.rot.Targets {
		if t.Ref != s.Target.Ref {
			continue
		}
		if t.Before != "" {
			state.Before = t.Before
		}
		if s.Err == nil && t.After == s.Observed.Version {
			state.After = t.After // by an earlier pass
		}
		state.Missing = t.Missing
		if t.Missing.IsZero() { // an operator's word stays; what was missing may have come back
			state.Dropped = t.Dropped
		}
	}
	return state
}

// goneAfter is how long a target has to be missing until that counts: longer than any cache of the host lags behind.
const goneAfter = cacheLag

// missing notes which targets the host says do not exist, and goes on without those that have been missing for long.
// When none is left something else is wrong, and nothing is dropped.
func (p *press) missing(states []TargetState) {
	now := p.e.Now()
	left := slices.ContainsFunc(states, func(s TargetState) bool { return s.After != "" })
	for i := range states {
		s := &states[i]
		switch {
		case s.After != "":
			s.Missing = time.Time{}
		case !errors.Is(p.errs[s.Ref], ErrNotFound): // not looked at in this pass
		case s.Missing.IsZero():
			s.Missing = now
		case left && now.Sub(s.Missing) >= goneAfter:
			s.Dropped = "it does not exist any more since " + s.Missing.UTC().Format(time.RFC3339) + "; the rotation went on without it"
		}
	}
}

func (p *press) parallel(ctx context.Context, states []TargetState, rest []int) {
	fan(len(rest), func(n int) string { return states[rest[n]].Ref.Host }, p.facts.Limits, func(n int) {
		i := rest[n]
		states[i] = p.write(ctx, states[i], p.facts.Sights[i])
	})
}

// writeTries bounds the attempts on one target within a pass; longer pauses are the journal's.
const writeTries = 4

// write brings one target to the desired version and verifies it.
func (p *press) write(ctx context.Context, state TargetState, s Sight) TargetState {
	if err := s.passing(); err != nil { // it was just looked at: the next pass comes soon
		return p.failed(state, err)
	}
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
			state.After, state.Holds, state.Failure = version, p.rot.Desired, ""
			return state
		}
		if errors.Is(err, ErrPermanent) || errors.Is(err, ErrNotFound) || errors.Is(err, errLost) {
			break
		}
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return p.failed(state, err)
}

func (p *press) failed(state TargetState, err error) TargetState {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs[state.Ref] = err
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
	if c.holds(s.Observed, p.c.bundle.Name, stamp) || try > 0 && p.applied(s.Observed, stamp) || (p.rot.Back || p.rot.Reapply) && p.untouched(s.Observed, c) {
		return s.Observed.Version, p.restart(ctx, s, c, s.Observed.Version)
	}
	if err := p.c.held(); err != nil {
		return "", err
	}
	c.write.Still = p.c.held
	w, err := p.e.Platform.Put(ctx, s.Target.Ref, c.write)
	if err != nil {
		p.lost(err)
		return "", err
	}
	if w.Parameters == nil || !w.answers(c.write.Parameters) || !follows(s.Observed.Version, w.Version) {
		// Somebody wrote between GET and PUT, or the host answers without a body: look again and decide again.
		return "", fmt.Errorf("the answer to the PUT shows version %s after %s, not exactly what was sent: %w", w.Version, s.Observed.Version, ErrConflict)
	}
	return w.Version, p.restart(ctx, s, c, w.Version)
}

// lost notes a PUT that may still arrive.
func (p *press) lost(err error) {
	if !errors.Is(err, ErrUnknown) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.strayed = true
}

// restart makes containers start afresh after init parameters of their package have changed, which the package's PUT
// does not do. It is done again when it is not known to have been done for this version.
func (p *press) restart(ctx context.Context, s Sight, c composed, version string) error {
	known := slices.ContainsFunc(p.rot.Targets, func(t TargetState) bool { return t.Ref == s.Target.Ref && t.After == version })
	if s.Target.Kind != Package || !c.init || known {
		return nil
	}
	return p.touch(ctx, s)
}

// passing is why a target could not be looked at, if that may pass by itself.
func (s Sight) passing() error {
	if s.Err == nil || errors.Is(s.Err, ErrNotFound) || errors.Is(s.Err, ErrPermanent) {
		return nil
	}
	return s.Err
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

// untouched reports, on the way back, that a target was never brought forward: it holds the desired values, or - where
// values are hidden - its annotation is not this rotation's. It needs no PUT, which matters when it refuses every PUT.
func (p *press) untouched(o Observed, c composed) bool {
	if p.facts.Limits[o.Ref.Host].HidesValues {
		return stamps(o.Annotations)[p.c.bundle.Name].Rotation != p.rot.ID
	}
	return o.Parameters.Own(o.Inherited).Equal(c.write.Parameters)
}

// touch writes the actions of a package without changing them.
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
