package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) { o.mu.Lock(); defer o.mu.Unlock(); return o.b.Write(p) }
func (o *output) String() string              { o.mu.Lock(); defer o.mu.Unlock(); return o.b.String() }

// call runs the program once.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs output
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestHelpTeaches(t *testing.T) {
	code, out, _ := call(t, "--help")
	for _, want := range []string{"rotator check", "Exit codes", "completion"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("--help: %d, no %q", code, want)
		}
	}
	for _, c := range rootCommand().Commands() {
		if c.Short == "" || c.Name() != "example" && c.Name() != "completion" && len(c.Long) < 80 {
			t.Errorf("%s: help that does not teach", c.Name())
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, _ := call(t, "completion", shell); code != exitOK || len(out) < 500 {
			t.Errorf("completion %s: %d, %d bytes", shell, code, len(out))
		}
	}
}

func TestExampleIsTheWholeConfiguration(t *testing.T) {
	code, out, _ := call(t, "example")
	if code != exitOK || out != config.Example() {
		t.Errorf("example: %d", code)
	}
}

func TestUsageAndConfigurationErrorsAre2(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "rotator.yaml")
	if err := os.WriteFile(bad, []byte("vault: {adress: x}\nopenwhisk: 3\nbundles:\n  b: {secret: nope}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"unknown command": {"nope"}, "unknown flag": {"status", "--nope"}, "unknown output": {"status", "-o", "xml"}, "no file": {"check", "-c", bad + "x"}, "bad file": {"check", "-c", bad},
		"plan of nothing": {"plan"}, "plan of two": {"plan", "--bundle", "a", "--event", "b"}, "emit of nothing": {"emit", "leak"}, "offboarding of nobody": {"emit", "offboarding"},
	} {
		if code, _, errs := call(t, args...); code != exitUsage || !strings.HasPrefix(errs, "rotator: ") {
			t.Errorf("%s: code %d, %q", name, code, errs)
		}
	}
	scoped := filepath.Join(t.TempDir(), "rotator.yaml")
	if err := os.WriteFile(scoped, []byte(`vault: {address: "https://v", auth: {token_file: /t}}
openwhisk: {a: {apihost: "https://a.example.com", auth_file: /k}}
bundles: {app: {secret: kv/x, credentials: {c: {generate: {password_policy: p}, keys: {password: P}}}, targets: [{action: x}]}}
events: {publishers: [{name: cli, kinds: [leak]}]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := call(t, "emit", "manual", "--bundle", "app", "-c", scoped); code != exitUsage || !strings.Contains(errs, "does not allow this publisher") {
		t.Errorf("what the service would refuse: %d %s", code, errs)
	}
	var findings []map[string]any
	if code, out, _ := call(t, "check", "-c", bad, "-o", "json"); code != exitUsage || json.Unmarshal([]byte(out), &findings) != nil || len(findings) < 3 {
		t.Errorf("check -o json of a bad file: %d %s", code, out)
	}
	_, _, errs := call(t, "check", "-c", bad)
	for _, want := range []string{bad + ":1:", bad + ":2:", bad + ":4:", "address"} {
		if !strings.Contains(errs, want) {
			t.Errorf("not every mistake is reported at once, no %q in:\n%s", want, errs)
		}
	}
}

// site is a Vault, a host and a configuration, with `rotator run` in this process.
func site(t *testing.T) (configFile string, host *whisktest.Server) {
	t.Helper()
	v := vaulttest.Run(t)
	kv, approle := v.KV(t), v.AppRole(t)
	role := "auth/" + approle + "/role/app"
	var got struct {
		Data struct {
			RoleID   string `json:"role_id"`
			SecretID string `json:"secret_id"`
		}
	}
	for _, c := range []struct {
		method, path string
		body, out    any
	}{
		{"POST", role, map[string]any{"token_ttl": "5m"}, nil}, {"GET", role + "/role-id", nil, &got}, {"POST", role + "/secret-id", map[string]any{}, &got},
	} {
		if err := v.API(t.Context(), c.method, c.path, c.body, c.out); err != nil {
			t.Fatal(err)
		}
	}
	data := map[string]any{"ROLE_ID": got.Data.RoleID, "SECRET_ID": got.Data.SecretID}
	if err := v.API(t.Context(), "POST", kv+"/data/app", map[string]any{"data": data}, nil); err != nil {
		t.Fatal(err)
	}
	host = whisktest.New(whisktest.Options{})
	host.Referee(t)
	host.Action("app", whisktest.Seed{Parameters: whisktest.Params(fmt.Sprintf(`[{"key":"SECRET_ID","value":%q},{"key":"ROLE_ID","value":%q}]`, got.Data.SecretID, got.Data.RoleID))})
	h := httptest.NewServer(host)
	t.Cleanup(h.Close)
	dir := t.TempDir()
	text := fmt.Sprintf(`
nats: {listen: "127.0.0.1:%d"}
data: data
ops: {listen: none}
log: {level: error, format: json}
vault: {address: %q, auth: {method: token, token_file: token}, fingerprint_key: %s/fp}
openwhisk: {lab: {apihost: %q, namespace: guest, auth_file: key}}
bundles:
  app:
    secret: %s/app
    credentials: {login: {generate: %s/secret-id, keys: {secret_id: SECRET_ID}, probe: {approle: {mount: %s, role_id: "{{ROLE_ID}}", secret_id: "{{SECRET_ID}}"}}}}
    holders: [alice@example.com]
    policy: {offboarding: {overlap: 1s}}
    targets: [{host: lab, action: app}]
`, freePort(t), v.Address, kv, h.URL, kv, role, approle)
	for name, content := range map[string]string{"rotator.yaml": text, "token": v.RootToken, "key": whisktest.GuestKey} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "rotator.yaml"), host
}

func freePort(t *testing.T) int {
	t.Helper()
	s := httptest.NewServer(nil)
	defer s.Close()
	var port int
	if _, err := fmt.Sscanf(s.URL, "http://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	return port
}

func TestAFirstHour(t *testing.T) {
	file, host := site(t)
	if code, out, errs := call(t, "check", "-c", file); code != exitOK || !strings.Contains(out, "1 targets can be rotated") {
		t.Fatalf("check: %d\n%s%s", code, out, errs)
	}
	if code, out, _ := call(t, "plan", "-c", file, "--bundle", "app"); code != exitOK || !strings.Contains(out, "SECRET_ID") {
		t.Fatalf("plan: %d\n%s", code, out)
	}
	if n := host.Count("PUT", ""); n != 0 {
		t.Fatalf("check and plan made %d PUTs", n)
	}
	ctx, stop := context.WithCancel(t.Context())
	var logs output
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"run", "-c", file}, nil, &logs, &logs) }()

	code, out, errs := call(t, "emit", "leak", "-c", file, "--bundle", "app", "--wait", "--timeout", "60s", "-o", "json")
	var outcomes []events.Outcome
	if err := json.Unmarshal([]byte(out), &outcomes); err != nil || code != exitOK || len(outcomes) != 1 || outcomes[0].Result != events.ResultRotated {
		t.Fatalf("emit leak: %d %v\n%s%s%s", code, err, out, errs, logs.String())
	}
	if code, _, errs := call(t, "run", "-c", file); code != exitRemote || !strings.Contains(errs, "used by another rotator") {
		t.Errorf("a second program on the same data: %d %s", code, errs)
	}
	if code, out, errs := call(t, "emit", "offboarding", "-c", file, "--person", "ALICE@example.com", "--wait"); code != exitOK || !strings.Contains(out, "rotated") || !strings.Contains(errs, "draining") {
		t.Errorf("emit offboarding: %d\n%s%s", code, out, errs)
	}
	if code, out, _ := call(t, "emit", "offboarding", "-c", file, "--person", "bob@example.com", "--wait"); code != exitOK || !strings.Contains(out, "touches no bundle") {
		t.Errorf("a person who holds nothing: %d %s", code, out)
	}
	if code, _, errs := call(t, "emit", "leak", "-c", file, "--path", "secret/other", "--wait"); code != exitFailed || !strings.Contains(errs, "no bundle matches") {
		t.Errorf("a leak of nothing we manage: %d %s", code, errs)
	}
	var print, errOut output
	snap, _ := host.Snapshot("actions", "app")
	bound, _ := snap.Own.Get("SECRET_ID")
	value, _ := bound.Value.Text()
	if code := run(t.Context(), []string{"fingerprint", "-c", file}, strings.NewReader(value+"\n"), &print, &errOut); code != exitOK || strings.Contains(print.String(), value) {
		t.Fatalf("fingerprint: %d %s", code, errOut.String())
	}
	if code, out, errs := call(t, "emit", "leak", "-c", file, "--fingerprint", strings.TrimSpace(print.String()), "--wait"); code != exitOK || !strings.Contains(out, "rotated") {
		t.Errorf("a leak by fingerprint: %d %s%s", code, out, errs)
	}
	if code, out, errs := call(t, "emit", "leak", "-c", file, "--fingerprint", strings.TrimSpace(print.String()), "--wait"); code != exitOK || !strings.Contains(out, "refused again just now: nothing is left to do") {
		t.Errorf("the same value again: %d %s%s", code, out, errs)
	}
	if code, out, _ := call(t, "dead", "-c", file); code != exitOK || !strings.Contains(out, "unmatched") {
		t.Errorf("dead: %d %s", code, out)
	}
	if code, out, _ := call(t, "status", "-c", file, "app"); code != exitOK || !strings.Contains(out, "proven-dead") || !strings.Contains(out, "holder alice@example.com") {
		t.Errorf("status: %d %s", code, out)
	}
	for name, args := range map[string][]string{
		"unknown bundle": {"plan", "--bundle", "nope"}, "unknown kind": {"plan", "--bundle", "app", "--kind", "lek"}, "no person": {"emit", "offboarding", "--person", "alice"},
		"bad publisher": {"emit", "manual", "--bundle", "app", "--publisher", "a.b"}, "bad severity": {"emit", "manual", "--bundle", "app", "--severity", "sever"}, "value as fingerprint": {"emit", "leak", "--fingerprint", "hunter2"},
	} {
		if code, _, errs := call(t, append(args, "-c", file)...); code != exitUsage || strings.Contains(errs, "hunter2") {
			t.Errorf("%s: %d %s", name, code, errs)
		}
	}
	if code, _, errs := call(t, "resume", "-c", file, "app"); code != exitFailed || !strings.Contains(errs, "nothing is being rotated") {
		t.Errorf("resume of an idle bundle: %d %s", code, errs)
	}
	event := filepath.Join(t.TempDir(), "event.json")
	text := `{"specversion":"1.0","id":"1","source":"urn:x","type":"rotator.principal.offboarded.v1","time":"2026-01-01T00:00:00Z","data":{"person":{"identifiers":[{"format":"email","email":"alice@example.com"}]},"change":"terminated","severity":"high","reason":"left","upstream":{"system":"hr"}}}`
	if err := os.WriteFile(event, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := call(t, "plan", "-c", file, "--event", event); code != exitOK || !strings.Contains(out, "holder alice@example.com") {
		t.Errorf("plan of an event: %d %s%s", code, out, errs)
	}
	host.Delete("actions", "app")
	if code, out, _ := call(t, "check", "-c", file); code != exitFailed || !strings.Contains(out, "does not exist") || !strings.Contains(out, "remedy:") {
		t.Errorf("check with a missing action: %d %s", code, out)
	}
	if code, out, _ := call(t, "emit", "manual", "-c", file, "--bundle", "app", "--wait"); code != exitFailed || !strings.Contains(out, "refused") {
		t.Errorf("a refused rotation: %d %s", code, out)
	}
	if code, out, errs := call(t, "receipt", "verify", "-c", file); code != exitOK || !strings.Contains(out, "intact") {
		t.Errorf("receipt verify: %d %s%s", code, out, errs)
	}
	outcomesEnd(t, file)
	if code, out, errs := call(t, "receipt", "verify", "-c", file); code != exitOK || !strings.Contains(out, "nothing left to check: the last receipt is of") {
		t.Errorf("receipt verify after the retention: %d %s%s", code, out, errs)
	}
	if code, out, _ := call(t, "emit", "leak", "-c", file, "--bundle", "app", "--wait"); code != exitFailed || !strings.Contains(out, "delayed") || !strings.Contains(out, "does not exist") {
		t.Errorf("a leak that cannot be rotated now: %d %s", code, out)
	}
	stop()
	select {
	case code := <-done:
		if code != exitOK {
			t.Errorf("run ended with %d: %s", code, logs.String())
		}
	case <-time.After(30 * time.Second):
		t.Error("run does not stop")
	}
}

// outcomesEnd makes every outcome older than the stream keeps them.
func outcomesEnd(t *testing.T, file string) {
	t.Helper()
	cfg, err := config.Load(file, config.ThisMachine())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := service.Dial(t.Context(), cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), stream.Outcomes)
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.MaxAge, c.Duplicates = 200*time.Millisecond, 100*time.Millisecond
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); s.CachedInfo().State.Msgs > 0; {
		if _, err := s.Info(t.Context()); err != nil || time.Now().After(end) {
			t.Fatalf("the outcomes do not end: %v", err)
		}
		time.Sleep(50 * time.Millisecond) // the server tells nobody
	}
}

func TestUnreachableIs3(t *testing.T) {
	file, _ := site(t)
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var out, errs output
	if code := run(short, []string{"status", "-c", file}, nil, &out, &errs); code != exitRemote {
		t.Errorf("status without a service: %d %s%s", code, out.String(), errs.String())
	}
}
