package vaultsrc

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

func contains(s, sub string) bool { return strings.Contains(s, sub) }

// rotateOnce mints, confirms, writes and reads one database credential, as the core does.
func (f *fixture) rotateOnce(t *testing.T, rotation string, base Bundle) ([]Handle, Minted) {
	t.Helper()
	c, ctx := f.client, t.Context()
	a, err := c.CreateAnchor(ctx, AnchorRequest{Rotation: rotation, Bundle: "shop", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Mint(ctx, a, MintRequest{Rotation: rotation, Path: f.db + "/creds/app"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Confirm(ctx, a.Accessor); err != nil {
		t.Fatal(err)
	}
	if base.Version > 0 {
		v, err := c.WriteBundle(ctx, f.path("shop"), m.Fields, []byte(`{"rotation":"x"}`), base.Version)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadBundle(ctx, f.path("shop"), v); err != nil {
			t.Fatal(err)
		}
	}
	return append(m.Handles, Handle{Kind: KindAnchor, ID: a.Accessor}), m
}

func TestRotationCostsAtMostNineRoundTrips(t *testing.T) {
	f := newFixture(t, true)
	c, ctx := f.client, t.Context()
	oldHandles, old := f.rotateOnce(t, "r-1", Bundle{})
	if _, err := c.WriteBundle(ctx, f.path("shop"), old.Fields, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.connect(ctx, old.Fields); err != nil {
		t.Fatal(err)
	}
	f.calls.take()

	base, err := c.ReadBundle(ctx, f.path("shop"), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, fresh := f.rotateOnce(t, "r-2", base)
	if err := c.Revoke(ctx, oldHandles); err != nil {
		t.Fatal(err)
	}
	calls := f.calls.take()
	t.Logf("%d calls:\n%s", len(calls), strings.Join(calls, "\n"))
	if len(calls) > 9 {
		t.Errorf("%d round trips, at most 9 are allowed", len(calls))
	}
	if f.connect(ctx, old.Fields) == nil {
		t.Error("the revoked user still logs in")
	}
	if err := f.connect(ctx, fresh.Fields); err != nil {
		t.Errorf("the new user does not log in: %v", err)
	}
	if err := c.Revoke(ctx, oldHandles); err != nil {
		t.Errorf("revoking again: %v", err)
	}
}

func TestLiveCredentialsOutliveTheLogin(t *testing.T) {
	f := newFixture(t, true)
	handles, m := f.rotateOnce(t, "r-login", Bundle{})
	l := f.client.now()
	f.vault.Must(t, http.MethodPost, "auth/token/revoke-accessor", map[string]any{"accessor": l.secret.Auth.Accessor})
	if err := f.connect(t.Context(), m.Fields); err != nil {
		t.Fatalf("the end of our login took a live credential along: %v", err)
	}
	next, err := f.client.Renew(t.Context(), handles) // with a fresh login
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Until(next); d < 100*time.Hour || d > 400*time.Hour {
		t.Errorf("next renewal in %v, want about half of the lease's 700 h", d)
	}
	if f.client.now() == l {
		t.Error("still the dead login")
	}
}

func TestUnconfirmedAnchorTakesItsLeasesAlong(t *testing.T) {
	f := newFixture(t, true)
	cfg := f.cfg
	cfg.Anchor.TTL = 2 * time.Second
	c := newClient(t, cfg)
	mint := func(rotation string) (Anchor, Minted) {
		a, err := c.CreateAnchor(t.Context(), AnchorRequest{Rotation: rotation, Bundle: "b", Epoch: 7})
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Mint(t.Context(), a, MintRequest{Rotation: rotation, Path: f.db + "/creds/app"})
		if err != nil {
			t.Fatal(err)
		}
		return a, m
	}
	kept, live := mint("kept")
	if err := c.Confirm(t.Context(), kept.Accessor); err != nil {
		t.Fatal(err)
	}
	lost, dying := mint("lost")
	eventually(t, "the unconfirmed user is gone", func() bool { return f.connect(t.Context(), dying.Fields) != nil })
	if err := f.connect(t.Context(), live.Fields); err != nil {
		t.Errorf("the confirmed user died as well: %v", err)
	}
	eventually(t, "the unconfirmed anchor is gone", func() bool {
		return errors.Is(c.Confirm(t.Context(), lost.Accessor), ErrNotFound)
	})
}

func TestAnchorRoleThatBreaksThePromiseIsRefused(t *testing.T) {
	f := newFixture(t, false)
	for want, role := range map[string]map[string]any{
		"orphan=true":    {"orphan": false, "renewable": true},
		"renewable=true": {"orphan": true, "renewable": false},
		"token_period":   {"orphan": true, "renewable": true, "token_period": "24h"},
	} {
		role["allowed_policies"] = f.cfg.Anchor.Policies
		f.vault.Must(t, http.MethodPost, "auth/token/roles/"+f.anchors, role)
		a, err := f.client.CreateAnchor(t.Context(), AnchorRequest{Rotation: "r"})
		if !errors.Is(err, ErrInvalid) || !contains(err.Error(), want) {
			t.Errorf("%v: got anchor %v, %v", role, a.IsZero(), err)
		}
		f.vault.Must(t, http.MethodPost, "auth/token/roles/"+f.anchors, map[string]any{"token_period": "0"})
	}
}

func TestConfirmSeesAShortMaximum(t *testing.T) {
	f := newFixture(t, false)
	f.vault.Must(t, http.MethodPost, "auth/token/roles/"+f.anchors, map[string]any{
		"orphan": true, "renewable": true, "allowed_policies": f.cfg.Anchor.Policies, "token_explicit_max_ttl": "1h",
	})
	a, err := f.client.CreateAnchor(t.Context(), AnchorRequest{Rotation: "r"})
	if err != nil {
		t.Fatal(err)
	}
	err = f.client.Confirm(t.Context(), a.Accessor)
	if !errors.Is(err, ErrShortLived) || !contains(err.Error(), f.anchors) {
		t.Fatalf("%v", err)
	}
}

func TestSecretIDLifeCycle(t *testing.T) {
	f := newFixture(t, false)
	c, ctx := f.client, t.Context()
	f.role(t, "shop", map[string]any{"secret_id_ttl": "30m", "token_ttl": "1m"})
	path := "auth/" + f.approle + "/role/shop/secret-id"
	old := data(t, f.vault.Must(t, http.MethodPost, path, map[string]any{}), "secret_id")
	req := MintRequest{Rotation: "r-9", Path: path, Data: map[string]any{"metadata": `{"owner":"shop"}`}}
	m, err := c.Mint(ctx, Anchor{}, req)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Handles) != 1 || m.Handles[0].Kind != KindSecretID || time.Until(m.Expires) > 31*time.Minute || m.Expires.IsZero() {
		t.Fatalf("handles %v, expires %v", m.Handles, m.Expires)
	}
	roleID := secret.FromText(f.roleID(t, "shop"))
	for name, id := range map[string]secret.Value{"new": m.Fields["secret_id"], "old": secret.FromText(old)} {
		if err := c.TryLogin(ctx, roleID, id, f.approle); err != nil {
			t.Errorf("%s is not accepted: %v", name, err)
		}
	}
	adopted, err := c.Adopt(ctx, req, set("secret_id", old))
	if err != nil || len(adopted) != 1 {
		t.Fatalf("adopting: %v, %v", adopted, err)
	}
	if err := c.Revoke(ctx, adopted); err != nil {
		t.Fatal(err)
	}
	if err := c.TryLogin(ctx, roleID, secret.FromText(old), f.approle); !errors.Is(err, ErrRejected) {
		t.Errorf("the adopted and revoked secret-id: %v", err)
	}
	if err := c.TryLogin(ctx, roleID, m.Fields["secret_id"], f.approle); err != nil {
		t.Errorf("the new one died as well: %v", err)
	}
	if again, err := c.Adopt(ctx, req, set("secret_id", old)); err != nil || len(again) != 0 {
		t.Errorf("adopting what is gone: %v, %v", again, err)
	}
	if err := c.Revoke(ctx, adopted); err != nil {
		t.Errorf("revoking again: %v", err)
	}
}

func TestTokenLifeCycle(t *testing.T) {
	f := newFixture(t, false)
	c, ctx := f.client, t.Context()
	req := MintRequest{Rotation: "r-t", Path: "auth/token/create/" + f.anchors, Data: map[string]any{"ttl": "10m"}}
	m, err := c.Mint(ctx, Anchor{}, req)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.TryToken(ctx, m.Fields["token"]); err != nil {
		t.Errorf("a live token without the default policy: %v", err)
	}
	adopted, err := c.Adopt(ctx, req, m.Fields)
	if err != nil || !slices.Equal(adopted, m.Handles) {
		t.Errorf("adopted %v of %v, %v", adopted, m.Handles, err)
	}
	if err := c.Abort(ctx, AbortRequest{Rotation: "r-t", Mints: []MintRequest{req}}); err != nil {
		t.Fatal(err)
	}
	if err := c.TryToken(ctx, m.Fields["token"]); !errors.Is(err, ErrRejected) {
		t.Errorf("after Abort: %v", err)
	}
	if again, err := c.Adopt(ctx, req, m.Fields); err != nil || len(again) != 0 {
		t.Errorf("adopting what is gone: %v, %v", again, err)
	}
}

func TestPasswordPolicy(t *testing.T) {
	f := newFixture(t, false)
	f.vault.Must(t, http.MethodPut, "sys/policies/password/strong", map[string]any{
		"policy": `length = 24` + "\n" + `rule "charset" { charset = "abcdefghij" }`,
	})
	m, err := f.client.Mint(t.Context(), Anchor{}, MintRequest{PasswordPolicy: "strong"})
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := m.Fields["password"].Text(); len(text) != 24 || len(m.Handles) != 0 || !m.Expires.IsZero() {
		t.Errorf("%d characters, handles %v, expires %v", len(text), m.Handles, m.Expires)
	}
}

func TestMintRefusals(t *testing.T) {
	f := newFixture(t, true)
	a, err := f.client.CreateAnchor(t.Context(), AnchorRequest{Rotation: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		req  MintRequest
		want error
	}{
		"unknown role":  {MintRequest{Path: f.db + "/creds/nobody"}, ErrInvalid},
		"no right":      {MintRequest{Path: "other/creds/app"}, ErrForbidden},
		"no path":       {MintRequest{}, ErrInvalid},
		"no credential": {MintRequest{Path: "auth/" + f.approle + "/role/rotator/secret-id", Data: map[string]any{"metadata": "{"}}, ErrInvalid},
	} {
		if _, err := f.client.Mint(t.Context(), a, tt.req); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
