package whisktest_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest/npmtest"
)

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

// run starts a real client and reads what it printed as JSON.
func run(t *testing.T, address string, into any, program string, args ...string) {
	t.Helper()
	out := npmtest.Run(t, address, whisktest.GuestKey, program, args...)
	if into == nil {
		return
	}
	if i := bytes.IndexAny(out, "{["); i > 0 { // aio prints the name first
		out = out[i:]
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%s %v printed no JSON: %v\n%s", filepath.Base(program), args, err, out)
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
	dir := npmtest.Install(t, "openwhisk", npmtest.OpenWhisk)
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
	aio := npmtest.AIO(t)
	s, address := shop(t)
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
