package vaultsrc

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Confirm gives an anchor its long life. It fails with ErrNotFound when the anchor is dead already, and with
// ErrShortLived when Vault grants less than half of AnchorConfig.LiveTTL.
func (c *Client) Confirm(ctx context.Context, accessor string) error {
	left, err := c.renewToken(ctx, accessor)
	if err != nil {
		return fmt.Errorf("confirming the anchor: %w", err)
	}
	if want := c.cfg.Anchor.LiveTTL; left.ttl < want/2 {
		return fmt.Errorf("confirming the anchor: %w: asked for %v, Vault grants %v: raise token_explicit_max_ttl "+
			"of token role %q and max_lease_ttl of auth/token, or lower the live TTL", ErrShortLived, want, left.ttl, c.cfg.Anchor.Role)
	}
	return nil
}

// Renew extends anchors, tokens and leases, and returns when to do it again: at half of the shortest remaining
// time, or the zero time when nothing of it expires. ErrNotFound means that something live is gone.
func (c *Client) Renew(ctx context.Context, hs []Handle) (time.Time, error) {
	next, _, err := c.RenewUntil(ctx, hs)
	return next, err
}

// RenewUntil is Renew that also tells the end which no renewal can move: the earliest maximum lifetime that
// shows, or the zero time while Vault still grants all that is asked for.
func (c *Client) RenewUntil(ctx context.Context, hs []Handle) (next, end time.Time, err error) {
	var errs []error
	now := time.Now()
	for _, h := range unique(hs) {
		left, err := c.renew(ctx, h)
		if err != nil {
			errs = append(errs, fmt.Errorf("renewing a %s: %w", h.Kind, err))
			continue
		}
		if left.ttl <= 0 {
			continue
		}
		next = earliest(next, now.Add(left.ttl/2))
		if left.final {
			end = earliest(end, now.Add(left.ttl))
		}
	}
	return next, end, errors.Join(errs...)
}

// earliest takes the zero time for never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// A life is what remains to a handle, 0 when it has no end.
type life struct {
	ttl   time.Duration
	final bool // renewing does not help
}

// granted is final when Vault gives less than it was asked for.
func (c *Client) granted(seconds int64) life {
	ttl := time.Duration(seconds) * time.Second
	return life{ttl: ttl, final: ttl < c.cfg.Anchor.LiveTTL-time.Minute}
}

func (c *Client) renew(ctx context.Context, h Handle) (life, error) {
	switch h.Kind {
	case KindAnchor, KindToken:
		return c.renewToken(ctx, h.ID)
	case KindLease:
		body := map[string]any{"lease_id": h.ID, "increment": duration(c.cfg.Anchor.LiveTTL)}
		r, err := c.do(ctx, request{write: true, path: "sys/leases/renew", body: body})
		switch {
		case said(err, "not renewable"):
			return c.lookedUp(ctx, request{write: true, path: "sys/leases/lookup", body: map[string]any{"lease_id": h.ID}})
		case said(err, "lease not found"), said(err, "invalid lease"), said(err, "lease expired"):
			return life{}, fmt.Errorf("%w: %w", ErrNotFound, err)
		case err != nil:
			return life{}, err
		}
		return c.granted(r.LeaseDuration), nil
	case KindSecretID:
		return c.secretIDLife(ctx, h)
	}
	return life{}, fmt.Errorf("%w: handle of unknown kind %q", ErrInvalid, h.Kind)
}

// secretIDLife looks: a secret-id cannot be renewed.
func (c *Client) secretIDLife(ctx context.Context, h Handle) (life, error) {
	r, err := c.do(ctx, request{
		write: true, path: h.Path + "/secret-id-accessor/lookup", body: map[string]any{"secret_id_accessor": h.ID},
	})
	if said(err, "failed to find accessor") {
		return life{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil || r.number("secret_id_ttl") == 0 {
		return life{}, err
	}
	at, err := time.Parse(time.RFC3339Nano, r.text("expiration_time"))
	if err != nil {
		return life{}, fmt.Errorf("%w: the answer has no expiration_time", ErrInvalid)
	}
	return life{ttl: time.Until(at), final: true}, nil
}

func (c *Client) renewToken(ctx context.Context, accessor string) (life, error) {
	body := map[string]any{"accessor": accessor, "increment": duration(c.cfg.Anchor.LiveTTL)}
	r, err := c.do(ctx, request{write: true, path: "auth/token/renew-accessor", body: body})
	switch {
	case said(err, "invalid accessor"), said(err, "token not found"), said(err, "lease not found"):
		return life{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	case said(err, "not renewable"), errors.Is(err, ErrInvalid): // Vault says no more than "invalid request"
		return c.lookedUp(ctx, request{
			write: true, path: "auth/token/lookup-accessor", body: map[string]any{"accessor": accessor},
		})
	case err != nil:
		return life{}, err
	case r.Auth == nil:
		return life{}, fmt.Errorf("%w: the answer holds no lifetime", ErrInvalid)
	}
	return c.granted(r.Auth.LeaseDuration), nil
}

// lookedUp is the life of what cannot be renewed.
func (c *Client) lookedUp(ctx context.Context, r request) (life, error) {
	out, err := c.do(ctx, r)
	if said(err, "invalid lease") || said(err, "invalid accessor") {
		return life{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return life{ttl: time.Duration(out.number("ttl")) * time.Second, final: true}, err
}
