package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/rotator"
)

const reconcileHelp = `Compares what exists with the journal, as the service does by itself every hour
(reconcile.every): anchors, leases, tokens and secret-ids in Vault that belong to no
rotation, and targets that do not hold their bundle's live version any more.

  rotator reconcile                     look; only what was found is kept, for status
  rotator reconcile --revoke            revoke what is certainly ours and unused
  rotator reconcile --apply             let the service write drifted targets again

Leases carry no mark of who asked for them: those that no rotation names are shown, and
revoked only where the credential says "exclusive: true" - nobody else mints there. What cannot be looked at - a host or a part of Vault that is
away, a bundle whose record is damaged - is listed as not checked, and the rest is compared.
Exit code 1 means that something was found, 3 that a system was away.`

func reconcileCommand(g *globals) *cobra.Command {
	var policy rotator.Reconcile
	cmd := &cobra.Command{Use: "reconcile", Short: "Find orphans in Vault and drifted targets", Long: reconcileHelp, Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&policy.Revoke, "revoke", false, "revoke orphans that are certainly ours and unused")
	cmd.Flags().BoolVar(&policy.Apply, "apply", false, "let the service write the live version to drifted targets again")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := g.load(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Minute)
		defer cancel()
		log := logger(cmd.ErrOrStderr(), cfg.Log)
		nc, err := service.Dial(ctx, cfg, log)
		if err != nil {
			return remote(err)
		}
		defer nc.Close()
		policy.Settle = cfg.Reconcile.Settle
		found, failed := service.Reconcile(ctx, cfg, nc, policy, log)
		if failed != nil && found.At.IsZero() { // it has not begun
			return remote(failed)
		}
		if err := g.print(cmd.OutOrStdout(), found, func(w io.Writer) { writeFound(w, found) }); err != nil {
			return err
		}
		if failed != nil { // what was found all the same has been printed
			return remote(failed)
		}
		if !found.Clean() {
			return coded(exitFailed, errSaid)
		}
		return nil
	}
	return cmd
}

func writeFound(w io.Writer, r rotator.Reconciliation) {
	if r.Clean() {
		fmt.Fprintln(w, "Vault holds nothing that belongs to no rotation, and every target holds its live version.")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "FOUND\tBUNDLE\tWHAT\tWHY")
	for _, s := range r.Revoked {
		fmt.Fprintf(tw, "revoked\t%s\t%s %s\t%s\n", dash(s.Bundle), s.Handle.Kind, s.Handle.ID, s.Why)
	}
	for _, s := range r.Orphans {
		word := "unknown"
		if s.Bundle != "" || s.Irrevocable {
			word = "orphan"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s %s\t%s\n", word, dash(s.Bundle), s.Handle.Kind, s.Handle.ID, s.Why)
	}
	for _, d := range r.Drifted {
		word := "drifted"
		if d.Applied {
			word = "applied again"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", word, d.Bundle, d.Target, d.Text)
	}
	_ = tw.Flush()
	for _, u := range r.Unchecked {
		fmt.Fprintf(w, "not checked: %s: %s\n  remedy: %s\n", u.What, u.Why, u.Remedy)
	}
}
