package vaultsrc

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// A stage is a Vault with things of ours, known and astray, and of others.
type stage struct {
	*fixture
	scope                      Scope
	kept, stray                []Handle // lease and anchor
	strayUser                  Minted
	secretID, token, others    Handle // others: a secret-id without our metadata
	foreignToken, foreignLease string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	f := newFixture(t, true)
	s := &stage{fixture: f}
	f.role(t, "shop", map[string]any{"secret_id_ttl": "30m"})
	sid, tokens := "auth/"+f.approle+"/role/shop/secret-id", "auth/token/create/"+f.anchors
	s.scope = Scope{Paths: []string{f.db + "/creds/app", "/" + sid, sid, tokens, ""}}
	s.kept, _ = f.rotateOnce(t, "r-kept", Bundle{})
	s.stray, s.strayUser = f.rotateOnce(t, "r-stray", Bundle{})
	s.secretID = s.mint(t, MintRequest{Rotation: "r-sid", Path: sid, Data: map[string]any{"metadata": `{"bundle":"shop"}`}})
	s.token = s.mint(t, MintRequest{Rotation: "r-token", Path: tokens, Data: map[string]any{"ttl": "10m"}})
	s.scope.Known = s.kept

	made := f.vault.Must(t, http.MethodPost, sid, map[string]any{})
	s.others = Handle{Kind: KindSecretID, ID: data(t, made, "secret_id_accessor"), Path: "auth/" + f.approle + "/role/shop"}
	made = f.vault.Must(t, http.MethodPost, tokens, map[string]any{"ttl": "10m"})
	s.foreignToken = made["auth"].(map[string]any)["accessor"].(string)
	f.vault.Must(t, http.MethodPost, "auth/token/create", map[string]any{"ttl": "10m", "meta": map[string]string{"rotation": "elsewhere"}})
	s.foreignLease = f.vault.Must(t, http.MethodGet, f.db+"/creds/app", nil)["lease_id"].(string)
	f.calls.take()
	return s
}

func (s *stage) mint(t *testing.T, q MintRequest) Handle {
	t.Helper()
	m, err := s.client.Mint(t.Context(), Anchor{}, q)
	if err != nil {
		t.Fatal(err)
	}
	return m.Handles[0]
}

// take makes an inventory in which everything was looked at.
func (s *stage) take(t *testing.T, scope Scope) map[Handle]Holding {
	t.Helper()
	inv, err := s.client.Inventory(t.Context(), scope)
	if err != nil || len(inv.Unchecked) > 0 {
		t.Fatalf("unchecked %v, %v", inv.Unchecked, err)
	}
	out := make(map[Handle]Holding)
	for _, h := range inv.Holdings {
		if _, twice := out[h.Handle]; twice {
			t.Errorf("listed twice: %v", h)
		}
		out[h.Handle] = h
	}
	return out
}

// accessors counts Vault's tokens.
func (f *fixture) accessors(t *testing.T) int {
	t.Helper()
	out := f.vault.Must(t, "LIST", "auth/token/accessors", nil)
	return len(out["data"].(map[string]any)["keys"].([]any))
}

