package service

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// shop is a real Vault, an OpenWhisk host, and a configuration file for one replica with an embedded NATS server.
type shop struct {
	t       *testing.T
	vault   *vaulttest.Server
	proxy   *counter // in front of Vault
	whisk   *whisktest.Server
	apihost string
	dir     string
	kv      string // mount
	approle string // mount
	logs    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// counter is a reverse proxy that counts requests.
type counter struct {
	mu    sync.Mutex
	calls []string
	down  bool // as a sealed Vault answers
	http.Handler
}

func (c *counter) setDown(down bool) { c.mu.Lock(); defer c.mu.Unlock(); c.down = down }

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.calls = append(c.calls, r.Method+" "+r.URL.Path)
	down := c.down
	c.mu.Unlock()
	if down {
		http.Error(w, `{"errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
		return
	}
	c.Handler.ServeHTTP(w, r)
}

func (c *counter) reset() { c.mu.Lock(); defer c.mu.Unlock(); c.calls = nil }

func (c *counter) seen() []string { c.mu.Lock(); defer c.mu.Unlock(); return slices.Clone(c.calls) }

func newShop(t *testing.T) *shop {
	t.Helper()
	v := vaulttest.Run(t)
	s := &shop{t: t, vault: v, dir: t.TempDir(), kv: v.KV(t), approle: v.AppRole(t), logs: new(lockedBuffer)}
	target, err := url.Parse(v.Address)
	if err != nil {
		t.Fatal(err)
	}
	s.proxy = &counter{Handler: httputil.NewSingleHostReverseProxy(target)}
	front := httptest.NewServer(s.proxy)
	t.Cleanup(front.Close)
	s.whisk = whisktest.New(whisktest.Options{})
	s.whisk.Referee(t)
	host := httptest.NewServer(s.whisk)
	t.Cleanup(host.Close)
	s.apihost = host.URL
	s.file("whisk.auth", whisktest.GuestKey)
	s.file("vault.token", v.RootToken)
	s.proxy.reset()
	t.Setenv("ROTATOR_TEST_VAULT", front.URL)
	return s
}

func (s *shop) file(name, text string) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// role makes an AppRole with one secret-id, as a person would, and returns both.
func (s *shop) role(name string) (roleID, secretID string) {
	s.t.Helper()
	path := "auth/" + s.approle + "/role/" + name
	s.api(http.MethodPost, path, map[string]any{"token_ttl": "5m"}, nil)
	var out struct {
		Data struct {
			RoleID   string `json:"role_id"`
			SecretID string `json:"secret_id"`
		}
	}
	s.api(http.MethodGet, path+"/role-id", nil, &out)
	roleID = out.Data.RoleID
	s.api(http.MethodPost, path+"/secret-id", map[string]any{}, &out)
	return roleID, out.Data.SecretID
}

func (s *shop) api(method, path string, body, out any) {
	s.t.Helper()
	if err := s.vault.API(s.t.Context(), method, path, body, out); err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// bundle writes the first version of a secret.
func (s *shop) bundle(name string, data map[string]any) {
	s.t.Helper()
	s.api(http.MethodPost, s.kv+"/data/"+name, map[string]any{"data": data}, nil)
}

// values reads the newest version.
func (s *shop) values(name string) (version int, data map[string]json.RawMessage) {
	s.t.Helper()
	var out struct {
		Data struct {
			Data     map[string]json.RawMessage
			Metadata struct{ Version int }
		}
	}
	s.api(http.MethodGet, s.kv+"/data/"+name, nil, &out)
	return out.Data.Metadata.Version, out.Data.Data
}

// login tells whether an AppRole credential is accepted.
func (s *shop) login(roleID, secretID string) bool {
	var out map[string]any
	return s.vault.API(s.t.Context(), http.MethodPost, "auth/"+s.approle+"/login", map[string]any{"role_id": roleID, "secret_id": secretID}, &out) == nil
}

// config writes rotator.yaml around the given bundles.
func (s *shop) config(bundles string) *config.Config {
	s.t.Helper()
	text := fmt.Sprintf(`
nats: {listen: none}
data: %s
ops: {listen: none}
vault:
  address: %s
  auth: {method: token, token_file: %s}
  fingerprint_key: %s/rotator/fingerprint
openwhisk:
  prod: {apihost: %q, namespace: guest, auth_file: %s}
bundles:
%s`, filepath.Join(s.dir, "data"), os.Getenv("ROTATOR_TEST_VAULT"), filepath.Join(s.dir, "vault.token"), s.kv, s.apihost, filepath.Join(s.dir, "whisk.auth"), bundles)
	cfg, err := config.Load(s.file("rotator.yaml", text), config.ThisMachine())
	if err != nil {
		s.t.Fatal(err)
	}
	return cfg
}

// start runs a replica until stop is called, which waits for it.
func (s *shop) start(cfg *config.Config) (svc *Service, stop func()) {
	s.t.Helper()
	svc, err := Open(s.t.Context(), cfg, Options{Log: zerolog.New(s.logs), Version: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				s.t.Errorf("the service ended with: %v", err)
			}
			svc.Close()
		})
	}
	s.t.Cleanup(stop)
	return svc, stop
}

func (s *shop) publish(svc *Service, e events.Event) {
	s.t.Helper()
	e.Source, e.Publisher, e.Time = "urn:test", "test", time.Now().UTC()
	if _, _, err := stream.NewPublisher(svc.Conn).Event(s.t.Context(), e); err != nil {
		s.t.Fatal(err)
	}
}

// receipt waits until the bundle has n receipts and returns the last one.
func (s *shop) receipt(svc *Service, bundle string, n int) rotator.Receipt {
	s.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; {
		rec := svc.Engine.Records()[bundle]
		if len(rec.History) >= n {
			return rec.History[n-1]
		}
		if rec.State == rotator.Quarantined {
			s.t.Fatalf("quarantined: %s\n%s", rec.Rotation.LastError, s.logs)
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no receipt %d of %s; state %s\n%s", n, bundle, rec.State, s.logs)
		}
		select { // polling with a deadline: the records are the engine's own view
		case <-s.t.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// own reads a parameter of an entity, unmerged.
func (s *shop) own(collection, name, key string) string {
	s.t.Helper()
	snap, ok := s.whisk.Snapshot(collection, name)
	if !ok {
		s.t.Fatalf("no %s %s", collection, name)
	}
	e, ok := snap.Own.Get(key)
	if !ok {
		return ""
	}
	text, _ := e.Value.Text()
	return text
}

func params(kv ...string) param.List {
	var l param.List
	for i := 0; i < len(kv); i += 2 {
		l = append(l, param.Entry{Key: kv[i], Value: secret.FromText(kv[i+1])})
	}
	return l
}

func leakOf(bundle string) events.Event {
	return events.Event{ID: "leak-" + bundle, Kind: events.KindLeak, Leak: &events.Leak{Credential: events.Credential{Name: bundle},
		Severity: "high", Reason: "manual_report", Upstream: events.Upstream{System: "test"}}}
}

func unquote(raw json.RawMessage) string { return strings.Trim(string(raw), `"`) }
