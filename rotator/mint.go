package rotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// maxCandidates bounds how often an unusable candidate is minted afresh.
const maxCandidates = 3

// mint makes the new generation, tests it, makes it last, and commits it to the bundle with a compare-and-swap.
// That write is where a crash turns from undo to adopt. A minting that another process began is settled instead.
func (e *Engine) mint(ctx context.Context, c *cursor) *pause {
	if c.run.anchor == nil {
		return e.settle(ctx, c)
	}
	candidate, gen, err := e.candidate(ctx, c)
	if err == nil {
		err = e.usable(ctx, c, candidate)
	}
	if rot := c.record().Rotation; err == nil && rot.Anchor != "" {
		if err = e.Minter.Confirm(ctx, rot.Anchor); err != nil {
			err = fmt.Errorf("extending the anchor: %w", err)
		}
	}
	if err != nil {
		return e.abandon(ctx, c, gen, err)
	}
	gen.Version, err = e.stage(ctx, c, candidate, gen)
	if err != nil {
		err = fmt.Errorf("writing the bundle: %w", err)
		if errors.Is(err, ErrPermanent) { // said no: certainly not written
			return e.abandon(ctx, c, gen, err)
		}
		return e.stageFailed(c, err)
	}
	return e.staged(ctx, c, gen, true)
}

// stageFailed is careful: the write may have been applied after all, and then the generation is live. Only the next
// attempt, which reads the bundle and writes a fence, can tell.
func (e *Engine) stageFailed(c *cursor, why error) *pause {
	c.run.anchor = nil
	return e.retry(c, why)
}

