package vaulttest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNoPostgres means that PostgreSQL's server programs are not installed, or cannot be run by this user.
var ErrNoPostgres = errors.New("no PostgreSQL programs (initdb, postgres) found: install them, on Debian with apt-get install postgresql")

// PG is a running throw-away PostgreSQL. User is its superuser.
type PG struct {
	Host     string
	Port     int
	User     string
	Password string
	Database string

	dir  string
	proc *process
}

// StartPostgres runs a PostgreSQL on a temporary directory, reachable on 127.0.0.1 only, with passwords checked by
// SCRAM. PostgreSQL refuses to run as root, so root runs it as the user postgres.
func StartPostgres(ctx context.Context, logs io.Writer) (*PG, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	pg := &PG{Host: "127.0.0.1", User: "rotator_admin", Password: rand.Text(), Database: "postgres"}
	if err := pg.start(ctx, bin, logs); err != nil {
		pg.Stop()
		return nil, fmt.Errorf("starting postgres: %w", err)
	}
	return pg, nil
}

func (pg *PG) start(ctx context.Context, bin string, logs io.Writer) error {
	uid, gid, err := postgresUser()
	if err != nil {
		return err
	}
	if pg.dir, err = os.MkdirTemp("", "rotator-postgres-"); err != nil {
		return err
	}
	pwFile := filepath.Join(pg.dir, "password")
	if err := os.WriteFile(pwFile, []byte(pg.Password+"\n"), 0o600); err != nil {
		return err
	}
	if uid != 0 {
		if err := errors.Join(os.Chown(pg.dir, uid, gid), os.Chown(pwFile, uid, gid)); err != nil {
			return err
		}
	}
	data := filepath.Join(pg.dir, "data")
	initdb, err := startProcess(command{
		path: filepath.Join(bin, "initdb"), dir: pg.dir, logs: logs, uid: uid, gid: gid,
		args: []string{"-D", data, "-U", pg.User, "--pwfile", pwFile, "--auth=scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C"},
	})
	if err != nil {
		return err
	}
	<-initdb.ended()
	if initdb.cmd.ProcessState.ExitCode() != 0 {
		return fmt.Errorf("initdb: %s", initdb.lastWords())
	}
	if pg.Port, err = freePort(); err != nil {
		return err
	}
	pg.proc, err = startProcess(command{
		path: filepath.Join(bin, "postgres"), dir: pg.dir, logs: logs, uid: uid, gid: gid, signal: syscall.SIGINT,
		args: []string{
			"-D", data, "-p", strconv.Itoa(pg.Port), "-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories=", "-c", "fsync=off",
		},
	})
	if err != nil {
		return err
	}
	return pg.await(ctx)
}

func (pg *PG) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, pg.DSN(pg.User, pg.Password))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-pg.proc.ended():
			return fmt.Errorf("postgres ended by itself: %s", pg.proc.lastWords())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// DSN is the connection string for a user.
func (pg *PG) DSN(user, password string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password), Host: fmt.Sprintf("%s:%d", pg.Host, pg.Port),
		Path: "/" + pg.Database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Stop ends the server and removes its data.
func (pg *PG) Stop() {
	pg.proc.stop()
	if pg.dir != "" {
		os.RemoveAll(pg.dir)
	}
}

// postgresPrograms finds the directory that has them, the newest version first; PATH comes last because on Debian
// it may hold wrappers.
func postgresPrograms() (string, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.Reverse(dirs)
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		if isProgram(filepath.Join(dir, "initdb")) && isProgram(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "", ErrNoPostgres
}

func isProgram(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}

// postgresUser is who runs the server: 0 for ourselves, unless we are root.
func postgresUser() (uid, gid int, err error) {
	if os.Geteuid() != 0 {
		return 0, 0, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return 0, 0, fmt.Errorf("%w (it does not run as root, and there is no user postgres)", ErrNoPostgres)
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}
