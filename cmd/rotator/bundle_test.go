package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// stored is what the bundle's secret holds.
func stored(t *testing.T, path string) rotator.Snapshot {
	t.Helper()
	cfg, err := config.Load(path, config.ThisMachine())
	if err != nil {
		t.Fatal(err)
	}
	p, err := service.Preview(t.Context(), cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Secrets.Read(t.Context(), cfg.Bundles["app"].Secret, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestBundleImport fills a secret step by step: from the action, from files, with and without leave to overwrite.
func TestBundleImport(t *testing.T) {
	path, host := site(t)
	host.Package("shop", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"REGION","value":"eu"}]`)})
	host.Action("shop/app", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"API_KEY","value":"canary-1"},{"key":"RETRIES","value":3},{"key":"ROLE_ID","value":"canary-other"}]`)})
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	before := stored(t, path)
	for _, step := range []struct {
		what    string
		args    []string
		stdin   string
		code    int
		want    string
		version int // afterwards
	}{
		{"what is there already", []string{"--from-action", "app"}, "", exitOK, "the same  ROLE_ID, SECRET_ID", 1},
		{"another value", []string{"--from-action", "shop/app"}, "", exitFailed, "another value: ROLE_ID; give --overwrite", 1},
		{"dry run", []string{"--from-action", "shop/app", "--overwrite", "--dry-run"}, "", exitOK, "would add     API_KEY, REGION, RETRIES", 1},
		{"chosen keys", []string{"--from-action", "/guest/shop/app", "--keys", "API_KEY,RETRIES,REGION,API_KEY"}, "", exitOK, "added     API_KEY, REGION, RETRIES\n", 2},
		{"another namespace", []string{"--from-action", "/theirs/app"}, "", exitUsage, "opens namespace guest, not theirs", 2},
		{"again", []string{"--from-action", "shop/app", "--keys", "API_KEY,RETRIES,REGION"}, "", exitOK, "nothing was written", 2},
		{"a key that is not there", []string{"--from-action", "shop/app", "--keys", "NOPE"}, "", exitFailed, `no "NOPE"`, 2},
		{"a .env file", []string{"--env-file", write(".env", "# x\nexport TOKEN='canary-2 $x'\nEMPTY=\n")}, "", exitOK, "EMPTY: empty or null", 3},
		{"stdin", []string{"--param-file", "-"}, `{"TOKEN": "canary-3"}`, exitFailed, "another value: TOKEN", 3},
		{"an env file that is JSON", []string{"--env-file", "-"}, `{"RETRIES": 3}`, exitOK, "the same  RETRIES", 3},
		{"overwrite", []string{"--param-file", "-", "--overwrite"}, `{"TOKEN": "canary-3", "BIG": 12345678901234}`, exitOK, "replaced  TOKEN", 4},
		{"a number that Vault would round", []string{"--param-file", "-"}, `{"HUGE": 12345678901234567890}`, exitFailed, "HUGE", 4},
		{"a reserved name", []string{"--param-file", "-"}, `{"_rotator": {}}`, exitFailed, "reserved", 4},
		{"nothing", []string{"--param-file", "-"}, `{}`, exitFailed, "nothing to import", 4},
		{"broken", []string{"--env-file", write("bad.env", "A=1\ncanary-4\n")}, "", exitUsage, "bad.env: line 2", 4},
		{"no file", []string{"--env-file", filepath.Join(dir, "none")}, "", exitUsage, "no such file", 4},
		{"no action", []string{"--from-action", "none"}, "", exitFailed, "does not exist", 4},
		{"two sources", []string{"--from-action", "app", "--env-file", "x"}, "", exitUsage, "from-action", 4},
	} {
		var out, errs output
		code := run(t.Context(), append([]string{"bundle", "import", "app", "-c", path}, step.args...), strings.NewReader(step.stdin), &out, &errs)
		text := out.String() + errs.String()
		if code != step.code || !strings.Contains(text, step.want) || strings.Contains(text, "canary") {
			t.Errorf("%s: exit code %d, want %d and %q in:\n%s", step.what, code, step.code, step.want, text)
		}
		if now := stored(t, path); now.Version != step.version {
			t.Errorf("%s: KV version %d, want %d", step.what, now.Version, step.version)
		}
	}
	now := stored(t, path)
	for key, want := range map[string]string{"API_KEY": `"canary-1"`, "RETRIES": "3", "REGION": `"eu"`, "TOKEN": `"canary-3"`, "BIG": "12345678901234", "ROLE_ID": string(before.Set["ROLE_ID"].Reveal()), "SECRET_ID": string(before.Set["SECRET_ID"].Reveal())} {
		if got := string(now.Set[key].Reveal()); got != want {
			t.Errorf("%s is not what was imported", key)
		}
	}
	var plan imported
	code, text, _ := call(t, "bundle", "import", "app", "-c", path, "--from-action", "app", "-o", "json")
	if err := json.Unmarshal([]byte(text), &plan); err != nil || code != exitOK || !slices.Equal(plan.Same, []string{"ROLE_ID", "SECRET_ID"}) || plan.Written {
		t.Errorf("%v, %d, %s", err, code, text)
	}
}

