package vaultsrc

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// A people is an auth mount with persons, groups and policies.
type people struct {
	*fixture
	t     *testing.T
	mount string
	door  Door
	role  string
	ids   map[string]string // entities by name
}

func newPeople(t *testing.T) *people {
	t.Helper()
	f := newFixture(t, false)
	p := &people{fixture: f, t: t, mount: strings.Replace(f.kv, "kv", "users", 1) + "-up", ids: make(map[string]string)}
	if err := f.vault.EnableAuth(t.Context(), p.mount, "userpass"); err != nil {
		t.Fatal(err)
	}
	p.door = Door{Mount: p.mount, Login: "auth/" + p.mount + "/users/{name}"}
	p.role = p.mount + "-probe"
	f.vault.Must(t, http.MethodPost, "auth/token/roles/"+p.role, map[string]any{"allowed_policies_glob": []string{"*"}, "disallowed_policies": []string{"root"}, "orphan": true, "renewable": false,
		"token_explicit_max_ttl": "120s", "token_no_default_policy": true, "allowed_entity_aliases": []string{"rotator-probe-*"}})
	policy := f.vault.Policy(t, fmt.Sprintf(`
path "sys/auth" { capabilities = ["read"] }
path "identity/lookup/entity" { capabilities = ["update"] }
path "identity/entity-alias" { capabilities = ["update"] }
path "identity/entity-alias/id/*" { capabilities = ["delete"] }
path "identity/entity/id/*" { capabilities = ["update"] }
path "auth/%s/users/*" { capabilities = ["read"] }
path "auth/token/create/%s" { capabilities = ["update"] min_wrapping_ttl = "1s" max_wrapping_ttl = "90s" }
path "sys/capabilities-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "auth/token/accessors" { capabilities = ["list", "sudo"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
`, p.mount, p.role))
	f.role(t, "prober", map[string]any{"token_policies": []string{policy}, "token_ttl": "1h"})
	cfg := f.cfg
	cfg.Auth = f.auth(t, "prober")
	f.cfg = cfg
	p.client = newClient(t, cfg)
	return p
}

// person makes a login, an entity, and the bond between them.
func (p *people) person(name string, entity, login []string) {
	p.t.Helper()
	p.vault.Must(p.t, http.MethodPost, "auth/"+p.mount+"/users/"+name, map[string]any{"password": "pw", "token_policies": login})
	p.ids[name] = data(p.t, p.vault.Must(p.t, http.MethodPost, "identity/entity", map[string]any{"name": p.mount + "-" + name, "policies": entity}), "id")
	auth := p.vault.Must(p.t, http.MethodGet, "sys/auth", nil)
	accessor := auth[p.mount+"/"].(map[string]any)["accessor"].(string)
	p.vault.Must(p.t, http.MethodPost, "identity/entity-alias", map[string]any{"name": name, "canonical_id": p.ids[name], "mount_accessor": accessor})
}

func (p *people) group(name string, policies []string, members, groups []string) (id string) {
	p.t.Helper()
	return data(p.t, p.vault.Must(p.t, http.MethodPost, "identity/group", map[string]any{"name": p.mount + "-" + name, "policies": policies, "member_entity_ids": members, "member_group_ids": groups}), "id")
}

// login is what the person does.
func (p *people) login(name string) string {
	p.t.Helper()
	out := p.vault.Must(p.t, http.MethodPost, "auth/"+p.mount+"/login/"+name, map[string]any{"password": "pw"})
	return out["auth"].(map[string]any)["client_token"].(string)
}

