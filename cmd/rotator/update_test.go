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

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/param"
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
		"dry run":             {[]string{"action", "update", "shop/checkout", "-p", "OWN", "x", "--dry-run"}, "", exitOK, []string{"changed    OWN", "nothing was written"}, ""},
		"stdin":               {[]string{"action", "update", "shop/checkout", "-P", "-"}, `{"OWN": 12345678901234567890, "PEM": "a\nb"}`, exitOK, []string{"changed    OWN", "added      PEM"}, `[{"key":"OWN","value":12345678901234567890},{"key":"PEM","value":"a\nb"},{"key":"COUNT","value":3},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"a value with a dash": {[]string{"action", "update", "shop/checkout", "-p", "OWN", "-----BEGIN", "COUNT", "-1"}, "", exitOK, []string{"changed    COUNT, OWN"}, `[{"key":"OWN","value":"-----BEGIN"},{"key":"COUNT","value":"-1"},{"key":"SEED","value":"s","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"replace, agreed":     {[]string{"action", "update", "shop/checkout", "--replace", "-p", "OWN", "x"}, "y\n", exitOK, []string{"removed    COUNT, NESTED, SEED"}, `[{"key":"OWN","value":"x"}]`},
		"replace, yes":        {[]string{"action", "update", "shop/checkout", "--replace", "--yes", "-p", "OWN", "x"}, "", exitOK, []string{"removed    COUNT, NESTED, SEED"}, `[{"key":"OWN","value":"x"}]`},
		"replace, not":        {[]string{"action", "update", "shop/checkout", "--replace", "-p", "OWN", "x"}, "n\n", exitFailed, []string{"COUNT", "nothing was changed"}, ""},
		"replace, nobody":     {[]string{"action", "update", "shop/checkout", "--replace", "-o", "json", "-p", "OWN", "x"}, "", exitUsage, []string{"--yes or --dry-run"}, ""},
		"init stays init":     {[]string{"action", "update", "shop/checkout", "-p", "SEED", "x"}, "", exitFailed, []string{"REFUSED", "--env", "mark-would-change"}, ""},
		"init by env":         {[]string{"action", "update", "shop/checkout", "--env", "SEED", "x"}, "", exitOK, []string{"changed    SEED"}, `[{"key":"OWN","value":"kept"},{"key":"COUNT","value":3},{"key":"SEED","value":"x","init":true},{"key":"NESTED","value":{"a":[1,null]}}]`},
		"twice":               {[]string{"action", "update", "shop/checkout", "-p", "OWN", "1", "-p", "OWN", "2"}, "", exitUsage, []string{`"OWN" is given twice`}, ""},
		"param and env":       {[]string{"action", "update", "shop/checkout", "-p", "A", "1", "-e", "A", "2"}, "", exitUsage, []string{"decide for one"}, ""},
		"key without value":   {[]string{"action", "update", "shop/checkout", "-p", "OWN"}, "", exitUsage, []string{"has no value"}, ""},
		"old form":            {[]string{"action", "update", "shop/checkout", "--param=OWN"}, "", exitUsage, []string{"-p KEY VALUE"}, ""},
		"nothing named":       {[]string{"action", "update", "shop/checkout"}, "", exitUsage, []string{"nothing to set"}, ""},
		"missing file":        {[]string{"action", "update", "shop/checkout", "-P", "nowhere.json"}, "", exitUsage, []string{"nowhere.json"}, ""},
		"invalid JSON":        {[]string{"action", "update", "shop/checkout", "-P", "-"}, "{\"A\": \"canary\",\n}", exitUsage, []string{"no valid JSON in line 2"}, ""},
		"a sequence":          {[]string{"action", "update", "chain", "-p", "A", "1"}, "", exitFailed, []string{"it is a sequence", "plain"}, ""},
		"below a binding":     {[]string{"action", "update", "shop-eu/checkout", "-p", "A", "1"}, "", exitFailed, []string{"through the binding"}, ""},
		"no such action":      {[]string{"action", "update", "shop/nope", "-p", "A", "1"}, "", exitFailed, []string{"does not exist"}, ""},
		"no such package":     {[]string{"package", "update", "nope", "-p", "A", "1"}, "", exitFailed, []string{"does not exist"}, ""},
		"a strange name":      {[]string{"package", "update", "a/b", "-p", "A", "1"}, "", exitUsage, []string{"no name of a package"}, ""},
		"another namespace":   {[]string{"action", "update", "/theirs/a", "-p", "A", "1"}, "", exitUsage, []string{"without its namespace"}, ""},
		"a package restarts":  {[]string{"package", "update", "shop", "--env", "BOOT", "c"}, "", exitOK, []string{"restarted  shop/checkout"}, ""},
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
			if strings.Contains(text, "canary") || tc.code != exitOK && s.Count("PUT", "actions")+s.Count("PUT", "packages") > 0 {
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
		"not entitled": {whisktest.Fault{Status: 403}, exitRemote, 1},
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

// TestPairsAfterGlobalFlags: where a global flag stands makes no difference.
func TestPairsAfterGlobalFlags(t *testing.T) {
	want := `--param=["A","1"]`
	for _, before := range []string{"", "-c x.yaml", "--config=x.yaml", "-o json -c x.yaml", "--config x.yaml --output=json"} {
		out, err := expandPairs(append(strings.Fields(before), "action", "update", "name", "-p", "A", "1"))
		if err != nil || out[len(out)-1] != want {
			t.Errorf("%q: %v, %v", before, out, err)
		}
	}
}

// FuzzExpandPairs: whatever pairs are given come out whole, in order; every other argument stays where it is.
func FuzzExpandPairs(f *testing.F) {
	f.Add("-p\x00A\x001\x00B\x00-2\x00--yes")
	f.Fuzz(func(t *testing.T, joined string) {
		args := append([]string{"action", "update", "name"}, strings.Split(joined, "\x00")...)
		out, err := expandPairs(args)
		if err != nil {
			return
		}
		var back []string
		for _, a := range out {
			var pair [2]string
			for _, flag := range []string{"--param=", "--env="} {
				if text, ok := strings.CutPrefix(a, flag); ok && json.Unmarshal([]byte(text), &pair) == nil {
					back = append(back, pair[0], pair[1])
					a = ""
				}
			}
			if a != "" {
				back = append(back, a)
			}
		}
		var want []string
		for _, a := range args {
			if !slices.Contains([]string{"-p", "--param", "-e", "--env", ""}, a) {
				want = append(want, a)
			}
		}
		if !strings.ContainsRune(joined, '\uFFFD') && len(back) < len(want) {
			t.Errorf("%q became %q", args, out)
		}
	})
}

func TestBelongsWarns(t *testing.T) {
	path, _ := site(t)
	code, out, errs := call(t, "action", "update", "app", "-p", "NEW", "1", "-c", path)
	if code != exitOK || !strings.Contains(errs, "bundle app delivers parameters to this action") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	var plan rotator.EditPlan
	code, out, _ = call(t, "action", "update", "app", "-p", "NEW", "2", "-c", path, "-o", "json")
	if err := json.Unmarshal([]byte(out), &plan); err != nil || code != exitOK || plan.After == "" || !slices.Equal(plan.Changes, []string{"NEW"}) {
		t.Errorf("%v, %d, %+v", err, code, plan)
	}
}
