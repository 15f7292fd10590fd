package rotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// errNeighbour says that it is another bundle's turn.
var errNeighbour = errors.New("waiting")

// begin plans a claimed rotation and journals the intent to mint. A crash anywhere before that leaves nothing but,
// at most, an anchor that owns nothing and dies by itself.
func (e *Engine) begin(ctx context.Context, c *cursor) *pause {
	rec := c.record()
	if rec.Rotation.Asked == Undo {
		return e.refuse(ctx, c, []Refusal{{Reason: Cancelled, Text: "an operator cancelled it before anything was written", Remedy: "nothing is left to do"}})
	}
	if p := e.leave(ctx, c); p != nil {
		return p
	}
	if busy, err := e.neighbourBusy(ctx, c.bundle); err != nil {
		return e.retry(c, err)
	} else if busy != "" {
		wait := 200*time.Millisecond + rand.N(time.Second) + min(e.Now().Sub(rec.Rotation.Started)/20, time.Minute)
		return &pause{until: e.Now().Add(wait), why: fmt.Errorf("%w: bundle %s, which shares a target, is being rotated", errNeighbour, busy)}
	}
	facts, err := e.gather(ctx, c.bundle, c.bundle.Policy.Rule(rec.Rotation.Kind))
	if err != nil {
		return e.retry(c, err)
	}
	plan := Planned(facts)
	if len(plan.Refusals) > 0 {
		return e.refuse(ctx, c, plan.Refusals)
	}
	if rec.Rotation.Plan != "" && plan.Digest() != rec.Rotation.Plan {
		return e.unapproved(ctx, c)
	}
	old, err := e.oldGeneration(ctx, c, facts.Base)
	if err != nil {
		return e.retry(c, err)
	}
	anchor := Anchor{}
	if needsAnchor(c.bundle) {
		if err := c.held(); err != nil {
			return &pause{why: err}
		}
		if anchor, err = e.Minter.Anchor(ctx, c.bundle.Name, rec.Rotation.mark(), rec.Epoch); err != nil {
			return e.anchorFailed(ctx, c, err)
		}
	}
	err = c.move(ctx, func(r *Record) {
		r.State = Minting
		r.Rotation.MintBegan = e.Now()
		r.Rotation.Anchor = anchor.Accessor
		r.Rotation.Base = facts.Base.Version
		r.Rotation.Old = old
		for _, text := range plan.Warnings {
			r.Rotation.warn(text)
		}
		r.Rotation.step("planned", e.Now())
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	c.run = run{anchor: &anchor, base: &facts.Base, facts: &facts}
	e.Log.Info().Str("bundle", c.bundle.Name).Str("rotation", rec.Rotation.ID).Int("base_version", facts.Base.Version).
		Int("targets", len(plan.Targets)).Str("overlap", plan.OverlapText).Msg("planned")
	return nil
}

func (e *Engine) anchorFailed(ctx context.Context, c *cursor, err error) *pause {
	if errors.Is(err, ErrPermanent) || errors.Is(err, ErrNotFound) {
		return e.refuse(ctx, c, []Refusal{{Reason: NoPermission, Text: "no anchor token can be created: " + err.Error(),
			Remedy: "run: rotator check"}})
	}
	return e.retry(c, err)
}

// needsAnchor reports whether anything minted for the bundle could hold a lease. Secret-ids and passwords do not.
func needsAnchor(b Bundle) bool {
	return slices.ContainsFunc(b.Credentials, func(cr Credential) bool {
		return cr.Generate.PasswordPolicy == "" && !cr.Generate.SecretID()
	})
}

// oldGeneration is what this rotation will revoke: what the journal and the marker beside the values name. When
// somebody else wrote the newest version, the values themselves are followed to their handles as well.
func (e *Engine) oldGeneration(ctx context.Context, c *cursor, base Snapshot) (Generation, error) {
	g := Generation{Rotation: base.Marker.Rotation, Version: base.Version, Handles: base.Marker.Handles, Expires: base.Marker.Expires, Ends: base.Marker.Expires}
	if live := c.record().Live; live != nil {
		g.Handles = union(g.Handles, live.Handles)
		if live.Version == base.Version && (len(g.Handles) > 0 || !g.Expires.IsZero()) {
			g.Rotation, g.Minted, g.RenewAt, g.Ends, g.Raised = live.Rotation, live.Minted, live.RenewAt, live.Ends, live.Raised
			return g, nil
		}
	}
	for _, cr := range c.bundle.Credentials {
		hs, err := e.Revoker.Adopt(ctx, cr, base.Set)
		if err != nil {
			return g, fmt.Errorf("finding the handle of credential %s: %w", cr.Name, err)
		}
		g.Handles = union(g.Handles, hs)
	}
	if slices.ContainsFunc(g.Handles, func(h Handle) bool { return h.Kind != "secret-id" }) {
		g.Minted = e.Now()  // its age is not known
		g.RenewAt = e.Now() // nobody has renewed it so far; the next pause does
	}
	return g, nil
}

func union(a, b []Handle) []Handle {
	out := slices.Clone(a)
	for _, h := range b {
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// gather observes everything a plan needs. It changes nothing.
func (e *Engine) gather(ctx context.Context, b Bundle, rule Rule) (Facts, error) {
	f := Facts{Bundle: b, Rule: rule, Zombie: e.Zombie, Limits: make(map[string]Limits), Neighbours: make(map[string]Neighbour)}
	base, err := e.Secrets.Read(ctx, b.Secret, 0)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return f, fmt.Errorf("reading bundle %s: %w", b.Name, err)
	}
	f.Base = base
	for _, t := range b.Targets {
		if _, ok := f.Limits[t.Host]; ok {
			continue
		}
		l, err := e.Platform.Limits(ctx, t.Host)
		if err != nil {
			return f, fmt.Errorf("reading the limits of host %s: %w", t.Host, err)
		}
		f.Limits[t.Host] = l
	}
	for _, n := range e.neighbours(b) {
		other, err := e.Secrets.Read(ctx, n.Secret, 0)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return f, fmt.Errorf("reading bundle %s, which shares a target: %w", n.Name, err)
		}
		f.Neighbours[n.Name] = Neighbour{Keys: slices.Collect(maps.Keys(other.Set)), Targets: n.Targets}
	}
	f.Sights = e.look(ctx, b.Targets, f.Limits, func(Ref) error { return nil })
	for _, s := range f.Sights {
		if err := s.passing(); err != nil {
			return f, fmt.Errorf("reading %s: %w", s.Target.Ref, err)
		}
	}
	return f, e.work(ctx, &f)
}

// look observes targets, a bounded number at a time per host, but for those that have an error already. What a target lacks is in its
// Sight. A host that has answered nothing but failures is not asked for all of them.
func (e *Engine) look(ctx context.Context, targets []Target, limits map[string]Limits, known func(Ref) error) []Sight {
	sights := make([]Sight, len(targets))
	seen := new(Seen)
	health := newHealth()
	fan(len(targets), func(i int) string { return targets[i].Host }, limits, func(i int) {
		t := targets[i]
		sights[i] = Sight{Target: t, Err: known(t.Ref)}
		if sights[i].Err == nil {
			sights[i].Err = health.of(t.Host)
		}
		if sights[i].Err == nil {
			sights[i].Observed, sights[i].Err = e.Platform.Observe(ctx, t.Ref, seen)
			health.note(t.Host, sights[i].passing())
		}
	})
	return sights
}

// neighbours lists the bundles that share a target with b, by name.
func (e *Engine) neighbours(b Bundle) []Bundle {
	mine := make(map[Ref]bool)
	for _, t := range b.Targets {
		mine[t.Ref] = true
	}
	var out []Bundle
	for _, name := range slices.Sorted(maps.Keys(e.Bundles)) {
		other := e.Bundles[name]
		if name != b.Name && slices.ContainsFunc(other.Targets, func(t Target) bool { return mine[t.Ref] }) {
			out = append(out, other)
		}
	}
	return out
}

// neighbourBusy names a bundle that is writing targets of this one. Each side claims first and looks second, so of
// two that start together at least one sees the other; both may step back, and try again at different times.
func (e *Engine) neighbourBusy(ctx context.Context, b Bundle) (string, error) {
	for _, n := range e.neighbours(b) {
		if err := e.refresh(ctx, n.Name); errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return "", err
		}
		rec, _, err := e.view.get(n.Name)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(rec.Stragglers, func(s Straggler) bool { return s.Until.After(e.Now()) }) {
			return n.Name, nil // its late PUT would bring this bundle's values of that time
		}
		switch rec.State {
		case Claimed:
			if rec.Owner != "" {
				return n.Name, nil
			}
		case Minting, Applying, RollingBack:
			return n.Name, nil
		case Idle, Draining, Revoking, Quarantined:
		}
	}
	return "", nil
}

// refuse ends a rotation that has had no effect. A leak is not over with that, because what leaked is still in use.
func (e *Engine) refuse(ctx context.Context, c *cursor, refusals []Refusal) *pause {
	rec := c.record()
	rot := rec.Rotation
	if rot.Contained {
		return e.quarantine(ctx, c, "contained, but it cannot go forward: "+(&RefusedError{refusals}).Error())
	}
	if rot.Kind == events.KindLeak && rot.Asked != Undo {
		return e.insist(ctx, c, &RefusedError{refusals})
	}
	e.Log.Error().Str("bundle", c.bundle.Name).Str("rotation", rot.ID).Str("reason", (&RefusedError{refusals}).Error()).Msg("refused; nothing was changed")
	receipt := c.receipt(events.ResultRefused)
	receipt.Refusals = refusals
	receipt.Reason = (&RefusedError{refusals}).Error()
	return e.finish(ctx, c, receipt)
}

// insist raises at once what keeps a leak from being rotated, and plans again: somebody may mend it. At the deadline it is contained, see late,
// or held for an operator.
func (e *Engine) insist(ctx context.Context, c *cursor, why *RefusedError) *pause {
	rec := c.record()
	rot := rec.Rotation
	rule := c.bundle.Policy.Rule(rot.Kind)
	if rule.AfterFailure != Contain && e.Now().After(rot.deadline(rule.patience(), rot.Started)) {
		return e.quarantine(ctx, c, why.Error())
	}
	if !rot.Alarmed {
		receipt := c.receipt(events.ResultDelayed)
		receipt.Refusals = why.Refusals
		if err := e.raiseReceipt(ctx, c, receipt, "refused so far: "+why.Error()); err != nil {
			return e.retry(c, err)
		}
		if err := c.move(ctx, func(r *Record) { r.Rotation.Alarmed = true }); err != nil {
			return &pause{until: e.Now().Add(e.Backoff), why: err}
		}
		e.Log.Error().Str("bundle", c.bundle.Name).Str("rotation", rot.ID).Str("reason", why.Error()).Msg("a leak cannot be rotated; nothing was changed so far, and it is tried again")
	}
	if rec.State == Minting {
		return e.backToClaimed(ctx, c, why)
	}
	return e.retry(c, why)
}