// reads tells whether the person really reads a secret.
func (p *people) reads(token, path string) bool {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.vault.Address+"/v1/"+p.kv+"/data/"+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// TestCouldReadIsWhatReallyReads: for several persons with policies of every shape, what Vault's policy engine says through
// the probe is what the person gets when it tries.
func TestCouldReadIsWhatReallyReads(t *testing.T) {
	p := newPeople(t)
	kv := p.kv
	allow := func(path string, caps ...string) string {
		return fmt.Sprintf("path %q { capabilities = [%q] }\n", path, strings.Join(caps, `", "`))
	}
	fix := func(s string) string { return strings.ReplaceAll(s, `\"`, `"`) }
	pol := func(lines ...string) string { return p.vault.Policy(t, fix(strings.Join(lines, ""))) }
	teams := pol(allow(kv+"/data/team/*", "read"), allow(kv+"/data/team/secret/*", "deny"))
	plus := pol(allow(kv+"/data/+/shared", "read", "list"))
	own := pol(fmt.Sprintf("path \"%s/data/home/{{identity.entity.name}}/*\" { capabilities = [\"read\"] }\n", kv))
	denied := pol(allow(kv+"/data/team/payments", "deny"))
	writes := pol(allow(kv+"/data/drop", "create", "update"), allow(kv+"/data/listed", "list"))
	one := pol(allow(kv+"/data/one", "read"))
	for name, c := range map[string]struct{ entity, login []string }{
		"alice": {[]string{teams, own}, nil}, "bob": {nil, []string{one}}, "carol": {[]string{writes}, []string{plus}}, "dave": {nil, nil}, "erin": {[]string{teams, denied}, nil},
	} {
		p.person(name, c.entity, c.login)
	}
	inner := p.group("inner", []string{one}, []string{p.ids["dave"]}, nil)
	p.group("outer", []string{plus}, nil, []string{inner})
	paths := []string{"one", "drop", "listed", "team/orders", "team/payments", "team/secret/x", "a/shared", "b/shared", "a/b/shared", "nobody"}
	for name := range p.ids {
		paths = append(paths, "home/"+p.mount+"-"+name+"/key")
	}
	var secrets []string
	for _, path := range paths {
		p.vault.Must(t, http.MethodPost, kv+"/data/"+path, map[string]any{"data": map[string]any{"k": "v"}})
		secrets = append(secrets, kv+"/"+path)
	}
	right := 0
	for name := range p.ids {
		found, err := p.client.Entities(t.Context(), []Door{p.door}, []string{"no-such-person", name})
		if err != nil || len(found) != 1 || found[0].Alias != name || found[0].ID != p.ids[name] {
			t.Fatalf("%s: %+v, %v", name, found, err)
		}
		may, err := p.client.CouldRead(t.Context(), p.role, found[0], secrets)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		token := p.login(name)
		for i, path := range paths {
			really := p.reads(token, path)
			if really != may[secrets[i]] {
				t.Errorf("%s on %s: the probe says %v, trying says %v", name, path, may[secrets[i]], really)
			}
			if really {
				right++
			}
		}
		if again, err := p.client.Entities(t.Context(), []Door{p.door}, []string{name}); err != nil || again[0].tokenAlias != (alias{}) {
			t.Errorf("%s: the probe has left a name behind: %+v, %v", name, again, err)
		}
	}
	if right < 10 {
		t.Errorf("only %d of the attempts were allowed: the policies are not what was meant", right)
	}
	if n := p.probes(); n > 0 {
		t.Errorf("%d probe tokens are left", n)
	}
}

// probes counts the probe tokens of these persons; other tests have theirs.
func (p *people) probes() (n int) {
	p.t.Helper()
	out := p.vault.Must(p.t, "LIST", "auth/token/accessors", nil)
	for _, k := range out["data"].(map[string]any)["keys"].([]any) {
		var got struct {
			Data struct {
				DisplayName string `json:"display_name"`
				Entity      string `json:"entity_id"`
			}
		}
		err := p.vault.API(p.t.Context(), http.MethodPost, "auth/token/lookup-accessor", map[string]any{"accessor": k}, &got)
		for _, id := range p.ids {
			if err == nil && got.Data.Entity == id && strings.Contains(got.Data.DisplayName, "rotator-probe") {
				n++
			}
		}
	}
	return n
}

// TestDisable: a leaver's tokens die at once, with what hangs below them, and nobody logs in again; somebody else's stay.
func TestDisable(t *testing.T) {
	p := newPeople(t)
	read := p.vault.Policy(t, fmt.Sprintf("path %q { capabilities = [\"read\"] }", p.kv+"/data/*"))
	p.person("leaver", []string{read}, nil)
	p.person("stays", []string{read}, nil)
	p.vault.Must(t, http.MethodPost, p.kv+"/data/x", map[string]any{"data": map[string]any{"k": "v"}})
	tokens := []string{p.login("leaver"), p.login("leaver"), p.login("stays")}
	found, err := p.client.Entities(t.Context(), []Door{p.door}, []string{"leaver"})
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	for i, want := range []int{2, 0} { // again and again
		n, err := p.client.Disable(t.Context(), found[0])
		if err != nil || n != want {
			t.Fatalf("time %d: %d tokens, %v", i, n, err)
		}
	}
	for i, token := range tokens {
		if got := p.reads(token, "x"); got != (i == 2) {
			t.Errorf("token %d reads: %v", i, got)
		}
		if err := p.client.TryToken(t.Context(), secret.FromText(token)); errors.Is(err, ErrRejected) != (i < 2) {
			t.Errorf("token %d: %v", i, err)
		}
	}
	var out map[string]any
	if err := p.vault.API(t.Context(), http.MethodPost, "auth/"+p.mount+"/login/leaver", map[string]any{"password": "pw"}, &out); err == nil {
		t.Error("the leaver logs in")
	}
	again, err := p.client.Entities(t.Context(), []Door{p.door}, []string{"leaver"})
	if err != nil || !again[0].Disabled {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := p.client.Entities(t.Context(), []Door{{Mount: "nowhere"}}, []string{"leaver"}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// TestAProbeThatDied: the name that it has left behind is used once more, and taken away; and nobody is asked about another entity
// when the name goes in between.
func TestAProbeThatDied(t *testing.T) {
	p := newPeople(t)
	read := p.vault.Policy(t, fmt.Sprintf("path %q { capabilities = [\"read\"] }", p.kv+"/data/*"))
	p.person("zoe", []string{read}, nil)
	found := func() Entity {
		t.Helper()
		all, err := p.client.Entities(t.Context(), []Door{p.door}, []string{"zoe"})
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all[0]
	}
	if _, _, err := p.client.bind(t.Context(), found()); err != nil { // and dies
		t.Fatal(err)
	}
	stale := found()
	if stale.tokenAlias.name == "" {
		t.Fatal("nothing was left behind")
	}
	if may, err := p.client.CouldRead(t.Context(), p.role, stale, []string{p.kv + "/x"}); err != nil || !may[p.kv+"/x"] {
		t.Fatal(may, err)
	}
	if e := found(); e.tokenAlias != (alias{}) {
		t.Errorf("it is still there: %+v", e)
	}
	if may, err := p.client.CouldRead(t.Context(), p.role, stale, []string{p.kv + "/x"}); !errors.Is(err, ErrUnavailable) { // the name is gone since
		t.Errorf("the answer is about another entity: %v, %v", may, err)
	}
	thief, c := p.withThief(t)
	for _, lost := range []string{"identity/entity-alias", "auth/token/create/" + p.role, "sys/capabilities-accessor", "auth/token/revoke-accessor"} {
		thief.steal(lost)
		if may, err := c.CouldRead(t.Context(), p.role, found(), []string{p.kv + "/x"}); err == nil {
			t.Errorf("without the answer of %s: %v", lost, may)
		}
		thief.steal("")
		if may, err := p.client.CouldRead(t.Context(), p.role, found(), []string{p.kv + "/x"}); err != nil || !may[p.kv+"/x"] {
			t.Errorf("after the answer of %s was lost: %v, %v", lost, may, err)
		}
		if e := found(); e.tokenAlias != (alias{}) {
			t.Errorf("after the answer of %s was lost a name is left: %+v", lost, e)
		}
	}
}