// TestImportIntoNothing: the secret of the bundle does not exist yet.
func TestImportIntoNothing(t *testing.T) {
	path, _ := site(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "/app\n    credentials", "/fresh\n    credentials", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := call(t, "bundle", "import", "app", "-c", path, "--from-action", "app"); code != exitOK || !strings.Contains(out, "version 0 -> 1") {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	if code, out, errs := call(t, "plan", "--bundle", "app", "-c", path); code != exitOK {
		t.Errorf("a plan after the import: %d %s%s", code, out, errs)
	}
}

// TestImportOverADeletedVersion: the secret was deleted, and can be undeleted; the import is its next version.
func TestImportOverADeletedVersion(t *testing.T) {
	path, _ := site(t)
	cfg, err := config.Load(path, config.ThisMachine())
	if err != nil {
		t.Fatal(err)
	}
	mount, name, _ := strings.Cut(cfg.Bundles["app"].Secret, "/")
	vaulttest.Run(t).Must(t, "DELETE", mount+"/data/"+name, nil)
	if code, out, errs := call(t, "bundle", "import", "app", "-c", path, "--from-action", "app"); code != exitOK || !strings.Contains(out, "version 1 -> 2") || !strings.Contains(out, "added     ROLE_ID, SECRET_ID") {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// TestImportIsQuiet: nobody needs to read that a command has logged in, with which accessor.
func TestImportIsQuiet(t *testing.T) {
	path, _ := site(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "level: error", "level: info", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := call(t, "bundle", "import", "app", "-c", path, "--from-action", "app"); code != exitOK || errs != "" {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// TestImportIsRefusedByVault: the answer is no, and not that Vault could not be reached.
func TestImportIsRefusedByVault(t *testing.T) {
	path, _ := site(t)
	v := vaulttest.Run(t)
	cfg, err := config.Load(path, config.ThisMachine())
	if err != nil {
		t.Fatal(err)
	}
	mount, _, _ := strings.Cut(cfg.Bundles["app"].Secret, "/")
	policy := v.Policy(t, `path "`+mount+`/data/*" { capabilities = ["read", "update"] }`)
	token, err := v.Token(t.Context(), time.Hour, policy)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{path: strings.Replace(string(text), "/app\n    credentials", "/fresh\n    credentials", 1), filepath.Join(filepath.Dir(path), "token"): token} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, errs := call(t, "bundle", "import", "app", "-c", path, "--from-action", "app"); code != exitFailed || !strings.Contains(errs, `needs capability "create"`) {
		t.Errorf("%d %s%s", code, out, errs)
	}
}
