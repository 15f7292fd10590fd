package rotator

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/events"
)

// shops is a world with two bundles; both are held by alice, the second one also by a group.
func shops(t *testing.T) (*world, *resolver) {
	w := newWorld(t)
	one, two := w.shop("one", 1), w.shop("two", 2)
	one.Compose = map[string]Template{"URL": must(ParseTemplate("x{{PASSWORD}}"))}
	two.Holders = []string{"*@example.com", "group:payments", "00u3m90"}
	one.Holders = append(one.Holders, "https://idp.example#AbC", "group:acme")
	return w, &resolver{bundles: map[string]Bundle{"one": one, "two": two}, secrets: &ports{world: w}}
}

func found(t *testing.T, r *resolver, ev events.Event) (out []string) {
	t.Helper()
	touched, err := r.touched(t.Context(), ev)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range touched.Hits {
		if h.Why == "" || strings.Contains(h.Why, canary) {
			t.Errorf("why %s? %q", h.Bundle, h.Why)
		}
		out = append(out, h.Bundle)
	}
	return out
}

func leaked(c events.Credential) events.Event {
	return events.Event{Kind: events.KindLeak, Leak: &events.Leak{Credential: c}}
}

func left(change string, scope *events.Scope, ids ...events.Identifier) events.Event {
	return events.Event{Kind: events.KindOffboarding, Offboarding: &events.Offboarding{Change: change, Scope: scope, Person: events.Person{Identifiers: ids}}}
}

func TestResolve(t *testing.T) {
	_, r := shops(t)
	value := canary + "-two-first"
	s256, s1 := sha256.Sum256([]byte(value)), sha1.Sum([]byte(value))
	key := must((&ports{}).Key(t.Context()))
	mail := func(s string) events.Identifier { return events.Identifier{Format: "email", Email: s} }
	for name, tc := range map[string]struct {
		ev   events.Event
		want []string
	}{
		"by name":                {leaked(events.Credential{Name: "one"}), []string{"one"}},
		"by path":                {leaked(events.Credential{Vault: &events.VaultPath{Mount: "secret", Path: "two"}}), []string{"two"}},
		"by path as the API has": {leaked(events.Credential{Vault: &events.VaultPath{Mount: "secret", Path: "data/two"}}), []string{"two"}},
		"by whole path":          {leaked(events.Credential{Vault: &events.VaultPath{Path: "secret/two"}}), []string{"two"}},
		"by minted key":          {leaked(events.Credential{Vault: &events.VaultPath{Mount: "secret", Path: "one", Key: "PASSWORD"}}), []string{"one"}},
		"by composed key":        {leaked(events.Credential{Vault: &events.VaultPath{Mount: "secret", Path: "one", Key: "URL"}}), []string{"one"}},
		"by action":              {leaked(events.Credential{Action: "/ns/two-1"}), []string{"two"}},
		"by sha256":              {leaked(events.Credential{Fingerprints: []events.Fingerprint{{Alg: "sha256", Value: hex.EncodeToString(s256[:])}}}), []string{"two"}},
		"by sha1":                {leaked(events.Credential{Fingerprints: []events.Fingerprint{{Alg: "sha1", Value: hex.EncodeToString(s1[:])}}}), []string{"two"}},
		"by keyed fingerprint":   {leaked(events.Credential{Fingerprints: []events.Fingerprint{{Alg: "hmac-sha256", KeyID: "test", Value: key.Fingerprint(txt(value))}}}), []string{"two"}},
		"fingerprint beats name": {leaked(events.Credential{Name: "one", Fingerprints: []events.Fingerprint{{Alg: "sha1", Value: hex.EncodeToString(s1[:])}}}), []string{"two"}},
		"person by email":        {left("terminated", nil, mail("Alice@Example.COM")), []string{"one", "two"}},
		"person by glob":         {left("deleted", nil, mail("bob@example.com")), []string{"two"}},
		"person by subject":      {left("deactivated", nil, events.Identifier{Format: "iss_sub", Iss: "https://x", Sub: "00u3m90"}), []string{"two"}},
		"person by account":      {left("deactivated", nil, events.Identifier{Format: "account", URI: "acct:alice@example.com"}), []string{"one", "two"}},
		"person by guest name":   {left("deleted", nil, events.Identifier{Format: "opaque", ID: "bob#EXT#@example.com"}), []string{"two"}},
		"by issuer and subject":  {left("deleted", nil, events.Identifier{Format: "iss_sub", Iss: "https://idp.example", Sub: "AbC"}), []string{"one"}},
		"of another issuer":      {left("deleted", nil, events.Identifier{Format: "iss_sub", Iss: "https://evil.example", Sub: "AbC"}), nil},
		"in another case":        {left("deleted", nil, events.Identifier{Format: "iss_sub", Iss: "https://idp.example", Sub: "abc"}), nil},
		"nobody we know":         {left("terminated", nil, mail("eve@elsewhere.org")), nil},
		"left a team only":       {left("membership_removed", &events.Scope{Team: "Payments"}, mail("alice@example.com")), []string{"two"}},
		"left a team of it only": {left("membership_removed", &events.Scope{Team: "kitchen", Organization: "acme"}, mail("alice@example.com")), nil},
		"left the organization":  {left("membership_removed", &events.Scope{Organization: "Acme"}, mail("eve@elsewhere.org")), []string{"one"}},
		"lost an application":    {left("membership_removed", &events.Scope{Application: "payments", Organization: "acme"}, mail("eve@elsewhere.org")), []string{"two"}},
		"left another team":      {left("membership_removed", &events.Scope{Team: "kitchen"}, mail("alice@example.com")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := found(t, r, tc.ev); !slices.Equal(got, tc.want) {
				t.Errorf("found %v, want %v", got, tc.want)
			}
		})
	}
}

func TestUnmatchedIsForTheDeadLetters(t *testing.T) {
	_, r := shops(t)
	for name, c := range map[string]events.Credential{
		"unknown name": {Name: "three"}, "unknown path": {Vault: &events.VaultPath{Mount: "secret", Path: "three"}}, "nothing": {},
		"a key no rotation changes":  {Vault: &events.VaultPath{Mount: "secret", Path: "one", Key: "SMTP"}},
		"fingerprint of another key": {Fingerprints: []events.Fingerprint{{Alg: "hmac-sha256", KeyID: "other", Value: strings.Repeat("a", 64)}}},
	} {
		_, err := r.resolve(t.Context(), leaked(c))
		unmatched, ok := errors.AsType[*UnmatchedError](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if reason, remedy := unmatched.DeadLetter(); reason == "" || remedy == "" || unmatched.Error() == "" {
			t.Errorf("%s: no reason or remedy: %v", name, unmatched)
		}
	}
}
