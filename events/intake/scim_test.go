package intake

import (
	"encoding/json"
	"fmt"
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

// TestSCIMLeavers: whoever leaves is published, and stays inactive, in whatever way the request says so; and a request that only seems to say
// so is kept.
func TestSCIMLeavers(t *testing.T) {
	e := newEdge(t, Source{Name: "idp", Kind: "scim", Secrets: secrets("t")})
	token := map[string]string{"Authorization": "Bearer t"}
	mails := func(domain string) string {
		var all []string
		for i := range 12 {
			all = append(all, fmt.Sprintf(`{"value":"alice%d@%s"}`, i, domain))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	for name, c := range map[string]struct {
		method, body string
		status       int // 0: either
	}{
		"a path in full":      {"PATCH", `{"Operations":[{"op":"replace","path":"urn:ietf:params:scim:schemas:core:2.0:User:active","value":"False"}]}`, 200},
		"no path":             {"PATCH", `{"Operations":[{"op":"replace","value":{"active":false}}]}`, 200},
		"with all mails anew": {"PUT", `{"userName":"alice.b@example.org","externalId":"e-2","active":false,"emails":` + mails("example.org") + `}`, 200},
		"a name of its own":   {"PATCH", `{"Operations":[{"op":"replace","value":{"urn:ietf:params:scim:schemas:core:2.0:User:active":false}}]}`, 0},
		"its schema":          {"PATCH", `{"Operations":[{"op":"replace","value":{"urn:ietf:params:scim:schemas:core:2.0:User":{"active":false}}}]}`, 0},
	} {
		status, answer := e.do("POST", "/v1/idp/Users", `{"userName":"alice@example.com","externalId":"e-1","emails":`+mails("example.com")+`}`, token)
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(answer), &made); err != nil || status != 201 {
			t.Fatal(status, answer)
		}
		left, letters := len(e.published()), len(e.letters)
		status, answer = e.do(c.method, "/v1/idp/Users/"+made.ID, c.body, token)
		got, kept := len(e.published())-left, len(e.letters)-letters
		switch {
		case c.status != 0 && status != c.status, got+kept != 1, (status == 400) != (kept == 1):
			t.Errorf("%s: %d %s, %d events, %d letters", name, status, answer, got, kept)
		case kept == 1:
			if l := e.letters[letters]; !strings.Contains(l.Why, "PATCH /Users/"+made.ID+": ") {
				t.Errorf("%s: nobody can tell who it is: %s", name, l.Why)
			}
		default:
			_, now := e.do("GET", "/v1/idp/Users/"+made.ID, "", token)
			if p := people(e.published()[left].Offboarding.Person); !strings.Contains(answer, `"active":false`) || !strings.Contains(now, `"active":false`) || !strings.Contains(p, "alice@example.com") {
				t.Errorf("%s: %s\n%s\n%s", name, p, answer, now)
			}
		}
		e.do("DELETE", "/v1/idp/Users/"+made.ID, "", token)
	}
}

// TestSCIMIdsCannotBeGuessed: the same request is the same event, on every replica; and nobody without the store could know its id.
func TestSCIMIdsCannotBeGuessed(t *testing.T) {
	ids := func(e *edge) (out []string) {
		for range 2 {
			if status, answer := e.do("DELETE", "/v1/idp/Users/alice", "", map[string]string{"Authorization": "Bearer t"}); status != 204 {
				t.Fatal(status, answer)
			}
		}
		for _, ev := range e.published() {
			out = append(out, ev.ID)
		}
		return out
	}
	source := Source{Name: "idp", Kind: "scim", Secrets: secrets("t")}
	one, replica, stranger := newEdge(t, source), newEdge(t, source), newEdge(t, source)
	replica.in.People = one.in.People
	a, b, c := ids(one), ids(replica), ids(stranger)
	if len(a) != 2 || a[0] != a[1] || a[0] != b[0] || a[0] == c[0] {
		t.Errorf("%v, on a replica %v, with another store %v", a, b, c)
	}
}
