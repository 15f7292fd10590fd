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

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/inputs"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

const importHelp = `Puts parameters into the Vault secret of a bundle, so that adopting the rotator is one step. The bundle
must be in the configuration, which names the secret. What is in the secret stays; a key that is there with another
value is refused unless --overwrite is given. One write, by compare-and-swap. Only names are shown. Vault's policy has to allow
create on the path if there is no secret yet, and update if there is.

  rotator bundle import checkout --from-action shop/checkout      what the action uses today
  rotator bundle import checkout --env-file .env                  KEY=VALUE lines, or a JSON object
  rotator bundle import checkout --param-file params.json
  generate | rotator bundle import checkout --param-file -
  rotator bundle import checkout --from-action shop/checkout --keys DB_USER,DB_PASSWORD

A .env file gives texts; a JSON file and an action give types. A host that hides or encrypts values cannot be imported from.

Exit codes: 0 written, or all of it was there; 1 refused, by this command, Vault or the host; 2 the command line is wrong; 3 Vault or the host could not be reached.`

// A bundleImport is one call of bundle import.
type bundleImport struct {
	*globals
	file, envFile, action, host string
	keys                        []string
	overwrite, dry              bool
}

// imported is what -o json prints: names only.
type imported struct {
	Bundle   string   `json:"bundle"`
	Secret   string   `json:"secret"`
	Before   int      `json:"version_before"` // 0: there was no secret
	After    int      `json:"version_after,omitempty"`
	Adds     []string `json:"adds,omitempty"`
	Same     []string `json:"same,omitempty"`    // are there, with this value
	Differs  []string `json:"differs,omitempty"` // are there, with another value
	Keeps    []string `json:"keeps,omitempty"`   // are there, and were not named
	Blank    []string `json:"blank,omitempty"`   // empty: a rotation will refuse them
	Written  bool     `json:"written"`
	Refusal  string   `json:"refusal,omitempty"`
	overrule bool
	dry      bool
}

func bundleCommand(g *globals) *cobra.Command {
	parent := &cobra.Command{Use: "bundle", Short: "Put what actions use today into Vault",
		Long: "Fills the Vault secrets of bundles from what is in use today.\n\n  rotator bundle import checkout --from-action shop/checkout"}
	b := &bundleImport{globals: g}
	cmd := &cobra.Command{Use: "import BUNDLE", Short: "Put parameters into a bundle's Vault secret", Long: importHelp, Args: cobra.ExactArgs(1),
		RunE: b.run, ValidArgsFunction: g.completeBundles}
	f := cmd.Flags()
	f.StringVarP(&b.file, "param-file", "P", "", "JSON object in a `file`, or - for standard input")
	f.StringVar(&b.envFile, "env-file", "", "`file` with KEY=VALUE lines, as dotenv reads it, or with a JSON object, or -")
	f.StringVar(&b.action, "from-action", "", "the parameters of this `action`, inherited ones included")
	f.StringVar(&b.host, "host", "", "`name` of the action's host, if several are configured")
	f.StringSliceVar(&b.keys, "keys", nil, "only these `names`")
	f.BoolVar(&b.overwrite, "overwrite", false, "give keys that are there the new value")
	f.BoolVar(&b.dry, "dry-run", false, "show what would be written, by name")
	cmd.MarkFlagsOneRequired("param-file", "env-file", "from-action")
	cmd.MarkFlagsMutuallyExclusive("param-file", "env-file", "from-action")
	_ = cmd.MarkFlagFilename("param-file", "json")
	_ = cmd.MarkFlagFilename("env-file")
	_ = cmd.RegisterFlagCompletionFunc("host", g.completeHosts)
	_ = cmd.RegisterFlagCompletionFunc("from-action", b.completeActions)
	parent.AddCommand(cmd)
	return parent
}

