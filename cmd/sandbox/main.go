// Command sandbox shows a rotation with real parts on one machine: the service of this project with a NATS server
// inside, a HashiCorp Vault, an OpenWhisk host and, where its programs are installed, a PostgreSQL. It needs Go only.
//
// It fills them with a small shop, lets a credential leak, and shows what happens. Credentials are proven alive and
// dead by really logging in with them. Values are never printed: names, versions and short keyed fingerprints are.
//
// With -once it checks every promise that can be seen from outside, prints each check, stops everything it started
// and exits with 0 or 1. Everything it starts listens on 127.0.0.1 and ends with it.
//
// Failure modes: without a Vault - VAULT_ADDR, vault on PATH, Docker, or one built from the module proxy - it ends
// with a text that says how to get one. On a Vault and an OpenWhisk host of yours it makes things under names of its
// own and removes them at the end; it stops before it would overwrite anything.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // a promise is broken, or something could not be started
	exitUsage  = 2
)

type options struct {
	once    bool
	verbose bool
	keep    string
	apihost string
}

const help = `sandbox shows a rotation with real parts on this machine. It needs Go and nothing else.

  go run ./cmd/sandbox           start everything, let a credential leak, show what
                                 happens, and stay up for more until Ctrl-C
  go run ./cmd/sandbox -once     one leak and one departure, every promise checked and
                                 printed; exit code 0 when all are kept, otherwise 1

What it starts, all on 127.0.0.1:
  Vault        the one of VAULT_ADDR and VAULT_TOKEN, else vault on PATH, else in Docker,
               else built once from the Go module proxy (some minutes) and kept
  NATS         inside this process, JetStream on disk
  OpenWhisk    an emulator, unless -apihost names a host; its key comes from WHISK_AUTH,
               AIO_runtime_auth or ~/.wskprops
  PostgreSQL   where initdb and postgres are installed; else a second AppRole takes its part

Flags:
  -once          check and end
  -apihost URL   an OpenWhisk host of yours that shows parameter values; what is made there
                 is called rotator-sandbox-... and removed at the end
  -keep DIR      put rotator.yaml, key files, NATS data and the log into DIR and keep them
  -v             show the service's log on stderr
  -h             this text

Environment: NO_COLOR switches colours off; they are on only on a terminal.
`

// run is the program without its process: main and tests call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opt, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, help)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "sandbox: %v; see -h\n", err)
		return exitUsage
	}
	s := newSandbox(opt, stdout, stderr)
	ok, err := s.play(ctx)
	s.close()
	switch {
	case err == nil:
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "sandbox: interrupted; everything is stopped")
	default:
		fmt.Fprintln(stderr, "sandbox:", err)
		if !opt.verbose {
			s.lastLog(stderr)
		}
	}
	if err != nil || !ok {
		return exitFailed
	}
	return exitOK
}

func parse(args []string) (options, error) {
	var opt options
	f := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&opt.once, "once", false, "")
	f.BoolVar(&opt.verbose, "v", false, "")
	f.StringVar(&opt.keep, "keep", "", "")
	f.StringVar(&opt.apihost, "apihost", "", "")
	if err := f.Parse(args); err != nil {
		return opt, err
	}
	if f.NArg() > 0 {
		return opt, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return opt, nil
}
