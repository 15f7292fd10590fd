package adapt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// sourceOf is the source of a sample, by its file name: the longest prefix counts.
func sourceOf(file string) (source string) {
	long := 0
	for prefix, s := range map[string]string{"aws": "aws", "gitguardian": "gitguardian", "github": "github", "github-partner": "github-partner", "okta": "okta", "risc": "ssf", "caep": "ssf", "ssf": "ssf", "vault-radar": "vault-radar",
		"gitlab-token-revocation": "gitlab-revocation", "scim": "scim", "graph": "entra", "bamboohr": "bamboohr"} {
		if strings.HasPrefix(filepath.Base(file), prefix) && len(prefix) > long {
			source, long = s, len(prefix)
		}
	}
	return source
}

// sampled is a sample with what its source says beside the body.
func sampled(file string, body []byte) (source string, in Native) {
	source, in = sourceOf(file), native(body)
	switch source {
	case "scim":
		in.Method, in.Path, in.Origin = "PATCH", "/Users/23a35c27-23d3-4c03-b4c5-6443c09e7173", "urn:scim:tenant"
	case "github-partner", "gitlab-revocation":
		in.Hash = hash
	}
	return source, in
}

func native(body []byte) Native {
	return Native{Body: body, Received: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Origin: "https://example.okta.com", Header: map[string][]string{"x-github-delivery": {"delivery-guid-header"}}}
}

// TestMessageSamples: real messages become exactly the canonical events beside them; a sample without one rotates nothing and
// says why.
func TestMessageSamples(t *testing.T) {
	files, err := filepath.Glob("testdata/messages/*-[0-9].json")
	if err != nil || len(files) < 19 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Message(sampled(file, body))
			if err != nil {
				t.Fatal(err)
			}
			if got.Err() != nil {
				t.Error(got.Err())
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
				should, _ := json.Marshal(stable(t, ourKey(t, body, want[i])))
				if string(is) != string(should) {
					t.Errorf("\n got %s\nwant %s", is, should)
				}
			}
		})
	}
}

