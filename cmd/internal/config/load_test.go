package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
)

// Ten mistakes are ten problems, each where the mistake is.
func TestAllProblemsAtOnce(t *testing.T) {
	data, err := os.ReadFile("testdata/ten-mistakes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("rotator.yaml", data, bare(nil))
	ps, ok := errors.AsType[Problems](err)
	if !ok {
		t.Fatalf("got %v, want Problems", err)
	}
	var at []string
	for _, p := range ps {
		at = append(at, fmt.Sprintf("%d:%d", p.Line, p.Column))
		if p.Remedy == "" {
			t.Errorf("no remedy: %s", p)
		}
	}
	want := []string{"4:10", "6:77", "9:13", "12:19", "13:45", "17:16", "18:15", "19:30", "19:50", "20:14"}
	if diff := cmp.Diff(want, at); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != len(ps) {
		t.Errorf("%d lines for %d problems", len(lines), len(ps))
	}
	out, err := json.Marshal(ps)
	var back Problems
	if err != nil || json.Unmarshal(out, &back) != nil || !slices.Equal(ps, back) {
		t.Errorf("the JSON form does not hold the problems: %s, %v", out, err)
	}
}

func TestDefaults(t *testing.T) {
	c, err := Parse("/etc/rotator/rotator.yaml", []byte(`
openwhisk: {prod: {apihost: ow.example.com, auth_file: keys/prod}}
bundles:
  a-b.c_d:
    secret: kv/team/checkout
    credentials:
      z: {generate: {password_policy: p}, keys: {password: Z}}
      a: {generate: database/creds/a, keys: {username: U, password: P}}
    targets: [{action: /_/shop/checkout}]
`), bare(map[string]string{"VAULT_ADDR": "https://v:8200/", "VAULT_TOKEN": "set", "VAULT_NAMESPACE": "team"}))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Path: "/etc/rotator/rotator.yaml",
		NATS: NATS{Replicas: 1, Listen: "127.0.0.1:4223"},
		Vault: Vault{
			Address: "https://v:8200", Namespace: "team", Auth: Auth{Method: "token", TokenEnv: "VAULT_TOKEN"},
			Anchor: Anchor{Role: "rotator-anchor", TTL: 15 * time.Minute, LiveTTL: 720 * time.Hour}, FingerprintKey: "secret/rotator/fingerprint",
		},
		Hosts: map[string]Host{"prod": {
			Name: "prod", APIHost: "https://ow.example.com", Namespace: "_", AuthFile: "/etc/rotator/keys/prod", Parallel: 16, Timeout: 30 * time.Second,
		}},
		Data:   "/etc/rotator/rotator-data",
		Log:    Log{Level: "info", Format: "auto"},
		Events: Events{Gate: rotator.Gate{PerEvent: 50, PerHour: 200}},
		Ops:    Ops{Listen: "127.0.0.1:9180"}, Limits: Limits{Bundles: 8, Vault: 32, Lease: 45 * time.Second, Straggler: 65 * time.Second},
		People:    People{PerHour: 20},
		Reconcile: rotator.Reconcile{Every: time.Hour, Settle: 20 * time.Minute, Revoke: true},
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreFields(Config{}, "Bundles")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b := c.Bundles["a-b.c_d"]
	if len(b.Credentials) != 2 || b.Credentials[0].Name != "a" {
		t.Errorf("credentials are not ordered by name: %v", b.Credentials)
	}
	ref := rotator.Ref{Host: "prod", Kind: rotator.Action, Name: "shop/checkout"}
	if len(b.Targets) != 1 || b.Targets[0].Ref != ref {
		t.Errorf("target is %v, want %v", b.Targets, ref)
	}
	for _, k := range []events.Kind{events.KindLeak, events.KindOffboarding, events.KindExpiring, events.KindManual} {
		if b.Policy[k] != rotator.DefaultRule(k) {
			t.Errorf("policy of %s is %+v, want the default", k, b.Policy[k])
		}
	}
}

func TestBundleIsReadInFull(t *testing.T) {
	c, err := Parse("rotator.yaml", []byte(Example()), bare(map[string]string{"LAB_AUTH": "set"}))
	if err != nil {
		t.Fatal(err)
	}
	b := c.Bundles["checkout"]
	wantRules := rotator.Policy{
		events.KindLeak:        {ContainWithin: 15 * time.Minute, AfterFailure: rotator.Contain},
		events.KindOffboarding: {Drain: true, AfterFailure: rotator.Rollback},
		events.KindExpiring:    {Overlap: time.Hour, AfterFailure: rotator.Hold},
		events.KindManual:      {Drain: true, ContainWithin: 10 * time.Minute, AfterFailure: rotator.Rollback},
	}
	if diff := cmp.Diff(wantRules, b.Policy); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	wantTargets := []rotator.Target{
		{Ref: rotator.Ref{Host: "prod", Kind: rotator.Action, Name: "shop/checkout"}},
		{Ref: rotator.Ref{Host: "prod", Kind: rotator.Package, Name: "shop-common"}, Keys: []string{"DB_URL"}},
		{
			Ref: rotator.Ref{Host: "prod", Kind: rotator.Action, Name: "shop/refund"}, Keys: []string{"DB_URL", "SESSION_KEY"},
			Rename: map[string]string{"DB_URL": "DATABASE_URL"}, Init: []string{"DATABASE_URL"}, Remove: []string{"OLD_DB_URL"},
		},
		{Ref: rotator.Ref{Host: "prod", Kind: rotator.Trigger, Name: "nightly"}, Keys: []string{"SESSION_KEY"}},
	}
	if diff := cmp.Diff(wantTargets, b.Targets); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	gen := map[string]rotator.Generator{}
	for _, cr := range b.Credentials {
		gen[cr.Name] = cr.Generate
		if cr.Name != "cookie" && cr.Probe.IsZero() {
			t.Errorf("the probe of %s was not read", cr.Name)
		}
	}
	wantGen := map[string]rotator.Generator{
		"db": {Path: "database/creds/checkout"}, "cookie": {PasswordPolicy: "strong"}, "search": {Path: "search/creds/reader"},
		"mail": {Path: "auth/approle/role/mail/secret-id", Method: "write", Data: map[string]any{"ttl": "720h"}},
	}
	if diff := cmp.Diff(wantGen, gen); diff != "" {
		t.Errorf("generators (-want +got):\n%s", diff)
	}
	if got := b.Compose["DB_URL"].Keys(); !slices.Equal(got, []string{"DB_USER", "DB_PASSWORD"}) {
		t.Errorf("compose needs %v", got)
	}
}

func TestPublishersAndTheirScopes(t *testing.T) {
	c, err := Parse("rotator.yaml", []byte(Example()), bare(map[string]string{"LAB_AUTH": "set"}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"okta-bridge", "cli", "aws", "github-bridge"}, c.Events.Publishers); diff != "" {
		t.Errorf("publishers (-want +got):\n%s", diff)
	}
	want := stream.Scopes{"github-bridge": {Sources: []string{"https://api.github.com/repos/acme/*"}, Kinds: []events.Kind{events.KindLeak, events.KindOffboarding}}}
	if diff := cmp.Diff(want, c.Events.Scopes); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
}

// Anchors and merge keys save repetition; what is written beside them wins.
func TestMergeKeys(t *testing.T) {
	c, err := Parse("r.yaml", []byte(`
vault: {address: "https://v", auth: {token_file: /t}}
openwhisk:
  a: &host {apihost: "https://a.example.com", auth_file: /k, parallel: 3}
  b: {<<: *host, apihost: "https://b.example.com"}
bundles:
  x:
    secret: kv/x
    credentials: {c: {generate: {password_policy: p}, keys: {password: P}}}
    targets: [{host: b, action: x}]
`), Machine{})
	if err != nil {
		t.Fatal(err)
	}
	if b := c.Hosts["b"]; b.APIHost != "https://b.example.com" || b.Parallel != 3 {
		t.Errorf("merged host is %+v", b)
	}
}

func TestFilesAreLookedAt(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("open", "x", 0o644)
	write("closed", "x", 0o600)
	write("rotator.yaml", `
vault: {address: "https://v", ca_file: open, auth: {token_file: closed}}
openwhisk:
  a: {apihost: "https://a.example.com", auth_file: open}
  b: {apihost: "https://b.example.com", auth_file: missing}
bundles:
  x:
    secret: kv/x
    credentials: {c: {generate: {password_policy: p}, keys: {password: P}}}
    targets: [{host: b, action: x}]
`, 0o644)
	c, err := Load(filepath.Join(dir, "rotator.yaml"), ThisMachine())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range c.Warnings {
		got = append(got, w.Path)
	}
	if want := []string{"openwhisk.a.auth_file", "openwhisk.b.auth_file"}; !slices.Equal(got, want) {
		t.Errorf("warnings about %v, want %v:\n%v", got, want, c.Warnings)
	}
	if _, err := Load(filepath.Join(dir, "nothing"), ThisMachine()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gave %v", err)
	}
}

// A text that is a secret by its looks is never repeated, wherever it stands.
func TestSecretsAreNotRepeated(t *testing.T) {
	const key = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"
	valid := Example()
	for _, place := range []string{
		"url: tls://nats-1.example.com:4222,tls://nats-2.example.com:4222", "namespace: 1234-shop", "action: shop/checkout", "role: rotator-anchor",
		"level: info", "apihost: https://adobeioruntime.net", "secret: secret/checkout", "host: lab", "method: approle", "parallel: 16", "lease: 45s",
	} {
		name, _, _ := strings.Cut(place, ":")
		for _, text := range []string{
			strings.Replace(valid, place, name+`: "`+key+`"`, 1),
			strings.Replace(valid, place, `"`+key+`": x`, 1),
			strings.Replace(valid, place, name+`: "`+key, 1),
			strings.Replace(valid, place, name+": "+key+": x", 1),
		} {
			if text == valid {
				t.Fatalf("the example has no %q", place)
			}
			_, err := Parse("r.yaml", []byte(text), bare(nil))
			if err == nil {
				t.Errorf("%s: a key in clear was accepted", place)
			} else if strings.Contains(err.Error(), "123zO3xZ") {
				t.Errorf("%s: repeated in %v", place, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, "example.yaml") {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("a: &a {<<: [*a, *a, *a], b: *a}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("r.yaml", data, bare(map[string]string{"WHISK_AUTH": "x:y"}))
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v and error %v", c, err)
		}
		if err == nil {
			return
		}
		ps, ok := errors.AsType[Problems](err)
		if !ok || len(ps) == 0 {
			t.Fatalf("error is %T, want Problems", err)
		}
		for _, p := range ps {
			if p.Line < 1 || p.Column < 0 || p.Text == "" || strings.ContainsAny(p.String(), "\n\r\x1b") {
				t.Errorf("bad problem %#v", p)
			}
		}
		if _, again := Parse("r.yaml", data, bare(map[string]string{"WHISK_AUTH": "x:y"})); again.Error() != err.Error() {
			t.Errorf("said two different things:\n%v\n---\n%v", err, again)
		}
	})
}
