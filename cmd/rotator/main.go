// Command rotator replaces leaked credentials in OpenWhisk actions. See rotator --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/rotator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes, as documented in the help text.
const (
	exitOK     = 0
	exitFailed = 1 // the answer is no: a finding, a refusal, an outcome other than rotated
	exitUsage  = 2 // the command line or the configuration is wrong
	exitRemote = 3 // a system could not be reached, or time ran out
)

// codedError is an error that decides the exit code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func coded(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code: code, err: err}
}

// errSaid says no: everything there is to say has been printed.
var errSaid = errors.New("the answer has been printed")

// run is the program without its process: main and tests call it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	args, err := expandPairs(root, args)
	if err != nil {
		fmt.Fprintln(stderr, "rotator:", err)
		return exitUsage
	}
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ctx, logout := service.Logins(ctx)
	err = root.ExecuteContext(ctx)
	if lerr := logout(); lerr != nil {
		fmt.Fprintln(stderr, "rotator: Vault:", lerr)
	}
	if err == nil {
		return exitOK
	}
	c, isCoded := errors.AsType[*codedError](err)
	switch {
	case errors.Is(err, errSaid):
	case isCoded:
		fmt.Fprintln(stderr, "rotator:", err)
	default: // cobra's own: a mistake in the command line
		fmt.Fprintf(stderr, "rotator: %v; see: rotator [command] --help\n", err)
	}
	if isCoded {
		return c.code
	}
	return exitUsage
}

const longHelp = `rotator replaces leaked credentials in OpenWhisk and Adobe I/O Runtime actions.

It takes leak and offboarding events from NATS, mints new credentials in HashiCorp
Vault, writes every parameter of every affected action, package and trigger in one
PUT each - all of them or none - and then revokes the old credential and proves
that it is dead.

A first hour:
  rotator example > rotator.yaml     a commented configuration; edit it
  rotator check                      is it right, and can every system be reached?
  rotator plan --bundle checkout     what would a rotation do? nothing is touched
  rotator run                        the service
  rotator emit leak --bundle checkout --wait
  rotator status                     bundles, live generations, rotations

Exit codes: 0 done; 1 the answer is no (a finding, a refusal, an outcome other than
rotated); 2 the command line or the configuration is wrong; 3 a system could not be
reached, or the time was up.

Tab completion: source <(rotator completion bash)   (also zsh, fish, powershell)`

func rootCommand() *cobra.Command {
	g := new(globals)
	root := &cobra.Command{
		Use: "rotator", Short: "Replace leaked credentials in OpenWhisk actions", Long: longHelp,
		SilenceUsage: true, SilenceErrors: true, Version: version(),
	}
	root.PersistentFlags().StringVarP(&g.config, "config", "c", "rotator.yaml", "configuration `file`")
	root.PersistentFlags().StringVarP(&g.output, "output", "o", "text", "output `format`: text or json")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return g.validate() }
	root.AddCommand(runCommand(g), intakeCommand(g), checkCommand(g), planCommand(g), emitCommand(g), reportCommand(g), affectedCommand(g), statusCommand(g), healthCommand(g), receiptCommand(g),
		approveCommand(g), resumeCommand(g), abandonCommand(g), rollbackCommand(g), containCommand(g), reconcileCommand(g), deadCommand(g), fingerprintCommand(g), exampleCommand(),
		entityCommand(g, rotator.Action, "shop/checkout"), entityCommand(g, rotator.Package, "shop"), bundleCommand(g))
	return root
}
