package crash

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

var number atomic.Int64

// A shop is one bundle with a database user and an AppRole secret-id, on two actions and a package.
type shop struct {
	*parts
	t     testing.TB
	name  string // of bundle and roles
	dir   string
	nats  string // URL
	conn  *nats.Conn
	whisk *whisktest.Server
	host  string
	first login
	slow  bool // the old credential stays long enough for a login that has just read it

	published, logins, refused, forgotten int // of the soak

	mu       sync.Mutex
	running  []*process
	values   map[string]bool // every secret that was ever bound
	failures []string
}

// login is what a target holds.
type login struct{ user, password, roleID, secretID string }

// newShop makes a shop with a nats-server of its own.
func (p *parts) newShop(t testing.TB) *shop {
	t.Helper()
	return p.shopOn(t, startNATS(t).ClientURL(), t.TempDir())
}

func (p *parts) shopOn(t testing.TB, url, dir string) *shop {
	t.Helper()
	s := &shop{parts: p, t: t, name: fmt.Sprintf("m%dx", number.Add(1)), dir: dir, nats: url, values: make(map[string]bool)}
	p.databaseRole(t, s.name)
	p.vault.Must(t, http.MethodPost, "auth/"+p.approle+"/role/"+s.name, map[string]any{"token_ttl": "5m"})
	lease := p.vault.Must(t, http.MethodGet, p.db+"/creds/"+s.name, nil)
	s.first.roleID, s.first.secretID = p.login(t, s.name)
	s.first.user, s.first.password = field(lease, "username"), field(lease, "password")
	p.vault.Must(t, http.MethodPost, p.kv+"/data/"+s.name, map[string]any{"data": map[string]any{
		"DB_USER": s.first.user, "DB_PASSWORD": s.first.password, "ROLE_ID": s.first.roleID, "SECRET_ID": s.first.secretID, "RETRIES": 3,
		"_rotator": map[string]any{"handles": []map[string]any{{"kind": "lease", "id": lease["lease_id"]}}},
	}})
	s.openwhisk()
	var err error
	if s.conn, err = nats.Connect(s.nats); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.conn.Close)
	s.file("auth", whisktest.GuestKey)
	s.file("role-id", p.roleID)
	s.file("secret-id", p.secret)
	return s
}

func (s *shop) openwhisk() {
	s.whisk = whisktest.New(whisktest.Options{})
	l := param.List{text("DB_USER", s.first.user), text("DB_PASSWORD", s.first.password), text("ROLE_ID", s.first.roleID), text("SECRET_ID", s.first.secretID)}
	retries, _ := secret.FromJSON([]byte("3"))
	l = append(l, param.Entry{Key: "RETRIES", Value: retries})
	s.whisk.Package("shop", whisktest.Seed{})
	s.whisk.Package("mail", whisktest.Seed{Parameters: append(param.List{text("REGION", "eu")}, l...)})
	own := append(param.List{text("OWN", "kept"), {Key: "SEED", Value: secret.FromText("kept too"), Init: true}}, l...)
	s.whisk.Action("shop/checkout", whisktest.Seed{Parameters: own})
	s.whisk.Action("refund", whisktest.Seed{Parameters: own})
	s.whisk.Referee(s.t)
	front := httptest.NewServer(s.whisk)
	s.t.Cleanup(front.Close)
	s.host = front.URL
}

func text(key, value string) param.Entry { return param.Entry{Key: key, Value: secret.FromText(value)} }

// spawn starts a process, whose stacks are shown when the test fails.
func (s *shop) spawn(t testing.TB, dir, config string) *process {
	t.Helper()
	pr := s.parts.spawn(t, dir, config)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = append(slices.DeleteFunc(s.running, (*process).ended), pr)
	return pr
}

func (s *shop) file(name, content string) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// replica writes the configuration of one process, whose every request goes through the wire. w may be nil.
func (s *shop) replica(name string, w *wire) (config string) {
	return writeConfig(name, w, s)
}

