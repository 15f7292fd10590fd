package vaulttest

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestSharedServerAnswersAsRoot(t *testing.T) {
	s := Run(t)
	mount := s.KV(t)
	s.Must(t, http.MethodPost, mount+"/data/a", map[string]any{"data": map[string]any{"k": "v"}})
	out := s.Must(t, http.MethodGet, mount+"/data/a", nil)
	if got := out["data"].(map[string]any)["data"].(map[string]any)["k"]; got != "v" {
		t.Fatalf("read back %v", got)
	}
}

func TestPersistentServerSurvivesKill(t *testing.T) {
	s := RunPersistent(t)
	mount := s.KV(t)
	s.Must(t, http.MethodPost, mount+"/data/a", map[string]any{"data": map[string]any{"k": "v"}})
	s.Kill()
	if s.health(t.Context()) != 0 {
		t.Fatal("still answers after Kill")
	}
	began := time.Now()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("back after %v", time.Since(began))
	s.Must(t, http.MethodGet, mount+"/data/a", nil)
	if err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.API(t.Context(), http.MethodGet, mount+"/data/a", nil, nil); err == nil {
		t.Fatal("a sealed Vault answered")
	}
	if err := s.Unseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Must(t, http.MethodGet, mount+"/data/a", nil)
}

func TestDatabaseEngineMakesUsers(t *testing.T) {
	s, pg := Run(t), Postgres(t)
	mount := s.Database(t, pg, DatabaseRole{Name: "app", DefaultTTL: time.Hour, MaxTTL: 2 * time.Hour})
	data := s.Must(t, http.MethodGet, mount+"/creds/app", nil)["data"].(map[string]any)
	conn, err := pgx.Connect(t.Context(), pg.DSN(data["username"].(string), data["password"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.Connect(t.Context(), pg.DSN(data["username"].(string), "wrong")); err == nil {
		t.Fatal("a wrong password was accepted: passwords are not checked")
	}
}

// The build itself takes minutes with a cold build cache, so it runs only on demand.
func TestBuildFromTheModuleProxy(t *testing.T) {
	if os.Getenv("ROTATOR_TEST_BUILD_VAULT") == "" {
		t.Skip("set ROTATOR_TEST_BUILD_VAULT=1 to build Vault from the module proxy")
	}
	dir := t.TempDir()
	results := make(chan error, 2)
	var said atomic.Int32
	for range cap(results) { // two at once: one builds, the other waits
		go func() {
			_, err := buildIn(t.Context(), dir, func(what string) {
				if strings.HasPrefix(what, "building Vault") {
					said.Add(1)
				}
				t.Log(what)
			})
			results <- err
		}()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if !complete(dir) || said.Load() != 1 {
		t.Errorf("complete %v, built %d times", complete(dir), said.Load())
	}
	left, err := filepath.Glob(filepath.Join(dir, "build-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	s, err := Start(t.Context(), Options{Persistent: true})
	if err != nil {
		missing(t, err)
	}
	s.Stop()
	if s.health(t.Context()) != 0 {
		t.Error("still answers")
	}
	if _, err := os.Stat(s.opts.Dir); !os.IsNotExist(err) {
		t.Errorf("data is left: %v", err)
	}
	s.Stop() // again does no harm
}

func TestFollowReportsAndKeepsTheEnd(t *testing.T) {
	last := follow(strings.NewReader("a\nb\nc\nd\ne\nf\n"), "x", func(string) {})
	if last != "b; c; d; e; f" {
		t.Errorf("%q", last)
	}
}
