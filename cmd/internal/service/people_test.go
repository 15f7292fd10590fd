package service

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
)

// TestALeaverWhomOnlyVaultKnows: no bundle lists the person; Vault's policies say what they could read. That is rotated, and
// nothing else; the login is ended in the same rotation, and the receipt says so.
func TestALeaverWhomOnlyVaultKnows(t *testing.T) {
	s := newShop(t)
	mount := s.kv + "-people"
	if err := s.vault.EnableAuth(t.Context(), mount, "userpass"); err != nil {
		t.Fatal(err)
	}
	reads, role := mount+"-reads", mount+"-probe"
	if err := s.vault.PutPolicy(t.Context(), reads, fmt.Sprintf("path %q { capabilities = [\"read\"] }\npath %q { capabilities = [\"deny\"] }", s.kv+"/data/team-*", s.kv+"/data/team-secret")); err != nil {
		t.Fatal(err)
	}
	s.api(http.MethodPost, "auth/token/roles/"+role, map[string]any{"allowed_policies_glob": []string{"*"}, "disallowed_policies": []string{"root"}, "orphan": true, "renewable": false,
		"token_explicit_max_ttl": "120s", "token_no_default_policy": true, "allowed_entity_aliases": []string{"rotator-probe-*"}}, nil)
	s.api(http.MethodPost, "auth/"+mount+"/users/dora", map[string]any{"password": "pw", "token_policies": []string{reads}}, nil)
	login := func() (token string, err error) {
		var out struct {
			Auth struct {
				ClientToken string `json:"client_token"`
			}
		}
		err = s.vault.API(t.Context(), http.MethodPost, "auth/"+mount+"/login/dora", map[string]any{"password": "pw"}, &out)
		return out.Auth.ClientToken, err
	}
	if _, err := login(); err != nil { // makes the entity
		t.Fatal(err)
	}
	var yaml string
	all := make(map[string]aBundle)
	for _, name := range []string{"team-a", "team-b", "team-secret", "other"} {
		all[name] = s.seedAction(name, nil)
		yaml += strings.Replace(s.appRoleBundle(name, name, "{host: prod, action: "+name+", keys: [SECRET_ID, LOGIN]}"), `holders: ["alice@example.com"]`, `holders: ["nobody"]`, 1)
	}
	svc, _ := s.start(s.withIntake(yaml, fmt.Sprintf(`
people:
  mounts: [{path: %s, local: true, login: "auth/%s/users/{name}"}]
  probe_role: %s
  disable: true
`, mount, mount, role)))
	leaver := func(id, email, change string) events.Event {
		return events.Event{ID: id, Kind: events.KindOffboarding, Offboarding: &events.Offboarding{Change: change, Severity: "high", Reason: "x", Upstream: events.Upstream{System: "hr"},
			Person: events.Person{Identifiers: []events.Identifier{{Format: "email", Email: email}}}}}
	}
	s.publish(svc, leaver("1", "Dora@example.com", "terminated"))
	s.rotated(svc, all["team-a"], 1)
	s.rotated(svc, all["team-b"], 1)
	for _, name := range []string{"team-a", "team-b"} {
		r := s.receipt(svc, name, 1)
		if !strings.Contains(r.Events[0].Why, "could read "+s.kv+"/"+name+": Vault's policies allow it") || r.Steps["leaver-disabled"].IsZero() || !strings.Contains(strings.Join(r.Warnings, " "), "is disabled") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if _, err := login(); err == nil {
		t.Error("the leaver logs in")
	}
	for _, name := range []string{"team-secret", "other"} {
		if rec := svc.Engine.Records()[name]; len(rec.History) > 0 || rec.Rotation != nil {
			t.Errorf("%s was rotated: nobody said that the leaver could read it", name)
		}
	}

	// Somebody whom no bundle concerns: the login is ended all the same.
	s.api(http.MethodPost, "auth/"+mount+"/users/eve", map[string]any{"password": "pw"}, nil)
	var out map[string]any
	s.api(http.MethodPost, "auth/"+mount+"/login/eve", map[string]any{"password": "pw"}, &out)
	follow, err := stream.FollowOutcomes(t.Context(), svc.Conn, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.publish(svc, leaver("2", "eve@example.com", "deactivated"))
	select {
	case o := <-follow:
		if o.Result != events.ResultReported || !strings.Contains(o.Reason, "is disabled; 1 tokens were revoked") {
			t.Errorf("%+v", o)
		}
	case <-time.After(30 * time.Second):
		t.Fatal(s.logs)
	}
	if err := s.vault.API(t.Context(), http.MethodPost, "auth/"+mount+"/login/eve", map[string]any{"password": "pw"}, &out); err == nil {
		t.Error("who left without a bundle logs in")
	}
	for people, want := range map[string][]string{
		"{mounts: [" + mount + "], probe_role: " + role + "}":         nil,
		"{mounts: [" + mount + ", no-such-mount], disable: true}":     {"people no-such-mount", "Vault has: ", mount},
		"{mounts: [" + mount + "], probe_role: no-such-" + role + "}": {"role no-such-" + role, "vault write auth/token/roles/no-such-" + role},
	} {
		var wrong []string
		told := false
		Check(t.Context(), s.withIntake(yaml, "people: "+people+"\n"), zerolog.Nop(), func(f Finding) {
			if !f.OK {
				wrong = append(wrong, f.Subject+": "+f.Text+": "+f.Remedy)
			}
			told = told || f.OK && f.Subject == "people"
		})
		if len(wrong) != min(len(want), 1) || told != (want == nil) {
			t.Errorf("%s: said to be right: %v; %v", people, told, wrong)
		}
		for _, text := range want {
			if !strings.Contains(strings.Join(wrong, "\n"), text) {
				t.Errorf("%s: not told: %s in %v", people, text, wrong)
			}
		}
	}
}
