package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// TestAffected: what a leak or a leaver affects, by each way of saying it, with evidence and without the value.
func TestAffected(t *testing.T) {
	path, host := site(t)
	leaked, _ := stored(t, path).Set["SECRET_ID"].Text()
	host.Action("other", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"CONFIG","value":{"login":["` + leaked + `"]}}]`)})
	write := func(name, body string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	fp := func() string {
		_, out, _ := callIn(t, leaked+"\n", "fingerprint", "-c", path)
		return strings.TrimSpace(out)
	}()
	both := []string{"the fingerprint is that of SECRET_ID", "lab action app", "target of app", "bound on lab action other as parameter CONFIG, inside at login[0]; no bundle delivers it", "2 places of 2"}
	for name, c := range map[string]struct {
		args  []string
		stdin string
		code  int
		want  []string
	}{
		"a holder":         {[]string{"--person", "Alice@Example.com"}, "", exitOK, []string{"holder alice@example.com", "lab action app"}},
		"a stranger":       {[]string{"--person", "bob"}, "", exitFailed, []string{"No bundle is affected"}},
		"a fingerprint":    {[]string{"--fingerprint", fp}, "", exitOK, both},
		"a value":          {[]string{"--value-file", "-"}, leaked + "\n", exitOK, both},
		"only the bundle":  {[]string{"--value-file", "-", "--no-search"}, leaked, exitOK, both[:2]},
		"a value of none":  {[]string{"--value-file", write("v", "nothing of ours")}, "", exitFailed, []string{"No bundle", "0 places of 2"}},
		"no value":         {[]string{"--value-file", "-"}, "\n", exitUsage, []string{"must hold one value"}},
		"an event":         {[]string{"--event", write("e", `{"specversion":"1.0","id":"1","source":"urn:x","type":"rotator.credential.leaked.v1","time":"2026-01-01T00:00:00Z","data":{"credential":{"name":"app"},"severity":"high","reason":"committed","upstream":{"system":"x"}}}`)}, "", exitOK, []string{"named in the event"}},
		"no event":         {[]string{"--event", "-"}, "{}", exitUsage, []string{"specversion"}},
		"a native message": {[]string{"--event", "-", "--source", "google"}, `{"id":{"time":"2025-01-01T00:00:00Z"},"events":[{"name":"SUSPEND_USER","parameters":[{"name":"USER_EMAIL","value":"alice@example.com"}]}]}`, exitOK, []string{"holder"}},
		"the wrong kind":   {[]string{"--event", "-", "--source", "google"}, `{"id":{"time":"2025-01-01T00:00:00Z"},"events":[{"name":"UNSUSPEND_USER"}]}`, exitFailed, []string{"rotates nothing: UNSUSPEND_USER"}},
		"an unknown kind":  {[]string{"--event", "-", "--source", "nope"}, `{}`, exitUsage, []string{"unknown source"}},
		"nothing asked":    {nil, "", exitUsage, []string{"at least one"}},
		"too much asked":   {[]string{"--person", "a", "--fingerprint", fp}, "", exitUsage, []string{"none of the others"}},
	} {
		code, out, errs := callIn(t, c.stdin, append([]string{"affected", "-c", path}, c.args...)...)
		if code != c.code || strings.Contains(out+errs, leaked) {
			t.Errorf("%s: %d, want %d: %s%s", name, code, c.code, out, errs)
		}
		for _, want := range c.want {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%s: not told: %q\n%s%s", name, want, out, errs)
			}
		}
	}
	code, out, _ := callIn(t, leaked, "affected", "-c", path, "--value-file", "-", "-o", "json")
	var got affected
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitOK || len(got.Bundles) != 1 || len(got.Places) != 2 || got.Searched != 2 {
		t.Errorf("%v: %s", err, out)
	}
}

// callIn is one call of the program with this standard input.
func callIn(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs output
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}
