package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/rotator"
)

const updateHelp = `Sets parameters of one %[1]s, as "aio runtime %[1]s update" does, with the difference that every
parameter you do not name stays as it is. One PUT; nothing is created; nothing but parameters changes.

  rotator %[1]s update %[2]s -p REGION eu -p RETRIES 3
  rotator %[1]s update %[2]s -p REGION eu RETRIES 3       several pairs after one -p
  rotator %[1]s update %[2]s --param-file params.json
  rotator %[1]s update %[2]s --param-from TLS_KEY key.pem     the text of a file, as it is
  vault kv get -format=json -field=data secret/shop | rotator %[1]s update %[2]s --param-file -
  rotator %[1]s update %[2]s --env NODE_ENV production    delivered as environment (init)
  rotator %[1]s update %[2]s --replace -p REGION eu       only what you name is left; shows what goes and asks

Keep secrets out of the command line, which other people on the machine and the shell's history can see: use --param-file
or --param-from with a file, or with - for standard input. Pairs and --param-from beat the file. On the command line true, false
and what reads as a JSON object or array are JSON, everything else is a text, numbers too; a JSON file gives types itself. An
--env-file may be JSON or KEY=VALUE lines. Names that begin with _rotator are the rotator's own marks in Vault, and left out.
A parameter does not change its kind: what is delivered as environment today, by the package too, is set with -e, all else with -p.

On a host that hides values (Adobe's do) nothing can be carried over: name every parameter in one call, or the update is
refused. The host comes from rotator.yaml if there is one, else from WHISK_*, AIO_runtime_* (also in ./.env, as aio has it)
or ~/.wskprops. A parameter that a bundle delivers belongs into Vault, or the next rotation overwrites it: see rotator bundle import.

Exit codes: 0 written, or nothing to change; 1 refused, by this command or by the host; 2 the command line is wrong; 3 the host
could not be reached.`

// An update is one call of action update or package update.
type update struct {
	*globals
	kind              rotator.Kind
	host              string
	param, env, from  pairs
	file, envFile     string
	replace, yes, dry bool
}

func entityCommand(g *globals, kind rotator.Kind, example string) *cobra.Command {
	name := kind.String()
	parent := &cobra.Command{Use: name, Short: "Change parameters of one " + name + " by hand",
		Long: fmt.Sprintf("Changes parameters of one %[1]s by hand, without losing the others.\n\n  rotator %[1]s update %[2]s -p REGION eu", name, example)}
	u := &update{globals: g, kind: kind}
	cmd := &cobra.Command{Use: "update NAME", Short: "Set parameters; those you do not name stay", Long: fmt.Sprintf(updateHelp, name, example),
		Args: u.one, RunE: u.run, ValidArgsFunction: u.completeNames}
	f := cmd.Flags()
	f.VarP(&u.param, "param", "p", "a parameter and its value; more pairs may follow")
	f.StringVarP(&u.file, "param-file", "P", "", "JSON object with parameters in a `file`, or - for standard input")
	f.Var(&u.from, "param-from", "a parameter, and the file or - whose text is its value; more pairs may follow")
	f.VarP(&u.env, "env", "e", "like --param, delivered as environment (init)")
	f.StringVarP(&u.envFile, "env-file", "E", "", "environment parameters in a `file`, as JSON object or as KEY=VALUE lines, or -")
	f.BoolVar(&u.replace, "replace", false, "drop every parameter that is not named")
	f.BoolVar(&u.yes, "yes", false, "do not ask before --replace drops something")
	f.BoolVar(&u.dry, "dry-run", false, "show what would change, by name")
	f.StringVar(&u.host, "host", "", "`name` of the host in the configuration, if there are several")
	_ = cmd.RegisterFlagCompletionFunc("host", g.completeHosts)
	_ = cmd.MarkFlagFilename("param-file", "json")
	_ = cmd.MarkFlagFilename("env-file")
	parent.AddCommand(cmd)
	return parent
}

// one is the rule for arguments; its error repeats none of them.
func (u *update) one(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("wants one name of %s, and got %d words; put values with spaces in quotes; a file with code is for aio", article(u.kind), len(args))
	}
	return nil
}

func article(k rotator.Kind) string {
	return map[bool]string{true: "an ", false: "a "}[k == rotator.Action] + k.String()
}