// staged journals that the new version stands in Vault.
func (e *Engine) staged(ctx context.Context, c *cursor, gen Generation, fresh bool) *pause {
	rule := c.bundle.Policy.Rule(c.record().Rotation.Kind)
	patience := rule.patience()
	err := c.move(ctx, func(r *Record) {
		r.State = Applying
		r.Rotation.New = gen
		r.Rotation.Desired = gen.Version
		r.Rotation.Attempts = 0
		r.Rotation.Deadline = r.Rotation.deadline(patience, e.Now())
		r.Rotation.step("staged", e.Now())
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	c.run.minted = fresh
	e.Log.Info().Str("bundle", c.bundle.Name).Str("rotation", c.record().Rotation.ID).Int("version", gen.Version).Msg("minted, tested and staged")
	return nil
}

// deadline of failing targets: of a leak it counts from the event, with time for a few attempts.
func (rot *Rotation) deadline(patience time.Duration, now time.Time) time.Time {
	if rot.Kind != events.KindLeak {
		return now.Add(patience)
	}
	return later(rot.since().Add(patience), now.Add(min(patience, time.Minute)))
}

// candidate mints every credential and returns the full bundle as it is to be.
func (e *Engine) candidate(ctx context.Context, c *cursor) (secret.Set, Generation, error) {
	rot := c.record().Rotation
	gen := Generation{Rotation: rot.ID, Minted: e.Now()}
	if rot.Anchor != "" {
		gen.Handles = append(gen.Handles, Handle{Kind: "anchor", ID: rot.Anchor})
		gen.RenewAt = e.Now().Add(24 * time.Hour) // the first renewal tells when the next one is due
	}
	set := maps.Clone(c.run.base.Set)
	for _, cr := range c.bundle.Credentials {
		if err := c.held(); err != nil {
			return nil, gen, err
		}
		m, err := e.Minter.Mint(ctx, *c.run.anchor, Mint{Rotation: rot.mark(), Credential: cr})
		if err != nil {
			return nil, gen, fmt.Errorf("minting credential %s: %w", cr.Name, err)
		}
		gen.Handles = union(gen.Handles, m.Handles)
		if !m.Expires.IsZero() {
			gen.RenewAt = earliest(gen.RenewAt, e.Now().Add(m.Expires.Sub(e.Now())/2))
			if len(m.Handles) == 0 {
				gen.Expires = earliest(gen.Expires, m.Expires)
				gen.Ends = gen.Expires
			}
		}
		for field, key := range cr.Keys {
			v, ok := m.Fields[field]
			if !ok || v.Blank() {
				return nil, gen, &RefusedError{[]Refusal{{Reason: BlankValue, Keys: []string{key},
					Text:   fmt.Sprintf("Vault's answer for credential %s has no field %q", cr.Name, field),
					Remedy: "correct keys of the credential; the answer has: " + names(keysOf(m.Fields))}}}
			}
			set[key] = v
		}
	}
	set, err := Rebuild(c.bundle, set)
	if err != nil {
		return nil, gen, &RefusedError{[]Refusal{{Reason: BadTemplate, Text: err.Error(), Remedy: "correct compose in the configuration"}}}
	}
	return set, gen, nil
}

func keysOf(set secret.Set) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	return out
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// usable checks the real values against every target's limits and proves that the backends accept them, before
// anyone sees them.
func (e *Engine) usable(ctx context.Context, c *cursor, candidate secret.Set) error {
	var refusals []Refusal
	f := *c.run.facts
	for _, s := range f.Sights {
		refusals = append(refusals, composeRefusals(f, s, compose(s.Target, c.bundle.Name, candidate, s.Observed, expected(f, s, candidate), Stamp{}))...)
	}
	if len(refusals) > 0 {
		return &RefusedError{refusals}
	}
	for _, cr := range c.bundle.Credentials {
		if err := e.accepted(ctx, cr, candidate); err != nil {
			return fmt.Errorf("testing credential %s: %w", cr.Name, err)
		}
	}
	return nil
}

// accepted probes a few times: backends such as cloud directories need a moment until they know a new credential.
func (e *Engine) accepted(ctx context.Context, cr Credential, set secret.Set) error {
	if cr.Probe.IsZero() {
		return nil
	}
	wait := e.Backoff / 5
	for attempt := 1; ; attempt++ {
		err := e.Prober.Probe(ctx, cr.Probe, set)
		if err == nil || attempt == 6 {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		wait *= 2
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// stage writes the candidate as the next version. A lost answer, or a conflict that is our own first attempt, is
// recognised by the marker. When somebody else changed other keys meanwhile, theirs are kept.
func (e *Engine) stage(ctx context.Context, c *cursor, candidate secret.Set, gen Generation) (int, error) {
	rec := c.record()
	minted := c.bundle.mintedKeys()
	next := Snapshot{Version: c.run.base.Version, Set: candidate, Marker: Marker{Rotation: rec.Rotation.ID, Epoch: rec.Epoch, Handles: gen.Handles, Expires: gen.Expires}}
	lost := false
	for range 5 {
		if err := c.held(); err != nil {
			return 0, err
		}
		version, err := e.Secrets.Write(ctx, c.bundle.Secret, next)
		if err == nil {
			return version, nil
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknown) {
			if lost { // an earlier write may land yet: only a fence can tell
				return 0, fmt.Errorf("%v: %w", err, ErrUnknown)
			}
			return 0, err
		}
		lost = lost || errors.Is(err, ErrUnknown)
		head, rerr := e.Secrets.Read(ctx, c.bundle.Secret, 0)
		switch {
		case rerr != nil:
			return 0, rerr
		case head.Marker.Rotation == rec.Rotation.ID && head.Marker.Epoch == rec.Epoch && head.Marker.Fence == 0:
			return head.Version, nil
		case head.Marker.Fence > rec.Epoch:
			return 0, errLost
		case head.Version == next.Version:
			continue // not applied
		}
		merged := maps.Clone(head.Set)
		for key := range minted {
			merged[key] = candidate[key]
		}
		if next.Set, err = Rebuild(c.bundle, merged); err != nil {
			return 0, err
		}
		next.Version = head.Version
	}
	return 0, fmt.Errorf("the secret %s keeps being changed by somebody else: %w", c.bundle.Secret, ErrUnavailable)
}

// mintedKeys are the keys that a rotation replaces; composed ones follow from them.
func (b Bundle) mintedKeys() map[string]bool {
	out := make(map[string]bool)
	for _, cr := range b.Credentials {
		for _, key := range cr.Keys {
			out[key] = true
		}
	}
	return out
}
