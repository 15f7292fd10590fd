package vaultsrc

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

func TestRenewTellsTheEndThatCannotMove(t *testing.T) {
	f := newFixture(t, false)
	c, ctx := f.client, t.Context()
	f.role(t, "shop", map[string]any{"secret_id_ttl": "30m"})
	f.role(t, "endless", map[string]any{})
	mint := func(path string, data map[string]any) Handle {
		m, err := c.Mint(ctx, Anchor{}, MintRequest{Rotation: "r", Path: path, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		return m.Handles[0]
	}
	short := mint("auth/"+f.approle+"/role/shop/secret-id", nil)
	endless := mint("auth/"+f.approle+"/role/endless/secret-id", nil)
	fixed := mint("auth/token/create/"+f.anchors, map[string]any{"ttl": "40m", "renewable": false})
	made := f.vault.Must(t, http.MethodPost, "auth/token/create", map[string]any{"ttl": "1m", "explicit_max_ttl": "50m"})
	capped := Handle{Kind: KindToken, ID: made["auth"].(map[string]any)["accessor"].(string)}
	open := mint("auth/token/create/"+f.anchors, map[string]any{"ttl": "1m"})
	for name, tt := range map[string]struct {
		h         Handle
		next, end time.Duration
	}{
		"secret-id":               {short, 15 * time.Minute, 30 * time.Minute},
		"secret-id without end":   {endless, 0, 0},
		"token, not renewable":    {fixed, 20 * time.Minute, 40 * time.Minute},
		"token, explicit maximum": {capped, 25 * time.Minute, 50 * time.Minute},
		"token":                   {open, DefaultLiveTTL / 2, 0},
	} {
		next, end, err := c.RenewUntil(ctx, []Handle{tt.h})
		if err != nil || !near(next, tt.next) || !near(end, tt.end) {
			t.Errorf("%s: next %v, end %v, %v", name, time.Until(next), time.Until(end), err)
		}
	}
	next, end, err := c.RenewUntil(ctx, []Handle{open, short, fixed, endless})
	if err != nil || !near(next, 15*time.Minute) || !near(end, 30*time.Minute) {
		t.Errorf("together: next %v, end %v, %v", time.Until(next), time.Until(end), err)
	}
	if err := c.Revoke(ctx, []Handle{short}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Renew(ctx, []Handle{short}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a destroyed secret-id: %v", err)
	}
}

// near reports that at is d from now, give or take half a minute; 0 stands for the zero time.
func near(at time.Time, d time.Duration) bool {
	if d == 0 {
		return at.IsZero()
	}
	return (time.Until(at) - d).Abs() < 30*time.Second
}
