package adapt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
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
		"closed":                {"google", `{"alertId":"1","type":"Leaked password","data":{"email":"a@example.com"},"metadata":{"status":"CLOSED"}}`, "closed"},
		"deleted":               {"google", `{"alertId":"1","type":"Leaked password","data":{"email":"a@example.com"},"deleted":true}`, "deleted"},
		"another alert":         {"google", `{"alertId":"1","type":"User reported phishing"}`, "phishing rotates nothing"},
		"closed by AWS":         {"aws", `{"id":"i","source":"aws.health","detail":{"eventTypeCode":"AWS_RISK_CREDENTIALS_EXPOSED","statusCode":"closed","affectedEntities":[{"entityValue":"AKIA1"}]}}`, "closed"},
		"a call that failed":    {"aws", `{"eventName":"AttachUserPolicy","errorCode":"AccessDenied","requestParameters":{"userName":"ci","policyArn":"arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV2"}}`, "did not succeed"},
		"another policy":        {"aws", `{"eventName":"AttachUserPolicy","requestParameters":{"userName":"ci","policyArn":"arn:aws:iam::aws:policy/ReadOnlyAccess"}}`, "another policy"},
		"not of health":         {"aws", `{"source":"aws.ec2","detail-type":"EC2 Instance State-change Notification","detail":{"state":"running"}}`, "no exposed credential"},
		"a Dependabot alert":    {"github", `{"action":"created","alert":{"number":1,"dependency":{"package":{"name":"x"}},"security_advisory":{}},"repository":{"full_name":"o/r"}}`, "something else than a secret"},
		"code scanning":         {"github", `{"action":"created","alert":{"number":1,"rule":{"id":"x"},"tool":{}},"repository":{"full_name":"o/r"}}`, "something else than a secret"},
		"one more place":        {"github", `{"action":"created","alert":{"number":1,"secret_type":"t"},"location":{"type":"commit"}}`, "another place"},
		"another log":           {"entra", `{"records":[{"category":"SignInLogs","properties":{"id":"1"}}]}`, "SignInLogs"},
		"a device":              {"entra", `{"activityDisplayName":"Delete user","result":"success","targetResources":[{"id":"1","type":"Device"}]}`, "about no user"},
		"a user's mail":         {"entra", `{"value":[{"changeType":"deleted","resource":"users/1/messages/2","resourceData":{"id":"2"}}]}`, "about no user"},
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
		"github, public":      {"github", `{"action":"publicly_leaked","alert":{"number":2,"secret_type":"t","validity":"active","publicly_leaked":true,"updated_at":"2025-01-01T00:00:00Z"},"repository":{"full_name":"o/r","url":"https://api.github.com/repos/o/r"}}`, `"severity":"critical"`},
		"legacy subject":      {"ssf", `{"iss":"https://i","jti":"j","iat":1600000000,"events":{"https://schemas.openid.net/secevent/risc/event-type/account-purged":{"subject":{"subject_type":"iss-sub","iss":"https://i","sub":"s"}}}}`, `"change":"deleted"`},
		"scim event":          {"ssf", `{"iss":"https://i","jti":"j","iat":1600000000,"sub_id":{"format":"scim","uri":"/Users/1"},"events":{"urn:ietf:params:SCIM:event:prov:deactivate":{}}}`, `"uri":"/Users/1"`},
		"okta hook":           {"okta", `{"source":"https://o.okta.com/api/v1/eventHooks/x","data":{"events":[{"uuid":"u","eventType":"user.lifecycle.suspend","published":"2025-01-01T00:00:00Z","outcome":{"result":"SUCCESS"},"actor":{"type":"User"},"target":[{"id":"1","type":"User","alternateId":"a@example.com"}]}]}}`, `"iss":"https://o.okta.com"`},
		"aws, suspected":      {"aws", `{"id":"i","source":"aws.health","account":"1","detail":{"service":"RISK","eventTypeCode":"AWS_RISK_CREDENTIALS_EXPOSURE_SUSPECTED","affectedAccount":"2","affectedEntities":[{"entityValue":"AKIA1"}]}}`, `"source":"arn:aws:health:2"`},
		"gitguardian":         {"gitguardian", `{"action":"new_occurrence","timestamp":"2025-01-01T00:00:00Z","incident":{"id":1,"severity":"critical","validity":"valid","detector":{"name":"aws"},"hmsl_hash":"` + strings.Repeat("ab", 32) + `"}}`, `"alg":"gg-hmsl"`},
		"google suspends":     {"google", `{"id":{"time":"2025-01-01T00:00:00Z","uniqueQualifier":"1"},"events":[{"name":"SUSPEND_USER","parameters":[{"name":"USER_EMAIL","value":"a@example.com"}]}]}`, `"change":"suspended"`},
		"google password":     {"google", `{"alertId":"1","type":"Leaked password","startTime":"2025-01-01T00:00:00Z","data":{"email":"a@example.com"},"metadata":{"severity":"HIGH"}}`, `"reason":"credential_compromise"`},
		"google, split":       {"google", `{"id":{"time":"2025-01-01T00:00:00Z"},"events":{"name":"DELETE_USER","parameters":[{"name":"X","value":1},{"name":"USER_EMAIL","value":"a@example.com"}]}}`, `"change":"deleted"`},
		"google, pub/sub":     {"google", `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"alertId":"1","type":"Leaked password","data":{"email":"a@example.com"}}`)) + `"}}`, `"email":"a@example.com"`},
		"graph":               {"entra", `{"value":[{"id":"n","changeType":"deleted","resource":"Users/o-1","tenantId":"t-1","resourceData":{"@odata.type":"#Microsoft.Graph.User","id":"o-1"}}]}`, `"iss":"https://login.microsoftonline.com/t-1/v2.0"`},
		"entra audit":         {"entra", `{"id":"a","activityDisplayName":"Disable account","activityDateTime":"2025-01-01T00:00:00Z","result":"success","targetResources":[{"id":"o","type":"User","userPrincipalName":"a@example.com"}]}`, `"change":"deactivated"`},
		"entra audit list":    {"entra", `{"value":[{"activityDisplayName":"Delete user","result":"success","targetResources":[{"id":"o","userPrincipalName":"a@example.com"}]}]}`, `"change":"deleted"`},
		"event hub":           {"entra", `{"records":[{"properties":{"activityDisplayName":"Delete user","result":"success","targetResources":[{"id":"o","type":"User"}]}}]}`, `"id":"o"`},
		"workflow":            {"entra", `{"type":"x","data":{"subject":{"id":"o","email":"a@example.com","userPrincipalName":"a@example.com"},"workflow":{"displayName":"Offboard","category":"leaver"},"taskProcessingResult":{"id":"r","createdDateTime":"2025-01-01T00:00:00Z"}}}`, `"change":"terminated"`},
		"slack":               {"slack", `{"event_id":"Ev1","team_id":"T","event_time":1700000000,"event":{"type":"user_change","user":{"id":"U1","deleted":true,"profile":{"email":"a@example.com"}}}}`, `"email":"a@example.com"`},
		"slack audit":         {"slack", `{"id":"x","date_create":1700000000,"action":"user_deactivated","entity":{"type":"user","user":{"id":"W1","email":"a@example.com"}}}`, `"reason":"user_deactivated"`},
		"auth0":               {"auth0", `{"specversion":"1.0","id":"e","type":"user.deleted","source":"urn:auth0:t","time":"2025-01-01T00:00:00Z","data":{"object":{"user_id":"auth0|1","email":"a@example.com"}}}`, `"sub":"auth0|1"`},
		"bamboohr":            {"bamboohr", `{"type":"employee.deleted","timestamp":"2025-01-31T18:42:00+0000","data":{"companyId":"12","employeeId":67}}`, `"company":"12"`},
		"quarantine":          {"aws", `{"source":"aws.iam","detail-type":"AWS API Call via CloudTrail","detail":{"eventID":"e","eventName":"PutUserPolicy","eventTime":"2025-01-01T00:00:00Z","requestParameters":{"userName":"ci","policyName":"AWSCompromisedKeyQuarantineV2"}}}`, `"public_id":"ci"`},
		"gitlab token":        {"gitlab", `{"object_kind":"access_token","object_attributes":{"id":25,"name":"ci","expires_at":"2024-01-26"}}`, `"expires_at":"2024-01-26T00:00:00Z"`},
		"radar, a list":       {"vault-radar", `{"event_id":"e","event_type":"REPO_SCAN_MATCH","risk_category":"secrets","managed_locations":[{"hashicorp_vault":[{"location":"vault://h:8200/admin/kv/billing/db?key=password&version=7"}]}]}`, `"vault":{"addr":"h:8200","path":"admin/kv/billing/db","key":"password","version":7}`},
		"radar, a flat list":  {"vault-radar", `{"event_id":"e","type":"REPO_SCAN_MATCH","managed_locations":[{"location":"vault://h:8200/kv/x","is_latest":true}]}`, `"vault":{"addr":"h:8200","path":"kv/x"}`},
		"radar, an author":    {"vault-radar", `{"event_id":"e","event_type":"REPO_SCAN_MATCH","event_details":{"author":{"name":"A","email":"a@example.com"},"author_time":["x"]},"managed_locations":{"hashicorp_vault":[{"location":"vault://h/kv/x"}]}}`, `"author_email":"a@example.com"`},
		"radar, elsewhere":    {"vault-radar", `{"event_id":"e","event_type":"REPO_SCAN_MATCH","managed_locations":[{"aws_secrets_manager":[{"location":"arn:aws:secretsmanager:x"}]},{"location":"arn:aws:secretsmanager:y"}]}`, `"id":"e"`},
		"google, login":       {"google", `{"kind":"admin#reports#activity","id":{"time":"2025-01-01T00:00:00Z","uniqueQualifier":"1","applicationName":"login"},"events":[{"type":"account_warning","name":"account_disabled_password_leak","parameters":[{"name":"affected_email_address","value":"a@example.com"}]}]}`, `"reason":"credential_compromise"`},
		"aws, once":           {"aws", `{"id":"i","source":"aws.health","account":"1","detail":{"service":"RISK","eventTypeCode":"AWS_RISK_CREDENTIALS_EXPOSED","communicationId":"c-1","affectedAccount":"2","statusCode":"open","affectedEntities":[{"entityValue":"AKIA1"}]}}`, `"id":"c-1:2:AKIA1"`},
		"bamboohr, numbers":   {"bamboohr", `{"type":"employee.deleted","timestamp":"2025-01-31T18:42:00+0000","data":{"companyId":12345678,"employeeId":12345678}}`, `{"company":"12345678","format":"employee","id":"12345678"}`},
		"bamboohr, a bridge":  {"bamboohr", `{"type":"employee.updated","timestamp":"2025-01-31T18:42:00+0000","data":{"employeeId":"1","changedFields":["status"],"status":"Inactive","workEmail":"a@example.com"}}`, `"email":"a@example.com"`},
		"workflow, by name":   {"entra", `{"data":{"subject":{"id":"o"},"workflow":{"displayName":"Post-Offboarding of an employee"}}}`, `"change":"terminated"`},
		"workflow, by task":   {"entra", `{"data":{"subject":{"id":"o"},"workflow":{"displayName":"Last day"},"task":{"displayName":"Terminate: tell the rotator"}}}`, `"change":"terminated"`},
		"graph, bare":         {"entra", `{"value":[{"changeType":"deleted","resource":"users/o-1"}]}`, `"id":"o-1"`},
		"claims, an address":  {"ssf", `{"iss":"https://i","jti":"j","iat":1600000000,"sub_id":{"format":"id_token_claims","iss":"https://i","email":"a@example.com"},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{}}}`, `"identifiers":[{"email":"a@example.com","format":"email"}]`},
		"when it happened":    {"ssf", `{"iss":"https://i","jti":"j","iat":1600000000,"toe":1500000000,"sub_id":{"format":"email","email":"a@example.com"},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{}}}`, `"time":"2017-07-14T02:40:00Z"`},
		"in milliseconds":     {"ssf", `{"iss":"https://i","jti":"j","iat":1600000000,"sub_id":{"format":"email","email":"a@example.com"},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{"event_timestamp":1500000000000}}}`, `"time":"2017-07-14T02:40:00Z"`},
		"a user and a device": {"ssf", `{"iss":"https://i","jti":"j","iat":1,"sub_id":{"format":"complex","user":{"format":"email","email":"a@example.com"},"device":{"format":"opaque","id":"d"}},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{}}}`, `"identifiers":[{"email":"a@example.com","format":"email"}]`},
		"no URL, bad source":  {"gitlab", `{"object_kind":"vulnerability","object_attributes":{"report_type":"secret_detection","title":"AWS","url":"not a url"}}`, `"secret_type":"AWS"`},
		"a source in words":   {"auth0", `{"id":"e","type":"user.deleted","source":"two words","data":{"object":{"user_id":"auth0|1"}}}`, `"source":"urn:auth0"`},
		"gitlab":              {"gitlab", `{"object_kind":"vulnerability","object_attributes":{"report_type":"secret_detection","state":"detected","severity":"critical","url":"https://g/1","identifiers":[{"external_type":"gitleaks_rule_id","external_id":"AWS"}]}}`, `"secret_type":"gitleaks_rule_id_aws"`},
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
		"schema and name":  {"PATCH", `{"Operations":[{"op":"replace","value":{"urn:ietf:params:scim:schemas:core:2.0:User:active":false}}]}`, true, ""},
		"in the schema":    {"PATCH", `{"Operations":[{"op":"replace","value":{"urn:ietf:params:scim:schemas:core:2.0:User":{"active":"False"}}}]}`, true, ""},
		"at the schema":    {"PATCH", `{"Operations":[{"op":"replace","path":"urn:ietf:params:scim:schemas:core:2.0:User","value":{"active":false}}]}`, true, ""},
		"in an extension":  {"PATCH", `{"Operations":[{"op":"replace","value":{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"active":false}}}]}`, false, ""},
		"wrong in schema":  {"PATCH", `{"Operations":[{"op":"replace","value":{"urn:ietf:params:scim:schemas:core:2.0:User":{"active":0}}}]}`, false, "operations[0].value"},
		"both":             {"PATCH", `{"Operations":[{"op":"replace","value":{"Active":true,"active":false}}]}`, true, ""},
		"another verb":     {"PATCH", `{"Operations":[{"op":"swap","path":"active","value":false}]}`, false, "operations[0].op"},
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

