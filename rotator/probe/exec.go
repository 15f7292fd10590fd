package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// ExitRejected is the exit code of an exec probe for a credential that is refused: EX_NOPERM of sysexits.h.
const ExitRejected = 77

// inherited is what an exec probe sees of our own environment, which may hold credentials of the rotator.
func inherited() []string { return []string{"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ"} }

// run starts the program. Values reach it by its environment only: arguments can be read by everybody.
func run(ctx context.Context, argv []rotator.Template, vars []rotator.EnvVar, set secret.Set) error {
	args := make([]string, len(argv))
	for i, t := range argv {
		if len(t.Keys()) > 0 {
			return permanent("argument %d names a key of the bundle; pass it in env", i)
		}
		v, err := t.Render(nil)
		if err != nil {
			return permanent("%v", err)
		}
		args[i], _ = v.Text()
	}
	env, err := environment(vars, set)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = env
	cmd.WaitDelay = time.Second
	ownGroup(cmd)
	err = cmd.Run()
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case ended && ctx.Err() == nil && exit.ExitCode() == ExitRejected:
		return fmt.Errorf("%w (exit code %d)", rotator.ErrRejected, ExitRejected)
	case ended:
		return unavailable("the program ended with %s, which proves nothing; 0 means accepted, %d refused", exit.ProcessState, ExitRejected)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return permanent("the program %q is not there or may not be run", args[0])
	}
	return unavailable("the program %q could not be started", args[0])
}

func environment(vars []rotator.EnvVar, set secret.Set) ([]string, error) {
	env := make([]string, 0, len(vars)+6)
	for _, name := range inherited() {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for _, e := range vars {
		v, err := render(e.Value, set)
		if err != nil {
			return nil, fmt.Errorf("variable %q: %w", e.Name, err)
		}
		text, _ := v.Text()
		env = append(env, e.Name+"="+text)
	}
	return env, nil
}
