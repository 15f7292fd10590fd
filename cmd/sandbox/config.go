package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// The leaver, and how long old and new credential overlap when she leaves. In production the overlap is "drain":
// as long as the actions may run.
const (
	leaver             = "alice@example.com"
	offboardingOverlap = 2 * time.Second
)

// writeConfig writes the rotator.yaml that service and commands read, and loads it as they do.
func (s *sandbox) writeConfig() error {
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# The configuration of this sandbox; the documentation has every key.\n")
	fmt.Fprintf(&b, "nats: {listen: %q} # no url: a server inside the service\ndata: nats-data\n", listen)
	fmt.Fprintf(&b, "vault:\n  address: %q\n  auth: {method: approle, mount: %q, role_id_file: vault-role-id, secret_id_file: vault-secret-id}\n", s.vault.Address, s.vault.approle)
	fmt.Fprintf(&b, "  anchor: {role: %q}\n  fingerprint_key: \"%s/rotator/fingerprint\"\n", s.vault.anchors, s.vault.kv)
	auth := ""
	if s.ow.emulator != nil {
		auth = ", auth_file: openwhisk.auth"
		if err := os.WriteFile(filepath.Join(s.dir, "openwhisk.auth"), []byte(whisktest.GuestKey+"\n"), 0o600); err != nil {
			return err
		}
	}
	fmt.Fprintf(&b, "openwhisk:\n  %s: {apihost: %q%s}\nbundles:\n", hostName, s.ow.url, auth)
	for _, one := range s.shop.bundles {
		b.WriteString(s.bundleYAML(one))
	}
	b.WriteString("ops: {listen: none}\nlog: {level: warn}\n")
	path := filepath.Join(s.dir, "rotator.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return err
	}
	s.cfg, err = config.Load(path, config.ThisMachine())
	return err
}

func (s *sandbox) bundleYAML(b *bundle) string {
	var y strings.Builder
	fmt.Fprintf(&y, "  %s:\n    secret: \"%s/%s\"\n%s    targets:\n", b.name, s.vault.kv, b.name, b.yaml)
	for _, t := range b.targets {
		fmt.Fprintf(&y, "      - {host: %s, %s: %q%s%s%s}\n", t.Host, t.Kind, t.Name, flow("keys", t.Keys), flow("rename", t.Rename), flow("init", t.Init))
	}
	fmt.Fprintf(&y, "    holders: [%q, \"group:payments\"]\n", leaver)
	fmt.Fprintf(&y, "    policy: {leak: {overlap: 0s}, offboarding: {overlap: %[1]s}, manual: {overlap: %[1]s}, expiring: {overlap: %[1]s}} # production: {overlap: drain}\n", offboardingOverlap)
	return y.String()
}

// flow renders ", key: value" unless there is nothing to say. JSON is YAML.
func flow(key string, value any) string {
	text, err := json.Marshal(value)
	if err != nil || string(text) == "null" {
		return ""
	}
	return ", " + key + ": " + string(text)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// ownHost finds address and key of the user's OpenWhisk the way the service will: by loading a configuration.
func ownHost(apihost string) (*openwhisk, error) {
	around := config.ThisMachine()
	env := around.Env
	around.Env = func(name string) (string, bool) {
		if name == "UNUSED" {
			return "unused", true
		}
		return env(name)
	}
	probe := fmt.Sprintf("vault: {address: \"http://127.0.0.1:1\", auth: {token_env: UNUSED}}\nopenwhisk: {%s: {apihost: %q}}\n"+
		"bundles: {x: {secret: a/b, credentials: {c: {generate: a/b, keys: {d: E}}}, targets: [{action: f}]}}\n", hostName, apihost)
	cfg, err := config.Parse("-apihost", []byte(probe), around)
	if err != nil {
		return nil, err
	}
	host := cfg.Hosts[hostName]
	credential, err := host.Credential(config.ThisMachine())
	if err != nil {
		return nil, err
	}
	return &openwhisk{url: host.APIHost, auth: basicAuth(credential)}, nil
}

// prefix keeps what is made on a host of the user's apart from what is there.
func (w *openwhisk) prefix() string {
	if w.emulator != nil {
		return ""
	}
	return "rotator-sandbox-"
}
