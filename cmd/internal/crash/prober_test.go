package crash

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// probe plays the actions: as often as it can it takes the parameters that a target holds at this moment, and logs in to
// PostgreSQL with them.
func (s *shop) probe(stop <-chan struct{}) {
	pace := time.NewTicker(12 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-pace.C:
		}
		place := places()[i%len(places())]
		err := s.database(s.holds(place))
		var said *pgconn.PgError
		switch {
		case err == nil:
			s.count(true)
		case errors.As(err, &said) && (said.Code == "28P01" || said.Code == "28000"):
			s.count(false)
			s.fail("P3: at %s the database refused what %s held: %v", time.Now().UTC().Format(time.StampMilli), place[1], said)
		default:
			s.fail("the prober: %v", err)
			return
		}
	}
}

func (s *shop) database(l login) error {
	ctx, cancel := ask(30 * time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.pg.DSN(l.user, l.password))
	if err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	return conn.Close(ctx)
}

// probeVault does the same with the AppRole credential. Every such login is a write of Vault's, so it is rarer.
func (s *shop) probeVault(stop <-chan struct{}) {
	pace := time.NewTicker(300 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-pace.C:
		}
		place := places()[i%len(places())]
		l := s.holds(place)
		ctx, cancel := ask(30 * time.Second)
		var out map[string]any
		err := s.vault.API(ctx, http.MethodPost, "auth/"+s.approle+"/login", map[string]any{"role_id": l.roleID, "secret_id": l.secretID}, &out)
		cancel()
		s.count(err == nil)
		if err != nil {
			s.fail("P3: at %s Vault refused what %s held: %v", time.Now().UTC().Format(time.StampMilli), place[1], err)
		}
	}
}

func (s *shop) count(accepted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins++
	if !accepted {
		s.refused++
	}
}
