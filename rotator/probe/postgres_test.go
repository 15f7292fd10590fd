package probe_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/probe"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// A real server: a user lives, expires, loses its login, and is gone.
func TestPostgres(t *testing.T) {
	pg, err := vaulttest.StartPostgres(t.Context(), nil)
	if errors.Is(err, vaulttest.ErrNoPostgres) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	admin, err := pgx.Connect(t.Context(), pg.DSN(pg.User, pg.Password))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	do := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	const user, password = "shop-" + canary, "p@ss/w%rd:" + canary
	set := secret.Set{"USER": secret.FromText(user), "PASSWORD": secret.FromText(password)}
	dsn := strings.NewReplacer("__user__", "{{USER|url}}", "__password__", "{{PASSWORD|url}}").Replace(pg.DSN("__user__", "__password__"))
	r := probe.New(probe.Config{})
	ask := func(dsn string, set secret.Set) error {
		return r.Probe(t.Context(), rotator.Probe{Postgres: template(t, dsn)}, set)
	}

	want(t, ask(dsn, set), rejected) // no such role
	do(`create role "` + user + `" login password '` + password + `'`)
	want(t, ask(dsn, set), accepted)
	want(t, ask(dsn, secret.Set{"USER": secret.FromText(user), "PASSWORD": secret.FromText("wrong " + canary)}), rejected)
	want(t, ask(dsn, secret.Set{"USER": secret.FromText(user), "PASSWORD": secret.FromText("")}), permanent)

	want(t, ask(strings.Replace(dsn, "/"+pg.Database+"?", "/nosuchdatabase?", 1), set), unavailable)
	do(`alter role "` + user + `" nologin`)
	want(t, ask(dsn, set), rejected)
	do(`alter role "` + user + `" login valid until '2001-01-01'`)
	want(t, ask(dsn, set), rejected)
	do(`drop role "` + user + `"`)
	want(t, ask(dsn, set), rejected)
	pg.Stop()
	want(t, ask(dsn, set), unavailable)
}

func TestPostgresUnreachable(t *testing.T) {
	r := probe.New(probe.Config{})
	ask := func(dsn string) error {
		return r.Probe(t.Context(), rotator.Probe{Postgres: template(t, dsn), Timeout: 2 * time.Second}, bundle(map[string]string{"ODD": canary + "@%zz"}))
	}
	want(t, ask("postgres://{{USER}}:{{ODD}}@h:port/x"), permanent)
	want(t, ask("postgres://{{USER}}:{{PASSWORD}}@unresolvable.invalid/x"), unavailable)
	want(t, ask("postgres://{{USER}}:{{PASSWORD}}@{{PASSWORD}}.invalid/{{PASSWORD}}"), unavailable)

	// A server that takes the connection and says nothing.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want(t, ask("postgres://{{USER}}:{{PASSWORD}}@"+l.Addr().String()+"/x"), unavailable)
}
