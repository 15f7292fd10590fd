package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// TestAnOperatorDecides about a rotation that is held because one target refuses: look, abandon it, verify the receipts.
func TestAnOperatorDecides(t *testing.T) {
	file, host := site(t)
	seed, _ := host.Snapshot("actions", "app")
	host.Action("other", whisktest.Seed{Parameters: seed.Own})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.NewReplacer("targets: [{host: lab, action: app}]", "targets: [{host: lab, action: app}, {host: lab, action: other}]",
		"policy: {", "policy: {leak: {contain_within: 1s, after_failure: hold}, ").Replace(string(text))
	if err := os.WriteFile(file, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	host.Inject(whisktest.Fault{Method: "PUT", Collection: "actions", Name: "other", Times: -1, Status: 403, Text: "not entitled"})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var logs output
	go func() { done <- run(ctx, []string{"run", "-c", file}, nil, &logs, &logs) }()
	defer func() { stop(); <-done }()

	if code, out, errs := untilUp(t, "emit", "leak", "-c", file, "--bundle", "app", "--wait"); code != exitFailed || !strings.Contains(out, "quarantined") {
		t.Fatalf("emit: %d %s%s", code, out, errs)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"dry run":        {[]string{"rollback", "app", "--dry-run"}, exitOK, "CAREFUL"},
		"no answer":      {[]string{"contain", "app"}, exitFailed, "nothing was changed"},
		"no such target": {[]string{"abandon", "app", "lab action nope", "--yes"}, exitFailed, "none of its targets"},
		"no target":      {[]string{"abandon", "app", "other", "--yes"}, exitUsage, "write it in quotes"},
		"no bundle":      {[]string{"resume", "nope", "--yes"}, exitFailed, "no bundle"},
		"json":           {[]string{"resume", "app", "-o", "json"}, exitUsage, "--yes or --dry-run"},
	} {
		if code, out, errs := call(t, append(tc.args, "-c", file)...); code != tc.code || !strings.Contains(out+errs, tc.want) {
			t.Errorf("%s: %d, want %d and %q: %s%s", name, code, tc.code, tc.want, out, errs)
		}
	}
	code, out, errs := call(t, "abandon", "app", "lab action other", "-c", file, "--yes", "--by", "alice", "-o", "json")
	var d decided
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != exitOK || !d.Written || len(d.Follows) == 0 {
		t.Fatalf("abandon: %d %s%s", code, out, errs)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		code, out, errs = call(t, "receipt", "show", "app", "-c", file)
		if code == exitOK || time.Now().After(deadline) {
			break
		}
	}
	for _, want := range []string{"rotated", "abandoned by alice", "exposure, event to old credential proven dead", "number  1"} {
		if !strings.Contains(out, want) {
			t.Errorf("the receipt lacks %q: %d %s%s", want, code, out, errs)
		}
	}
	if code, out, errs := call(t, "receipt", "verify", "-c", file); code != exitOK || !strings.Contains(out, "intact") {
		t.Errorf("verify: %d %s%s", code, out, errs)
	}
	if code, out, _ := call(t, "receipt", "show", "app", "no-such-rotation", "-c", file); code != exitFailed {
		t.Errorf("a receipt that is not there: %d %s", code, out)
	}
}

// untilUp calls until the service's listener answers.
func untilUp(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if code, out, errs = call(t, args...); code != exitRemote || time.Now().After(deadline) {
			return code, out, errs
		}
	}
}
