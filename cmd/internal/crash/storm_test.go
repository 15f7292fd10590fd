package crash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

const (
	stormBundles = 500
	stormVault   = 12 // calls at a time, by the configuration
	stormHost    = 6
)

// A gauge counts the requests that are under way, and the most that ever were.
type gauge struct {
	mu              sync.Mutex
	now, peak, seen int
	next            http.Handler
}

func (g *gauge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.add(1)
	defer g.add(-1)
	g.next.ServeHTTP(w, r)
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.peak, g.seen = max(g.peak, g.now), g.seen+max(n, 0)
}

// measured puts a gauge before a system.
func measured(t *testing.T, upstream string) (*gauge, string) {
	to, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	proxy.Transport = transport
	g := &gauge{next: proxy}
	s := httptest.NewServer(g)
	t.Cleanup(func() { s.Close(); transport.CloseIdleConnections() })
	return g, s.URL
}

// TestStorm: somebody who held 500 bundles leaves. They are worked off side by side, with no more requests at a time to Vault
// and to the host than the configuration allows; a leak that arrives in the middle does not wait for the rest.
func TestStorm(t *testing.T) {
	p := newParts(t, vaulttest.Run(t))
	s := p.newShop(t)
	vault, vaultURL := measured(t, s.vault.Address)
	host, hostURL := measured(t, s.host)
	s.spawn(t, s.dir, s.storm(vaultURL, hostURL))

	var done atomic.Int64
	leaked := make(chan time.Time, 1)
	half := make(chan struct{})
	_, err := s.conn.Subscribe("rotator.outcomes.v1.>", func(m *nats.Msg) {
		o, err := events.DecodeOutcome(m.Data)
		if err != nil || !o.Final() {
			return
		}
		if o.Result != events.ResultRotated {
			t.Errorf("%s is %s: %s", o.Bundle, o.Result, o.Reason)
		}
		if strings.HasPrefix(o.Bundle, "leaked") {
			leaked <- time.Now()
			return
		}
		if done.Add(1) == stormBundles/5 {
			close(half)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			s.report()
		}
	}()
	if err := s.publish(departure("storm", "everybody")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	await(t, half, "a fifth of the bundles is rotated")
	if err := s.publish(leak("leaked")); err != nil {
		t.Fatal(err)
	}
	at, published := done.Load(), time.Now()
	select {
	case end := <-leaked:
		waiting, overtaken := stormBundles-at, stormBundles-done.Load()
		t.Logf("a leak in the middle took %s; %d of %d bundles were still waiting", end.Sub(published).Round(time.Millisecond), overtaken, waiting)
		if 2*overtaken < waiting {
			t.Errorf("the leak waited for %d of %d bundles", waiting-overtaken, waiting)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the leak is never over")
	}
	if err := until(4*time.Minute, "every bundle is rotated", func() bool { return done.Load() == stormBundles }); err != nil {
		t.Fatalf("%v: %d", err, done.Load())
	}
	took := time.Since(began)
	t.Logf("%d bundles in %s, %.0f a second; %d calls to Vault, %d at a time at most; %d to the host, %d at a time at most", stormBundles,
		took.Round(100*time.Millisecond), stormBundles/took.Seconds(), vault.seen, vault.peak, host.seen, host.peak)
	if vault.peak > stormVault || host.peak > stormHost {
		t.Errorf("%d requests at a time to Vault, want at most %d; %d to the host, want at most %d", vault.peak, stormVault, host.peak, stormHost)
	}
}

func await(t *testing.T, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(2 * time.Minute):
		t.Fatalf("after two minutes still not: %s", what)
	}
}

// storm seeds the bundles and writes the configuration.
func (s *shop) storm(vaultURL, hostURL string) string {
	policy := s.name + "-policy"
	s.vault.Must(s.t, http.MethodPut, "sys/policies/password/"+policy, map[string]any{"policy": `length = 24
rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" }`})
	var bundles strings.Builder
	for i := range stormBundles + 1 {
		name, holders := fmt.Sprintf("b%03d", i), `["everybody@example.com"]`
		if i == stormBundles {
			name, holders = "leaked", "[]"
		}
		s.vault.Must(s.t, http.MethodPost, s.kv+"/data/storm/"+name, map[string]any{"data": map[string]any{"KEY": "first of " + name, "MODE": "live"}})
		s.whisk.Action("storm-"+name, whisktest.Seed{Parameters: param.List{text("KEY", "first of "+name), text("MODE", "live"), text("OWN", "kept")}})
		fmt.Fprintf(&bundles, `
  %s:
    secret: %s/storm/%s
    credentials: {key: {generate: {password_policy: %s}, keys: {password: KEY}}}
    holders: %s
    policy: {leak: {overlap: 0s}, offboarding: {overlap: 0s}}
    targets: [{host: main, action: storm-%s}]`, name, s.kv, name, policy, holders, name)
	}
	head, _ := json.Marshal(map[string]any{
		"nats": map[string]any{"url": s.nats}, "ops": map[string]any{"listen": "none"}, "log": map[string]any{"level": "warn", "format": "json"},
		"limits": map[string]any{"bundles": 16, "vault": stormVault},
		"events": map[string]any{"max_bundles": 0, "max_per_hour": 0}, // nobody is asked whether 500 are too many
		"vault": map[string]any{"address": vaultURL, "fingerprint_key": s.kv + "/rotator/storm",
			"auth": map[string]any{"method": "approle", "mount": s.approle, "role_id_file": s.dir + "/role-id", "secret_id_file": s.dir + "/secret-id"}},
		"openwhisk": map[string]any{"main": map[string]any{"apihost": hostURL, "namespace": "guest", "auth_file": s.dir + "/auth", "parallel": stormHost}},
	})
	var top strings.Builder
	var sections map[string]json.RawMessage
	_ = json.Unmarshal(head, &sections)
	for key, section := range sections {
		fmt.Fprintf(&top, "%s: %s\n", key, section)
	}
	return s.file("rotator-storm.yaml", top.String()+"bundles:"+bundles.String()+"\n")
}
