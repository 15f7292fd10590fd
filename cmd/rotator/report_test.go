package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReport: a scanner's report with one live credential among things that are none of ours, from the file to the updated
// action and the dead credential; reported twice, it is one rotation.
func TestReport(t *testing.T) {
	path, host := site(t)
	before := stored(t, path)
	leaked, _ := before.Set["SECRET_ID"].Text()
	lines := fmt.Sprintf(`{"SourceMetadata":{"Data":{"Git":{"commit":"abc","file":"config.js","repository":"https://git.example.com/r","timestamp":"2026-01-02 10:17:40 +0000","line":4}}},"DetectorName":"Vault","Verified":true,"Raw":%q}
{"SourceMetadata":{"Data":{"Git":{"file":"other.js","line":9}}},"DetectorName":"AWS","Verified":false,"Raw":"AKIANOTOURSATALL"}
`, leaked)
	file := filepath.Join(t.TempDir(), "findings.jsonl")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var logs output
	go func() { done <- run(ctx, []string{"run", "-c", path}, nil, &logs, &logs) }()
	defer func() { stop(); <-done }()
	for name, tc := range map[string]struct {
		args  []string
		stdin string
		code  int
		want  string
	}{
		"dry run":         {[]string{file, "--dry-run"}, "", exitFailed, "1 of yours, 1 not"},
		"no":              {[]string{file}, "n\n", exitFailed, "Nothing was published"},
		"a pipe":          {[]string{"-"}, lines, exitFailed, "add --yes"},
		"nothing of ours": {[]string{"-"}, strings.SplitAfter(lines, "\n")[1], exitOK, "0 of yours, 1 not"},
		"no report":       {[]string{"-"}, "{}", exitUsage, "no known report format"},
		"no such format":  {[]string{"-", "--format", "nope"}, lines, exitUsage, "no known report format"},
		"no file":         {[]string{"nowhere.json"}, "", exitUsage, "nowhere.json"},
	} {
		var out, errs output
		code := run(t.Context(), append([]string{"report", "-c", path}, tc.args...), strings.NewReader(tc.stdin), &out, &errs)
		if text := out.String() + errs.String(); code != tc.code || !strings.Contains(text, tc.want) || strings.Contains(text, leaked) {
			t.Errorf("%s: %d, want %d and %q: %s", name, code, tc.code, tc.want, text)
		}
	}
	for range 2 {
		code, out, errs := untilUp(t, "report", file, "-c", path, "--yes", "-o", "json")
		var got reported
		if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK || !got.Published && len(got.Ours) > 0 || got.Format != "trufflehog" || strings.Contains(out+errs, leaked) {
			t.Fatalf("%v: %d %s%s", err, code, out, errs)
		}
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			e, _ := own(t, host, "actions", "app").Get("SECRET_ID")
			if text, _ := e.Value.Text(); text != leaked {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the action still holds the leaked credential: %s", logs.String())
			}
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, out, _ := call(t, "status", "-c", path)
		if strings.Contains(out, "rotated") && strings.Contains(out, "idle") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s\n%s", out, logs.String())
		}
	}
	if now := stored(t, path); now.Version != 2 || strings.Contains(logs.String(), leaked) {
		t.Errorf("KV version %d after one leak, reported twice", now.Version)
	}
}
