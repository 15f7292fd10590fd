package probe

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/openwhisk-rotator/rotator/rotator"
)

// 28000 has two meanings: the role may not log in, or the address may not connect. Only the first one is
// about the credential; taking the second for proof of death would leave a leaked credential alive.
func TestPostgresRefusals(t *testing.T) {
	hba := &pgconn.PgError{Code: "28000", Routine: "ClientAuthentication"}
	role := &pgconn.PgError{Code: "28000", Routine: "InitializeSessionUserId"}
	password := &pgconn.PgError{Code: "28P01", Routine: "auth_failed"}
	full := &pgconn.PgError{Code: "53300"}
	for _, c := range []struct {
		err  error
		want error
	}{
		{hba, rotator.ErrUnavailable},
		{role, rotator.ErrRejected},
		{password, rotator.ErrRejected},
		{full, rotator.ErrUnavailable},
		{errors.New("broken pipe"), rotator.ErrUnavailable},
		{fmt.Errorf("two hosts: %w", errors.Join(hba, fmt.Errorf("second: %w", password))), rotator.ErrRejected},
	} {
		if got := postgresError(c.err); !errors.Is(got, c.want) {
			t.Errorf("%v became %v, want %v", c.err, got, c.want)
		}
	}
}