// TestOneBrokenPart: what is good becomes an event, what is not is named beside it.
func TestOneBrokenPart(t *testing.T) {
	leaver := func(uuid, alternate string) string {
		return `{"uuid":"` + uuid + `","eventType":"user.lifecycle.deactivate","outcome":{"result":"SUCCESS"},"target":[{"id":"` + uuid + `","type":"User","alternateId":` + alternate + `}]}`
	}
	suspended := func(email string) string {
		return `{"name":"SUSPEND_USER","parameters":[{"name":"USER_EMAIL","value":` + email + `}]}`
	}
	deleted := func(id string) string {
		return `{"id":"` + id + `","changeType":"deleted","resource":"users/` + id + `","resourceData":{"id":"` + id + `"}}`
	}
	result := func(snippet string) string {
		return `{"ruleId":"r","locations":[{"physicalLocation":{"artifactLocation":{"uri":"f"},"region":{"snippet":{"text":` + snippet + `}}}}]}`
	}
	line := func(raw string) string { return `{"SourceMetadata":{},"DetectorName":"X","Raw":` + raw + "}" }
	for name, tc := range map[string]struct {
		source, body string
		events       int
		unread       []string
	}{
		"okta":            {"okta", `{"data":{"events":[` + leaver("1", `"a@example.com"`) + `,` + leaver("2", `{"canary":1}`) + `,"canary",` + leaver("3", `null`) + `]}}`, 2, []string{"data.events[1].target[0].alternateID: has another type than expected (object)", "data.events[2]: "}},
		"okta, no user":   {"okta", `{"data":{"events":[{"eventType":"user.lifecycle.deactivate","outcome":{"result":"SUCCESS"},"target":[{"type":"AppUser","id":"1"}]},` + leaver("2", `"a@example.com"`) + `]}}`, 1, []string{"data.events[0].target: names no user"}},
		"google":          {"google", `{"id":{"time":"2025-01-01T00:00:00Z","uniqueQualifier":"1"},"events":[` + suspended(`"a@example.com"`) + `,` + suspended(`["canary"]`) + `]}`, 1, []string{"events[1].parameters.USER_EMAIL: names nobody"}},
		"graph":           {"entra", `{"value":[` + deleted("1") + `,{"changeType":"deleted","resource":{"canary":1}},` + deleted("2") + `]}`, 2, []string{"value[1].resource: has another type"}},
		"event hub":       {"entra", `{"records":[{"category":"AuditLogs","tenantId":"t","properties":{"activityDisplayName":"Delete user","result":"success","targetResources":[{"id":"1"}]}},{"properties":{"activityDisplayName":"Delete user","result":"success"}}]}`, 1, []string{"records[1].properties.targetResources: names no user"}},
		"aws":             {"aws", `{"id":"i","source":"aws.health","detail":{"eventTypeCode":"AWS_RISK_CREDENTIALS_EXPOSED","affectedEntities":[{"entityValue":"AKIA1"},{"entityValue":7},{}]}}`, 1, []string{"detail.affectedEntities[1].entityValue: has another type", "detail.affectedEntities[2].entityValue: is missing"}},
		"radar":           {"vault-radar", `{"event_id":"e","managed_locations":{"hashicorp_vault":[{"location":"vault://h/kv/a"},{"location":7},{"location":"vault://h"},{"location":"vault://h:canary/kv"},{"location":"vault://h/kv/b"}]}}`, 2, []string{"hashicorp_vault[1].location: has another type", "hashicorp_vault[2].location: names no place", "hashicorp_vault[3].location: is no URL"}},
		"radar, only bad": {"vault-radar", `{"event_id":"e","event_subtype":"aws","managed_locations":{"hashicorp_vault":[{"location":7}]}}`, 1, []string{"managed_locations.hashicorp_vault.location: has another type"}},
		"partner":         {"github-partner", `[{"token":"canary-1","type":"t"},{"token":{"canary":1}},{"type":"t"},{"token":"canary-2","type":"t"}]`, 2, []string{"[1].token: has another type", "[2].token: holds no value"}},
		"revocation":      {"gitlab-revocation", `[{"token":["canary"],"type":"t"},{"token":"canary-2","type":"t"}]`, 1, []string{"[0].token: has another type"}},
		"gitleaks":        {"report", `[{"RuleID":"r","File":"f","Secret":"canary-1"},{"RuleID":"r","File":"f","Secret":7},"canary"]`, 1, []string{"[1].secret: has another type", "[2]: has another type"}},
		"trufflehog":      {"report", line(`"canary-1"`) + "\n{canary\n\n" + line(`7`) + "\n" + line(`"canary-2"`), 2, []string{"line 2: it is no valid JSON", "line 4, raw: has another type"}},
		"odd first":       {"report", "canary\n" + line(`"canary-1"`), 1, []string{"line 1: it is no valid JSON"}},
		"sarif":           {"report", `{"version":"2.1.0","runs":[{"results":[` + result(`"canary-1"`) + `,` + result(`7`) + `]},"canary",{}]}`, 1, []string{"runs[0].results[1].locations[0].physicalLocation.region.snippet.text: has another type", "runs[1]: has another type", "runs[2].results: is missing"}},
		"baseline":        {"report", `{"plugins_used":[],"results":{"canary":[{"type":"t","hashed_secret":"bd564db5d5cc358eb0e3523d3e03041739f230d5"},{"type":"t","hashed_secret":"canary"}],"f":7}}`, 1, []string{"results.*[1].hashed_secret: is no SHA-1", "results.*: has another type"}},
		"ggshield":        {"report", `{"total_incidents":4,"scans":[{"entities_with_incidents":[{"filename":"f","incidents":[{"type":"t","occurrences":[{"match":"canary-1"}]},{"occurrences":[{"match":7}]}]},7]}]}`, 1, []string{"scans[0].entities_with_incidents[0].incidents[1].occurrences[0].match: has another type", "scans[0].entities_with_incidents[1]: has another type", "total_incidents: is more"}},
		"gitlab report":   {"report", `{"version":"15","vulnerabilities":[{"id":"1","raw_source_code_extract":"canary-1"},{"id":"2","raw_source_code_extract":7}]}`, 1, []string{"vulnerabilities[1].raw_source_code_extract: has another type"}},
	} {
		in := native([]byte(tc.body))
		in.Hash = hash
		got, err := Message(tc.source, in)
		var all []string
		for _, u := range got.Unread {
			all = append(all, u.Why)
		}
		if err != nil || len(got.Events) != tc.events || len(all) != len(tc.unread) || got.Err() == nil {
			t.Errorf("%s: %v, %d events, ignored %v, unread %q", name, err, len(got.Events), got.Ignored, all)
			continue
		}
		for i, want := range tc.unread {
			if !strings.Contains(all[i], want) || strings.Contains(all[i], "canary") {
				t.Errorf("%s: %q, want %q", name, all[i], want)
			}
		}
	}
}