func (u *update) run(cmd *cobra.Command, args []string) error {
	set, err := u.entries(cmd.InOrStdin(), cmd.ErrOrStderr())
	if err != nil {
		return coded(exitUsage, err)
	}
	if len(set) == 0 && !u.replace {
		return coded(exitUsage, errors.New("nothing to set; name parameters with -p KEY VALUE or --param-file FILE"))
	}
	ns, name, err := entityName(args[0], u.kind)
	if err != nil {
		return coded(exitUsage, err)
	}
	cfg, err := u.configuration(cmd)
	if err != nil {
		return err
	}
	platform, host, err := u.platform(cfg)
	if err != nil {
		return coded(exitUsage, err)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Minute)
	defer cancel()
	if err := ownNamespace(ctx, platform, host, ns); err != nil {
		return err
	}
	edit := rotator.Edit{Target: rotator.Ref{Host: host, Kind: u.kind, Name: name}, Set: set, Replace: u.replace}
	for _, text := range append(u.exposed(), belongs(cfg, edit)...) {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", text)
	}
	written := false
	plan, err := rotator.Edits(ctx, platform, edit, func(p rotator.EditPlan) (bool, error) {
		written, err = u.agree(cmd, p)
		return written, err
	})
	if err != nil {
		return answered(err)
	}
	if err := u.print(cmd.OutOrStdout(), plan, func(w io.Writer) { writeEdit(w, plan, written, u.dry) }); err != nil {
		return err
	}
	if len(plan.Refusals) > 0 {
		return coded(exitFailed, errSaid)
	}
	return nil
}

// belongs warns about parameters that a bundle will overwrite.
func belongs(cfg *config.Config, e rotator.Edit) (out []string) {
	if cfg == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Bundles)) {
		for _, t := range cfg.Bundles[name].Targets {
			if keys := delivered(t, e.Set.Keys()); t.Ref == e.Target && len(keys) > 0 {
				out = append(out, fmt.Sprintf("bundle %s may deliver %s to this %s: what it delivers is changed in Vault (rotator bundle import %s), or its next rotation overwrites it", name, strings.Join(keys, ", "), e.Target.Kind, name))
			}
		}
	}
	return out
}

// delivered are those of the parameters that a target may get from its bundle: without a selection all that are in the secret, and
// these are not read for a warning.
func delivered(t rotator.Target, params []string) []string {
	if len(t.Keys) == 0 {
		return params
	}
	theirs := slices.Collect(maps.Values(t.Params(t.Keys)))
	return slices.DeleteFunc(params, func(p string) bool { return !slices.Contains(theirs, p) })
}

// agree asks before something goes away.
func (u *update) agree(cmd *cobra.Command, p rotator.EditPlan) (bool, error) {
	if u.dry {
		return false, nil
	}
	if len(p.Changes)+len(p.Adds)+len(p.Removes) == 0 {
		return false, nil
	}
	if len(p.Removes) == 0 || u.yes {
		return true, nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s has %d parameters of its own that you do not name. They go away:\n  %s\n", p.Target, len(p.Removes), strings.Join(p.Removes, "\n  "))
	if u.json() || u.file == "-" || u.envFile == "-" || slices.Contains(u.from.values(), "-") {
		return false, coded(exitUsage, errors.New("nobody can be asked; add --yes or --dry-run"))
	}
	if !ask(cmd.InOrStdin(), cmd.ErrOrStderr(), "drop them") {
		return false, coded(exitFailed, errors.New("nothing was changed"))
	}
	return true, nil
}

func writeEdit(w io.Writer, p rotator.EditPlan, written, dry bool) {
	for _, r := range p.Refusals {
		fmt.Fprintf(w, "REFUSED %s\n", r)
	}
	if len(p.Refusals) > 0 {
		fmt.Fprintln(w, "Nothing was changed.")
		return
	}
	words := []string{"changed", "added", "as it was", "kept", "inherited", "removed", "restarted"}
	if dry {
		words = []string{"would change", "would add", "as it is", "would keep", "inherited", "would remove", "would restart"}
	}
	width := len(slices.MaxFunc(words, func(a, b string) int { return len(a) - len(b) }))
	for i, names := range [][]string{p.Changes, p.Adds, p.Same, p.Keeps, p.Inherits, p.Removes, p.Touches} {
		if len(names) > 0 {
			fmt.Fprintf(w, "  %-*s  %s\n", width, words[i], strings.Join(names, ", "))
		}
	}
	if len(p.Shadows) > 0 {
		fmt.Fprintf(w, "  note: %s: the package delivers it too, and no longer reaches this action\n", strings.Join(p.Shadows, ", "))
	}
	if len(p.Inherits) > 0 {
		fmt.Fprintln(w, "  note: inherited counts an own parameter that is equal to the package's, too: nothing tells them apart")
	}
	if written {
		fmt.Fprintf(w, "%s: version %s -> %s\n", p.Target, p.Before, p.After)
	} else {
		fmt.Fprintf(w, "%s: nothing was written, version %s\n", p.Target, p.Before)
	}
}
