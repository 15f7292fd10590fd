package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest/npmtest"
)

const pem = "-----BEGIN KEY-----\nMIIB\"q\"\\n\n-----END KEY-----\n"

// around starts a host that the program finds by the environment, as wsk and aio users have it.
func around(t *testing.T) *whisktest.Server {
	t.Helper()
	s, url := seeded(t)
	s.Referee(t)
	t.Chdir(t.TempDir())
	for key, value := range map[string]string{"WHISK_APIHOST": url, "WHISK_AUTH": whisktest.GuestKey, "WHISK_NAMESPACE": "guest", "HOME": t.TempDir()} {
		t.Setenv(key, value)
	}
	return s
}

func seeded(t *testing.T) (*whisktest.Server, string) {
	t.Helper()
	s := whisktest.New(whisktest.Options{})
	s.Package("shop", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"REGION","value":"eu"},{"key":"DB","value":"shared"},{"key":"BOOT","value":"b","init":true}]`)})
	s.Package("other", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"X","value":1}]`)})
	s.Binding("shop-eu", "shop", whisktest.Seed{})
	own := `[{"key":"OWN","value":"kept"},{"key":"COUNT","value":3},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`
	s.Action("shop/checkout", whisktest.Seed{Parameters: whisktest.Params(own)})
	s.Action("plain", whisktest.Seed{Parameters: whisktest.Params(own)})
	s.Sequence("chain", "/guest/plain", "/guest/shop/checkout")
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, h.URL
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "params.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// thousand is a JSON object with 1,000 members of several types.
func thousand(t *testing.T) string {
	t.Helper()
	all := map[string]any{"PEM": pem}
	for i := range 999 {
		all[fmt.Sprintf("KEY_%03d", i)] = []any{i, fmt.Sprint("v", i), i%2 == 0, map[string]any{"n": i}, nil}[i%5]
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return file(t, string(raw))
}

func own(t *testing.T, s *whisktest.Server, collection, name string) param.List {
	t.Helper()
	got, ok := s.Snapshot(collection, name)
	if !ok {
		t.Fatalf("%s is gone", name)
	}
	return got.Own
}

// TestUpdateIsAIOWithoutTheLoss: the real aio does the same on a copy. What is named arrives with the same value, type and
// mark; what is not named is gone there, and untouched here.
func TestUpdateIsAIOWithoutTheLoss(t *testing.T) {
	aio := npmtest.AIO(t)
	big := thousand(t)
	useRuntime := []string{"--use-runtime-auth"} // not by way of Adobe's deploy service, which is not the emulator's
	for name, tc := range map[string]struct {
		collection, target string
		args, aio          []string
	}{
		"pairs":     {"actions", "shop/checkout", []string{"-p", "A", "1", "-p", "B", "true", "-p", "C", `{"x":[1,"y"]}`, "-p", "D", `it's "quoted" \ `, "-p", "E", "two\nlines", "-p", "F", "", "-p", "G", "null", "-p", "H", "[broken", "-p", "COUNT", "4"}, useRuntime},
		"many":      {"actions", "plain", []string{"--param", "A", "1", "B", "2", "C", "1e5", "--param-file", big, "-p", "KEY_001", "beats the file"}, useRuntime},
		"env":       {"actions", "plain", []string{"--env", "SEED", "t", "NODE_ENV", "production", "--param", "OWN", "false"}, useRuntime},
		"a package": {"packages", "other", []string{"--param", "Y", "2", "--param-file", file(t, `{"Z": {"deep": null}}`)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			copied, address := seeded(t)
			s := around(t)
			before := own(t, s, tc.collection, tc.target)
			kind := strings.TrimSuffix(tc.collection, "s")
			if code, out, errs := call(t, append([]string{kind, "update", tc.target}, tc.args...)...); code != exitOK {
				t.Fatalf("%d %s%s", code, out, errs)
			}
			npmtest.Run(t, address, whisktest.GuestKey, aio, append([]string{"runtime", kind, "update", tc.target}, append(tc.args, tc.aio...)...)...)
			ours, theirs := own(t, s, tc.collection, tc.target), own(t, copied, tc.collection, tc.target)
			for _, e := range theirs {
				if got, ok := ours.Get(e.Key); !ok || !got.Value.Equal(e.Value) || got.Init != e.Init {
					t.Errorf("%s: aio makes it %s (init %v), we %s (init %v)", e.Key, e.Value.Reveal(), e.Init, got.Value.Reveal(), got.Init)
				}
			}
			lost := theirs.Missing(before)
			if len(lost) == 0 || !slices.Equal(theirs.Missing(ours), lost) || len(before.Missing(ours)) == 0 && len(theirs) > len(before) {
				t.Errorf("aio loses %v; we have %v more than aio", lost, theirs.Missing(ours))
			}
			for _, key := range lost {
				was, _ := before.Get(key)
				if now, ok := ours.Get(key); !ok || !now.Value.Equal(was.Value) || now.Init != was.Init {
					t.Errorf("%s did not stay", key)
				}
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	for name, tc := range map[string]struct {
		args  []string
		stdin string
		code  int
		want  []string
		own   string // of shop/checkout afterwards; "": unchanged
	}{
		"one of many":         {[]string{"action", "update", "shop/checkout", "-p", "COUNT", "4"}, "", exitOK, []string{"changed    COUNT", "kept       NESTED, OWN, SEED", "inherited  BOOT, DB, REGION", "0.0.1 -> 0.0.2"}, `[{"key":"OWN","value":"kept"},{"key":"COUNT","value":"4"},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"below the package":   {[]string{"action", "update", "/_/shop/checkout", "-p", "DB", "mine"}, "", exitOK, []string{"added      DB", "the package delivers it too"}, `[{"key":"DB","value":"mine"},{"key":"OWN","value":"kept"},{"key":"COUNT","value":3},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"nothing changes":     {[]string{"action", "update", "shop/checkout", "-p", "OWN", "kept"}, "", exitOK, []string{"as it was  OWN", "nothing was written"}, ""},
		"dry run":             {[]string{"action", "update", "shop/checkout", "-p", "OWN", "x", "DB", "y", "--dry-run"}, "", exitOK, []string{"would change   OWN", "would add      DB", "nothing was written"}, ""},
		"stdin":               {[]string{"action", "update", "shop/checkout", "-P", "-"}, `{"OWN": 12345678901234567890, "PEM": "a\nb"}`, exitOK, []string{"changed    OWN", "added      PEM"}, `[{"key":"OWN","value":12345678901234567890},{"key":"PEM","value":"a\nb"},{"key":"COUNT","value":3},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"a value with a dash": {[]string{"action", "update", "shop/checkout", "-p", "OWN", "-----BEGIN", "COUNT", "-1"}, "", exitOK, []string{"changed    COUNT, OWN"}, `[{"key":"OWN","value":"-----BEGIN"},{"key":"COUNT","value":"-1"},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"replace, agreed":     {[]string{"action", "update", "shop/checkout", "--replace", "-p", "OWN", "x"}, "y\n", exitOK, []string{"removed    COUNT, NESTED, SEED"}, `[{"key":"OWN","value":"x"}]`},
		"replace, yes":        {[]string{"action", "update", "shop/checkout", "--replace", "--yes", "-p", "OWN", "x"}, "", exitOK, []string{"removed    COUNT, NESTED, SEED"}, `[{"key":"OWN","value":"x"}]`},
		"replace, not":        {[]string{"action", "update", "shop/checkout", "--replace", "-p", "OWN", "x"}, "n\n", exitFailed, []string{"COUNT", "nothing was changed"}, ""},
		"replace, nobody":     {[]string{"action", "update", "shop/checkout", "--replace", "-o", "json", "-p", "OWN", "x"}, "", exitUsage, []string{"--yes or --dry-run"}, ""},
		"init stays init":     {[]string{"action", "update", "shop/checkout", "-p", "SEED", "x"}, "", exitFailed, []string{"REFUSED", "give it with -e", "mark-would-change"}, ""},
		"plain stays plain":   {[]string{"action", "update", "shop/checkout", "-e", "OWN", "x"}, "", exitFailed, []string{"REFUSED", "give it with -p", "mark-would-change"}, ""},
		"inherited init":      {[]string{"action", "update", "shop/checkout", "-p", "BOOT", "x"}, "", exitFailed, []string{"REFUSED", "give it with -e", "BOOT is delivered as environment"}, ""},
		"inherited plain":     {[]string{"action", "update", "shop/checkout", "-e", "REGION", "x"}, "", exitFailed, []string{"REFUSED", "give it with -p", "REGION is an ordinary parameter"}, ""},
		"inherited as it is":  {[]string{"action", "update", "shop/checkout", "-e", "BOOT", "x"}, "", exitOK, []string{"added      BOOT"}, `[{"key":"BOOT","value":"x","init":true},{"key":"OWN","value":"kept"},{"key":"COUNT","value":3},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"from Vault":          {[]string{"action", "update", "shop/checkout", "-P", "-"}, `{"OWN": "x", "_rotator": {"epoch": 1}, "_rotator_x": 1}`, exitOK, []string{"changed    OWN", "note: left out", "_rotator, _rotator_x"}, `[{"key":"OWN","value":"x"},{"key":"COUNT","value":3},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"only marks":          {[]string{"action", "update", "shop/checkout", "-P", "-"}, `{"_rotator": {"epoch": 1}}`, exitUsage, []string{"nothing to set"}, ""},
		"a file as it is":     {[]string{"action", "update", "shop/checkout", "--param-from", "OWN", "-", "-p", "COUNT", "true"}, "true\n", exitOK, []string{"changed    COUNT, OWN"}, `[{"key":"OWN","value":"true\n"},{"key":"COUNT","value":true},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"aio's literals":      {[]string{"action", "update", "shop/checkout", "-p", "OWN", "@params.json", "COUNT", "-"}, "", exitOK, []string{"changed    COUNT, OWN"}, `[{"key":"OWN","value":"@params.json"},{"key":"COUNT","value":"-"},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"aio's equals sign":   {[]string{"action", "update", "shop/checkout", "--param=OWN", "x", "-pCOUNT", "1"}, "", exitOK, []string{"changed    COUNT, OWN"}, `[{"key":"OWN","value":"x"},{"key":"COUNT","value":"1"},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"dotenv":              {[]string{"action", "update", "shop/checkout", "-E", "-"}, "SEED='t'\nNODE_ENV=production # x\n", exitOK, []string{"changed    SEED", "added      NODE_ENV"}, `[{"key":"OWN","value":"kept"},{"key":"COUNT","value":3},{"key":"SEED","value":"t","init":true},{"key":"NODE_ENV","value":"production","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"env as JSON":         {[]string{"action", "update", "shop/checkout", "-E", "-"}, ` {"SEED": 7}`, exitOK, []string{"changed    SEED"}, `[{"key":"OWN","value":"kept"},{"key":"COUNT","value":3},{"key":"SEED","value":7,"init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"two from stdin":      {[]string{"action", "update", "shop/checkout", "--param-from", "OWN", "-", "--param-from", "COUNT", "-"}, "x", exitUsage, []string{"standard input"}, ""},
		"own namespace":       {[]string{"action", "update", "/guest/shop/checkout", "-p", "OWN", "x"}, "", exitOK, []string{"changed    OWN"}, `[{"key":"OWN","value":"x"},{"key":"COUNT","value":3},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"a host of no file":   {[]string{"action", "update", "shop/checkout", "--host", "prod", "-p", "A", "1"}, "", exitUsage, []string{"no rotator.yaml here", "leave --host out"}, ""},
		"a secret by argv":    {[]string{"action", "update", "shop/checkout", "-p", "OWN", "x", "DB_PASSWORD", "canary", "MONKEY", "y", "--dry-run"}, "", exitOK, []string{"warning: DB_PASSWORD looks like a secret", "--param-from"}, ""},
		"a host's bad name":   {[]string{"action", "update", "shop/che?ckout", "-p", "A", "1"}, "", exitFailed, []string{"name"}, ""},
		"init by env":         {[]string{"action", "update", "shop/checkout", "--env", "SEED", "x"}, "", exitOK, []string{"changed    SEED"}, `[{"key":"OWN","value":"kept"},{"key":"COUNT","value":3},{"key":"SEED","value":"x","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"twice":               {[]string{"action", "update", "shop/checkout", "-p", "OWN", "1", "-p", "OWN", "2"}, "", exitUsage, []string{`"OWN" is given twice`}, ""},
		"param and env":       {[]string{"action", "update", "shop/checkout", "-p", "A", "1", "-e", "A", "2"}, "", exitUsage, []string{"decide for one"}, ""},

		"nothing named":      {[]string{"action", "update", "shop/checkout"}, "", exitUsage, []string{"nothing to set"}, ""},
		"missing file":       {[]string{"action", "update", "shop/checkout", "-P", "nowhere.json"}, "", exitUsage, []string{"nowhere.json"}, ""},
		"invalid JSON":       {[]string{"action", "update", "shop/checkout", "-P", "-"}, "{\"A\": \"canary\",\n}", exitUsage, []string{"no valid JSON in line 2"}, ""},
		"a sequence":         {[]string{"action", "update", "chain", "-p", "A", "1"}, "", exitFailed, []string{"it is a sequence", "plain"}, ""},
		"below a binding":    {[]string{"action", "update", "shop-eu/checkout", "-p", "A", "1"}, "", exitFailed, []string{"through the binding"}, ""},
		"no such action":     {[]string{"action", "update", "shop/nope", "-p", "A", "1"}, "", exitFailed, []string{"does not exist", "check the name"}, ""},
		"no name":            {[]string{"action", "update", "a/b/c", "-p", "A", "1"}, "", exitUsage, []string{"is no name of an action"}, ""},
		"no such package":    {[]string{"package", "update", "nope", "-p", "A", "1"}, "", exitFailed, []string{"does not exist"}, ""},
		"a strange name":     {[]string{"package", "update", "a/b", "-p", "A", "1"}, "", exitUsage, []string{"is no name of a package"}, ""},
		"another namespace":  {[]string{"action", "update", "/theirs/a", "-p", "A", "1"}, "", exitUsage, []string{"the key opens namespace guest, not theirs"}, ""},
		"a package restarts": {[]string{"package", "update", "shop", "--env", "BOOT", "c"}, "", exitOK, []string{"restarted  shop/checkout"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := around(t)
			before := own(t, s, "actions", "shop/checkout")
			s.Allow("actions", "shop/checkout", "COUNT", "NESTED", "SEED") // what --replace may drop
			var out, errs output
			code := run(t.Context(), tc.args, strings.NewReader(tc.stdin), &out, &errs)
			text := out.String() + errs.String()
			for _, want := range tc.want {
				if code != tc.code || !strings.Contains(text, want) {
					t.Errorf("exit code %d, want %d and %q in:\n%s", code, tc.code, want, text)
				}
			}
			want := before
			if tc.own != "" {
				want = whisktest.Params(tc.own)
			}
			if got := own(t, s, "actions", "shop/checkout"); !got.Equal(want) {
				t.Errorf("the action holds %s, want %s", got.Encode(), want.Encode())
			}
			if strings.Contains(text, "bundle's") {
				t.Errorf("this speaks of bundles: %s", text)
			}
			if strings.Contains(text, "MONKEY looks") || strings.Contains(text, "canary") || tc.code != exitOK && s.Count("PUT", "actions")+s.Count("PUT", "packages") > 0 {
				t.Errorf("%d PUTs, and this output: %s", s.Count("PUT", "actions"), text)
			}
		})
	}
}

// TestUpdateMeetsFaults: the PUT is not applied, its answer is lost, or somebody writes in between.
func TestUpdateMeetsFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		fault whisktest.Fault
		code  int
		puts  int
	}{
		"not applied":  {whisktest.Fault{Drop: whisktest.BeforeCommit}, exitOK, 2},
		"answer lost":  {whisktest.Fault{Drop: whisktest.AfterCommit}, exitOK, 1},
		"no answer":    {whisktest.Fault{Empty: true}, exitOK, 1},
		"conflict":     {whisktest.Fault{Status: 409, Text: whisktest.TextConflict}, exitOK, 2},
		"always 409":   {whisktest.Fault{Status: 409, Text: whisktest.TextConflict, Times: -1}, exitRemote, 4},
		"not entitled": {whisktest.Fault{Status: 403}, exitFailed, 1},
		"away":         {whisktest.Fault{Status: 503, Times: -1}, exitRemote, 4},
	} {
		t.Run(name, func(t *testing.T) {
			s := around(t)
			before := own(t, s, "actions", "plain")
			tc.fault.Method, tc.fault.Collection = "PUT", "actions"
			s.Inject(tc.fault)
			code, out, errs := call(t, "action", "update", "plain", "-p", "OWN", "new")
			if code != tc.code || s.Count("PUT", "actions") != tc.puts {
				t.Errorf("exit code %d after %d PUTs, want %d after %d: %s%s", code, s.Count("PUT", "actions"), tc.code, tc.puts, out, errs)
			}
			got := own(t, s, "actions", "plain")
			if e, _ := got.Get("OWN"); code == exitOK && string(e.Value.Reveal()) != `"new"` || len(got.Missing(before)) > 0 {
				t.Errorf("it holds %s", got.Encode())
			}
		})
	}
}

func TestBelongsWarns(t *testing.T) {
	path, _ := site(t)
	code, out, errs := call(t, "action", "update", "app", "-p", "NEW", "1", "-c", path)
	if code != exitOK || !strings.Contains(errs, "bundle app may deliver NEW to this action") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	var plan rotator.EditPlan
	code, out, _ = call(t, "action", "update", "app", "-p", "NEW", "2", "-c", path, "-o", "json")
	if err := json.Unmarshal([]byte(out), &plan); err != nil || code != exitOK || plan.After == "" || !slices.Equal(plan.Changes, []string{"NEW"}) {
		t.Errorf("%v, %d, %+v", err, code, plan)
	}
}

// TestBelongsSparesTheRest: a target with a selection of keys gets these, under their new names, and nothing else.
func TestBelongsSparesTheRest(t *testing.T) {
	ref := rotator.Ref{Host: "lab", Kind: rotator.Action, Name: "app"}
	cfg := &config.Config{Bundles: map[string]rotator.Bundle{"b": {Targets: []rotator.Target{{Ref: ref, Keys: []string{"DB_URL", "PIN"}, Rename: map[string]string{"DB_URL": "DATABASE_URL"}}}}}}
	set := func(names ...string) (l param.List) {
		for _, n := range names {
			l = append(l, param.Entry{Key: n, Value: secret.FromText("x")})
		}
		return l
	}
	if got := belongs(cfg, rotator.Edit{Target: ref, Set: set("REGION", "DB_URL")}); len(got) > 0 {
		t.Errorf("warns of what the bundle does not deliver: %v", got)
	}
	if got := belongs(cfg, rotator.Edit{Target: ref, Set: set("REGION", "DATABASE_URL", "PIN")}); len(got) != 1 || !strings.Contains(got[0], "deliver DATABASE_URL, PIN to") {
		t.Errorf("%v", got)
	}
}
