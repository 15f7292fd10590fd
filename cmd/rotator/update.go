package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/inputs"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/param"
)

const updateHelp = `Sets parameters of one %[1]s, as "aio runtime %[1]s update" does, with the difference that every
parameter you do not name stays as it is. One PUT; nothing is created.

  rotator %[1]s update %[2]s -p REGION eu -p RETRIES 3
  rotator %[1]s update %[2]s -p REGION eu RETRIES 3       several pairs after one -p
  rotator %[1]s update %[2]s --param-file params.json
  vault kv get -format=json -field=data secret/shop | rotator %[1]s update %[2]s --param-file -
  rotator %[1]s update %[2]s --env NODE_ENV production    delivered as environment (init)
  rotator %[1]s update %[2]s --replace -p REGION eu       only what you name is left; shows what goes and asks

Keep secrets out of the command line, which other people on the machine and the shell's history can see: use
--param-file with a file, or with - for standard input. Pairs beat the file. On the command line true, false and what reads as
a JSON object or array are JSON, everything else is a text, numbers too; a file gives types itself.

The host comes from rotator.yaml if there is one, else from WHISK_*, AIO_runtime_* or ~/.wskprops. A parameter that a bundle
delivers belongs into Vault, or the next rotation overwrites it: see rotator bundle import.

Exit codes: 0 written, or nothing to change; 1 refused; 2 the command line is wrong; 3 the host could not be reached.`

// pairs are the KEY VALUE pairs behind the -p and -e flags; each Set is one, as a JSON array that expandPairs has made.
type pairs struct{ list [][2]string }

func (p *pairs) String() string { return "" }
func (p *pairs) Type() string   { return "KEY VALUE" }
func (p *pairs) Set(text string) error {
	var pair [2]string
	if err := json.Unmarshal([]byte(text), &pair); err != nil {
		return errors.New("write it as: -p KEY VALUE")
	}
	p.list = append(p.list, pair)
	return nil
}

// expandPairs rewrites "-p KEY VALUE [KEY VALUE ...]", which flag libraries do not know, into one flag per pair. Pairs end at
// the next flag; a value may begin with a dash, a key may not.
func expandPairs(args []string) ([]string, error) {
	if !updating(args) {
		return args, nil
	}
	var out []string
	for i := 0; i < len(args); i++ {
		flag := args[i]
		long, ok := map[string]string{"-p": "--param", "--param": "--param", "-e": "--env", "--env": "--env"}[flag]
		if flag == "--" {
			return append(out, args[i:]...), nil
		}
		if !ok {
			out = append(out, flag)
			continue
		}
		for first := true; i+1 < len(args) && (first || !strings.HasPrefix(args[i+1], "-")); first = false {
			if i+2 >= len(args) {
				return nil, fmt.Errorf("%s %q has no value; write KEY VALUE pairs, and the name of the target before them", flag, args[i+1])
			}
			pair, err := json.Marshal([2]string{args[i+1], args[i+2]})
			if err != nil {
				return nil, err
			}
			out = append(out, long+"="+string(pair))
			i += 2
		}
		if args[i] == flag {
			return nil, fmt.Errorf("%s has no KEY VALUE after it", flag)
		}
	}
	return out, nil
}

// updating reports whether the command is "action update" or "package update", global flags before it aside.
func updating(args []string) bool {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		takes := slices.Contains([]string{"-c", "--config", "-o", "--output"}, args[0])
		args = args[min(len(args), map[bool]int{true: 2, false: 1}[takes]):]
	}
	return len(args) > 1 && (args[0] == "action" || args[0] == "package") && args[1] == "update"
}

// An update is one call of action update or package update.
type update struct {
	*globals
	kind              rotator.Kind
	host              string
	param, env        pairs
	file, envFile     string
	replace, yes, dry bool
}

