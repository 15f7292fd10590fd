package vaultsrc

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Disable ends what an entity can do in Vault: it is disabled, which stops logins and every token of it at once, and then its
// tokens are revoked with their leases. It may be repeated at will, and tells how many tokens it found. It fails with ErrNotFound
// when there is no such entity any more.
func (c *Client) Disable(ctx context.Context, entity string) (tokens int, err error) {
	_, err = c.do(ctx, request{write: true, path: "identity/entity/id/" + entity, body: map[string]any{"disabled": true}})
	if said(err, "entity not found") {
		return 0, fmt.Errorf("disabling entity %s: %w", entity, ErrNotFound)
	}
	if err != nil {
		return 0, fmt.Errorf("disabling entity %s: %w", entity, err)
	}
	found, err := c.tokensOf(ctx, entity)
	if err == nil {
		err = c.Revoke(ctx, found)
	}
	if err != nil {
		return 0, fmt.Errorf("entity %s is disabled, so its tokens are good for nothing; revoking them with their leases: %w", entity, err)
	}
	return len(found), nil
}

// tokensOf finds the tokens of an entity. Vault has no list of them but that of all accessors.
func (c *Client) tokensOf(ctx context.Context, entity string) (found []Handle, err error) {
	accessors, err := c.keys(ctx, "auth/token/accessors")
	if err != nil {
		return nil, fmt.Errorf("listing tokens: %w", err)
	}
	var mu sync.Mutex
	var denied error
	allowed := false
	err = each(ctx, accessors, func(ctx context.Context, accessor string) error {
		r, err := c.do(ctx, request{write: true, path: "auth/token/lookup-accessor", body: map[string]any{"accessor": accessor}})
		mu.Lock()
		defer mu.Unlock()
		switch {
		case said(err, "invalid accessor"), errors.Is(err, ErrNotFound): // gone
		case errors.Is(err, ErrForbidden): // going, or we may not look
			denied = err
			return nil
		case err != nil:
			return err
		case r.text("entity_id") == entity:
			found = append(found, Handle{Kind: KindToken, ID: accessor})
		}
		allowed = true
		return nil
	})
	if err == nil && !allowed {
		err = denied
	}
	return found, err
}
