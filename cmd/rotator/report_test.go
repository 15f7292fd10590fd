package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/adapt"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
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
		"nothing at all":  {[]string{"-"}, "", exitOK, "no findings"},
		"censored":        {[]string{"-"}, `{"id":"x","type":"path","total_incidents":1,"entities_with_incidents":[{"filename":"f","incidents":[{"type":"t","occurrences":[{"match":"ab****yz"}]}]}]}`, exitOK, "0 of yours, 0 not, 1 left out\n  left out: finding 1: no value to compare: its matches are censored; run ggshield with --show-secrets, into a pipe\nCAREFUL: 1 of them"},
		"redacted":        {[]string{"-"}, `[{"RuleID":"r","File":"f","Secret":"REDACTED"}]`, exitOK, "CAREFUL: 1 of them"},
		"an odd line":     {[]string{"-"}, "{odd\n" + strings.SplitAfter(lines, "\n")[1], exitUsage, "0 of yours, 1 not, 0 left out, 1 not understood\n  not understood: finding 1: line 1"},
		"odd, and ours":   {[]string{"-"}, lines + "{odd\n", exitFailed, "1 of yours, 1 not, 0 left out, 1 not understood"},
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

// shelf holds one bundle.
type shelf struct {
	rotator.Secrets
	key secret.Key
	set secret.Set
}

func (s shelf) Key(context.Context) (secret.Key, error) { return s.key, nil }

func (s shelf) Read(context.Context, string, int) (rotator.Snapshot, error) {
	return rotator.Snapshot{Version: 1, Set: s.set}, nil
}

// TestNoPlainHashIsPublished: what detect-secrets has hashed without a key leaves as a keyed fingerprint of the value that it is of.
func TestNoPlainHashIsPublished(t *testing.T) {
	key, err := secret.NewKey("fp", []byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	value := secret.FromText("hunter2")
	plain := "f3bbbd66a63d4bf1747940578ec3d0103530e21d" // its SHA-1
	preview := rotator.Preview{Secrets: shelf{key: key, set: secret.Set{"PASSWORD": value, "USER": secret.FromText("app")}}, Bundles: map[string]rotator.Bundle{
		"app": {Secret: "secret/app", Credentials: []rotator.Credential{{Name: "c", Keys: map[string]string{"password": "PASSWORD"}}}, DetectedAs: []rotator.Alias{{SecretType: "known"}}}}}
	for kind, want := range map[string][]events.Fingerprint{
		"Secret Keyword": {{Alg: "hmac-sha256", KeyID: "fp", Value: key.Fingerprint(value)}},
		"known":          nil, // by what the configuration says: whose value it is is not known
	} {
		hash := plain
		if want == nil {
			hash = strings.Repeat("0", 40)
		}
		body := `{"plugins_used":[],"results":{"f":[{"type":"` + kind + `","hashed_secret":"` + hash + `"}]}}`
		found, err := adapt.Report("", adapt.Input{Body: []byte(body), Received: time.Now(), Hash: func(v string) events.Fingerprint {
			return events.Fingerprint{Alg: "hmac-sha256", KeyID: "fp", Value: key.Fingerprint(secret.FromText(v))}
		}})
		if err != nil {
			t.Fatal(err)
		}
		_, ours, err := sort(t.Context(), preview, key, found)
		if err != nil || len(ours) != 1 || !slices.Equal(ours[0].Leak.Credential.Fingerprints, want) {
			t.Fatalf("%s: %v, %+v", kind, err, ours)
		}
		if raw, err := events.Encode(ours[0]); err != nil || strings.Contains(string(raw), hash) {
			t.Errorf("%s: %v: %s", kind, err, raw)
		}
	}
}
