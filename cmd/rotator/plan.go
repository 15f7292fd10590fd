package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator"
)

const planHelp = `Shows exactly what a rotation would do, by name: what is minted, which parameters
of which action, package or trigger are written, carried over or inherited, and
why it would be refused. It only reads. Values are never shown.

  rotator plan --bundle checkout
  rotator plan --bundle checkout --kind offboarding
  rotator plan --event leak.json          which bundles the event touches, and each one's plan

Exit code 1 means that a rotation would be refused.`

func planCommand(g *globals) *cobra.Command {
	var bundle, kind, file string
	cmd := &cobra.Command{Use: "plan", Short: "Show what a rotation would do; nothing is touched", Long: planHelp, Args: cobra.NoArgs}
	cmd.Flags().StringVar(&bundle, "bundle", "", "plan this `bundle`")
	cmd.Flags().StringVar(&kind, "kind", "leak", "the `kind` of event whose policy applies: leak, offboarding, expiring or manual")
	cmd.Flags().StringVar(&file, "event", "", "plan for the CloudEvent in this `file`")
	cmd.MarkFlagsOneRequired("bundle", "event")
	cmd.MarkFlagsMutuallyExclusive("bundle", "event")
	cmd.MarkFlagsMutuallyExclusive("kind", "event")
	_ = cmd.RegisterFlagCompletionFunc("bundle", g.completeBundles)
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(kinds(), cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !slices.Contains(kinds(), kind) {
			return coded(exitUsage, fmt.Errorf("unknown --kind %q; use one of %s", kind, strings.Join(kinds(), ", ")))
		}
		cfg, err := g.load(cmd)
		if err != nil {
			return err
		}
		if err := known(cfg, bundle); file == "" && err != nil {
			return err
		}
		preview, err := service.Preview(cmd.Context(), cfg, logger(cmd.ErrOrStderr(), cfg.Log))
		if err != nil {
			return remote(err)
		}
		hits := []rotator.Hit{{Bundle: bundle, Why: "asked for"}}
		at := events.Kind(kind)
		if file != "" {
			if hits, at, err = resolve(cmd, preview, file); err != nil {
				return err
			}
		}
		plans := []rotator.Plan{}
		for _, h := range hits {
			p, err := preview.Plan(cmd.Context(), h.Bundle, at)
			if err != nil {
				return remote(err)
			}
			plans = append(plans, p)
		}
		if err := g.print(cmd.OutOrStdout(), plans, func(w io.Writer) { writePlans(w, hits, plans) }); err != nil {
			return err
		}
		for _, p := range plans {
			if len(p.Refusals) > 0 {
				return coded(exitFailed, errSaid)
			}
		}
		return nil
	}
	return cmd
}

func kinds() []string { return []string{"leak", "offboarding", "expiring", "manual"} }

// known fails when a bundle is not configured, and says which ones are.
func known(cfg *config.Config, bundle string) error {
	if _, ok := cfg.Bundles[bundle]; ok {
		return nil
	}
	return coded(exitUsage, fmt.Errorf("bundle %q is not in %s; it has: %s", bundle, cfg.Path, strings.Join(slices.Sorted(maps.Keys(cfg.Bundles)), ", ")))
}

// resolve reads a structured CloudEvent and finds its bundles.
func resolve(cmd *cobra.Command, preview rotator.Preview, file string) ([]rotator.Hit, events.Kind, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, "", coded(exitUsage, fmt.Errorf("reading the event: %w", err))
	}
	ev, err := events.DecodeFile(body, time.Now())
	if err != nil {
		return nil, "", coded(exitUsage, err)
	}
	hits, err := preview.Resolve(cmd.Context(), ev)
	if err != nil {
		return nil, "", coded(exitFailed, err)
	}
	return hits, ev.Kind, nil
}

func writePlans(w io.Writer, hits []rotator.Hit, plans []rotator.Plan) {
	if len(plans) == 0 {
		fmt.Fprintln(w, "The event touches no bundle.")
	}
	for i, p := range plans {
		if i > 0 {
			fmt.Fprintln(w)
		}
		writePlan(w, hits[i], p)
	}
}

func writePlan(w io.Writer, hit rotator.Hit, p rotator.Plan) {
	fmt.Fprintf(w, "bundle %s (%s), KV version %d\n", p.Bundle, hit.Why, p.BaseVersion)
	for _, m := range p.Mint {
		probed := "tested before it is bound"
		if !m.Probed {
			probed = "not tested: no probe"
		}
		fmt.Fprintf(w, "  mint    %s from %s -> %s (%s)\n", m.Credential, m.From, strings.Join(m.Keys, ", "), probed)
	}
	if len(p.Composed) > 0 {
		fmt.Fprintf(w, "  rebuild %s\n", strings.Join(p.Composed, ", "))
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "  TARGET\tVERSION\tROTATES\tSETS\tCARRIES OVER\tINHERITS\tREMOVES\tBYTES")
	for _, t := range p.Targets {
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", t.Target, dash(t.Version), list(t.Rotates), list(t.Sets), list(t.Carries), list(t.Inherits), list(t.Removes), t.Bytes)
	}
	_ = tw.Flush()
	for _, t := range p.Targets {
		if len(t.Touches) > 0 {
			fmt.Fprintf(w, "  restart %s: init parameters of package %s change\n", strings.Join(t.Touches, ", "), t.Target.Name)
		}
	}
	fmt.Fprintf(w, "  then    the old generation is revoked %s after the last target, until it is gone and its probes are refused\n", p.OverlapText)
	for _, text := range p.Warnings {
		fmt.Fprintf(w, "  note    %s\n", text)
	}
	for _, r := range p.Refusals {
		fmt.Fprintf(w, "  REFUSED %s\n", r)
	}
}

func list(names []string) string {
	if len(names) > 6 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:6], ","), len(names)-6)
	}
	return dash(strings.Join(names, ","))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
