package adapt

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// sourceOf is the source of a sample, by its file name.
func sourceOf(file string) string {
	for prefix, source := range map[string]string{"aws": "aws", "gitguardian": "gitguardian", "github": "github", "okta": "okta", "risc": "ssf", "caep": "ssf", "ssf": "ssf", "vault-radar": "vault-radar"} {
		if strings.HasPrefix(filepath.Base(file), prefix) {
			return source
		}
	}
	return ""
}

func native(body []byte) Native {
	return Native{Body: body, Received: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Origin: "https://example.okta.com", Header: map[string][]string{"x-github-delivery": {"delivery-guid-header"}}}
}

// TestMessageSamples: real messages become exactly the canonical events beside them; a sample without one rotates nothing and
// says why.
func TestMessageSamples(t *testing.T) {
	files, err := filepath.Glob("testdata/messages/*-[0-9].json")
	if err != nil || len(files) < 13 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Message(sourceOf(file), native(body))
			if err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".canonical.json")
			if err != nil {
				if len(got.Events) > 0 || len(got.Ignored) == 0 || got.Ignored[0].Why == "" {
					t.Errorf("events %v, ignored %v", got.Events, got.Ignored)
				}
				return
			}
			var want []json.RawMessage
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			if len(got.Events) != len(want) {
				t.Fatalf("%d events, want %d; ignored %v", len(got.Events), len(want), got.Ignored)
			}
			for i, e := range got.Events {
				raw, err := events.Encode(e)
				if err != nil {
					t.Fatal(err)
				}
				is, _ := json.Marshal(stable(t, raw))
				should, _ := json.Marshal(stable(t, want[i]))
				if string(is) != string(should) {
					t.Errorf("\n got %s\nwant %s", is, should)
				}
			}
		})
	}
}

// stable is an event without its envelope's defaults; ids that are digests are ours alone.
func stable(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	delete(e, "dataschema")
	delete(e, "datacontenttype")
	if id, _ := e["id"].(string); len(id) == 32 && !strings.ContainsAny(id, "-:") && strings.ToLower(id) == id {
		delete(e, "id")
	}
	at, err := time.Parse(time.RFC3339Nano, e["time"].(string))
	if e["time"] = at.UTC().Format(time.RFC3339Nano); err != nil || at.Unix() == 0 || at.Year() == 2026 {
		delete(e, "time")
	}
	return e
}

