package vaultsrc

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

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

// ask is the door for a person who may be called so.
func (p *people) ask(names ...string) []Door {
	d := p.door
	d.Names = names
	return []Door{d}
}

// account is the only one of a name.
func (p *people) account(name string) Account {
	p.t.Helper()
	found, refused, err := p.client.Accounts(p.t.Context(), p.ask(name))
	if err != nil || len(found) != 1 || len(refused) > 0 {
		p.t.Fatalf("%s: %+v, %v, %v", name, found, refused, err)
	}
	return found[0]
}

// reading are the rights to read these secrets.
func (p *people) reading(paths ...string) (out []Right) {
	for _, path := range paths {
		out = append(out, Right{Path: p.kv + "/data/" + path, Capability: "read"})
	}
	return out
}

// can tells whether an account reads a secret.
func (p *people) can(c *Client, a Account, path string) (bool, error) {
	may, err := c.Can(p.t.Context(), p.role, a, p.reading(path))
	return len(may) == 1, err
}

// accessor of an auth mount.
func (p *people) accessor(mount string) string {
	p.t.Helper()
	return p.vault.Must(p.t, http.MethodGet, "sys/auth", nil)[mount+"/"].(map[string]any)["accessor"].(string)
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
path "identity/group/id/*" { capabilities = ["read"] }
path "identity/entity-alias" { capabilities = ["update"] allowed_parameters = { "name" = ["rotator-probe-*"], "canonical_id" = [], "mount_accessor" = ["%s"] } }
path "identity/entity-alias/id/*" { capabilities = ["delete"] }
path "identity/entity/id/*" { capabilities = ["update"] allowed_parameters = { "disabled" = [true] } }
path "auth/%s/users/*" { capabilities = ["read"] }
path "auth/token/create/%s" { capabilities = ["update"] min_wrapping_ttl = "1s" max_wrapping_ttl = "90s" }
path "sys/capabilities-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "auth/token/accessors" { capabilities = ["list", "sudo"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
`, p.accessor("token"), p.mount, p.role))
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
	p.vault.Must(p.t, http.MethodPost, "identity/entity-alias", map[string]any{"name": name, "canonical_id": p.ids[name], "mount_accessor": p.accessor(p.mount)})
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
	for _, path := range paths {
		p.vault.Must(t, http.MethodPost, kv+"/data/"+path, map[string]any{"data": map[string]any{"k": "v"}})
	}
	right, said := 0, make(map[string][]Right)
	for name := range p.ids {
		found, _, err := p.client.Accounts(t.Context(), p.ask("no-such-person", "../users/"+name, name))
		if err != nil || len(found) != 1 || found[0].Name != name || found[0].Entity.ID != p.ids[name] {
			t.Fatalf("%s: %+v, %v", name, found, err)
		}
		may, err := p.client.Can(t.Context(), p.role, found[0], p.reading(paths...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		said[name] = may
		token := p.login(name)
		for _, path := range paths {
			really, probed := p.reads(token, path), slices.Contains(may, p.reading(path)[0])
			if really != probed {
				t.Errorf("%s on %s: the probe says %v, trying says %v", name, path, probed, really)
			}
			if really {
				right++
			}
		}
		if again := p.account(name); again.Entity.on(p.accessor("token")) != (alias{}) {
			t.Errorf("%s: the probe has left a name behind: %+v", name, again)
		}
	}
	if right < 10 {
		t.Errorf("only %d of the attempts were allowed: the policies are not what was meant", right)
	}
	for name, before := range said { // once somebody has disabled it, all but the rules with templates is answered as before
		p.vault.Must(t, http.MethodPost, "identity/entity/id/"+p.ids[name], map[string]any{"disabled": true})
		after, err := p.client.Can(t.Context(), p.role, p.account(name), p.reading(paths...))
		want := slices.DeleteFunc(slices.Clone(before), func(r Right) bool { return strings.Contains(r.Path, "/home/") })
		if err != nil || !slices.Equal(after, want) {
			t.Errorf("%s, disabled: %v, %v, want %v", name, after, err, want)
		}
		if !p.account(name).Entity.Disabled {
			t.Errorf("%s was enabled by asking", name)
		}
	}
	if n := p.probes(); n > 0 {
		t.Errorf("%d probe tokens are left", n)
	}
}

// TestEveryDoorOfAPerson: the event knows one name; the entity behind it has another door, with policies of its own. Each counts by
// itself: what one login denies, the other one still allows.
func TestEveryDoorOfAPerson(t *testing.T) {
	p := newPeople(t)
	rule := func(path, capability string) string {
		return p.vault.Policy(t, fmt.Sprintf("path %q { capabilities = [%q] }", p.kv+"/data/"+path, capability))
	}
	second := p.mount + "-2"
	if err := p.vault.EnableAuth(t.Context(), second, "userpass"); err != nil {
		t.Fatal(err)
	}
	p.person("ann", nil, []string{rule("a", "deny"), rule("b", "read")})
	p.vault.Must(t, http.MethodPost, "auth/"+second+"/users/ann.x", map[string]any{"password": "pw", "token_policies": []string{rule("a", "read")}})
	p.vault.Must(t, http.MethodPost, "identity/entity-alias", map[string]any{"name": "ann.x", "canonical_id": p.ids["ann"], "mount_accessor": p.accessor(second)})
	p.role2(t, rule("c", "read"))
	doors := []Door{
		{Mount: p.mount, Names: []string{"ann"}, Login: p.door.Login, Policies: []string{rule("d", "read")}},
		{Mount: second, Login: "auth/" + p.approle + "/role/people"}, // whatever tells policies will do
	}
	found, refused, err := p.client.Accounts(t.Context(), doors)
	if err != nil || len(refused) > 0 || len(found) != 2 || found[0].Entity.ID != found[1].Entity.ID || found[1].Mount != second || found[1].Name != "ann.x" {
		t.Fatalf("%+v, %v, %v", found, refused, err)
	}
	for i, want := range [][]string{{"b", "d"}, {"c"}} {
		may, err := p.client.Can(t.Context(), p.role, found[i], p.reading("a", "b", "c", "d"))
		if err != nil || !slices.Equal(may, p.reading(want...)) {
			t.Errorf("%s: %v, %v, want %v", found[i].Mount, may, err, want)
		}
	}
	doors[1].Login = "auth/" + second + "/users/{name}"
	if found, refused, err = p.client.Accounts(t.Context(), doors); err != nil || len(refused) != 1 || !strings.Contains(refused[0].Error(), second) || len(found) != 2 {
		t.Errorf("without the right to read the second one's users: %+v, %v, %v", found, refused, err)
	}
}

// role2 makes a role at which a login without a name may look.
func (p *people) role2(t *testing.T, policies ...string) {
	t.Helper()
	p.fixture.role(t, "people", map[string]any{"token_policies": policies})
	policy := p.vault.Policy(t, fmt.Sprintf(`path "auth/%s/role/people" { capabilities = ["read"] }`, p.approle))
	me := p.vault.Must(t, http.MethodGet, "auth/"+p.approle+"/role/prober/policies", nil)["data"].(map[string]any)["token_policies"].([]any)
	p.fixture.role(t, "prober", map[string]any{"token_policies": append(me, policy)})
	cfg := p.cfg
	cfg.Auth = p.auth(t, "prober")
	p.client = newClient(t, cfg)
}

// TestAUserWhoNeverLoggedIn has no entity, and can do all the same what a login would give.
func TestAUserWhoNeverLoggedIn(t *testing.T) {
	p := newPeople(t)
	one := p.vault.Policy(t, fmt.Sprintf("path %q { capabilities = [\"read\"] }", p.kv+"/data/one"))
	p.vault.Must(t, http.MethodPost, "auth/"+p.mount+"/users/nora", map[string]any{"password": "pw", "token_policies": []string{one}})
	p.vault.Must(t, http.MethodPost, "auth/"+p.mount+"/users/boss", map[string]any{"password": "pw", "token_policies": []string{"root"}})
	found, refused, err := p.client.Accounts(t.Context(), p.ask("Nora", "nora", "nobody", "../users/nora", "Nora@example.com"))
	if err != nil || len(refused) > 0 || len(found) != 1 || !strings.EqualFold(found[0].Name, "nora") || found[0].Entity.ID != "" {
		t.Fatalf("%+v, %v, %v", found, refused, err)
	}
	if may, err := p.client.Can(t.Context(), p.role, found[0], p.reading("one", "two")); err != nil || !slices.Equal(may, p.reading("one")) {
		t.Error(may, err)
	}
	if may, err := p.client.Can(t.Context(), p.role, p.account("boss"), p.reading("one", "two")); err != nil || len(may) != 2 {
		t.Errorf("who logs in as root: %v, %v", may, err)
	}
	if n := p.probes(); n > 0 {
		t.Errorf("%d probe tokens are left", n)
	}
}

// TestWhatCannotBeFoundOutIsSaid, and does not hide the rest.
func TestWhatCannotBeFoundOutIsSaid(t *testing.T) {
	p := newPeople(t)
	p.person("ann", nil, nil)
	good := p.ask("ann")[0]
	for name, c := range map[string]struct {
		door Door
		want string
	}{
		"a mount that is gone":     {Door{Mount: "nowhere", Names: []string{"ann"}}, `no auth mount "nowhere"`},
		"a path of no mount":       {Door{Mount: p.mount, Names: []string{"x"}, Login: "auth/" + p.mount + "x/users/{name}"}, "permission denied"},
		"a role without the right": {Door{Mount: p.mount, Names: []string{"x"}, Login: "auth/" + p.approle + "/role/none"}, "permission denied"},
	} {
		found, refused, err := p.client.Accounts(t.Context(), []Door{c.door, good})
		if err != nil || len(refused) != 1 || !strings.Contains(refused[0].Error(), c.want) || len(found) == 0 || found[0].Name != "ann" {
			t.Errorf("%s: %+v, %v, %v", name, found, refused, err)
		}
	}
	all := p.cfg // with every right, what is missing is said too
	all.Auth = Auth{Method: "token", Token: secret.FromText(p.vault.RootToken)}
	root := newClient(t, all)
	for login, want := range map[string]string{"auth/" + p.mount + "x/users/{name}": "no auth mount", "auth/" + p.approle + "/role/none": "there is nothing at"} {
		found, refused, err := root.Accounts(t.Context(), []Door{{Mount: p.mount, Names: []string{"ann"}, Login: login}})
		if err != nil || len(refused) != 1 || !strings.Contains(refused[0].Error(), want) || len(found) != 1 {
			t.Errorf("%s: %+v, %v, %v", login, found, refused, err)
		}
	}
	policy := p.vault.Policy(t, `path "sys/auth" { capabilities = ["deny"] }`)
	p.fixture.role(t, "blind", map[string]any{"token_policies": []string{policy}})
	cfg := p.cfg
	cfg.Auth = p.auth(t, "blind")
	if found, refused, err := newClient(t, cfg).Accounts(t.Context(), p.ask("ann")); err != nil || len(found) != 0 || len(refused) != 1 {
		t.Errorf("without the right to list the mounts: %+v, %v, %v", found, refused, err)
	}
}

// TestTheRightsOfTheProbeAreNarrow: with the policy of the README nobody is given a policy, enabled, or bound to another name.
func TestTheRightsOfTheProbeAreNarrow(t *testing.T) {
	p := newPeople(t)
	p.person("ann", nil, nil)
	for name, r := range map[string]request{
		"a policy":              {path: "identity/entity/id/" + p.ids["ann"], body: map[string]any{"policies": []string{"x"}}},
		"a policy along with":   {path: "identity/entity/id/" + p.ids["ann"], body: map[string]any{"disabled": true, "policies": []string{"x"}}},
		"enabled":               {path: "identity/entity/id/" + p.ids["ann"], body: map[string]any{"disabled": false}},
		"a name of another":     {path: "identity/entity-alias", body: map[string]any{"name": "ann2", "canonical_id": p.ids["ann"], "mount_accessor": p.accessor("token")}},
		"a name where they are": {path: "identity/entity-alias", body: map[string]any{"name": "rotator-probe-x", "canonical_id": p.ids["ann"], "mount_accessor": p.accessor(p.mount)}},
	} {
		r.write = true
		if _, err := p.client.do(t.Context(), r); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestGroupsOfLDAP: the policies of a login are those of the user and of its groups. This Vault has no LDAP in it; the answers are
// those of its source.
func TestGroupsOfLDAP(t *testing.T) {
	answers := map[string]string{
		"/v1/auth/ldap/users/al":   `{"data":{"policies":["own"],"groups":"ops, ../x,none"}}`,
		"/v1/auth/ldap/groups/ops": `{"data":{"policies":["ops-reads"]}}`,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, ok := answers[r.URL.Path]; ok {
			_, _ = w.Write([]byte(body))
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errors":[]}`))
	}))
	defer srv.Close()
	c := newClient(t, Config{Address: srv.URL, Logger: zerolog.Nop(), Auth: Auth{Method: "token", Token: secret.FromText("t")}})
	c.current = &login{token: "t"}
	got, there, err := c.loginPolicies(t.Context(), "auth/ldap/users/al")
	if err != nil || !there || !slices.Equal(got, []string{"own", "ops-reads"}) {
		t.Error(got, there, err)
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
	for i, want := range []int{2, 0} { // again and again
		n, err := p.client.Disable(t.Context(), p.ids["leaver"])
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
	if a := p.account("leaver"); !a.Entity.Disabled {
		t.Errorf("%+v", a)
	}
	if _, err := p.client.Disable(t.Context(), "11111111-2222-3333-4444-555555555555"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// TestAProbeThatDied: the name that it has left behind is used once more, and taken away; and nobody is asked about another entity
// when the name goes in between.
func TestAProbeThatDied(t *testing.T) {
	p := newPeople(t)
	read := p.vault.Policy(t, fmt.Sprintf("path %q { capabilities = [\"read\"] }", p.kv+"/data/*"))
	p.person("zoe", []string{read}, nil)
	token := p.accessor("token")
	if _, _, err := p.client.bind(t.Context(), p.account("zoe").Entity); err != nil { // and dies
		t.Fatal(err)
	}
	stale := p.account("zoe")
	if stale.Entity.on(token).Name == "" {
		t.Fatal("nothing was left behind")
	}
	if may, err := p.can(p.client, stale, "x"); err != nil || !may {
		t.Fatal(may, err)
	}
	if a := p.account("zoe"); a.Entity.on(token) != (alias{}) {
		t.Errorf("it is still there: %+v", a)
	}
	if may, err := p.can(p.client, stale, "x"); !errors.Is(err, ErrUnavailable) { // the name is gone since
		t.Errorf("the answer is about another entity: %v, %v", may, err)
	}
	thief, c := p.withThief(t)
	for _, lost := range []string{"identity/entity-alias", "auth/token/create/" + p.role, "sys/capabilities-accessor", "auth/token/revoke-accessor"} {
		thief.steal(lost)
		if may, err := p.can(c, p.account("zoe"), "x"); err == nil {
			t.Errorf("without the answer of %s: %v", lost, may)
		}
		thief.steal("")
		if may, err := p.can(p.client, p.account("zoe"), "x"); err != nil || !may {
			t.Errorf("after the answer of %s was lost: %v, %v", lost, may, err)
		}
		if a := p.account("zoe"); a.Entity.on(token) != (alias{}) {
			t.Errorf("after the answer of %s was lost a name is left: %+v", lost, a)
		}
	}
}
