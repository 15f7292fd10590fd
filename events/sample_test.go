package events

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const hex64 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// full returns one event of each kind with every field set.
func full() []Event {
	cred := Credential{
		Name: "billing-db", Vault: &VaultPath{Addr: "https://vault", Namespace: "admin", Mount: "kv", Path: "billing/db", Key: "user", Version: 7},
		Action: "/acme/billing/charge", PublicID: "AKIA", SecretType: "aws", Provider: "aws",
		Fingerprints: []Fingerprint{{Alg: "hmac-sha256", KeyID: "fp-2026", Value: hex64}, {Alg: "sha1", Value: hex64[:40]}},
	}
	person := Person{Identifiers: []Identifier{
		{Format: "email", Email: "john@example.com"}, {Format: "iss_sub", Iss: "https://i", Sub: "1"},
		{Format: "account", URI: "acct:j@github.com"}, {Format: "opaque", ID: "o"}, {Format: "phone_number", PhoneNumber: "+1"},
		{Format: "scim", URI: "/Users/1", ExternalID: "x"}, {Format: "employee", Company: "c", ID: "9"},
	}}
	up := Upstream{System: "github", ID: "o/r#12", Type: "t", URL: "https://github.com/x", DeliveryID: "d"}
	base := Event{ID: "id-1", Source: "urn:test", Time: at("2026-01-02T03:04:05Z"), Subject: "s",
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", RecordedTime: at("2026-01-02T03:04:06Z")}
	leak, off, exp, man := base, base, base, base
	leak.Kind, leak.Leak = KindLeak, &Leak{Credential: cred, Severity: "high", Reason: "committed", Detail: "d", Validity: "active",
		Exposure: "public", DetectedAt: at("2026-01-02T03:04:05Z"), Person: &person, Upstream: up,
		Evidence: []Evidence{{Kind: "commit", Repository: "o/r", Path: "f", Line: 3, Commit: "c", URL: "https://u", AuthorEmail: "a@b"}}}
	off.Kind, off.Offboarding = KindOffboarding, &Offboarding{Person: person, Change: "deleted", Severity: "high", Reason: "r", Detail: "d",
		Scope: &Scope{Tenant: "t", Organization: "o", Team: "m", Application: "a"}, EffectiveAt: at("2026-03-02T03:04:05Z"), InitiatedBy: "admin", Upstream: up}
	exp.Kind, exp.Expiring = KindExpiring, &Expiring{Credential: cred, ExpiresAt: at("2027-01-01T00:00:00Z"), Severity: "low", Detail: "d", Upstream: up}
	man.Kind, man.Manual = KindManual, &Manual{Credential: cred, Reason: "r", Detail: "d", Severity: "info", RequestedBy: person, Ticket: "T-1", Upstream: &up}
	out := []Event{leak, off, exp, man}
	for i := range out {
		out[i].DataSchema = out[i].Kind.dataSchema()
	}
	return out
}

func encoded(t testing.TB, e Event) []byte {
	t.Helper()
	body, err := Encode(e)
	if err != nil {
		t.Fatalf("Encode(%s): %v", e.Kind, err)
	}
	return body
}

// canonical returns every event in testdata as a structured CloudEvent.
func canonical(t testing.TB) map[string]json.RawMessage {
	t.Helper()
	files, err := filepath.Glob("testdata/*.canonical.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	out := map[string]json.RawMessage{}
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var list []json.RawMessage
		if err := json.Unmarshal(body, &list); err != nil {
			list = []json.RawMessage{body}
		}
		for i, one := range list {
			out[strings.TrimSuffix(filepath.Base(f), ".canonical.json")+string(rune('a'+i))] = one
		}
	}
	return out
}

// with returns a valid leak event after a change to its JSON.
func with(t testing.TB, change func(event, data map[string]any)) []byte {
	t.Helper()
	var event map[string]any
	if err := json.Unmarshal(encoded(t, full()[0]), &event); err != nil {
		t.Fatal(err)
	}
	change(event, event["data"].(map[string]any))
	body, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
