package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// postgres connects and makes one round trip: a pooler in front may accept a login that its server refuses.
func postgres(ctx context.Context, t rotator.Template, set secret.Set) error {
	dsn, err := render(t, set)
	if err != nil {
		return err
	}
	text, _ := dsn.Text()
	cfg, err := pgconn.ParseConfig(text) // its error quotes the connection string: never wrap it
	if err != nil {
		return permanent("the connection string cannot be read; insert values with {{KEY|url}}")
	}
	cfg.RuntimeParams["application_name"] = "rotator probe"
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return postgresError(err)
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(bye)
	}()
	if _, err := conn.Exec(ctx, "select 1").ReadAll(); err != nil {
		return postgresError(err)
	}
	return nil
}

// postgresError keeps SQLSTATE and drops the message, which names the user.
func postgresError(err error) error {
	said := answers(err)
	for _, e := range said {
		if e.Code == "28P01" || e.Code == "28000" && e.Routine != "ClientAuthentication" {
			return fmt.Errorf("%w (SQLSTATE %s)", rotator.ErrRejected, e.Code)
		}
	}
	if len(said) == 0 {
		return unavailable("the server cannot be reached: %s", cause(err))
	}
	last := said[len(said)-1]
	if last.Code == "28000" {
		return unavailable("pg_hba.conf does not let this client in (SQLSTATE 28000)")
	}
	return unavailable("the server answered SQLSTATE %s", last.Code)
}

// answers collects what every server that was tried has said.
func answers(err error) []*pgconn.PgError {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*pgconn.PgError
		for _, e := range many.Unwrap() {
			out = append(out, answers(e)...)
		}
		return out
	}
	if e, ok := err.(*pgconn.PgError); ok {
		return []*pgconn.PgError{e}
	}
	if inner := errors.Unwrap(err); inner != nil {
		return answers(inner)
	}
	return nil
}