func TestInventoryTellsOursFromOthers(t *testing.T) {
	s := newStage(t)
	path, role := s.db+"/creds/app", s.others.Path
	lease := func(id string) Handle { return Handle{Kind: KindLease, ID: id} }
	got := s.take(t, s.scope)
	calls := s.calls.take()
	want := map[Handle]Holding{
		s.kept[0]:             {Path: path},
		s.stray[0]:            {Path: path},
		lease(s.foreignLease): {Path: path},
		s.kept[1]:             {Rotation: "r-kept", Bundle: "shop"},
		s.stray[1]:            {Rotation: "r-stray", Bundle: "shop"},
		s.token:               {Rotation: "r-token", Path: s.scope.Paths[3]},
		s.secretID:            {Rotation: "r-sid", Bundle: "shop", Path: role},
		s.others:              {Path: role},
	}
	for h, w := range want {
		g, ok := got[h]
		if !ok || g.Path != w.Path || g.Rotation != w.Rotation || g.Bundle != w.Bundle || g.Irrevocable {
			t.Errorf("%v: listed %v: %+v, want %+v", h, ok, g, w)
		}
		if time.Since(g.Created).Abs() > time.Minute || time.Until(g.Expires) < 8*time.Minute {
			t.Errorf("%v: created %v, expires %v", h.Kind, g.Created, g.Expires)
		}
		delete(got, h)
	}
	for h := range got {
		t.Errorf("listed and nobody's: %v", h)
	}
	// P+F+L+E, R+S, A+K, 1+T: the known anchor is one of Vault's tokens.
	n := s.accessors(t)
	if wantCalls := (1 + 0 + 3 + 0) + (1 + 2) + (1 + 1) + (1 + n - 1); len(calls) != wantCalls {
		t.Errorf("%d calls with %d tokens, want %d:\n%s", len(calls), n, wantCalls, strings.Join(calls, "\n"))
	}
}

