package crash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/journal"
)

// places are the targets, as the emulator names them.
func places() [][2]string {
	return [][2]string{{"packages", "mail"}, {"actions", "shop/checkout"}, {"actions", "refund"}}
}

// holds reads what a target holds at this moment.
func (s *shop) holds(place [2]string) login {
	snap, _ := s.whisk.Snapshot(place[0], place[1])
	get := func(key string) string {
		e, _ := snap.Own.Get(key)
		text, _ := e.Value.Text()
		return text
	}
	return login{get("DB_USER"), get("DB_PASSWORD"), get("ROLE_ID"), get("SECRET_ID")}
}

// accepted really logs in, to PostgreSQL and to Vault.
func (s *shop) accepted(l login) error {
	ctx, cancel := ask(20 * time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.pg.DSN(l.user, l.password))
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	_ = conn.Close(ctx)
	var out map[string]any
	err = s.vault.API(ctx, http.MethodPost, "auth/"+s.approle+"/login", map[string]any{"role_id": l.roleID, "secret_id": l.secretID}, &out)
	if err != nil && strings.Contains(err.Error(), "status 400") { // a sealed Vault refuses nobody
		return fmt.Errorf("AppRole: %w", err)
	}
	return nil
}

// look is the referee: after a write, every target's credential is accepted by its backend, and nothing is missing.
func (s *shop) look(after string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tried := make(map[login]bool)
	for _, p := range places() {
		l := s.holds(p)
		s.values[l.password], s.values[l.secretID] = true, true
		if tried[l] {
			continue
		}
		tried[l] = true
		if err := s.accepted(l); err != nil {
			if now := s.holds(p); now == l { // otherwise it has been replaced meanwhile
				s.failures = append(s.failures, fmt.Sprintf("P3 after %s: %s holds a credential that is refused: %v", after, p[1], err))
			}
		}
	}
}

// record reads the journal.
func (s *shop) record() (rotator.Record, error) {
	ctx, cancel := ask(10 * time.Second)
	defer cancel()
	store, err := journal.Open(ctx, s.conn, journal.Config{ReadOnly: true, Log: zerolog.Nop()})
	if err != nil {
		return rotator.Record{}, err
	}
	raw, _, err := store.Get(ctx, s.name)
	if err != nil {
		return rotator.Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.values {
		if v != "" && strings.Contains(string(raw), v) {
			s.failures = append(s.failures, "P7: the journal holds a value")
		}
	}
	return rotator.DecodeRecord(raw)
}

// finished waits until every event is worked off.
func (s *shop) finished(limit time.Duration, rotations int) error {
	var state string
	err := until(limit, "every rotation is over", func() bool {
		rec, err := s.record()
		state = fmt.Sprintf("%s, %d rotations, %v", rec.State, rec.Generation, err)
		return err == nil && rec.State == rotator.Idle && len(rec.Queue) == 0 && rec.Generation >= rotations
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, state)
	}
	return nil
}

// check holds the end against the promises: live is the one credential that is left.
func (s *shop) check(result string, rotations int) {
	var finals []events.Outcome
	var err error
	_ = until(30*time.Second, "every outcome is there", func() bool { // a new leader of the stream needs a moment to know all of it
		finals, err = s.finals()
		return err == nil && len(finals) >= rotations
	})
	if err != nil {
		s.fail("reading the outcomes: %v", err)
	}
	seen := make(map[string]int)
	for _, o := range finals {
		if result != "" && o.Result != result {
			s.fail("rotation %s is %s, want %s: %s", o.Rotation, o.Result, result, o.Reason)
		}
		for _, e := range o.Events {
			seen[e]++
		}
	}
	if len(finals) != rotations {
		s.fail("P6: %d rotations, want %d", len(finals), rotations)
	}
	for e, n := range seen {
		if n != 1 {
			s.fail("P6: event %s is in %d rotations", e, n)
		}
	}
	live := s.newest()
	for _, p := range places() {
		if s.holds(p) != live {
			s.fail("P2: %s does not hold the newest version", p[1])
		}
		snap, _ := s.whisk.Snapshot(p[0], p[1])
		for _, key := range []string{"RETRIES", map[string]string{"packages": "REGION", "actions": "SEED"}[p[0]]} {
			if _, ok := snap.Own.Get(key); !ok {
				s.fail("P1: %s lost %s", p[1], key)
			}
		}
	}
	if err := s.accepted(live); err != nil {
		s.fail("P3: the newest version is refused: %v", err)
	}
	s.orphans()
	s.canaries()
}

func (s *shop) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

// newest reads the bundle.
func (s *shop) newest() login {
	answer := s.vault.Must(s.t, http.MethodGet, s.kv+"/data/"+s.name, nil)
	data, _ := answer["data"].(map[string]any)
	inner := map[string]any{"data": data["data"]}
	return login{field(inner, "DB_USER"), field(inner, "DB_PASSWORD"), field(inner, "ROLE_ID"), field(inner, "SECRET_ID")}
}

// orphans counts what is left: one lease, one database user, one secret-id. Vault itself forgets about one user in a
// hundred whose client goes away in the very milliseconds in which the database engine makes it: no lease names it, and
// nobody has ever seen its password. The soak, which kills clients, counts those; they end with VALID UNTIL.
func (s *shop) orphans() {
	ctx, cancel := ask(20 * time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.pg.DSN(s.pg.User, s.pg.Password))
	if err != nil {
		s.fail("connecting to PostgreSQL: %v", err)
		return
	}
	defer conn.Close(ctx)
	var users []string
	rows, err := conn.Query(ctx, `SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%-' || $1 || '-%' AND rolvaliduntil IS NOT NULL`, s.name)
	if err == nil {
		users, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	s.forgotten = len(users) - 1
	if err != nil || len(users) != 1 && !s.slow {
		s.fail("P5: database users %v, want one (%v)", users, err)
	}
	var out struct{ Data struct{ Keys []string } }
	if err := s.vault.API(ctx, "LIST", "sys/leases/lookup/"+s.db+"/creds/"+s.name, nil, &out); err != nil || len(out.Data.Keys) != 1 {
		s.fail("P5: %d leases, want one (%v)", len(out.Data.Keys), err)
	}
	out.Data.Keys = nil
	if err := s.vault.API(ctx, "LIST", "auth/"+s.approle+"/role/"+s.name+"/secret-id", nil, &out); err != nil || len(out.Data.Keys) != 1 {
		s.fail("P5: %d secret-ids, want one (%v)", len(out.Data.Keys), err)
	}
}

// canaries looks for values in the logs of all processes.
func (s *shop) canaries() {
	logs, err := os.ReadFile(filepath.Join(s.dir, "logs"))
	if err != nil {
		s.fail("reading the logs: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.values {
		if v == "" {
			s.failures = append(s.failures, "P1: a target held an empty value")
		} else if strings.Contains(string(logs), v) {
			s.failures = append(s.failures, "P7: the log holds a value")
		}
	}
}

// report fails the test for every broken promise.
func (s *shop) report() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.failures)
	for _, f := range slices.Compact(s.failures) {
		s.t.Error(f)
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	if s.t.Failed() {
		for _, pr := range s.running {
			pr.signal(syscall.SIGQUIT) // it writes its stacks into the log
			select {
			case <-pr.gone:
			case <-time.After(5 * time.Second):
			}
		}
		logs, _ := os.ReadFile(filepath.Join(s.dir, "logs"))
		s.t.Logf("logs:\n%s", indent(string(logs)))
		if rec, err := s.record(); err == nil {
			raw, _ := json.Marshal(rec)
			s.t.Logf("record: %s", raw)
		}
	}
}
