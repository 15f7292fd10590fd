package vaulttest

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// TB is the part of testing.TB that is used here. It keeps testing out of programs that import this package.
type TB interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Logf(format string, args ...any)
}

// shared is the one server of a test binary, kept across tests on purpose: a start costs a second.
var shared struct {
	once   sync.Once
	server *Server
	err    error
}

func announce(what string) {
	if strings.HasPrefix(what, "building") {
		_, _ = os.Stderr.WriteString("vaulttest: " + what + "\n")
	}
}

// Run returns a Vault that all tests of the package share; use names from Name. Without a Vault it skips the test,
// or fails it when CI=true.
func Run(t TB) *Server {
	t.Helper()
	shared.once.Do(func() {
		shared.server, shared.err = Start(context.Background(), Options{Progress: announce})
	})
	if shared.err != nil {
		missing(t, shared.err)
	}
	return shared.server
}

// RunPersistent returns a Vault for this test alone, with raft storage: it can be sealed, killed and restarted.
func RunPersistent(t TB) *Server {
	t.Helper()
	s, err := Start(t.Context(), Options{Progress: announce, Persistent: true})
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Postgres returns a PostgreSQL for this test alone.
func Postgres(t TB) *PG {
	t.Helper()
	pg, err := StartPostgres(t.Context(), nil)
	if err != nil {
		missing(t, err)
	}
	t.Cleanup(pg.Stop)
	return pg
}

// Shutdown ends the shared server. Where a child does not die with its parent, that is everywhere but on Linux,
// call it at the end of TestMain.
func Shutdown() {
	shared.once.Do(func() {})
	if shared.server != nil {
		shared.server.Stop()
	}
}

// missing skips what cannot be had. A server that is there and does not start is a failure.
func missing(t TB, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" || !errors.Is(err, ErrNoVault) && !errors.Is(err, ErrNoPostgres) {
		t.Fatalf("%v", err)
		return
	}
	t.Skipf("%v", err)
}

// Name is a fresh name for a mount, role or policy.
func Name(prefix string) string { return prefix + "-" + strings.ToLower(rand.Text()[:10]) }

// KV mounts a KV v2 engine for this test and returns its path.
func (s *Server) KV(t TB) string {
	t.Helper()
	return s.mounted(t, "kv-v2")
}

// AppRole enables an AppRole method for this test and returns its mount, without auth/.
func (s *Server) AppRole(t TB) string {
	t.Helper()
	mount := Name("approle")
	s.must(t, s.EnableAuth(t.Context(), mount, "approle"))
	s.later(t, "sys/auth/"+mount)
	return mount
}

// Database enables the database engine on pg for this test and returns its mount.
func (s *Server) Database(t TB, pg *PG, roles ...DatabaseRole) string {
	t.Helper()
	mount := Name("database")
	s.must(t, s.EnableDatabase(t.Context(), mount, pg, roles...))
	s.later(t, "sys/mounts/"+mount)
	t.Cleanup(func() { // leases whose database is gone would keep the mount
		_ = s.API(context.Background(), http.MethodPut, "sys/leases/revoke-force/"+mount, nil, nil)
	})
	return mount
}

// Policy writes an ACL policy for this test and returns its name.
func (s *Server) Policy(t TB, hcl string) string {
	t.Helper()
	name := Name("policy")
	s.must(t, s.PutPolicy(t.Context(), name, hcl))
	s.later(t, "sys/policies/acl/"+name)
	return name
}

// Anchors makes a token role for anchors with the given policies and returns its name.
func (s *Server) Anchors(t TB, policies ...string) string {
	t.Helper()
	name := Name("anchor")
	s.must(t, s.AnchorRole(t.Context(), name, policies...))
	s.later(t, "auth/token/roles/"+name)
	return name
}

// Must makes one call as root and fails the test when it fails. It returns the whole answer.
func (s *Server) Must(t TB, method, path string, body any) map[string]any {
	t.Helper()
	out := map[string]any{}
	s.must(t, s.API(t.Context(), method, path, body, &out))
	return out
}

func (s *Server) mounted(t TB, engine string) string {
	t.Helper()
	mount := Name("mount")
	s.must(t, s.Mount(t.Context(), mount, engine))
	s.later(t, "sys/mounts/"+mount)
	return mount
}

func (s *Server) must(t TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("preparing vault: %v", err)
	}
}

// later removes what a test made; a server that is down by then took it along.
func (s *Server) later(t TB, path string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.API(ctx, http.MethodDelete, path, nil, nil); err != nil {
			t.Logf("cleaning up: %v", err)
		}
	})
}