func entityCommand(g *globals, kind rotator.Kind, example string) *cobra.Command {
	name := kind.String()
	parent := &cobra.Command{Use: name, Short: "Change parameters of one " + name + " by hand",
		Long: fmt.Sprintf("Changes parameters of one %[1]s by hand, without losing the others.\n\n  rotator %[1]s update %[2]s -p REGION eu", name, example)}
	u := &update{globals: g, kind: kind}
	cmd := &cobra.Command{Use: "update NAME", Short: "Set parameters; those you do not name stay", Long: fmt.Sprintf(updateHelp, name, example),
		Args: cobra.ExactArgs(1), RunE: u.run, ValidArgsFunction: cobra.NoFileCompletions}
	f := cmd.Flags()
	f.VarP(&u.param, "param", "p", "a parameter and its value; more pairs may follow")
	f.StringVarP(&u.file, "param-file", "P", "", "JSON object with parameters in a `file`, or - for standard input")
	f.VarP(&u.env, "env", "e", "like --param, delivered as environment (init)")
	f.StringVarP(&u.envFile, "env-file", "E", "", "JSON object with environment parameters in a `file`, or -")
	f.BoolVar(&u.replace, "replace", false, "drop every parameter that is not named")
	f.BoolVar(&u.yes, "yes", false, "do not ask before --replace drops something")
	f.BoolVar(&u.dry, "dry-run", false, "show what would change, by name")
	f.StringVar(&u.host, "host", "", "`name` of the host in the configuration, if there are several")
	_ = cmd.MarkFlagFilename("param-file", "json")
	_ = cmd.MarkFlagFilename("env-file", "json")
	parent.AddCommand(cmd)
	return parent
}