// TestWrongKind: authentic, but nothing has leaked and nobody has left.
func TestWrongKind(t *testing.T) {
	for name, tc := range map[string]struct{ source, body, why string }{
		"resolved":             {"github", `{"action":"resolved","alert":{"number":1},"repository":{}}`, "resolved"},
		"validated inactive":   {"github", `{"action":"validated","alert":{"number":1,"validity":"inactive"}}`, "validated as inactive"},
		"member added":         {"github", `{"action":"member_added","membership":{"user":{"login":"x"}}}`, "member_added"},
		"incident resolved":    {"gitguardian", `{"action":"incident_resolved","incident":{"id":1}}`, "incident_resolved"},
		"test message":         {"gitguardian", `{"author":"x","matches":[{"match":"canary"}]}`, "no incident"},
		"reactivated":          {"okta", `{"eventType":"user.lifecycle.reactivate","outcome":{"result":"SUCCESS"}}`, "reactivate"},
		"failed":               {"okta", `{"eventType":"user.lifecycle.deactivate","outcome":{"result":"FAILURE"}}`, "did not succeed"},
		"account enabled":      {"ssf", `{"iss":"i","jti":"j","iat":1,"sub_id":{"format":"email","email":"a@example.com"},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-enabled":{}}}`, "account-enabled"},
		"only a device":        {"ssf", `{"iss":"i","jti":"j","iat":1,"sub_id":{"format":"complex","device":{"format":"opaque","id":"d"}},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{}}}`, "no person"},
		"another health event": {"aws", `{"source":"aws.health","detail":{"service":"EC2","eventTypeCode":"AWS_EC2_X"}}`, "no exposed credential"},
		"not a secret":         {"gitlab", `{"object_kind":"vulnerability","object_attributes":{"report_type":"sast"}}`, "no secret"},
		"a merge request":      {"gitlab", `{"object_kind":"merge_request"}`, "merge_request"},
		"let in":               {"google", `{"id":{"time":"2026-01-01T00:00:00Z"},"events":[{"name":"UNSUSPEND_USER"}]}`, "UNSUSPEND_USER"},
	} {
		got, err := Message(tc.source, native([]byte(tc.body)))
		if err != nil || len(got.Events) > 0 || len(got.Ignored) != 1 || !strings.Contains(got.Ignored[0].Why, tc.why) || strings.Contains(got.Ignored[0].Why, "canary") {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
}

// TestDescribed: shapes that the descriptions have and the samples have not.
func TestDescribed(t *testing.T) {
	for name, tc := range map[string]struct{ source, body, want string }{
		"github, public":  {"github", `{"action":"publicly_leaked","alert":{"number":2,"secret_type":"t","validity":"active","publicly_leaked":true,"updated_at":"2025-01-01T00:00:00Z"},"repository":{"full_name":"o/r","url":"https://api.github.com/repos/o/r"}}`, `"severity":"critical"`},
		"legacy subject":  {"ssf", `{"iss":"https://i","jti":"j","iat":1600000000,"events":{"https://schemas.openid.net/secevent/risc/event-type/account-purged":{"subject":{"subject_type":"iss-sub","iss":"https://i","sub":"s"}}}}`, `"change":"deleted"`},
		"scim event":      {"ssf", `{"iss":"https://i","jti":"j","iat":1600000000,"sub_id":{"format":"scim","uri":"/Users/1"},"events":{"urn:ietf:params:SCIM:event:prov:deactivate":{}}}`, `"uri":"/Users/1"`},
		"okta hook":       {"okta", `{"source":"https://o.okta.com/api/v1/eventHooks/x","data":{"events":[{"uuid":"u","eventType":"user.lifecycle.suspend","published":"2025-01-01T00:00:00Z","outcome":{"result":"SUCCESS"},"actor":{"type":"User"},"target":[{"id":"1","type":"User","alternateId":"a@example.com"}]}]}}`, `"iss":"https://o.okta.com"`},
		"aws, suspected":  {"aws", `{"id":"i","source":"aws.health","account":"1","detail":{"service":"RISK","eventTypeCode":"AWS_RISK_CREDENTIALS_EXPOSURE_SUSPECTED","affectedAccount":"2","affectedEntities":[{"entityValue":"AKIA1"}]}}`, `"source":"arn:aws:health:2"`},
		"gitguardian":     {"gitguardian", `{"action":"new_occurrence","timestamp":"2025-01-01T00:00:00Z","incident":{"id":1,"severity":"critical","validity":"valid","detector":{"name":"aws"},"hmsl_hash":"` + strings.Repeat("ab", 32) + `"}}`, `"alg":"gg-hmsl"`},
		"google suspends": {"google", `{"id":{"time":"2025-01-01T00:00:00Z","uniqueQualifier":"1"},"events":[{"name":"SUSPEND_USER","parameters":[{"name":"USER_EMAIL","value":"a@example.com"}]}]}`, `"change":"suspended"`},
		"google password": {"google", `{"alertId":"1","type":"Leaked password","startTime":"2025-01-01T00:00:00Z","data":{"email":"a@example.com"},"metadata":{"severity":"HIGH"}}`, `"reason":"credential_compromise"`},
		"gitlab":          {"gitlab", `{"object_kind":"vulnerability","object_attributes":{"report_type":"secret_detection","state":"detected","severity":"critical","url":"https://g/1","identifiers":[{"external_type":"gitleaks_rule_id","external_id":"AWS"}]}}`, `"secret_type":"gitleaks_rule_id_aws"`},
	} {
		got, err := Message(tc.source, native([]byte(tc.body)))
		if err != nil || len(got.Events) != 1 {
			t.Errorf("%s: %v, %+v", name, err, got)
			continue
		}
		raw, err := events.Encode(got.Events[0])
		if err != nil || !strings.Contains(string(raw), tc.want) {
			t.Errorf("%s: %v: %s", name, err, raw)
		}
	}
}

func TestNoMessage(t *testing.T) {
	for source, want := range map[string]error{"nope": ErrSource, "trufflehog": ErrRaw, "github-partner": ErrRaw, "gitlab-revocation": ErrRaw, "gitleaks": ErrRaw, "sarif": ErrRaw} {
		if _, err := Message(source, native([]byte(`{}`))); !errors.Is(err, want) {
			t.Errorf("%s: %v", source, err)
		}
	}
	for source, body := range map[string]string{"github": `{"canary":1}`, "okta": `{}`, "ssf": `eyJcanary`, "google": `{"canary":1}`, "aws": `canary`, "gitlab": `[]`, "vault-radar": `"canary"`, "gitguardian": `{"incident":"canary"}`} {
		if _, err := Message(source, native([]byte(body))); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// FuzzMessage: no input breaks an adapter, and whatever becomes an event is one that the service takes.
func FuzzMessage(f *testing.F) {
	files, _ := filepath.Glob("testdata/messages/*.json")
	for _, file := range files {
		if body, err := os.ReadFile(file); err == nil {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, source := range Sources() {
			got, err := Message(source, Native{Body: body, Received: time.Now()})
			if err != nil {
				continue
			}
			for _, e := range got.Events {
				raw, err := events.Encode(e)
				if err != nil {
					t.Fatalf("%s: %v", source, err)
				}
				if _, err := events.DecodeFile(raw, time.Now()); err != nil {
					t.Fatalf("%s: the service would refuse it: %v", source, err)
				}
			}
		}
	})
}
