package vaultsrc

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestTryProbe: what CouldRead would fail with is found beforehand, with the line that helps; no token is left.
func TestTryProbe(t *testing.T) {
	p := newPeople(t)
	if mounts, err := p.client.AuthMounts(t.Context()); err != nil || !slices.Contains(mounts, p.mount) || !slices.Contains(mounts, "token") {
		t.Errorf("%v %v", mounts, err)
	}
	tokens := func() int {
		n := 0
		for _, accessor := range keysOf(t, p.vault.Must(t, "LIST", "auth/token/accessors", nil)) {
			var out struct { // what wraps it has the same path
				Data struct {
					Path string
					Name string `json:"display_name"`
				}
			}
			if p.vault.API(t.Context(), http.MethodPost, "auth/token/lookup-accessor", map[string]any{"accessor": accessor}, &out) == nil && out.Data.Path == "auth/token/create/"+p.role && strings.Contains(out.Data.Name, "rotator-probe") {
				n++
			}
		}
		return n
	}
	if remedy, err := p.client.TryProbe(t.Context(), p.role); err != nil || remedy != "" {
		t.Errorf("%q %v", remedy, err)
	}
	lines := []string{
		fmt.Sprintf(`path "auth/token/create/%s" { capabilities = ["update"] min_wrapping_ttl = "1s" max_wrapping_ttl = "90s" }`, p.role),
		`path "auth/token/lookup-accessor" { capabilities = ["update"] }`, `path "sys/capabilities-accessor" { capabilities = ["update"] }`, `path "auth/token/revoke-accessor" { capabilities = ["update"] }`,
	}
	for i, missing := range lines {
		policy := p.vault.Policy(t, strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "\n"))
		role := fmt.Sprint("lacks-", i)
		p.fixture.role(t, role, map[string]any{"token_policies": []string{policy}})
		cfg := p.cfg
		cfg.Auth = p.auth(t, role)
		if remedy, err := newClient(t, cfg).TryProbe(t.Context(), p.role); err == nil || !strings.Contains(remedy, missing) {
			t.Errorf("without %s: %q %v", missing, remedy, err)
		}
		if i == len(lines)-1 {
			continue // which cannot end what it has made; it ends by itself
		}
		if n := tokens(); n > 0 {
			t.Errorf("without %s: %d probe tokens are left", missing, n)
		}
	}
	if remedy, err := p.client.TryProbe(t.Context(), "no-such-role"); err == nil || !strings.Contains(remedy, `path "auth/token/create/no-such-role"`) {
		t.Errorf("a role that the policy does not name: %q %v", remedy, err)
	}
	root := p.cfg
	root.Auth = staticAuth(p.vault.RootToken)
	if remedy, err := newClient(t, root).TryProbe(t.Context(), "no-such-role"); err == nil || !strings.Contains(remedy, "vault write auth/token/roles/no-such-role") {
		t.Errorf("a role that is not there: %q %v", remedy, err)
	}
	p.vault.Must(t, http.MethodPost, "auth/token/roles/"+p.role, map[string]any{"allowed_entity_aliases": []string{"somebody"}})
	if remedy, err := newClient(t, root).TryProbe(t.Context(), p.role); err == nil || !strings.Contains(remedy, "rotator-probe-*") {
		t.Errorf("a role that binds nobody: %q %v", remedy, err)
	}
}

func keysOf(t *testing.T, answer map[string]any) (out []string) {
	t.Helper()
	for _, k := range answer["data"].(map[string]any)["keys"].([]any) {
		out = append(out, k.(string))
	}
	return out
}