func (u *update) run(cmd *cobra.Command, args []string) error {
	set, err := u.entries(cmd.InOrStdin())
	if err != nil {
		return coded(exitUsage, err)
	}
	if len(set) == 0 && !u.replace {
		return coded(exitUsage, errors.New("nothing to set; name parameters with -p KEY VALUE or --param-file FILE"))
	}
	name, err := entityName(args[0], u.kind)
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
	edit := rotator.Edit{Target: rotator.Ref{Host: host, Kind: u.kind, Name: name}, Set: set, Replace: u.replace}
	for _, text := range belongs(cfg, edit) {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", text)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Minute)
	defer cancel()
	written := false
	plan, err := rotator.Edits(ctx, platform, edit, func(p rotator.EditPlan) (bool, error) {
		written, err = u.agree(cmd, p)
		return written, err
	})
	if err != nil {
		return remote(err)
	}
	if err := u.print(cmd.OutOrStdout(), plan, func(w io.Writer) { writeEdit(w, plan, written) }); err != nil {
		return err
	}
	if len(plan.Refusals) > 0 {
		return coded(exitFailed, errSaid)
	}
	return nil
}

// entries gathers what the flags name. Pairs beat files, as with aio.
func (u *update) entries(stdin io.Reader) (param.List, error) {
	if u.file == "-" && u.envFile == "-" {
		return nil, errors.New("only one of --param-file and --env-file can be standard input")
	}
	params, err := gather(u.file, u.param, stdin)
	if err != nil {
		return nil, err
	}
	env, err := gather(u.envFile, u.env, stdin)
	if err != nil {
		return nil, err
	}
	for i := range env {
		env[i].Init = true
		if _, both := params.Get(env[i].Key); both {
			return nil, fmt.Errorf("%s is given as parameter and as environment; decide for one", env[i].Key)
		}
	}
	return params.With(env), nil
}

func gather(file string, given pairs, stdin io.Reader) (l param.List, err error) {
	if file != "" {
		raw, err := inputs.Read(file, stdin)
		if err != nil {
			return nil, err
		}
		if l, err = inputs.Object(raw); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	var named param.List
	for _, p := range given.list {
		e, err := inputs.Argument(p[0], p[1])
		if err != nil {
			return nil, err
		}
		if _, twice := named.Get(e.Key); twice {
			return nil, fmt.Errorf("parameter %q is given twice; which value is meant?", e.Key)
		}
		named = append(named, e)
	}
	return l.With(named), nil
}

// entityName takes the forms that wsk and aio take: name, package/name, /_/name, /namespace/package/name.
func entityName(text string, kind rotator.Kind) (string, error) {
	name := text
	if strings.HasPrefix(name, "/") {
		ns, rest, ok := strings.Cut(name[1:], "/")
		if !ok || ns != "_" {
			return "", fmt.Errorf("%q: name it without its namespace; the key decides the namespace", text)
		}
		name = rest
	}
	parts := strings.Split(name, "/")
	if len(parts) > 2 || kind == rotator.Package && len(parts) > 1 || slices.Contains(parts, "") {
		return "", fmt.Errorf("%q is no name of a %s; write NAME%s", text, kind, map[rotator.Kind]string{rotator.Action: " or PACKAGE/NAME"}[kind])
	}
	return name, nil
}

// configuration is nil when there is no file and nobody asked for one.
func (u *update) configuration(cmd *cobra.Command) (*config.Config, error) {
	if _, err := os.Stat(u.config); errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config") {
		return nil, nil
	}
	return u.load(cmd)
}

func (u *update) platform(cfg *config.Config) (p rotator.Platform, host string, err error) {
	if cfg == nil {
		p, err := service.Around()
		return p, service.AroundName, err
	}
	names := slices.Sorted(maps.Keys(cfg.Hosts))
	host = u.host
	if host == "" && len(names) == 1 {
		host = names[0]
	}
	h, ok := cfg.Hosts[host]
	if !ok {
		return nil, "", fmt.Errorf("name one of the configured hosts with --host: %s", strings.Join(names, ", "))
	}
	p, err = service.Hosts(map[string]config.Host{host: h})
	return p, host, err
}

// belongs warns about parameters that a bundle will overwrite.
func belongs(cfg *config.Config, e rotator.Edit) (out []string) {
	if cfg == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Bundles)) {
		for _, t := range cfg.Bundles[name].Targets {
			if t.Ref == e.Target {
				out = append(out, fmt.Sprintf("bundle %s delivers parameters to this %s; what it delivers is changed in Vault (rotator bundle import %s), or its next rotation overwrites it", name, e.Target.Kind, name))
			}
		}
	}
	return out
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
	if u.json() || u.file == "-" || u.envFile == "-" {
		return false, coded(exitUsage, errors.New("nobody can be asked; add --yes or --dry-run"))
	}
	if !ask(cmd.InOrStdin(), cmd.ErrOrStderr(), "drop them") {
		return false, coded(exitFailed, errors.New("nothing was changed"))
	}
	return true, nil
}

func writeEdit(w io.Writer, p rotator.EditPlan, written bool) {
	for _, r := range p.Refusals {
		fmt.Fprintf(w, "REFUSED %s\n", r)
	}
	if len(p.Refusals) > 0 {
		fmt.Fprintln(w, "Nothing was changed.")
		return
	}
	for _, line := range []struct {
		word  string
		names []string
	}{{"changed", p.Changes}, {"added", p.Adds}, {"as it was", p.Same}, {"kept", p.Keeps}, {"inherited", p.Inherits}, {"removed", p.Removes}, {"restarted", p.Touches}} {
		if len(line.names) > 0 {
			fmt.Fprintf(w, "  %-10s %s\n", line.word, strings.Join(line.names, ", "))
		}
	}
	if len(p.Shadows) > 0 {
		fmt.Fprintf(w, "  note       %s: the package delivers it too, and no longer reaches this action\n", strings.Join(p.Shadows, ", "))
	}
	if written {
		fmt.Fprintf(w, "%s: version %s -> %s\n", p.Target, p.Before, p.After)
	} else {
		fmt.Fprintf(w, "%s: nothing was written, version %s\n", p.Target, p.Before)
	}
}
