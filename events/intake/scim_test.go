package intake

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/events"
)

// TestSCIMServer walks through what Okta and Entra do: look for a user, create it, change it, take its access away, delete it.
func TestSCIMServer(t *testing.T) {
	e := newEdge(t, Source{Name: "idp", Kind: "scim", Secrets: secrets("t"), Origin: "urn:scim:tenant"})
	token := map[string]string{"Authorization": "Bearer t", "Content-Type": "application/scim+json"}
	call := func(method, path, body string, want int) (out map[string]any) {
		t.Helper()
		status, answer := e.do(method, "/v1/idp"+path, body, token)
		if status != want {
			t.Fatalf("%s %s: %d %s", method, path, status, answer)
		}
		if answer != "" && json.Unmarshal([]byte(answer), &out) != nil {
			t.Fatalf("%s %s: %s", method, path, answer)
		}
		return out
	}
	if status, _ := e.do("GET", "/v1/idp/Users", "", nil); status != 401 {
		t.Error("without a token:", status)
	}
	call("GET", "/ServiceProviderConfig", "", 200)
	find := `/Users?filter=userName%20eq%20%22alice%40example.com%22`
	if got := call("GET", find, "", 200); got["totalResults"] != 0.0 {
		t.Error(got)
	}
	made := call("POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"Alice@example.com","externalId":"e-1","emails":[{"value":"alice.work@example.com","type":"work"}],"active":true,"password":"`+canary+`"}`, 201)
	id := made["id"].(string)
	call("POST", "/Users", `{"userName":"alice@EXAMPLE.com"}`, 409)
	call("POST", "/Users", `{"userName":7}`, 400)
	call("POST", "/Users", `{}`, 400)
	if got := call("GET", find, "", 200); got["totalResults"] != 1.0 {
		t.Error(got)
	}
	call("GET", "/Users?filter=title%20sw%20%22a%22", "", 400)
	call("PATCH", "/Users/"+id, `{"Operations":[{"op":"replace","path":"userName","value":"alice.b@example.com"},{"op":"Replace","path":"active","value":"True"}]}`, 200)
	if len(e.published()) != 0 {
		t.Fatal("nobody has left yet")
	}
	call("PATCH", "/Users/"+id, `{"Operations":[{"op":"Replace","path":"active","value":"nein"}]}`, 400)
	if got := call("PATCH", "/Users/"+id, `{"Operations":[{"op":"Replace","path":"active","value":"False"}]}`, 200); got["active"] != false {
		t.Error(got)
	}
	call("PUT", "/Users/"+id, `{"userName":"alice.b@example.com","active":false}`, 200)
	call("DELETE", "/Users/"+id, "", 204)
	call("GET", "/Users/"+id, "", 404)
	if got := call("GET", `/Users?filter=userName%20eq%20%22alice.b%40example.com%22`, "", 200); got["totalResults"] != 0.0 {
		t.Error(got)
	}
	call("PATCH", "/Users/nobody-knows", `{"Operations":[{"op":"replace","value":{"active":false}}]}`, 200)
	call("GET", "/Groups", "", 404)
	call("HEAD", "/Groups", "", 404)
	var changes []string
	for _, ev := range e.published() {
		changes = append(changes, ev.Offboarding.Change+" "+people(ev.Offboarding.Person))
	}
	want := []string{
		"deactivated scim:/Users/" + id + " alice.b@example.com alice.work@example.com e-1",
		"deactivated scim:/Users/" + id + " alice.b@example.com alice.work@example.com e-1",
		"deleted scim:/Users/" + id + " alice.b@example.com",
		"deactivated scim:/Users/nobody-knows",
	}
	if strings.Join(changes, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(changes, "\n"))
	}
}

func people(p events.Person) string {
	var out []string
	for _, i := range p.Identifiers {
		if i.Format == "scim" {
			out = append(out, "scim:"+i.URI)
			continue
		}
		out = append(out, i.Email+i.ID)
	}
	return strings.Join(out, " ")
}
