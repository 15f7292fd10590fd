package whisktest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// npm installs a package of a fixed version once, below the user's cache, and returns its directory. Where node
// is missing the test is skipped, but not in CI.
func npm(t *testing.T, name, version string) string {
	t.Helper()
	program, err := exec.LookPath("npm")
	if err != nil {
		missing(t, "npm is not on PATH, so the real client "+name+" is not tested")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		missing(t, "no cache directory for npm packages: "+err.Error())
	}
	dir := filepath.Join(cache, "rotator-test", strings.ReplaceAll(strings.TrimPrefix(name, "@"), "/", "-")+"-"+version)
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	if testing.Short() {
		t.Skip("installing " + name + " takes minutes; leave out -short")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	t.Logf("installing %s@%s once into the cache", name, version)
	cmd := exec.CommandContext(ctx, program, "install", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts", name+"@"+version)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, "npm cannot install "+name+": "+err.Error()+": "+lastLine(out))
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// shop starts an emulator without referee: these clients break its rules, as is well known.
func shop(t *testing.T) (*whisktest.Server, string) {
	t.Helper()
	s := whisktest.New(whisktest.Options{})
	s.Package("p", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"A","value":1},{"key":"B","value":2}]`)})
	s.Action("p/a", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"B","value":20},{"key":"E","value":"x","init":true}]`), Code: "function main() {}"})
	s.Trigger("t", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"K","value":"v"}]`)})
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

// run starts a real client with an empty home and returns what it printed as JSON.
func run(t *testing.T, address string, into any, program string, args ...string) {
	t.Helper()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = home
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_CACHE_HOME=" + home, "XDG_DATA_HOME=" + home,
		"AIO_RUNTIME_APIHOST=" + address, "AIO_RUNTIME_AUTH=" + whisktest.GuestKey, "AIO_RUNTIME_NAMESPACE=guest",
		"AIO_TELEMETRY_DISABLED=1", "DO_NOT_TRACK=1", "CI=1", "NO_COLOR=1",
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s%s", filepath.Base(program), args, err, stdout.String(), stderr.String())
	}
	if into == nil {
		return
	}
	out := stdout.Bytes()
	if i := bytes.IndexAny(out, "{["); i > 0 { // aio prints the name first
		out = out[i:]
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%s %v printed no JSON: %v\n%s", filepath.Base(program), args, err, stdout.String())
	}
}

func holds(t *testing.T, s *whisktest.Server, collection, name, want string) {
	t.Helper()
	got, found := s.Snapshot(collection, name)
	if !found || !got.Own.Equal(whisktest.Params(want)) {
		t.Errorf("%s holds %s, want %s", name, got.Own.Encode(), want)
	}
}

const script = `
const ow = require('openwhisk')({ apihost: process.env.AIO_RUNTIME_APIHOST, api_key: process.env.AIO_RUNTIME_AUTH, namespace: 'guest' })
const own = e => Object.fromEntries(e.parameters.map(p => [p.key, p.value]));
(async () => {
  const out = {}
  out.get = own(await ow.actions.get({ name: 'p/a' }))
  out.list = (await ow.actions.list()).map(a => a.namespace + '/' + a.name)
  out.update = own(await ow.actions.update({ name: 'p/a', action: 'function main() { return {} }', params: { B: 21 } }))
  out.pkg = own(await ow.packages.get({ name: 'p' }))
  out.packages = (await ow.packages.list()).map(p => p.name)
  out.trigger = own(await ow.triggers.get({ name: 't' }))
  await ow.triggers.update({ name: 't', trigger: { parameters: [{ key: 'K', value: 'w' }] } })
  await ow.rules.update({ name: 'r', trigger: 't', action: 'p/a' })
  out.rule = (await ow.rules.get({ name: 'r' })).status
  out.invoke = await ow.actions.invoke({ name: 'p/a', blocking: true, result: true, params: { C: 3 } })
  out.fired = !!(await ow.triggers.invoke({ name: 't' })).activationId
  await ow.rules.delete({ name: 'r' })
  try { await ow.actions.get({ name: 'none' }) } catch (e) { out.missing = e.statusCode }
  console.log(JSON.stringify(out))
})().catch(e => { console.error(e); process.exit(1) })
`

func TestOpenWhiskClientForJavaScript(t *testing.T) {
	dir := npm(t, "openwhisk", "3.21.9")
	s, address := shop(t)
	s.Handle("p/a", func(c whisktest.Call) (any, error) { return c.Args, nil })
	file := filepath.Join(dir, "script.cjs")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	run(t, address, &got, "node", file)
	want := `{"fired":true,"get":{"A":1,"B":20,"E":"x"},"invoke":{"A":1,"B":21,"C":3},"list":["guest/p/a"],"missing":404,` +
		`"packages":["p"],"pkg":{"A":1,"B":2},"rule":"active","trigger":{"K":"v"},"update":{"B":21}}`
	if raw, _ := json.Marshal(got); string(raw) != want {
		t.Errorf("the client saw\n%s\nwant\n%s", raw, want)
	}
	holds(t, s, "actions", "p/a", `[{"key":"B","value":21}]`)
	holds(t, s, "triggers", "t", `[{"key":"K","value":"w"}]`)
}

func TestAdobeCommandLine(t *testing.T) {
	dir := npm(t, "@adobe/aio-cli", "11.1.2")
	s, address := shop(t)
	aio := filepath.Join(dir, "node_modules", ".bin", "aio")
	var got struct {
		Name       string
		Version    string
		Parameters []struct{ Key string }
	}
	run(t, address, &got, aio, "rt", "action", "get", "p/a")
	if got.Name != "a" || len(got.Parameters) != 3 {
		t.Errorf("aio rt action get: %+v, want a with A, B and E", got)
	}
	var rows []struct{ Name, Namespace string }
	run(t, address, &rows, aio, "rt", "action", "list", "--json")
	if len(rows) != 1 || rows[0].Namespace != "guest/p" {
		t.Errorf("aio rt action list: %+v", rows)
	}
	// The reason for this project: what one update does not name is gone.
	run(t, address, nil, aio, "rt", "action", "update", "p/a", "--param", "B", "21", "--use-runtime-auth")
	holds(t, s, "actions", "p/a", `[{"key":"B","value":"21"}]`)
}