// TestAPersonOfTooManyNames: an identifier that no event could hold is left out, and the leaver is not.
func TestAPersonOfTooManyNames(t *testing.T) {
	long := strings.Repeat("x", 320) + "@example.com"
	okta := `{"uuid":"u","eventType":"user.lifecycle.deactivate","outcome":{"result":"SUCCESS"},"target":[{"id":"1","type":"User","alternateId":"` + long + `"}]}`
	alias := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{"format":"email","email":"a%d@example.com"}`, i))
		}
		return strings.Join(all, ",")
	}
	ssf := func(aliases string) string {
		return `{"iss":"https://i","jti":"j","iat":1,"sub_id":{"format":"aliases","identifiers":[` + aliases + `]},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-purged":{}}}`
	}
	for name, tc := range map[string]struct {
		source, body string
		identifiers  int
		unread       string
	}{
		"too long":          {"okta", okta, 1, "target[0]: an identifier (email) must have at most 320 characters"},
		"all there is":      {"ssf", ssf(`{"format":"email","email":"` + long + `"}`), 0, "sub_id: an identifier (email) must have at most 320 characters"},
		"many":              {"ssf", ssf(alias(16)), 16, ""},
		"too many":          {"ssf", ssf(alias(40)), 16, "sub_id: names somebody in more than 16 ways"},
		"one wrong of many": {"ssf", ssf(`{"format":"account","uri":"mailto:x"},` + alias(16)), 16, "sub_id: an identifier (account) must be"},
		"the same twice":    {"ssf", ssf(alias(3) + "," + alias(3)), 3, ""},
		"endless":           {"ssf", ssf(`{"format":"opaque","id":"` + strings.Repeat("x", 5000) + `"},` + alias(1)), 1, "sub_id: an identifier (opaque) is longer than 2048 bytes"},
	} {
		got, err := Message(tc.source, native([]byte(tc.body)))
		if err != nil || len(got.Ignored) > 0 || (len(got.Unread) > 0) != (tc.unread != "") || len(got.Unread) > 0 && !strings.Contains(got.Unread[0].Why, tc.unread) {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
		n := 0
		for _, e := range got.Events {
			n += len(e.Offboarding.Person.Identifiers)
		}
		if n != tc.identifiers {
			t.Errorf("%s: %d identifiers, want %d", name, n, tc.identifiers)
		}
	}
}

// TestSomebodyHasToSeeIt: what makes a feed silent, or says that somebody may have left and not who or whether.
func TestSomebodyHasToSeeIt(t *testing.T) {
	for name, tc := range map[string]struct {
		source, body, why string
		alarm             bool
	}{
		"removed":         {"entra", `{"value":[{"subscriptionId":"s","tenantId":"t","lifecycleEvent":"subscriptionRemoved"}]}`, "subscribe again", true},
		"missed":          {"entra", `{"value":[{"lifecycleEvent":"missed"}]}`, "missed", true},
		"reauthorize":     {"entra", `{"value":[{"lifecycleEvent":"reauthorizationRequired","resource":"users"}]}`, "renew it", true},
		"a new one":       {"entra", `{"value":[{"lifecycleEvent":"somethingElse"}]}`, "somethingElse", true},
		"onboarding":      {"entra", `{"data":{"subject":{"id":"1"},"workflow":{"displayName":"Onboard new hire"}}}`, "add data.workflow.category", true},
		"no name":         {"entra", `{"data":{"subject":{"id":"1"},"workflow":{}}}`, "Offboard", true},
		"not yet":         {"entra", `{"data":{"subject":{"id":"1"},"workflow":{"displayName":"Pre-Offboarding of an employee"}}}`, "Offboard", true},
		"a mover":         {"entra", `{"data":{"subject":{"id":"1"},"workflow":{"displayName":"Offboard","category":"mover"}}}`, "mover", false},
		"BambooHR":        {"bamboohr", `{"type":"employee.updated","data":{"companyId":"1","employeeId":"2","changedFields":["firstName","employmentHistoryStatus"]}}`, "data.changedFields", true},
		"BambooHR, end":   {"bamboohr", `{"type":"employee.updated","data":{"employeeId":2,"changedFields":["terminationDate"]}}`, "bridge", true},
		"BambooHR, other": {"bamboohr", `{"type":"employee.updated","data":{"employeeId":2,"changedFields":["maritalStatus"]}}`, "employment has ended", false},
		"stream paused":   {"ssf", `{"iss":"i","jti":"j","iat":1,"events":{"https://schemas.openid.net/secevent/ssf/event-type/stream-updated":{"status":"paused"}}}`, "leavers are missed", true},
		"stream enabled":  {"ssf", `{"iss":"i","jti":"j","iat":1,"events":{"https://schemas.openid.net/secevent/ssf/event-type/stream-updated":{"status":"enabled"}}}`, "rotates nothing", false},
	} {
		got, err := Message(tc.source, native([]byte(tc.body)))
		if err != nil || len(got.Events)+len(got.Unread) > 0 || len(got.Ignored) != 1 || got.Ignored[0].Alarm != tc.alarm || !strings.Contains(got.Ignored[0].Why, tc.why) {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
}

// TestWhatHasToBeThere: a message that lacks what decides is an error, not something that rotates nothing.
func TestWhatHasToBeThere(t *testing.T) {
	for name, tc := range map[string]struct{ source, body, field string }{
		"no alert, no header":   {"github", `{"action":"created","alert":{"number":1},"repository":{"full_name":"o/r"}}`, "alert.secret_type: is missing, and so is the header"},
		"no action":             {"github", `{"alert":{"number":1,"secret_type":"t"}}`, "action: is missing"},
		"a team without a name": {"github", `{"action":"removed","scope":"team","member":{"login":"x","id":1},"team":{},"organization":{"login":"o"}}`, "team.name: is missing"},
		"no organization":       {"github", `{"action":"member_removed","membership":{"user":{"login":"x","id":1}}}`, "organization.login: is missing"},
		"no key":                {"aws", `{"id":"i","source":"aws.health","detail":{"eventTypeCode":"AWS_RISK_CREDENTIALS_EXPOSED","affectedEntities":[]}}`, "detail.affectedEntities: names no access key"},
		"no incident":           {"gitguardian", `{"action":"incident_triggered"}`, "incident: is missing"},
		"no subject":            {"ssf", `{"iss":"i","jti":"j","iat":1,"events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{}}}`, "sub_id: is missing"},
		"a subject of a kind":   {"ssf", `{"iss":"i","jti":"j","iat":1,"sub_id":{"format":"did","url":"did:x"},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{}}}`, "sub_id.format: is none"},
		"whether it is gone":    {"slack", `{"event":{"type":"user_change","user":{"id":"U","deleted":"canary"}}}`, "event.user.deleted: has another type"},
		"no result":             {"entra", `{"activityDisplayName":"Delete user","targetResources":[{"id":"1"}]}`, "result: is missing"},
		"radar, of what":        {"vault-radar", `{"canary":1}`, "event_id and event_type are missing"},
	} {
		got, err := Message(tc.source, native([]byte(tc.body)))
		if err == nil || !strings.Contains(err.Error(), tc.field) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
}

// TestAlertsOfGitHub: the header says that an alert is about a secret, when the alert itself does not.
func TestAlertsOfGitHub(t *testing.T) {
	in := native([]byte(`{"action":"created","alert":{"number":1},"repository":{"full_name":"o/r"}}`))
	in.Header["X-GitHub-Event"] = []string{"secret_scanning_alert"}
	if got, err := Message("github", in); err != nil || len(got.Events) != 1 {
		t.Errorf("%v, %+v", err, got)
	}
	in.Body = []byte(`{"action":"created","alert":{"number":1,"secret_type":"x"},"repository":{"full_name":"o/r"}}`)
	in.Header["X-GitHub-Event"] = []string{"dependabot_alert"}
	if got, err := Message("github", in); err != nil || len(got.Ignored) != 1 {
		t.Errorf("%v, %+v", err, got)
	}
}

// TestNothingToRead: a channel that opens, and a report without findings, are no mistakes.
func TestNothingToRead(t *testing.T) {
	in := native(nil)
	in.Header = map[string][]string{"x-goog-resource-state": {"sync"}}
	if got, err := Message("google", in); err != nil || len(got.Ignored) != 1 || !strings.Contains(got.Ignored[0].Why, "channel") {
		t.Errorf("%v, %+v", err, got)
	}
	for _, body := range []string{"", " \n", "[]", "null", `{"id":"x","type":"path_scan","total_incidents":0}`, `{"version":"2.1.0","runs":[{"results":[]}]}`} {
		in := native([]byte(body))
		in.Hash = hash
		if got, err := Message("report", in); err != nil || len(got.Ignored) != 1 || !strings.Contains(got.Ignored[0].Why, "no findings") {
			t.Errorf("%q: %v, %+v", body, err, got)
		}
	}
	for _, format := range append(Formats(), "") {
		if got, err := Report(format, input("")); err != nil || len(got.Events)+len(got.Ignored)+len(got.Unread) > 0 {
			t.Errorf("%s: %v, %+v", format, err, got)
		}
	}
	if _, err := Report("nope", input("")); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}