func (b *bundleImport) run(cmd *cobra.Command, args []string) error {
	cfg, err := b.load(cmd)
	if err != nil {
		return err
	}
	if err := known(cfg, args[0]); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Minute)
	defer cancel()
	incoming, err := b.entries(ctx, cmd, cfg)
	if err != nil {
		return err
	}
	preview, err := service.Preview(ctx, cfg, quiet(logger(cmd.ErrOrStderr(), cfg.Log)))
	if err != nil {
		return remote(err)
	}
	bundle := cfg.Bundles[args[0]]
	base, err := preview.Secrets.Read(ctx, bundle.Secret, 0)
	if err != nil && !errors.Is(err, rotator.ErrNotFound) {
		return answered(err)
	}
	plan, next := planImport(bundle, base, incoming, b.overwrite)
	plan.dry = b.dry
	if plan.Refusal == "" && !b.dry && len(plan.Adds)+len(plan.Differs) > 0 {
		if plan.After, err = preview.Secrets.Write(ctx, bundle.Secret, next); err != nil {
			return importError(plan, err)
		}
		plan.Written = true
	}
	if err := b.print(cmd.OutOrStdout(), plan, func(w io.Writer) { plan.write(w) }); err != nil {
		return err
	}
	if plan.Refusal != "" {
		return coded(exitFailed, errSaid)
	}
	return nil
}

func importError(p imported, err error) error {
	switch {
	case errors.Is(err, rotator.ErrConflict):
		return coded(exitFailed, fmt.Errorf("%s: somebody else wrote it meanwhile; nothing was changed, say it again", p.Secret))
	case errors.Is(err, rotator.ErrUnknown):
		return coded(exitRemote, fmt.Errorf("%s: the answer was lost; say it again: what is there already is not written twice (%w)", p.Secret, err))
	}
	return answered(fmt.Errorf("%s: %w", p.Secret, err))
}

// quiet is a log for a command: a login is no news there.
func quiet(l zerolog.Logger) zerolog.Logger { return l.Level(max(l.GetLevel(), zerolog.WarnLevel)) }

// entries reads what is to be imported.
func (b *bundleImport) entries(ctx context.Context, cmd *cobra.Command, cfg *config.Config) (l param.List, err error) {
	if b.action != "" {
		l, err = b.used(ctx, cfg)
	} else {
		l, err = b.given(cmd.InOrStdin())
	}
	if err != nil {
		return nil, err
	}
	if len(b.keys) > 0 {
		var chosen param.List
		for _, key := range slices.Compact(slices.Sorted(slices.Values(b.keys))) {
			e, ok := l.Get(key)
			if !ok {
				return nil, coded(exitFailed, fmt.Errorf("there is no %q; there are: %s", key, strings.Join(l.Keys(), ", ")))
			}
			chosen = append(chosen, e)
		}
		l = chosen
	}
	for _, key := range l.Keys() {
		if strings.HasPrefix(key, "_rotator") {
			return nil, coded(exitFailed, fmt.Errorf("%s: names that begin with _rotator are reserved; choose others with --keys", key))
		}
	}
	if len(l) == 0 {
		return nil, coded(exitFailed, errors.New("there is nothing to import"))
	}
	return l, nil
}

func (b *bundleImport) given(stdin io.Reader) (param.List, error) {
	path, read := b.file, inputs.Object
	if b.envFile != "" {
		path, read = b.envFile, inputs.EnvFile
	}
	raw, err := inputs.Read(path, stdin)
	if err != nil {
		return nil, coded(exitUsage, err)
	}
	l, err := read(raw)
	if err != nil {
		return nil, coded(exitUsage, fmt.Errorf("%s: %w", path, err))
	}
	return l, nil
}

func (b *bundleImport) completeActions(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	u := &update{globals: b.globals, kind: rotator.Action, host: b.host}
	return u.completeNames(cmd, nil, prefix)
}