// ourKey puts fingerprints of the test's own key into a golden event that holds those of another: the key of the samples is
// not known, but the values are.
func ourKey(t *testing.T, body, golden []byte) []byte {
	t.Helper()
	var sent []struct{ Token, Location, URL string }
	if json.Unmarshal(body, &sent) != nil {
		return golden
	}
	theirs := regexp.MustCompile(`"key_id":\s*"fp-demo",\s*"value":\s*"[0-9a-f]{64}"`)
	for _, s := range sent {
		if strings.Contains(string(golden), or(s.Location, s.URL)) {
			fp := hash(s.Token)
			golden = theirs.ReplaceAll(golden, []byte(`"key_id":"`+fp.KeyID+`","value":"`+fp.Value+`"`))
		}
	}
	return golden
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
		"resolved":              {"github", `{"action":"resolved","alert":{"number":1},"repository":{}}`, "resolved"},
		"validated inactive":    {"github", `{"action":"validated","alert":{"number":1,"validity":"inactive"}}`, "validated as inactive"},
		"member added":          {"github", `{"action":"member_added","membership":{"user":{"login":"x"}}}`, "member_added"},
		"incident resolved":     {"gitguardian", `{"action":"incident_resolved","incident":{"id":1}}`, "incident_resolved"},
		"test message":          {"gitguardian", `{"author":"x","matches":[{"match":"canary"}]}`, "no incident"},
		"reactivated":           {"okta", `{"eventType":"user.lifecycle.reactivate","outcome":{"result":"SUCCESS"}}`, "reactivate"},
		"failed":                {"okta", `{"eventType":"user.lifecycle.deactivate","outcome":{"result":"FAILURE"}}`, "did not succeed"},
		"account enabled":       {"ssf", `{"iss":"i","jti":"j","iat":1,"sub_id":{"format":"email","email":"a@example.com"},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-enabled":{}}}`, "account-enabled"},
		"only a device":         {"ssf", `{"iss":"i","jti":"j","iat":1,"sub_id":{"format":"complex","device":{"format":"opaque","id":"d"}},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{}}}`, "no person"},
		"another health event":  {"aws", `{"source":"aws.health","detail":{"service":"EC2","eventTypeCode":"AWS_EC2_X"}}`, "no exposed credential"},
		"not a secret":          {"gitlab", `{"object_kind":"vulnerability","object_attributes":{"report_type":"sast"}}`, "no secret"},
		"a merge request":       {"gitlab", `{"object_kind":"merge_request"}`, "merge_request"},
		"a user is created":     {"entra", `{"value":[{"changeType":"created","resource":"users/1","resourceData":{"@odata.type":"#Microsoft.Graph.User","id":"1"}}]}`, "created does not say"},
		"account enabled again": {"entra", `{"activityDisplayName":"Enable account","result":"success"}`, "Enable account"},
		"disabling failed":      {"entra", `{"activityDisplayName":"Disable account","result":"failure"}`, "did not succeed"},
		"somebody joins":        {"entra", `{"data":{"subject":{"id":"1"},"workflow":{"category":"joiner"}}}`, "joiner"},
		"slack, renamed":        {"slack", `{"event_id":"1","event":{"type":"user_change","user":{"id":"U","deleted":false}}}`, "gone"},
		"slack, a message":      {"slack", `{"event_id":"1","event":{"type":"message","user":"U"}}`, "gone"},
		"slack, added":          {"slack", `{"id":"1","action":"user_created"}`, "user_created"},
		"auth0, a test":         {"auth0", `{"type":"user.deleted","a0purpose":"test","data":{"object":{"user_id":"1"}}}`, "a test"},
		"hired":                 {"bamboohr", `{"type":"employee.created","data":{"employeeId":1}}`, "employment"},
		"trail":                 {"aws", `{"eventName":"ListUsers"}`, "ListUsers"},
		"let in":                {"google", `{"id":{"time":"2026-01-01T00:00:00Z"},"events":[{"name":"UNSUSPEND_USER"}]}`, "UNSUSPEND_USER"},
	} {
		got, err := Message(tc.source, native([]byte(tc.body)))
		if err != nil || len(got.Events) > 0 || len(got.Ignored) != 1 || !strings.Contains(got.Ignored[0].Why, tc.why) || strings.Contains(got.Ignored[0].Why, "canary") {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
}

// described are shapes that the descriptions have and the samples have not.
func described() map[string]struct{ source, body, want string } {
	return map[string]struct{ source, body, want string }{
		"github, public":   {"github", `{"action":"publicly_leaked","alert":{"number":2,"secret_type":"t","validity":"active","publicly_leaked":true,"updated_at":"2025-01-01T00:00:00Z"},"repository":{"full_name":"o/r","url":"https://api.github.com/repos/o/r"}}`, `"severity":"critical"`},
		"legacy subject":   {"ssf", `{"iss":"https://i","jti":"j","iat":1600000000,"events":{"https://schemas.openid.net/secevent/risc/event-type/account-purged":{"subject":{"subject_type":"iss-sub","iss":"https://i","sub":"s"}}}}`, `"change":"deleted"`},
		"scim event":       {"ssf", `{"iss":"https://i","jti":"j","iat":1600000000,"sub_id":{"format":"scim","uri":"/Users/1"},"events":{"urn:ietf:params:SCIM:event:prov:deactivate":{}}}`, `"uri":"/Users/1"`},
		"okta hook":        {"okta", `{"source":"https://o.okta.com/api/v1/eventHooks/x","data":{"events":[{"uuid":"u","eventType":"user.lifecycle.suspend","published":"2025-01-01T00:00:00Z","outcome":{"result":"SUCCESS"},"actor":{"type":"User"},"target":[{"id":"1","type":"User","alternateId":"a@example.com"}]}]}}`, `"iss":"https://o.okta.com"`},
		"aws, suspected":   {"aws", `{"id":"i","source":"aws.health","account":"1","detail":{"service":"RISK","eventTypeCode":"AWS_RISK_CREDENTIALS_EXPOSURE_SUSPECTED","affectedAccount":"2","affectedEntities":[{"entityValue":"AKIA1"}]}}`, `"source":"arn:aws:health:2"`},
		"gitguardian":      {"gitguardian", `{"action":"new_occurrence","timestamp":"2025-01-01T00:00:00Z","incident":{"id":1,"severity":"critical","validity":"valid","detector":{"name":"aws"},"hmsl_hash":"` + strings.Repeat("ab", 32) + `"}}`, `"alg":"gg-hmsl"`},
		"google suspends":  {"google", `{"id":{"time":"2025-01-01T00:00:00Z","uniqueQualifier":"1"},"events":[{"name":"SUSPEND_USER","parameters":[{"name":"USER_EMAIL","value":"a@example.com"}]}]}`, `"change":"suspended"`},
		"google password":  {"google", `{"alertId":"1","type":"Leaked password","startTime":"2025-01-01T00:00:00Z","data":{"email":"a@example.com"},"metadata":{"severity":"HIGH"}}`, `"reason":"credential_compromise"`},
		"google, split":    {"google", `{"id":{"time":"2025-01-01T00:00:00Z"},"events":{"name":"DELETE_USER","parameters":[{"name":"X","value":1},{"name":"USER_EMAIL","value":"a@example.com"}]}}`, `"change":"deleted"`},
		"google, pub/sub":  {"google", `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"alertId":"1","type":"Leaked password","data":{"email":"a@example.com"}}`)) + `"}}`, `"email":"a@example.com"`},
		"graph":            {"entra", `{"value":[{"id":"n","changeType":"deleted","resource":"Users/o-1","tenantId":"t-1","resourceData":{"@odata.type":"#Microsoft.Graph.User","id":"o-1"}}]}`, `"iss":"https://login.microsoftonline.com/t-1/v2.0"`},
		"entra audit":      {"entra", `{"id":"a","activityDisplayName":"Disable account","activityDateTime":"2025-01-01T00:00:00Z","result":"success","targetResources":[{"id":"o","type":"User","userPrincipalName":"a@example.com"}]}`, `"change":"deactivated"`},
		"entra audit list": {"entra", `{"value":[{"activityDisplayName":"Delete user","result":"success","targetResources":[{"id":"o","userPrincipalName":"a@example.com"}]}]}`, `"change":"deleted"`},
		"event hub":        {"entra", `{"records":[{"properties":{"activityDisplayName":"Delete user","result":"success","targetResources":[{"id":"o","type":"User"}]}}]}`, `"id":"o"`},
		"workflow":         {"entra", `{"type":"x","data":{"subject":{"id":"o","email":"a@example.com","userPrincipalName":"a@example.com"},"workflow":{"displayName":"Offboard","category":"leaver"},"taskProcessingResult":{"id":"r","createdDateTime":"2025-01-01T00:00:00Z"}}}`, `"change":"terminated"`},
		"slack":            {"slack", `{"event_id":"Ev1","team_id":"T","event_time":1700000000,"event":{"type":"user_change","user":{"id":"U1","deleted":true,"profile":{"email":"a@example.com"}}}}`, `"email":"a@example.com"`},
		"slack audit":      {"slack", `{"id":"x","date_create":1700000000,"action":"user_deactivated","entity":{"type":"user","user":{"id":"W1","email":"a@example.com"}}}`, `"reason":"user_deactivated"`},
		"auth0":            {"auth0", `{"specversion":"1.0","id":"e","type":"user.deleted","source":"urn:auth0:t","time":"2025-01-01T00:00:00Z","data":{"object":{"user_id":"auth0|1","email":"a@example.com"}}}`, `"sub":"auth0|1"`},
		"bamboohr":         {"bamboohr", `{"type":"employee.deleted","timestamp":"2025-01-31T18:42:00+0000","data":{"companyId":"12","employeeId":67}}`, `"company":"12"`},
		"quarantine":       {"aws", `{"source":"aws.iam","detail-type":"AWS API Call via CloudTrail","detail":{"eventID":"e","eventName":"PutUserPolicy","eventTime":"2025-01-01T00:00:00Z","requestParameters":{"userName":"ci","policyName":"AWSCompromisedKeyQuarantineV2"}}}`, `"public_id":"ci"`},
		"gitlab token":     {"gitlab", `{"object_kind":"access_token","object_attributes":{"id":25,"name":"ci","expires_at":"2024-01-26"}}`, `"expires_at":"2024-01-26T00:00:00Z"`},
		"gitlab":           {"gitlab", `{"object_kind":"vulnerability","object_attributes":{"report_type":"secret_detection","state":"detected","severity":"critical","url":"https://g/1","identifiers":[{"external_type":"gitleaks_rule_id","external_id":"AWS"}]}}`, `"secret_type":"gitleaks_rule_id_aws"`},
	}
}

