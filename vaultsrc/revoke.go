package vaultsrc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// revokeWait bounds how long one call to Revoke waits for Vault to finish; ErrNotGone asks to come back.
const revokeWait = 10 * time.Second

// Revoke ends everything that hs names and returns nil only when Vault says that it is gone. It may be repeated
// at will. An anchor takes all its leases along, also those that hs does not name; whether they are gone is
// known for the named ones and for Abort.
func (c *Client) Revoke(ctx context.Context, hs []Handle) error {
	hs = unique(hs)
	// Leases first: their revocation can say what is wrong, an anchor's cannot.
	slices.SortStableFunc(hs, func(a, b Handle) int { return order(a.Kind) - order(b.Kind) })
	var errs []error
	for _, h := range hs {
		if err := c.revoke(ctx, h); err != nil {
			errs = append(errs, fmt.Errorf("revoking a %s: %w", h.Kind, err))
		}
	}
	return errors.Join(errs...)
}

func order(kind string) int {
	if kind == KindAnchor {
		return 1
	}
	return 0
}

func (c *Client) revoke(ctx context.Context, h Handle) error {
	switch h.Kind {
	case KindLease:
		return c.revokeLease(ctx, h)
	case KindAnchor, KindToken:
		body := map[string]any{"accessor": h.ID}
		_, err := c.do(ctx, request{write: true, path: "auth/token/revoke-accessor", body: body})
		if err != nil && !said(err, "token not found") && !said(err, "invalid accessor") {
			return err
		}
	case KindSecretID:
		return c.revokeSecretID(ctx, h)
	default:
		return fmt.Errorf("%w: handle of unknown kind %q", ErrInvalid, h.Kind)
	}
	return c.awaitGone(ctx, h)
}

// revokeLease asks for a synchronous revocation, whose success is the proof. When the backend fails, Vault
// forgets about it, so the lease is queued as well, which Vault itself repeats for some minutes.
func (c *Client) revokeLease(ctx context.Context, h Handle) error {
	body := map[string]any{"lease_id": h.ID, "sync": true}
	_, err := c.do(ctx, request{once: true, write: true, path: "sys/leases/revoke", body: body})
	if err == nil || said(err, "invalid lease") {
		return nil
	}
	if errors.Is(err, ErrForbidden) || errors.Is(err, ErrUnavailable) {
		return err
	}
	if queueErr := c.queue(ctx, h); queueErr != nil {
		return queueErr
	}
	dead, upErr := c.givenUp(ctx, h.ID)
	if upErr != nil {
		return upErr
	}
	if !dead {
		goneErr := c.awaitGone(ctx, h)
		if goneErr == nil || !errors.Is(goneErr, ErrNotGone) {
			return goneErr
		}
		dead = errors.Is(goneErr, ErrIrrevocable)
	}
	return &RevokeError{Handle: h, Text: reason(err), Irrevocable: dead}
}

// revokeSecretID goes by what Vault says afterwards: destroying one that is gone already answers 500.
func (c *Client) revokeSecretID(ctx context.Context, h Handle) error {
	body := map[string]any{"secret_id_accessor": h.ID}
	_, err := c.do(ctx, request{once: true, write: true, path: h.Path + "/secret-id-accessor/destroy", body: body})
	if errors.Is(err, ErrForbidden) || errors.Is(err, ErrUnavailable) {
		return err
	}
	if gone, goneErr := c.gone(ctx, h); goneErr != nil || gone {
		return goneErr
	}
	if err != nil {
		return fmt.Errorf("%w: %v", ErrNotGone, err)
	}
	return c.awaitGone(ctx, h)
}

// awaitGone polls until Vault does not know h any more. A token that is just being revoked, by somebody else perhaps,
// is refused in the same words as a client that may not look at tokens: only time tells them apart.
func (c *Client) awaitGone(ctx context.Context, h Handle) error {
	var denied error
	err := c.poll(ctx, func() (bool, error) {
		gone, err := c.gone(ctx, h)
		denied = nil
		if (h.Kind == KindAnchor || h.Kind == KindToken) && errors.Is(err, ErrForbidden) {
			denied, err = err, nil
		}
		return gone, err
	}, func() []string {
		if h.Kind == KindLease {
			return []string{h.ID}
		}
		return nil
	})
	if err != nil && denied != nil {
		return denied
	}
	return err
}

// poll calls done until it says so. When time is over, the reason is a RevokeError if Vault has given up on one
// of the expired leases, otherwise ErrNotGone.
func (c *Client) poll(ctx context.Context, done func() (bool, error), leases func() []string) error {
	deadline := time.Now().Add(revokeWait)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().Add(pause).After(deadline) || sleep(ctx, pause) != nil {
			return c.stuck(ctx, leases())
		}
	}
}

// gone reports that Vault does not know h.
func (c *Client) gone(ctx context.Context, h Handle) (bool, error) {
	r := request{write: true}
	unknown := ""
	switch h.Kind {
	case KindLease:
		r.path, r.body, unknown = "sys/leases/lookup", map[string]any{"lease_id": h.ID}, "invalid lease"
	case KindSecretID:
		r.path, r.body = h.Path+"/secret-id-accessor/lookup", map[string]any{"secret_id_accessor": h.ID}
		unknown = "failed to find accessor"
	default:
		r.path, r.body, unknown = "auth/token/lookup-accessor", map[string]any{"accessor": h.ID}, "invalid accessor"
	}
	_, err := c.do(ctx, r)
	if said(err, unknown) || h.Kind == KindSecretID && errors.Is(err, ErrNotFound) {
		return true, nil
	}
	return false, err
}

// said reports that Vault's refusal contains text.
func said(err error, text string) bool {
	rf, ok := errors.AsType[*refusal](err)
	return ok && strings.Contains(strings.Join(rf.messages, "\n"), text)
}

func unique(hs []Handle) []Handle {
	var out []Handle
	for _, h := range hs {
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}
