package rotator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// abandon revokes everything this attempt minted and goes back to Claimed, or refuses when another attempt would
// fail in the same way. No target was touched.
func (e *Engine) abandon(ctx context.Context, c *cursor, gen Generation, why error) *pause {
	if errors.Is(why, errLost) || ctx.Err() != nil {
		return &pause{until: e.Now(), why: why} // whoever takes over settles it
	}
	e.Log.Warn().Str("bundle", c.bundle.Name).Err(why).Msg("candidate is not usable; revoking it")
	c.run.anchor = nil
	if err := e.Revoker.Revoke(ctx, gen.Handles); err != nil { // by name too: a lease may have outlived its anchor
		return e.retry(c, err)
	}
	if err := e.abort(ctx, c); err != nil {
		return e.retry(c, err)
	}
	if errors.Is(why, ErrUnknown) || errors.Is(why, ErrUnavailable) { // nobody has tried to commit, so no fence is needed
		return e.backToClaimed(ctx, c, why)
	}
	if refused, ok := errors.AsType[*RefusedError](why); ok {
		return e.refuse(ctx, c, refused.Refusals)
	}
	if errors.Is(why, ErrPermanent) || errors.Is(why, ErrNotFound) {
		return e.refuse(ctx, c, []Refusal{{Reason: NoPermission, Text: why.Error(), Remedy: "correct the path or the policy in Vault; run: rotator check"}})
	}
	if c.record().Rotation.Rejected+1 >= maxCandidates {
		return e.refuse(ctx, c, []Refusal{{Reason: ProbeFailed, Text: why.Error(), Remedy: "correct the probe, or the role in Vault that mints the credential"}})
	}
	return e.backToClaimed(ctx, c, why)
}

func (e *Engine) backToClaimed(ctx context.Context, c *cursor, why error) *pause {
	c.run = run{}
	p := e.retry(c, why)
	err := c.move(ctx, func(r *Record) {
		r.State = Claimed
		r.Rotation.Attempt++
		if errors.Is(why, ErrRejected) {
			r.Rotation.Rejected++
		}
		r.Rotation.Anchor, r.Rotation.Base, r.Rotation.MintBegan = "", 0, time.Time{}
		r.Rotation.Old, r.Rotation.New = Generation{}, Generation{}
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	return p
}

// abort revokes whatever this attempt minted, seen or unseen.
func (e *Engine) abort(ctx context.Context, c *cursor) error {
	if err := c.held(); err != nil {
		return err
	}
	rot := c.record().Rotation
	ms := make([]Mint, len(c.bundle.Credentials))
	for i, cr := range c.bundle.Credentials {
		ms[i] = Mint{Rotation: rot.mark(), Credential: cr}
	}
	return e.Revoker.Abort(ctx, rot.mark(), rot.Anchor, ms)
}

// settle decides what became of a minting whose process is gone. Either its version is the bundle's newest: adopt
// it. Or it is not: write a fence, so that a process that is only slow can no longer commit, and undo the rest.
func (e *Engine) settle(ctx context.Context, c *cursor) *pause {
	rec := c.record()
	head, err := e.Secrets.Read(ctx, c.bundle.Secret, 0)
	if err != nil {
		return e.retry(c, err)
	}
	if head.Marker.Rotation == rec.Rotation.ID && head.Marker.Fence == 0 {
		gen := Generation{Rotation: rec.Rotation.ID, Version: head.Version, Handles: head.Marker.Handles, Minted: rec.Rotation.MintBegan, RenewAt: e.Now(), Expires: head.Marker.Expires, Ends: head.Marker.Expires}
		return e.staged(ctx, c, gen, false)
	}
	head.Marker.Fence = rec.Epoch
	if err := c.held(); err != nil {
		return &pause{until: e.Now(), why: err}
	}
	if _, err := e.Secrets.Write(ctx, c.bundle.Secret, head); err != nil {
		return e.retry(c, fmt.Errorf("fencing off the predecessor: %w", err)) // look again: it may have committed
	}
	if err := e.abort(ctx, c); err != nil {
		return e.retry(c, err)
	}
	return e.backToClaimed(ctx, c, nil)
}