func TestDescribed(t *testing.T) {
	for name, tc := range described() {
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
		_, _, _ = SCIMUser(body)
		for _, source := range append(Sources(), RawSources()...) {
			got, err := Message(source, Native{Body: body, Received: time.Now(), Hash: hash, Method: "PATCH", Path: "/Users/1"})
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

// TestSCIM: every shape in which identity systems take somebody's access away, and nothing that merely looks like it.
func TestSCIM(t *testing.T) {
	for name, tc := range map[string]struct {
		method, body string
		gone         bool
		bad          string
	}{
		"okta":             {"PATCH", `{"Operations":[{"op":"replace","value":{"active":false}}]}`, true, ""},
		"entra":            {"PATCH", `{"Operations":[{"op":"Replace","path":"active","value":"False"}]}`, true, ""},
		"entra, new":       {"PATCH", `{"Operations":[{"op":"replace","path":"active","value":false}]}`, true, ""},
		"sailpoint":        {"PATCH", `{"Operations":[{"op":"add","path":"ACTIVE","value":false}]}`, true, ""},
		"with the schema":  {"PATCH", `{"Operations":[{"op":"replace","path":"urn:ietf:params:scim:schemas:core:2.0:User:active","value":false}]}`, true, ""},
		"among others":     {"PATCH", `{"Operations":[{"op":"replace","path":"title","value":"x"},{"op":"Replace","value":{"Active":"false","title":"y"}}]}`, true, ""},
		"and back":         {"PATCH", `{"Operations":[{"op":"replace","path":"active","value":false},{"op":"replace","path":"active","value":true}]}`, false, ""},
		"activated":        {"PATCH", `{"Operations":[{"op":"Replace","path":"active","value":"True"}]}`, false, ""},
		"something else":   {"PATCH", `{"Operations":[{"op":"replace","path":"title","value":"False"}]}`, false, ""},
		"a text":           {"PATCH", `{"Operations":[{"op":"replace","path":"active","value":"no"}]}`, false, "operations[0].value"},
		"a number":         {"PATCH", `{"Operations":[{"op":"replace","path":"active","value":0}]}`, false, "operations[0].value"},
		"no operations":    {"PATCH", `{}`, false, "operations"},
		"put":              {"PUT", `{"userName":"a@example.com","active":false}`, true, ""},
		"put, still there": {"PUT", `{"userName":"a@example.com","active":true}`, false, ""},
		"put, a text":      {"PUT", `{"active":"maybe"}`, false, "active"},
		"deleted":          {"DELETE", ``, true, ""},
	} {
		in := Native{Body: []byte(tc.body), Received: time.Now(), Method: tc.method, Path: "/Users/1", Known: []events.Identifier{{Format: "email", Email: "a@example.com"}}}
		got, err := Message("scim", in)
		switch {
		case tc.bad != "":
			if err == nil || !strings.Contains(err.Error(), tc.bad) {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil, (len(got.Events) == 1) != tc.gone, !tc.gone && len(got.Ignored) == 0:
			t.Errorf("%s: %v, %+v", name, err, got)
		case tc.gone && len(got.Events[0].Offboarding.Person.Identifiers) != 2:
			t.Errorf("%s: %+v", name, got.Events[0].Offboarding)
		}
	}
}

// TestUnknownMembersChangeNothing: a newer version of a source may say more, anywhere.
func TestUnknownMembersChangeNothing(t *testing.T) {
	files, err := filepath.Glob("testdata/messages/*-[0-9].json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(filepath.Base(file), "risc") || strings.HasPrefix(filepath.Base(file), "caep") || strings.HasPrefix(filepath.Base(file), "ssf") {
			continue // "events" holds exactly one; see below
		}
		var doc any
		if err := json.Unmarshal(body, &doc); err != nil {
			t.Fatal(err)
		}
		more, err := json.Marshal(extended(doc))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := said(t, file, more), said(t, file, body); got != want {
			t.Errorf("%s:\n got %s\nwant %s", filepath.Base(file), got, want)
		}
	}
	token := `{"iss":"https://i","jti":"j","iat":1600000000,"zz":1,"sub_id":{"format":"email","email":"a@example.com","zz":[]},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{"zz":{"a":1}}}}`
	if got, err := Message("ssf", native([]byte(token))); err != nil || len(got.Events) != 1 {
		t.Errorf("%v, %+v", err, got)
	}
}

// extended puts a member that nobody knows into every object.
func extended(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, member := range x {
			x[k] = extended(member)
		}
		x["zz_of_a_later_version"] = map[string]any{"list": []any{1, "x"}}
	case []any:
		for i := range x {
			x[i] = extended(x[i])
		}
	}
	return v
}

// said is what a message comes to, without ids that are made of its bytes.
func said(t *testing.T, file string, body []byte) string {
	t.Helper()
	got, err := Message(sampled(file, body))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var out []string
	for _, e := range got.Events {
		raw, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(stable(t, raw))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text))
	}
	for _, i := range got.Ignored {
		out = append(out, i.Why)
	}
	return strings.Join(out, "\n")
}
