package whisktest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// do sends one request as the guest and returns status and body.
func do(t *testing.T, s *whisktest.Server, method, path, body string) (int, string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, "/api/v1/namespaces/_/"+path, strings.NewReader(body))
	user, pass, _ := strings.Cut(whisktest.GuestKey, ":")
	req.SetBasicAuth(user, pass)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

func invoke(t *testing.T, s *whisktest.Server, name, payload string) whisktest.Call {
	t.Helper()
	before := len(s.Calls())
	if status, body := do(t, s, "POST", "actions/"+name+"?blocking=true", payload); status != http.StatusOK {
		t.Fatalf("invoking %s: %d %s", name, status, body)
	}
	calls := s.Calls()
	if len(calls) == before {
		t.Fatalf("%s did not run", name)
	}
	return calls[len(calls)-1]
}

func TestInitParametersStayUntilTheContainerIsNew(t *testing.T) {
	s := whisktest.New(whisktest.Options{})
	s.Package("p", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"E","value":"old","init":true},{"key":"A","value":"old"}]`)})
	s.Action("p/a", whisktest.Seed{})
	if c := invoke(t, s, "p/a", `{}`); c.Env["E"] != "old" || string(c.Args["A"]) != `"old"` || c.Args["E"] != nil {
		t.Fatalf("first run: %+v", c)
	}
	s.Write("packages", "p", whisktest.Params(`[{"key":"E","value":"new","init":true},{"key":"A","value":"new"}]`))
	if c := invoke(t, s, "p/a", `{}`); c.Env["E"] != "old" || string(c.Args["A"]) != `"new"` {
		t.Errorf("a package PUT keeps the containers: %+v", c)
	}
	do(t, s, "PUT", "actions/p/a?overwrite=true", `{}`)
	if c := invoke(t, s, "p/a", `{}`); c.Env["E"] != "new" {
		t.Errorf("a touched action starts afresh: %+v", c)
	}
	s.Write("packages", "p", whisktest.Params(`[{"key":"E","value":"newer","init":true}]`))
	s.RetireContainers()
	if c := invoke(t, s, "p/a", `{}`); c.Env["E"] != "newer" {
		t.Errorf("after the idle time: %+v", c)
	}
}

func TestSequenceRunsWithWhatWasReadAtItsStart(t *testing.T) {
	s := whisktest.New(whisktest.Options{})
	for _, name := range []string{"a", "b"} {
		s.Action(name, whisktest.Seed{Parameters: whisktest.Params(`[{"key":"K","value":"old"}]`)})
	}
	s.Sequence("s", "a", "b")
	s.Handle("a", func(whisktest.Call) (any, error) {
		s.Write("actions", "b", whisktest.Params(`[{"key":"K","value":"new"}]`))
		return map[string]any{"from": "a"}, nil
	})
	c := invoke(t, s, "s", `{"x":1}`)
	if c.Action != "b" || string(c.Args["K"]) != `"old"` || string(c.Args["from"]) != `"a"` || c.Args["x"] != nil {
		t.Errorf("second component: %+v", c)
	}
	if c = invoke(t, s, "b", `{}`); string(c.Args["K"]) != `"new"` {
		t.Errorf("the next run: %+v", c)
	}
}

func TestTriggerBeatsAction(t *testing.T) {
	s := whisktest.New(whisktest.Options{})
	s.Action("a", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"B","value":20}]`)})
	s.Trigger("t", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"B","value":9}]`)})
	if status, _ := do(t, s, "POST", "triggers/t", `{}`); status != http.StatusNoContent {
		t.Errorf("no rule: %d, want 204", status)
	}
	s.Rule("r", "t", "a")
	if status, _ := do(t, s, "POST", "triggers/t", `{}`); status != http.StatusAccepted {
		t.Fatalf("fire: %d", status)
	}
	if c := s.Calls(); len(c) != 1 || string(c[0].Args["B"]) != "9" {
		t.Errorf("calls %+v, want one with B=9", c)
	}
	do(t, s, "PUT", "actions/a?overwrite=true", `{"annotations":[{"key":"final","value":true}]}`)
	do(t, s, "POST", "triggers/t", `{}`)
	if c := s.Calls(); len(c) != 1 {
		t.Error("a final parameter must refuse the trigger's value")
	}
	do(t, s, "POST", "rules/r", `{"status":"inactive"}`)
	if status, _ := do(t, s, "POST", "triggers/t", `{}`); status != http.StatusNoContent {
		t.Errorf("inactive rule: %d, want 204", status)
	}
}

func TestLockedValueWithoutMarkIsLockedTwice(t *testing.T) {
	for mode, marked := range map[whisktest.Encryption]bool{whisktest.Marked: true, whisktest.Hidden: false} {
		s := whisktest.New(whisktest.Options{Encryption: mode})
		s.Action("a", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"K","value":"plain"}]`)})
		_, body := do(t, s, "GET", "actions/a", "")
		var doc struct{ Parameters []map[string]any }
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Fatal(err)
		}
		if _, has := doc.Parameters[0]["encryption"]; has != marked {
			t.Errorf("mode %d: mark %t, want %t", mode, has, marked)
		}
		delete(doc.Parameters[0], "encryption")
		raw, err := json.Marshal(doc.Parameters)
		if err != nil {
			t.Fatal(err)
		}
		do(t, s, "PUT", "actions/a?overwrite=true", `{"parameters":`+string(raw)+`}`)
		if c := invoke(t, s, "a", `{}`); string(c.Args["K"]) == `"plain"` {
			t.Errorf("mode %d: the action must get ciphertext after a careless write-back", mode)
		}
	}
}

