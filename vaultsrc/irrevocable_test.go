package vaultsrc

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// giveUp makes Vault give up a lease, because the user of the database owns something, and returns how to repair it.
// Vault tries six times in 5 to 15 minutes; each time it is asked to revoke later it tries at once, which counts.
func (f *fixture) giveUp(t *testing.T, m Minted) (repair func()) {
	t.Helper()
	repair = f.refuse(t, m)
	lease := m.Handles[0].ID
	eventually(t, "Vault has given up", func() bool {
		f.vault.Must(t, http.MethodPut, "sys/leases/revoke", map[string]any{"lease_id": lease, "sync": false})
		out := f.vault.Must(t, http.MethodGet, "sys/leases?type=irrevocable", nil)
		for _, l := range out["data"].(map[string]any)["leases"].([]any) {
			if l.(map[string]any)["lease_id"] == lease {
				return true
			}
		}
		return false
	})
	return repair
}

// refuse makes the database refuse to drop the user of m.
func (f *fixture) refuse(t *testing.T, m Minted) (repair func()) {
	t.Helper()
	user, _ := m.Fields["username"].Text()
	conn := f.admin(t)
	run := func(sql string) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	run(`CREATE TABLE held (i int)`)
	run(`ALTER TABLE held OWNER TO "` + user + `"`)
	return func() { run(`DROP TABLE held`) }
}

func TestIrrevocableLeaseIsRaisedAndCanBeRepaired(t *testing.T) {
	f := newFixture(t, true)
	handles, m := f.rotateOnce(t, "r-given-up", Bundle{})
	repair := f.giveUp(t, m)
	scope := Scope{Paths: []string{f.db + "/creds/app"}}
	eventually(t, "the inventory shows it", func() bool {
		inv, err := f.client.Inventory(t.Context(), scope)
		if err != nil || len(inv.Unchecked) > 0 {
			t.Fatal(inv.Unchecked, err)
		}
		return inv.Holdings[1].Handle == handles[0] && inv.Holdings[1].Irrevocable
	})
	f.calls.take()
	start := time.Now()
	err := f.client.Revoke(t.Context(), handles)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("knows it only after %v", took)
	}
	re, ok := errors.AsType[*RevokeError](err)
	if !ok || !re.Irrevocable || re.Handle != handles[0] || !errors.Is(err, ErrIrrevocable) || !errors.Is(err, ErrNotGone) {
		t.Fatalf("%v", err)
	}
	if !contains(re.Text, "cannot be dropped") || !contains(err.Error(), "repair the backend") {
		t.Errorf("neither reason nor remedy: %v", err)
	}
	user, _ := m.Fields["username"].Text()
	if text := fmt.Sprintf("%v %+v", err, re); contains(text, user) {
		t.Errorf("names the user: %s", text)
	}
	if err := f.connect(t.Context(), m.Fields); err != nil {
		t.Errorf("the test is wrong: the user cannot log in any more: %v", err)
	}
	repair()
	if err := f.client.Revoke(t.Context(), handles); err != nil {
		t.Errorf("after the repair: %v", err)
	}
	if n := f.users(t); n != 0 {
		t.Errorf("%d users are left", n)
	}
	if inv, err := f.client.Inventory(t.Context(), scope); err != nil || len(inv.Holdings) != 0 {
		t.Errorf("%v, %v", inv.Holdings, err)
	}
}

// TestRevokeDoesNotUseUpVaultsAttempts repeats a revocation that fails: Vault must not give up the sooner for it.
func TestRevokeDoesNotUseUpVaultsAttempts(t *testing.T) {
	f := newFixture(t, true)
	handles, m := f.rotateOnce(t, "r-refused", Bundle{})
	repair := f.refuse(t, m)
	lease := handles[0]
	for range 8 {
		if err := f.client.queue(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the lease is expired", func() bool {
			r, err := f.client.do(t.Context(), request{write: true, path: "sys/leases/lookup", body: map[string]any{"lease_id": lease.ID}})
			return err == nil && r.number("ttl") < 0
		})
	}
	if dead, err := f.client.givenUp(t.Context(), lease.ID); dead || err != nil {
		t.Fatalf("given up: %v, %v", dead, err)
	}
	err := f.client.Revoke(t.Context(), handles[:1])
	re, ok := errors.AsType[*RevokeError](err)
	if !ok || re.Irrevocable || errors.Is(err, ErrIrrevocable) || !errors.Is(err, ErrNotGone) || !contains(re.Text, "cannot be dropped") {
		t.Errorf("%v", err)
	}
	repair()
	if err := f.client.Revoke(t.Context(), handles); err != nil {
		t.Errorf("after the repair: %v", err)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		`role "v-token-app-x" cannot be dropped (SQLSTATE 2BP01)`: `role <...> cannot be dropped (SQLSTATE 2BP01)`,
		`cut off in role "v-tok`:                                  `cut off in role <...>`,
		"user 'a' on `b`":                                         "user <...> on <...>",
		`NoSuchEntity: user vault-root-x-1700000000-abc, key AKIA0123456789ABCDEF`: `NoSuchEntity: user <...>, key <...>`,
		`dial tcp 127.0.0.1:5432: connect: connection refused`:                     `dial tcp 127.0.0.1:5432: connect: connection refused`,
		`failed to revoke entry: resp: (*logical.Response)(nil) err: x`:            `failed to revoke entry: resp: (*logical.Response)(nil) err: x`,
		`user abcdefghijklmnopqrstuvwxyz`:                                          `user <...>`,
	} {
		if got := redact(in); got != want {
			t.Errorf("%q gives %q, want %q", in, got, want)
		}
	}
}