// used is what an action gets today: its own parameters and its package's.
func (b *bundleImport) used(ctx context.Context, cfg *config.Config) (param.List, error) {
	u := &update{globals: b.globals, host: b.host}
	platform, host, err := u.platform(cfg)
	if err != nil {
		return nil, coded(exitUsage, err)
	}
	ns, name, err := entityName(b.action, rotator.Action)
	if err != nil {
		return nil, coded(exitUsage, err)
	}
	if err := ownNamespace(ctx, platform, host, ns); err != nil {
		return nil, err
	}
	ref := rotator.Ref{Host: host, Kind: rotator.Action, Name: name}
	limits, err := platform.Limits(ctx, host)
	if err != nil {
		return nil, answered(err)
	}
	o, err := platform.Observe(ctx, ref, new(rotator.Seen))
	if errors.Is(err, rotator.ErrNotFound) {
		return nil, coded(exitFailed, fmt.Errorf("%s does not exist", ref))
	}
	if err != nil {
		return nil, answered(err)
	}
	if limits.HidesValues {
		return nil, coded(exitFailed, fmt.Errorf("host %s hides values, so what %s uses cannot be read; use --param-file or --env-file", host, ref))
	}
	if o.Sequence {
		return nil, coded(exitFailed, fmt.Errorf("%s is a sequence, which has no parameters; import from its components: %s", ref, strings.Join(o.Components, ", ")))
	}
	for _, e := range o.Parameters {
		if e.Encryption != "" && (len(b.keys) == 0 || slices.Contains(b.keys, e.Key)) {
			return nil, coded(exitFailed, fmt.Errorf("%s: %s is encrypted by the host and cannot be read; use --param-file or --env-file, or choose others with --keys", ref, e.Key))
		}
	}
	return o.Parameters, nil
}

// planImport decides, by name, what becomes of a secret.
func planImport(b rotator.Bundle, base rotator.Snapshot, incoming param.List, overwrite bool) (imported, rotator.Snapshot) {
	p := imported{Bundle: b.Name, Secret: b.Secret, Before: base.Version, overrule: overwrite}
	next := rotator.Snapshot{Version: base.Version, Set: maps.Clone(base.Set), Marker: base.Marker}
	if next.Set == nil {
		next.Set = make(secret.Set)
	}
	for _, e := range incoming {
		was, there := base.Set[e.Key]
		switch {
		case !there:
			p.Adds = append(p.Adds, e.Key)
		case was.Equal(e.Value):
			p.Same = append(p.Same, e.Key)
		default:
			p.Differs = append(p.Differs, e.Key)
		}
		if e.Value.Blank() {
			p.Blank = append(p.Blank, e.Key)
		}
		next.Set[e.Key] = e.Value
	}
	for key := range base.Set {
		if _, named := incoming.Get(key); !named {
			p.Keeps = append(p.Keeps, key)
		}
	}
	for _, names := range [][]string{p.Adds, p.Same, p.Differs, p.Keeps, p.Blank} {
		slices.Sort(names)
	}
	if len(p.Differs) > 0 && !overwrite {
		p.Refusal = "these are in the secret already, with another value: " + strings.Join(p.Differs, ", ") + "; give --overwrite to replace them, or choose others with --keys"
	}
	return p, next
}

func (p imported) write(w io.Writer) {
	added, replaced, width := "added", "replaced", 9
	if p.dry {
		added, replaced, width = "would add", "would replace", 13
	}
	if !p.overrule {
		replaced = "differs"
	}
	for _, line := range []struct {
		word  string
		names []string
	}{{added, p.Adds}, {replaced, p.Differs}, {"the same", p.Same}, {"kept", p.Keeps}} {
		if len(line.names) > 0 {
			fmt.Fprintf(w, "  %-*s %s\n", width, line.word, strings.Join(line.names, ", "))
		}
	}
	if len(p.Blank) > 0 {
		fmt.Fprintf(w, "  note      %s: empty or null; a rotation refuses such values\n", strings.Join(p.Blank, ", "))
	}
	switch {
	case p.Refusal != "":
		fmt.Fprintf(w, "REFUSED %s\nNothing was changed.\n", p.Refusal)
	case p.Written:
		fmt.Fprintf(w, "%s: version %d -> %d. What would a rotation do now? rotator plan --bundle %s\n", p.Secret, p.Before, p.After, p.Bundle)
	default:
		fmt.Fprintf(w, "%s: nothing was written, version %d\n", p.Secret, p.Before)
	}
}