func TestRefereeKnowsWhatTheClientDoesNot(t *testing.T) {
	s := whisktest.New(whisktest.Options{})
	s.Action("a", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"K","value":1}]`)})
	fouls := &tally{}
	s.Referee(fouls)
	body := `{"parameters":[{"key":"K","value":2}]}`
	do(t, s, "GET", "actions/a", "")
	s.Inject(whisktest.Fault{Method: "PUT", Status: 503, AfterCommit: true})
	do(t, s, "PUT", "actions/a?overwrite=true", body)
	if len(*fouls) != 0 {
		t.Fatalf("a proper write is a foul: %v", *fouls)
	}
	do(t, s, "PUT", "actions/a?overwrite=true", body)
	if len(*fouls) != 1 || !strings.Contains((*fouls)[0], "without being read") {
		t.Errorf("blind repetition after a lost answer: %v", *fouls)
	}
	*fouls = nil
	do(t, s, "PUT", "actions/a?overwrite=true", `{"parameters":[]}`)
	s.Allow("actions", "a", "K", "L")
	do(t, s, "PUT", "actions/a?overwrite=true", body)
	do(t, s, "PUT", "actions/a?overwrite=true", `{"parameters":[]}`)
	do(t, s, "PUT", "actions/a?overwrite=true", `{"version":"0.0.9"}`)
	if len(*fouls) != 2 || !strings.Contains((*fouls)[0], `"K" is lost`) || !strings.Contains((*fouls)[1], `"version"`) {
		t.Errorf("lost, allowed, version: %v", *fouls)
	}
}

type tally []string

func (*tally) Helper()                             {}
func (f *tally) Errorf(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func TestCountsAndFailingCode(t *testing.T) {
	s := whisktest.New(whisktest.Options{})
	s.Action("a", whisktest.Seed{})
	s.Handle("a", func(whisktest.Call) (any, error) { return nil, errors.New("no") })
	if status, body := do(t, s, "POST", "actions/a?blocking=true&result=true", `{}`); status != http.StatusBadGateway || body != "{\"error\":\"no\"}\n" {
		t.Errorf("failing action: %d %s", status, body)
	}
	do(t, s, "GET", "actions/a", "")
	do(t, s, "GET", "packages", "")
	if s.Count("GET", "") != 2 || s.Count("", "actions") != 2 || s.Count("", "") != 3 {
		t.Errorf("requests: %+v", s.Requests())
	}
	s.ResetRequests()
	if s.Count("", "") != 0 {
		t.Error("the count is not reset")
	}
}
