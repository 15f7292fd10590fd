package intake

import (
	"strings"
	"testing"
)

const twoLeavers = `{"data":{"events":[{"uuid":"1","eventType":"user.lifecycle.deactivate","outcome":{"result":"SUCCESS"},"target":[{"id":"1","type":"User","alternateId":"a@example.com"}]},
	{"uuid":"2","eventType":"user.lifecycle.deactivate","outcome":{"result":"SUCCESS"},"target":[{"id":"2","type":"User","alternateId":["` + canary + `"]}]}]}}`

// TestOneBrokenPart: what can be read is published, and the message is kept for the rest of it.
func TestOneBrokenPart(t *testing.T) {
	e := newEdge(t, Source{Name: "okta", Kind: "okta", Secrets: secrets("t")}, Source{Name: "gl", Kind: "gitlab-revocation", Secrets: secrets("t")})
	token := map[string]string{"Authorization": "t"}
	body := strings.ReplaceAll(twoLeavers, canary, "x")
	status, answer := e.do("POST", "/v1/okta", body, token)
	if status != 202 || !strings.Contains(answer, `"events":["1"]`) || !strings.Contains(answer, `"kept":true`) || len(e.published()) != 1 || len(e.letters) != 1 {
		t.Fatal(status, answer, e.letters)
	}
	if l := e.letters[0]; string(l.Body) != body || !strings.Contains(l.Why, "data.events[1].target[0].alternateID") {
		t.Errorf("%+v", l)
	}
	status, answer = e.do("POST", "/v1/gl/v1/revoke_tokens", `[{"type":"t","token":"`+canary+`"},{"type":"t","token":{"x":"`+canary+`"}}]`, token)
	if status != 204 || len(e.published()) != 2 || len(e.letters) != 2 || e.letters[1].Body != nil || !strings.Contains(e.letters[1].Why, "[1].token") {
		t.Fatal(status, answer, e.letters)
	}
}

// TestAFeedThatGoesSilent is said as an error.
func TestAFeedThatGoesSilent(t *testing.T) {
	e := newEdge(t, Source{Name: "graph", Kind: "entra", Secrets: secrets("t")})
	status, answer := e.do("POST", "/v1/graph", `{"value":[{"clientState":"t","lifecycleEvent":"subscriptionRemoved"}]}`, nil)
	if status != 200 || !strings.Contains(answer, "subscribe again") || !strings.Contains(e.log.String(), `"level":"error"`) {
		t.Error(status, answer, e.log.String())
	}
}

// TestNothingInIt: the first message of a channel of Google's, and the report of a scanner that has found nothing.
func TestNothingInIt(t *testing.T) {
	e := newEdge(t, Source{Name: "google", Kind: "google", Secrets: secrets("t")}, Source{Name: "ci", Kind: "report", Secrets: secrets("t")})
	if status, answer := e.do("POST", "/v1/google", "", map[string]string{"X-Goog-Channel-Token": "t", "X-Goog-Resource-State": "sync"}); status != 200 || !strings.Contains(answer, "channel was opened") {
		t.Error(status, answer)
	}
	if status, answer := e.do("POST", "/v1/ci", "", map[string]string{"Authorization": "t"}); status != 200 || !strings.Contains(answer, "no findings") {
		t.Error(status, answer)
	}
}

// TestSCIMBelowItsSchema: active may stand behind the name of the schema, or below it.
func TestSCIMBelowItsSchema(t *testing.T) {
	e := newEdge(t, Source{Name: "idp", Kind: "scim", Secrets: secrets("t")})
	for i, value := range []string{`{"urn:ietf:params:scim:schemas:core:2.0:User:active":false}`, `{"urn:ietf:params:scim:schemas:core:2.0:User":{"active":false}}`} {
		status, answer := e.do("PATCH", "/v1/idp/Users/1", `{"Operations":[{"op":"replace","value":`+value+`}]}`, map[string]string{"Authorization": "Bearer t"})
		if status != 200 || !strings.Contains(answer, `"active":false`) || len(e.published()) != i+1 {
			t.Error(status, answer)
		}
	}
}
