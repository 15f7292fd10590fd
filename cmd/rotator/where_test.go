package main

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// TestMain is the program itself where a test starts it as one: a proxy is read from the environment once in a process.
func TestMain(m *testing.M) {
	if os.Getenv("ROTATOR_TEST_AS_PROGRAM") != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// TestAdobesHostHidesValues: without a configuration, on the host that aio assumes, what GET shows is no value. An update that would
// carry it over is refused before any PUT; one that names every parameter is written.
func TestAdobesHostHidesValues(t *testing.T) {
	s := whisktest.New(whisktest.Options{Encryption: whisktest.Hidden})
	s.Action("plain", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"DB_PASSWORD","value":"canary"},{"key":"REGION","value":"eu"}]`)})
	proxy := httptest.NewServer(s)
	t.Cleanup(proxy.Close)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	update := func(apihost string, args ...string) (text string, code int) {
		cmd := exec.CommandContext(t.Context(), self, append([]string{"action", "update", "plain"}, args...)...)
		cmd.Dir = dir
		cmd.Env = []string{"ROTATOR_TEST_AS_PROGRAM=1", "HTTP_PROXY=" + proxy.URL, "AIO_runtime_auth=" + whisktest.GuestKey, "AIO_runtime_apihost=" + apihost}
		out, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	for _, apihost := range []string{"http://adobeioruntime.net", "http://dev.runtime.adobe.io"} {
		text, code := update(apihost, "-p", "REGION", "us")
		if code != exitFailed || s.Count("PUT", "") != 0 || !strings.Contains(text, "the host hides values, so DB_PASSWORD cannot be carried over") || !strings.Contains(text, "with their values") {
			t.Errorf("%s: exit code %d after %d PUTs: %s", apihost, code, s.Count("PUT", ""), text)
		}
	}
	text, code := update("http://adobeioruntime.net", "-p", "REGION", "us", "-P", file(t, `{"DB_PASSWORD": "canary-2"}`))
	got, _ := s.Snapshot("actions", "plain")
	if want := whisktest.Params(`[{"key":"DB_PASSWORD","value":"canary-2"},{"key":"REGION","value":"us"}]`); code != exitOK || s.Count("PUT", "") != 1 || !got.Plain.Equal(want) {
		t.Errorf("every parameter named: exit code %d after %d PUTs: %s", code, s.Count("PUT", ""), text)
	}
	// A host of another name that hides values as well: the first PUT shows it, and there is no second.
	s.ResetRequests()
	text, code = update("http://openwhisk.example.com", "-p", "REGION", "eu")
	if code != exitFailed || s.Count("PUT", "") != 1 || !strings.Contains(text, "hides_values: true") || !strings.Contains(text, "write every parameter of the action again") || strings.Contains(text, "canary") {
		t.Errorf("an unknown host: exit code %d after %d PUTs: %s", code, s.Count("PUT", ""), text)
	}
}

// TestWhereTheHostIs: what wsk and aio would use is used; no key goes to a host that somebody's directory names; what cannot work says why.
func TestWhereTheHostIs(t *testing.T) {
	wrong := strings.Replace(whisktest.GuestKey, "23bc", "99bc", 1)
	for name, tc := range map[string]struct {
		env    map[string]string
		dotenv string
		props  string
		code   int
		want   string
		used   bool // the host was asked
	}{
		".env":              {nil, "# mine\nOTHER=1\nOTHER=2\nnonsense\nAIO_runtime_auth='<key>'\nAIO_RUNTIME_APIHOST=<url> # x\n", "", exitOK, "", true},
		"environment first": {map[string]string{"AIO_runtime_apihost": "<url>", "AIO_RUNTIME_AUTH": "<key>"}, "AIO_runtime_auth=<wrong>\nAIO_runtime_apihost=http://127.0.0.1:1\n", "", exitOK, "", true},
		"key not to .env":   {map[string]string{"WHISK_AUTH": "<key>"}, "AIO_runtime_apihost=<url>\n", "", exitUsage, "the key comes from elsewhere", false},
		"props not to .env": {nil, "AIO_runtime_apihost=<url>\n", "AUTH=<key>\nAPIHOST=http://127.0.0.1:1\n", exitUsage, "the key comes from elsewhere", false},
		".wskprops":         {nil, "", "AUTH=<key>\nAPIHOST=<url>\n", exitOK, "", true},
		"in clear":          {nil, "", "AUTH=<key>\nAPIHOST=<address>\n", exitRemote, "write http:// before the API host", false},
		"a wrong key":       {nil, "", "AUTH=<wrong>\nAPIHOST=<url>\n", exitFailed, "does not know this key", true},
		"nothing":           {nil, "", "", exitUsage, "also in ./.env", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := seeded(t)
			put := strings.NewReplacer("<url>", url, "<address>", strings.TrimPrefix(url, "http://"), "<key>", whisktest.GuestKey, "<wrong>", wrong).Replace
			t.Chdir(t.TempDir())
			home := t.TempDir()
			for _, key := range []string{"WHISK_APIHOST", "WHISK_AUTH", "WHISK_NAMESPACE", "AIO_runtime_apihost", "AIO_runtime_auth", "AIO_RUNTIME_AUTH", "WSK_CONFIG_FILE"} {
				t.Setenv(key, put(tc.env[key]))
			}
			t.Setenv("HOME", home)
			for path, text := range map[string]string{".env": tc.dotenv, filepath.Join(home, ".wskprops"): tc.props} {
				if text == "" {
					continue
				}
				if err := os.WriteFile(path, []byte(put(text)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, out, errs := call(t, "action", "update", "plain", "-p", "OWN", "x")
			if code != tc.code || !strings.Contains(out+errs, tc.want) || s.Count("", "") > 0 != tc.used || strings.Contains(out+errs, put("<key>")) {
				t.Errorf("exit code %d, want %d and %q; %d requests: %s%s", code, tc.code, tc.want, s.Count("", ""), out, errs)
			}
		})
	}
}

// TestCompletion offers names of the host, and hosts of the configuration.
func TestCompletion(t *testing.T) {
	path, _ := site(t) // before the home is another one: Vault is in the cache
	around(t)
	for line, want := range map[string][]string{
		"action update ": {"chain", "plain", "shop/checkout"}, "package update ": {"other", "shop", "shop-eu"},
	} {
		_, out, _ := call(t, append([]string{"__complete"}, strings.Split(line, " ")...)...)
		names := strings.Fields(out)
		if len(names) < 1 || !slices.Equal(names[:len(names)-1], want) {
			t.Errorf("%s: %v, want %v", line, names, want)
		}
	}
	for _, line := range [][]string{{"action", "update", "app", "--host", ""}, {"bundle", "import", "app", "--host", ""}} {
		if _, out, _ := call(t, append([]string{"__complete", "-c", path}, line...)...); !strings.HasPrefix(out, "lab\n") {
			t.Errorf("%v: %s", line, out)
		}
	}
	if _, out, _ := call(t, "__complete", "-c", path, "bundle", "import", "app", "--from-action", ""); !strings.HasPrefix(out, "app\n") {
		t.Errorf("actions to import from: %s", out)
	}
}
