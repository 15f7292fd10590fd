package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// TestApprove: an event that a rule holds waits, is listed, shows its plan, and rotates exactly so when somebody says yes.
func TestApprove(t *testing.T) {
	path, _ := site(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, "events: {rules: [{kind: offboarding, do: approve}, {severity: info, do: report}]}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var logs output
	go func() { done <- run(ctx, []string{"run", "-c", path}, nil, &logs, &logs) }()
	defer func() { stop(); <-done }()
	before := stored(t, path)

	if code, out, errs := untilUp(t, "approve", "-c", path); code != exitOK || !strings.Contains(out, "No event waits") {
		t.Fatal(code, out, errs)
	}
	code, out, errs := untilUp(t, "emit", "offboarding", "--person", "alice@example.com", "--wait", "-c", path)
	if code != exitFailed || !strings.Contains(out, "waits for approval: rotator approve ") {
		t.Fatal(code, out, errs)
	}
	id := strings.Fields(out[strings.Index(out, "rotator approve ")+len("rotator approve "):])[0]
	if _, out, _ := call(t, "status", "-c", path); !strings.Contains(out, "rotator approve "+id) {
		t.Error(out)
	}
	var list []heldEvent
	if _, out, _ := call(t, "approve", "-c", path, "-o", "json"); json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 || list[0].ID != id || list[0].Bundles[0] != "app" {
		t.Fatal(out)
	}
	for name, c := range map[string]struct {
		args  []string
		stdin string
		code  int
		want  string
	}{
		"dry run":        {[]string{id, "--dry-run"}, "", exitOK, "Nothing was changed"},
		"no":             {[]string{id}, "n\n", exitFailed, "SECRET_ID"},
		"another id":     {[]string{"0000"}, "", exitFailed, "no event"},
		"another bundle": {[]string{id, "--bundle", "other"}, "", exitFailed, "no event"},
		"json":           {[]string{id, "-o", "json"}, "", exitUsage, "nobody can be asked"},
	} {
		var out, errs output
		if code := run(t.Context(), append([]string{"approve", "-c", path}, c.args...), strings.NewReader(c.stdin), &out, &errs); code != c.code || !strings.Contains(out.String()+errs.String(), c.want) {
			t.Errorf("%s: %d: %s%s", name, code, out.String(), errs.String())
		}
	}
	if now := stored(t, path); now.Version != before.Version {
		t.Fatal("it was rotated before anybody said yes")
	}
	if code, out, errs := call(t, "approve", id, "--yes", "--by", "bob", "-c", path); code != exitOK || !strings.Contains(out, "approved by bob") {
		t.Fatal(code, out, errs)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, out, _ := call(t, "status", "app", "-c", path); strings.Contains(out, "approved by bob") && strings.Contains(out, "rotated") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(logs.String())
		}
	}
	_, out, _ = untilUp(t, "emit", "offboarding", "--person", "alice@example.com", "--wait", "-c", path)
	id = strings.Fields(out[strings.Index(out, "rotator approve ")+len("rotator approve "):])[0]
	if code, out, errs := call(t, "approve", id, "--deny", "--yes", "-c", path); code != exitOK || !strings.Contains(out, "denied") {
		t.Fatal(code, out, errs)
	}
	if code, out, _ := call(t, "approve", "-c", path); code != exitOK || !strings.Contains(out, "No event waits") {
		t.Error(out)
	}
	if now := stored(t, path); now.Version != before.Version+1 {
		t.Errorf("KV version %d", now.Version)
	}
}

// TestApproveALogin: whose login an event would end is shown and decided with it, also when no bundle is touched, and when the bundle cannot be
// rotated.
func TestApproveALogin(t *testing.T) {
	path, host := site(t)
	v := vaulttest.Run(t)
	mount := strings.ToLower(rand.Text()[:8]) + "-people"
	if err := v.EnableAuth(t.Context(), mount, "userpass"); err != nil {
		t.Fatal(err)
	}
	login := func(name string) bool {
		var out map[string]any
		return v.API(t.Context(), "POST", "auth/"+mount+"/login/"+name, map[string]any{"password": "pw"}, &out) == nil
	}
	for _, name := range []string{"alice", "carol", "dave"} {
		if err := v.API(t.Context(), "POST", "auth/"+mount+"/users/"+name, map[string]any{"password": "pw"}, nil); err != nil || !login(name) {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, fmt.Sprintf("events: {rules: [{kind: offboarding, do: approve}]}\npeople: {mounts: [{path: %s, local: example.com}], disable: true}\n", mount)...), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var logs output
	go func() { done <- run(ctx, []string{"run", "-c", path}, nil, &logs, &logs) }()
	defer func() { stop(); <-done }()
	held := func(person string) (id string) {
		t.Helper()
		code, out, errs := untilUp(t, "emit", "offboarding", "--person", person+"@example.com", "--wait", "-c", path)
		if code != exitFailed || !strings.Contains(out, "would end the login of "+person+" on "+mount) {
			t.Fatal(code, out, errs)
		}
		return strings.Fields(out[strings.Index(out, "rotator approve ")+len("rotator approve "):])[0]
	}
	ended := func(person string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); login(person); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s logs in\n%s", person, logs.String())
			}
		}
	}
	id := held("carol")
	if _, out, _ := call(t, "approve", "-c", path); !strings.Contains(out, "and ends the login of carol on "+mount+" (Vault entity ") {
		t.Error(out)
	}
	var list []heldEvent
	if _, out, _ := call(t, "approve", "-c", path, "-o", "json"); json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 || len(list[0].Bundles) != 0 || !strings.HasPrefix(list[0].Ends, "carol on ") {
		t.Error(out)
	}
	if code, out, errs := call(t, "approve", id, "--yes", "--by", "bob", "-c", path); code != exitOK || !strings.Contains(out, "approved by bob") {
		t.Fatal(code, out, errs)
	}
	ended("carol")
	if code, out, errs := call(t, "approve", held("dave"), "--deny", "--yes", "-c", path); code != exitOK {
		t.Fatal(code, out, errs)
	}

	host.Inject(whisktest.Fault{Method: "GET", Name: "app", Times: -1, Status: 403, Text: "no"}) // so that the plan is refused
	id = held("alice")
	if code, out, errs := call(t, "approve", id, "--yes", "-c", path); code != exitFailed || !strings.Contains(errs, "rotator approve "+id+" --login") || !strings.Contains(out, "and ends the login of alice") {
		t.Fatal(code, out, errs)
	}
	if !login("alice") {
		t.Error("ended, although nothing was approved")
	}
	if code, out, errs := call(t, "approve", id, "--login", "--yes", "-c", path); code != exitOK {
		t.Fatal(code, out, errs)
	}
	ended("alice")
	list = nil
	if _, out, _ := call(t, "approve", "-c", path, "-o", "json"); json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 || list[0].Ends != "" || len(list[0].Bundles) != 1 {
		t.Error("the bundle does not wait any more:", out)
	}
	if code, _, errs := call(t, "approve", id, "--login", "--yes", "-c", path); code != exitFailed || !strings.Contains(errs, "ends no login") {
		t.Error(code, errs)
	}
	if !login("dave") {
		t.Error("denied, and ended all the same")
	}
}
