package service

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
)

// staff is a shop whose people log in through a mount of their own.
type staff struct {
	*shop
	mount, role string
	yaml        string // of the bundles
	all         map[string]aBundle
}

func newStaff(t *testing.T, bundles ...string) *staff {
	t.Helper()
	s := &staff{shop: newShop(t), all: make(map[string]aBundle)}
	s.mount, s.role = s.kv+"-people", s.kv+"-people-probe"
	if err := s.vault.EnableAuth(t.Context(), s.mount, "userpass"); err != nil {
		t.Fatal(err)
	}
	s.api(http.MethodPost, "auth/token/roles/"+s.role, map[string]any{"allowed_policies_glob": []string{"*"}, "disallowed_policies": []string{"root"}, "orphan": true, "renewable": false,
		"token_explicit_max_ttl": "120s", "token_no_default_policy": true, "allowed_entity_aliases": []string{"rotator-probe-*"}}, nil)
	for _, name := range bundles {
		s.all[name] = s.seedAction(name, nil)
		s.yaml += strings.Replace(s.appRoleBundle(name, name, "{host: prod, action: "+name+", keys: [SECRET_ID, LOGIN]}"), `holders: ["alice@example.com"]`, `holders: ["nobody"]`, 1)
	}
	return s
}

// reading is a policy that reads these bundles.
func (s *staff) reading(bundles ...string) string {
	s.t.Helper()
	var rules string
	for _, b := range bundles {
		rules += fmt.Sprintf("path %q { capabilities = [\"read\"] }\n", s.kv+"/data/"+b)
	}
	name := s.mount + "-reads-" + strings.Join(bundles, "-")
	if err := s.vault.PutPolicy(s.t.Context(), name, rules); err != nil {
		s.t.Fatal(err)
	}
	return name
}

func (s *staff) user(name string, policies ...string) {
	s.t.Helper()
	s.api(http.MethodPost, "auth/"+s.mount+"/users/"+name, map[string]any{"password": "pw", "token_policies": policies}, nil)
}

// login makes the entity, the first time.
func (s *staff) login(name string) (entity string, err error) {
	var out struct {
		Auth struct {
			EntityID string `json:"entity_id"`
		}
	}
	err = s.vault.API(s.t.Context(), http.MethodPost, "auth/"+s.mount+"/login/"+name, map[string]any{"password": "pw"}, &out)
	return out.Auth.EntityID, err
}

// people is the section of the configuration.
func (s *staff) people(disable bool) string {
	return fmt.Sprintf(`
people:
  mounts: [{path: %s, local: example.com, login: "auth/%s/users/{name}"}]
  probe_role: %s
  disable: %v
`, s.mount, s.mount, s.role, disable)
}

func leaves(id, change string, emails ...string) events.Event {
	var p events.Person
	for _, e := range emails {
		p.Identifiers = append(p.Identifiers, events.Identifier{Format: "email", Email: e})
	}
	return events.Event{ID: id, Kind: events.KindOffboarding, Offboarding: &events.Offboarding{Change: change, Severity: "high", Reason: "x", Upstream: events.Upstream{System: "hr"}, Person: p}}
}

// outcome waits for one that fits.
func (s *staff) outcome(follow <-chan events.Outcome, fits func(events.Outcome) bool) events.Outcome {
	s.t.Helper()
	for limit := time.After(60 * time.Second); ; {
		select {
		case o := <-follow:
			if fits(o) {
				return o
			}
		case <-limit:
			s.t.Fatal(s.logs)
		}
	}
}

