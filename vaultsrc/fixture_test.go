package vaultsrc

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// A fixture is a real Vault with everything one client needs, and a client with no more rights than the package
// doc asks for.
type fixture struct {
	vault   *vaulttest.Server
	kv      string // mount
	approle string // mount
	anchors string // token role
	db      string // mount, empty without PostgreSQL
	pg      *vaulttest.PG
	cfg     Config
	calls   *recorder
	client  *Client
}

func (f *fixture) path(name string) string { return f.kv + "/" + name }

// newFixture uses the package's shared Vault; withDB adds a PostgreSQL.
func newFixture(t *testing.T, withDB bool) *fixture {
	t.Helper()
	f := &fixture{vault: vaulttest.Run(t), db: "none"}
	if withDB {
		f.pg = vaulttest.Postgres(t)
		f.db = f.vault.Database(t, f.pg, vaulttest.DatabaseRole{Name: "app", DefaultTTL: 24 * time.Hour, MaxTTL: 700 * time.Hour})
	}
	f.prepare(t)
	return f
}

func (f *fixture) prepare(t *testing.T) {
	t.Helper()
	f.kv, f.approle = f.vault.KV(t), f.vault.AppRole(t)
	anchorPolicy := f.vault.Policy(t, fmt.Sprintf(`
path "%s/creds/*" { capabilities = ["read"] }
path "auth/%s/role/+/secret-id" { capabilities = ["update"] }`, f.db, f.approle))
	f.anchors = f.vault.Anchors(t, anchorPolicy)
	policy := f.vault.Policy(t, fmt.Sprintf(`
path "%s/data/*" { capabilities = ["create", "read", "update"] }
path "auth/token/create/%s" { capabilities = ["update"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/renew-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
path "sys/leases/lookup/%s/creds/*" { capabilities = ["list", "sudo"] }
path "sys/leases/lookup/auth/token/create/%s/*" { capabilities = ["list", "sudo"] }
path "sys/policies/password/+/generate" { capabilities = ["read"] }
path "auth/token/accessors" { capabilities = ["list", "sudo"] }
path "auth/token/create" { capabilities = ["update"] }
path "auth/token/lookup" { capabilities = ["update"] }
path "auth/%s/role/+/secret-id" { capabilities = ["update", "list"] }
path "auth/%s/role/+/secret-id/lookup" { capabilities = ["update"] }
path "auth/%s/role/+/secret-id-accessor/lookup" { capabilities = ["update"] }
path "auth/%s/role/+/secret-id-accessor/destroy" { capabilities = ["update"] }
`, f.kv, f.anchors, f.db, f.anchors, f.approle, f.approle, f.approle, f.approle))
	f.role(t, "rotator", map[string]any{"token_policies": []string{policy}, "token_ttl": "1h"})
	f.calls = &recorder{}
	f.cfg = Config{
		Address: f.vault.Address, Logger: zerolog.Nop(), Timeout: 10 * time.Second,
		Auth:          f.auth(t, "rotator"),
		Anchor:        AnchorConfig{Role: f.anchors, Policies: []string{anchorPolicy}},
		WrapTransport: f.calls.wrap,
	}
	f.client = newClient(t, f.cfg)
}

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// role makes an AppRole role.
func (f *fixture) role(t *testing.T, name string, body map[string]any) {
	t.Helper()
	f.vault.Must(t, http.MethodPost, "auth/"+f.approle+"/role/"+name, body)
}

func (f *fixture) roleID(t *testing.T, name string) string {
	t.Helper()
	return data(t, f.vault.Must(t, http.MethodGet, "auth/"+f.approle+"/role/"+name+"/role-id", nil), "role_id")
}

// auth writes a fresh secret-id to a file.
func (f *fixture) auth(t *testing.T, role string) Auth {
	t.Helper()
	out := f.vault.Must(t, http.MethodPost, "auth/"+f.approle+"/role/"+role+"/secret-id", map[string]any{})
	file := filepath.Join(t.TempDir(), "secret-id")
	if err := os.WriteFile(file, []byte(data(t, out, "secret_id")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Auth{Method: "approle", Mount: f.approle, RoleID: f.roleID(t, role), SecretIDFile: file}
}

func data(t *testing.T, answer map[string]any, field string) string {
	t.Helper()
	d, _ := answer["data"].(map[string]any)
	s, ok := d[field].(string)
	if !ok {
		t.Fatalf("answer has no text %q", field)
	}
	return s
}

// connect is the proof that a database user lives.
func (f *fixture) connect(ctx context.Context, fields secret.Set) error {
	user, _ := fields["username"].Text()
	password, _ := fields["password"].Text()
	conn, err := pgx.Connect(ctx, f.pg.DSN(user, password))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// users counts the database users that Vault made.
func (f *fixture) users(t *testing.T) int {
	t.Helper()
	var n int
	if err := f.admin(t).QueryRow(t.Context(), `SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// admin connects as PostgreSQL's superuser.
func (f *fixture) admin(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), f.pg.DSN(f.pg.User, f.pg.Password))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// recorder notes every HTTP exchange.
type recorder struct {
	mu    sync.Mutex
	calls []string
	next  http.RoundTripper
}

func (r *recorder) wrap(next http.RoundTripper) http.RoundTripper {
	r.next = next
	return r
}

func (r *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.calls = append(r.calls, q.Method+" "+q.URL.Path)
	r.mu.Unlock()
	return r.next.RoundTrip(q)
}

// take returns the exchanges so far and forgets them.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.calls
	r.calls = nil
	return out
}

// eventually polls cond until it holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

func set(pairs ...string) secret.Set {
	out := secret.Set{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = secret.FromText(pairs[i+1])
	}
	return out
}