// writeConfig is a configuration for one or several shops that share everything but their OpenWhisk hosts.
func writeConfig(name string, w *wire, shops ...*shop) string {
	s := shops[0]
	vault, url := s.vault.Address, s.nats
	if w != nil {
		vault = w.httpProxy(s.t, "vault", vault)
		if !strings.Contains(url, ",") { // of a cluster, the client talks to whom it likes
			url = w.natsProxy(s.t, strings.TrimPrefix(url, "nats://"))
		}
	}
	text := strings.NewReplacer("NATS", url, "VAULT", vault, "DIR", s.dir, "MOUNT", s.approle, "ANCHOR", s.anchor, "KV", s.kv, "NAME", s.name,
		"REPLICAS", map[bool]string{false: "1", true: "3"}[strings.Contains(s.nats, ",")]).Replace(`
nats: {url: "NATS", replicas: REPLICAS}
ops: {listen: none}
log: {level: info, format: json}
limits: {lease: 2s, straggler: 2s}
events: {max_bundles: 0, max_per_hour: 0} # storms are what this is about
reconcile: {settle: 1s}
vault:
  address: VAULT
  auth: {method: approle, mount: MOUNT, role_id_file: "DIR/role-id", secret_id_file: "DIR/secret-id"}
  anchor: {role: ANCHOR}
  fingerprint_key: KV/rotator/NAME
openwhisk:
`)
	for _, one := range shops {
		host := one.host
		if w != nil {
			host = w.httpProxy(s.t, "openwhisk", host)
		}
		text += fmt.Sprintf("  %s: {apihost: %q, namespace: guest, auth_file: %q}\n", one.name, host, s.dir+"/auth")
	}
	text += "bundles:\n"
	for _, one := range shops {
		text += one.bundle()
	}
	return s.file("rotator-"+name+".yaml", text)
}

func (s *shop) bundle() string {
	return strings.NewReplacer("MOUNT", s.approle, "KV", s.kv, "DB/", s.db+"/", "NAME", s.name,
		"OVERLAP", map[bool]string{false: "300ms", true: "3s"}[s.slow], "PG", fmt.Sprintf("%s:%d/%s", s.pg.Host, s.pg.Port, s.pg.Database)).Replace(`
  NAME:
    secret: KV/NAME
    credentials:
      db: {generate: DB/creds/NAME, exclusive: true, keys: {username: DB_USER, password: DB_PASSWORD}, probe: {postgres: "postgres://{{DB_USER|url}}:{{DB_PASSWORD|url}}@PG?sslmode=disable"}}
      login: {generate: auth/MOUNT/role/NAME/secret-id, keys: {secret_id: SECRET_ID}, probe: {approle: {mount: MOUNT, role_id: "{{ROLE_ID}}", secret_id: "{{SECRET_ID}}"}}}
    holders: ["NAME@example.com"]
    policy: {leak: {overlap: 0s}, offboarding: {overlap: OVERLAP}, manual: {overlap: 3s}}
    targets:
      - {host: NAME, package: mail}
      - {host: NAME, action: shop/checkout}
      - {host: NAME, action: refund}
`)
}

// publish stores one event in the stream, which a replica has made.
func (s *shop) publish(e events.Event) error {
	e.Source, e.Publisher, e.Time = "urn:crash", "test", time.Now().UTC()
	var last error
	err := until(time.Minute, "the stream takes the event", func() bool {
		ctx, cancel := ask(5 * time.Second)
		defer cancel()
		_, _, last = stream.NewPublisher(s.conn).Event(ctx, e)
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return nil
}

func departure(id, bundle string) events.Event {
	return events.Event{ID: id, Kind: events.KindOffboarding, Offboarding: &events.Offboarding{
		Person: events.Person{Identifiers: []events.Identifier{{Format: "email", Email: bundle + "@example.com"}}}, Change: "terminated", Severity: "high", Upstream: events.Upstream{System: "test"}}}
}

// finals lists the outcomes that ended a rotation.
func (s *shop) finals() ([]events.Outcome, error) {
	ctx, cancel := ask(10 * time.Second)
	defer cancel()
	var out []events.Outcome
	err := stream.OutcomesOf(ctx, s.conn, s.name, func(o events.Outcome) error {
		if o.Final() {
			out = append(out, o)
		}
		return nil
	})
	return out, err
}