func TestInventoryDoesNotWalkWhenAllIsKnown(t *testing.T) {
	s := newStage(t)
	s.vault.Must(t, http.MethodPost, "auth/token/revoke-accessor", map[string]any{"accessor": s.foreignToken})
	dead := Handle{Kind: KindAnchor, ID: "n0tThereAnyMore000000000"}
	scope := Scope{Paths: s.scope.Paths[3:], Known: slices.Concat(s.kept, s.stray, s.stray, []Handle{s.token, dead})}
	got := s.take(t, scope)
	calls := s.calls.take()
	if len(got) != 3 || len(calls) != 1+4 {
		t.Errorf("%d holdings, want 3; %d calls, want A+K = 5:\n%s", len(got), len(calls), strings.Join(calls, "\n"))
	}
	another, err := s.client.CreateAnchor(t.Context(), AnchorRequest{Rotation: "r-new", Bundle: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.take(t, scope)[Handle{Kind: KindAnchor, ID: another.Accessor}]; !ok {
		t.Error("a stray anchor is overlooked when all others are known")
	}
	// A token that is made between count and walk must not stand in for the stray one: here the known token dies.
	if err := s.client.Revoke(t.Context(), s.stray[1:]); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.take(t, scope)[Handle{Kind: KindAnchor, ID: another.Accessor}]; !ok {
		t.Error("a stray anchor is overlooked when a known one is gone")
	}
}

// TestRevokeEndsWhatTheInventoryFound is how strays are ended: by their handles, and nothing else with them.
func TestRevokeEndsWhatTheInventoryFound(t *testing.T) {
	s := newStage(t)
	known := slices.Concat(s.kept, []Handle{{Kind: KindLease, ID: s.foreignLease}, s.others})
	var strays []Handle
	for h := range s.take(t, s.scope) {
		if !slices.Contains(known, h) {
			strays = append(strays, h)
		}
	}
	if len(strays) != 4 {
		t.Fatalf("%d strays, want anchor, lease, secret-id and token", len(strays))
	}
	if err := s.client.Revoke(t.Context(), strays); err != nil {
		t.Fatal(err)
	}
	left := s.take(t, s.scope)
	for _, h := range known {
		if _, ok := left[h]; !ok {
			t.Errorf("%v is gone as well", h)
		}
	}
	if len(left) != len(known) || s.connect(t.Context(), s.strayUser.Fields) == nil || s.users(t) != 2 {
		t.Errorf("%d of %d are left, %d users", len(left), len(known), s.users(t))
	}
	if err := s.client.Revoke(t.Context(), strays); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestInventoryDescendsIntoFolders(t *testing.T) {
	s := newStage(t)
	got := s.take(t, Scope{Paths: []string{s.db + "/creds"}, Known: s.kept})
	h, ok := got[s.stray[0]]
	if !ok || h.Path != s.db+"/creds" {
		t.Errorf("listed %v below %q", ok, h.Path)
	}
}

func TestInstallationsShareAVault(t *testing.T) {
	f := newFixture(t, false)
	f.role(t, "shop", map[string]any{})
	sid := "auth/" + f.approle + "/role/shop/secret-id"
	clients, anchors := map[string]*Client{}, map[string]string{}
	for _, owner := range []string{"staging", "production", ""} {
		cfg := f.cfg
		cfg.Owner = owner
		c := newClient(t, cfg)
		a, err := c.CreateAnchor(t.Context(), AnchorRequest{Rotation: "r-" + owner, Bundle: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Mint(t.Context(), Anchor{}, MintRequest{Rotation: "r-" + owner, Path: sid}); err != nil {
			t.Fatal(err)
		}
		clients[owner], anchors[owner] = c, a.Accessor
	}
	for owner, c := range clients {
		inv, err := c.Inventory(t.Context(), Scope{Paths: []string{sid}})
		if err != nil || len(inv.Holdings) != 1+3 {
			t.Fatalf("%q: %d holdings, %v", owner, len(inv.Holdings), err)
		}
		if h := inv.Holdings[0]; h.Handle.ID != anchors[owner] || h.Rotation != "r-"+owner {
			t.Errorf("%q claims %+v", owner, h)
		}
		for _, h := range inv.Holdings[1:] {
			if h.Rotation != "" && h.Rotation != "r-"+owner {
				t.Errorf("%q claims %+v", owner, h)
			}
		}
		// What the journal knows is ours whatever its metadata says, as after the owner was given a name.
		inv, err = c.Inventory(t.Context(), Scope{Known: []Handle{{Kind: KindAnchor, ID: anchors["staging"]}}})
		if err != nil || !slices.ContainsFunc(inv.Holdings, func(h Holding) bool { return h.Handle.ID == anchors["staging"] }) {
			t.Errorf("%q: a known anchor is not listed: %v", owner, err)
		}
	}
}

func TestInventoryWithoutRights(t *testing.T) {
	s := newStage(t)
	policy := s.vault.Policy(t, `path "sys/leases/lookup/`+s.db+`/creds/*" { capabilities = ["list", "sudo"] }
path "sys/leases/lookup" { capabilities = ["update"] }`)
	s.role(t, "poor", map[string]any{"token_policies": []string{policy}})
	cfg := s.cfg
	cfg.Auth = s.auth(t, "poor")
	inv, err := newClient(t, cfg).Inventory(t.Context(), s.scope)
	if err != nil || len(inv.Holdings) != 3 || len(inv.Unchecked) != 2 {
		t.Fatalf("%d holdings, unchecked %v, %v", len(inv.Holdings), inv.Unchecked, err)
	}
	for i, want := range []string{
		`path "auth/token/accessors" { capabilities = ["list", "sudo"] }`,
		`path "` + s.others.Path + `/secret-id" { capabilities = ["list"] }`,
	} {
		u := inv.Unchecked[i]
		if !errors.Is(u.Why, ErrForbidden) || !contains(u.Remedy, want) || u.What == "" {
			t.Errorf("%+v", u)
		}
	}
	// The remedies are what is needed, to the letter.
	lines := make([]string, 0, 2)
	for _, u := range inv.Unchecked {
		_, text, _ := strings.Cut(u.Remedy, "\n")
		lines = append(lines, text)
	}
	if err := s.vault.PutPolicy(t.Context(), policy+"-more", strings.Join(lines, "\n")); err != nil {
		t.Fatal(err)
	}
	s.role(t, "poor", map[string]any{"token_policies": []string{policy, policy + "-more"}})
	inv, err = newClient(t, cfg).Inventory(t.Context(), s.scope)
	if err != nil || len(inv.Holdings) != 8 || len(inv.Unchecked) != 0 {
		t.Errorf("%d holdings, want 8, unchecked %v, %v", len(inv.Holdings), inv.Unchecked, err)
	}
}