// TestALeaverWhomOnlyVaultKnows: no bundle lists the person; Vault's policies say what they could read. That is rotated, and
// nothing else; the login is ended in the same rotation, and the receipt says so.
func TestALeaverWhomOnlyVaultKnows(t *testing.T) {
	s := newStaff(t, "team-a", "team-b", "team-secret", "other")
	reads := s.mount + "-reads"
	if err := s.vault.PutPolicy(t.Context(), reads, fmt.Sprintf("path %q { capabilities = [\"read\"] }\npath %q { capabilities = [\"deny\"] }", s.kv+"/data/team-*", s.kv+"/data/team-secret")); err != nil {
		t.Fatal(err)
	}
	s.user("dora", reads)
	if _, err := s.login("dora"); err != nil {
		t.Fatal(err)
	}
	svc, _ := s.start(s.withIntake(s.yaml, s.people(true)))
	s.publish(svc, leaves("1", "terminated", "Dora@example.com"))
	s.rotated(svc, s.all["team-a"], 1)
	s.rotated(svc, s.all["team-b"], 1)
	for _, name := range []string{"team-a", "team-b"} {
		r := s.receipt(svc, name, 1)
		if !strings.Contains(r.Events[0].Why, "could read "+s.kv+"/"+name+": Vault's policies allow it") || r.Steps["leaver-disabled"].IsZero() || !strings.Contains(strings.Join(r.Warnings, " "), "is disabled") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if _, err := s.login("dora"); err == nil {
		t.Error("the leaver logs in")
	}
	for _, name := range []string{"team-secret", "other"} {
		if rec := svc.Engine.Records()[name]; len(rec.History) > 0 || rec.Rotation != nil {
			t.Errorf("%s was rotated: nobody said that the leaver could read it", name)
		}
	}

	// Somebody whom no bundle concerns: the login is ended all the same.
	s.user("eve")
	if _, err := s.login("eve"); err != nil {
		t.Fatal(err)
	}
	follow, err := stream.FollowOutcomes(t.Context(), svc.Conn, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.publish(svc, leaves("2", "deactivated", "eve@evil.example")) // is not eve
	s.publish(svc, leaves("3", "deactivated", "eve@example.com"))
	o := s.outcome(follow, func(o events.Outcome) bool { return o.Bundle == "" })
	if o.Result != events.ResultReported || !strings.Contains(o.Reason, "is disabled; 1 tokens were revoked") || !strings.HasSuffix(o.Events[0], " 3") {
		t.Errorf("%+v", o)
	}
	if _, err := s.login("eve"); err == nil {
		t.Error("who left without a bundle logs in")
	}
	for people, want := range map[string][]string{
		s.people(true): nil,
		"people: {mounts: [" + s.mount + ", no-such-mount], disable: true}\n":       {"people no-such-mount", "Vault has: ", s.mount},
		"people: {mounts: [" + s.mount + "], probe_role: no-such-" + s.role + "}\n": {"role no-such-" + s.role, "vault write auth/token/roles/no-such-" + s.role},
	} {
		var wrong []string
		told := false
		Check(t.Context(), s.withIntake(s.yaml, people), zerolog.Nop(), func(f Finding) {
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

// TestLeaversOfEveryKind: one whom the identity system has disabled first, one who has never logged in, two in one event, and one of whom
// Vault does not tell.
func TestLeaversOfEveryKind(t *testing.T) {
	s := newStaff(t, "a", "b", "c")
	s.user("dora", s.reading("a"))
	s.user("nora", s.reading("b"))
	s.user("carl", s.reading("c"))
	s.user("cleo", s.reading("c"))
	entity, err := s.login("dora")
	for _, name := range []string{"carl", "cleo"} {
		if _, lerr := s.login(name); err != nil || lerr != nil {
			t.Fatal(err, lerr)
		}
	}
	s.api(http.MethodPost, "identity/entity/id/"+entity, map[string]any{"disabled": true}, nil)
	svc, stop := s.start(s.withIntake(s.yaml, s.people(true)))
	follow, err := stream.FollowOutcomes(t.Context(), svc.Conn, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.publish(svc, leaves("1", "deleted", "dora@example.com"))
	s.rotated(svc, s.all["a"], 1)
	if r := s.receipt(svc, "a", 1); !strings.Contains(r.Events[0].Why, "which is disabled already") || r.Steps["leaver-disabled"].IsZero() {
		t.Errorf("%+v", r)
	}
	if _, err := s.login("dora"); err == nil {
		t.Error("who was disabled logs in")
	}
	s.publish(svc, leaves("2", "deleted", "nora@example.com"))
	s.rotated(svc, s.all["b"], 1)
	if r := s.receipt(svc, "b", 1); !strings.Contains(r.Events[0].Why, "who has never logged in") {
		t.Errorf("%+v", r)
	}
	s.outcome(follow, func(o events.Outcome) bool {
		return o.Result == events.ResultReported && strings.Contains(o.Reason, "take the user away: vault delete auth/"+s.mount+"/users/nora")
	})
	s.publish(svc, leaves("3", "deleted", "carl@example.com", "cleo@example.com"))
	s.outcome(follow, func(o events.Outcome) bool {
		return o.Bundle == "" && o.Result == events.ResultHeld && strings.Contains(o.Reason, "lead to different people: carl on "+s.mount+" and cleo on ")
	})
	if _, err := s.login("carl"); err != nil {
		t.Error("disabled, although nobody knows who was meant:", err)
	}
	if rec := svc.Engine.Records()["c"]; len(rec.Held()) != 1 || rec.Generation != 0 {
		t.Errorf("%+v", rec)
	}
	stop()

	s.role += "-gone" // what Vault refuses for good is no clean answer
	svc, _ = s.start(s.withIntake(s.yaml, s.people(false)))
	if follow, err = stream.FollowOutcomes(t.Context(), svc.Conn, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.publish(svc, leaves("4", "deleted", "cleo@example.com"))
	s.outcome(follow, func(o events.Outcome) bool {
		return o.Result == events.ResultReported && strings.Contains(o.Reason, "Vault does not tell all that the person could read") && strings.Contains(o.Remedy, "rotator check")
	})
}

// TestWhatAPersonIsCalled on an auth mount.
func TestWhatAPersonIsCalled(t *testing.T) {
	const okta = "https://acme.okta.com"
	plain, issued := config.PeopleMount{}, config.PeopleMount{Issuer: okta, Local: true}
	for name, c := range map[string]struct {
		mount config.PeopleMount
		name  rotator.Name
		want  []string
	}{
		"an address":                         {plain, rotator.Name{Text: "al@example.com"}, []string{"al@example.com"}},
		"a local part":                       {config.PeopleMount{Local: true}, rotator.Name{Text: "al@evil.example"}, []string{"al@evil.example", "al"}},
		"a local part of a domain":           {config.PeopleMount{Domains: []string{"x.org", "Example.com"}}, rotator.Name{Text: "al@example.com"}, []string{"al@example.com", "al"}},
		"a local part of another domain":     {config.PeopleMount{Domains: []string{"example.com"}}, rotator.Name{Text: "al@evil.example"}, []string{"al@evil.example"}},
		"a subject":                          {issued, rotator.Name{Text: "al", Issuer: okta}, []string{"al"}},
		"a subject is no address":            {issued, rotator.Name{Text: "al@example.com", Issuer: okta}, []string{"al@example.com"}},
		"a subject of another issuer":        {issued, rotator.Name{Text: "al", Issuer: "https://evil.example"}, nil},
		"a subject where no issuer is known": {plain, rotator.Name{Text: "al", Issuer: okta}, nil},
		"an address where an issuer is":      {issued, rotator.Name{Text: "al@example.com"}, []string{"al@example.com", "al"}},
	} {
		if got := calledOn(c.mount, c.name); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestCheckAsksForNarrowRights: what check tells to add to the policy, added as it stands, is enough, and gives nobody a policy.
func TestCheckAsksForNarrowRights(t *testing.T) {
	s := newStaff(t, "a")
	s.user("dora")
	entity, err := s.login("dora")
	if err != nil {
		t.Fatal(err)
	}
	var auth map[string]struct{ Accessor string }
	_ = s.vault.API(t.Context(), http.MethodGet, "sys/auth", nil, &auth)
	policy, name := "", s.mount+"-narrow"
	for range 2 {
		if err := s.vault.PutPolicy(t.Context(), name, policy+"\npath \"sys/capabilities-self\" { capabilities = [\"update\"] }"); err != nil {
			t.Fatal(err)
		}
		token, err := s.vault.Token(t.Context(), time.Hour, name)
		if err != nil {
			t.Fatal(err)
		}
		s.file("vault.token", token)
		policy = ""
		Check(t.Context(), s.withIntake(s.yaml, s.people(true)), zerolog.Nop(), func(f Finding) {
			if line, ok := strings.CutPrefix(f.Remedy, "add to its policy: "); ok {
				policy += strings.Replace(line, "ACCESSOR OF token/, see vault auth list", auth["token/"].Accessor, 1) + "\n"
			}
		})
		if strings.Contains(policy, "identity") == (s.narrow(token, entity) == nil) {
			t.Errorf("check asks for %q, and the login is ended: %v", policy, s.narrow(token, entity))
		}
	}
}

// narrow ends a login with a token, and tries to do more with it.
func (s *staff) narrow(token, entity string) error {
	s.t.Helper()
	do := func(body string) int {
		req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.vault.Address+"/v1/identity/entity/id/"+entity, strings.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("X-Vault-Token", token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	if code := do(`{"policies":["root"]}`); code != http.StatusForbidden {
		s.t.Errorf("a policy was given: %d", code)
	}
	if code := do(`{"disabled":true}`); code/100 != 2 {
		return fmt.Errorf("status %d", code)
	}
	return nil
}
