package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/journal"
)

const statusHelp = `Shows every bundle: its live generation, what is being rotated, what waits, and what
was done. It reads the journal; it needs NATS only.

  rotator status
  rotator status checkout        one bundle with the events that wait and its history
  rotator status -o json

States: idle; claimed (planning), minting, applying, draining, revoking; rolling-back;
quarantined (an operator decides, see rotator resume). An event may wait for approval
(rotator approve), or for its time: "from" in NOTE.

Exit code 1 means that a bundle is quarantined, or in the journal but not configured.`

// bundleStatus is one bundle as status shows it.
type bundleStatus struct {
	Bundle     string              `json:"bundle"`
	State      rotator.State       `json:"state"`
	Generation int                 `json:"generation"`
	Version    int                 `json:"kv_version,omitempty"`
	Live       *rotator.Generation `json:"live,omitempty"`
	Rotation   *rotator.Rotation   `json:"rotation,omitempty"`
	Owner      string              `json:"owner,omitempty"`
	Waiting    []rotator.Waiting   `json:"waiting,omitempty"`
	History    []rotator.Receipt   `json:"history,omitempty"`
	Problem    string              `json:"problem,omitempty"`
	Compared   time.Time           `json:"compared,omitzero"` // with Vault and the hosts, by the reconciler
	Orphans    int                 `json:"orphans,omitempty"`
	Drifted    int                 `json:"drifted_targets,omitempty"`
	found      string
}

func statusCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "status [BUNDLE]", Short: "Show bundles, live generations, running and past rotations", Long: statusHelp, Args: cobra.MaximumNArgs(1)}
	cmd.ValidArgsFunction = g.completeBundles
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := g.load(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 15*time.Second)
		defer cancel()
		all, err := statuses(ctx, cfg, logger(cmd.ErrOrStderr(), cfg.Log))
		if err != nil {
			return remote(err)
		}
		if len(args) == 1 {
			all = slices.DeleteFunc(all, func(b bundleStatus) bool { return b.Bundle != args[0] })
			if len(all) == 0 {
				return coded(exitUsage, fmt.Errorf("bundle %q is neither in %s nor in the journal", args[0], cfg.Path))
			}
		}
		err = g.print(cmd.OutOrStdout(), all, func(w io.Writer) {
			writeStatus(w, all)
			if len(args) == 1 {
				writeWaiting(w, all[0])
				writeHistory(w, all[0])
			}
		})
		if err == nil && slices.ContainsFunc(all, func(b bundleStatus) bool { return b.State == rotator.Quarantined || b.Problem != "" }) {
			return coded(exitFailed, errSaid)
		}
		return err
	}
	return cmd
}

func statuses(ctx context.Context, cfg *config.Config, log zerolog.Logger) ([]bundleStatus, error) {
	nc, err := service.Dial(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	store, err := journal.Open(ctx, nc, journal.Config{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	stored, err := store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(cfg.Bundles)), maps.Keys(stored))
	slices.Sort(names)
	all, compared := []bundleStatus{}, rotator.ComparedIn(stored)
	for _, name := range slices.DeleteFunc(slices.Compact(names), rotator.Housekeeping) {
		b := bundleStatus{Bundle: name, State: rotator.Idle}
		if s, ok := stored[name]; ok {
			b = statusOf(name, s)
		}
		if compared != nil {
			b.Compared, b.Orphans, b.Drifted, b.found = compared.At, compared.Orphans[name], compared.Drifted[name], compared.Of(name)
		}
		if _, ok := cfg.Bundles[name]; !ok {
			b.Problem = cmp.Or(b.Problem, "in the journal, but no longer in the configuration")
		}
		all = append(all, b)
	}
	return all, nil
}

func statusOf(name string, s rotator.Stored) bundleStatus {
	rec, err := rotator.DecodeRecord(s.Value)
	if err != nil {
		problem := err.Error()
		if key := journal.Key(name); errors.Is(err, rotator.ErrBadRecord) {
			problem += fmt.Sprintf("; to mend it: nats kv history rotator %s, and put a good one back (nats kv put rotator %s), or delete it (nats kv del rotator %s) and the bundle starts afresh", key, key, key)
		}
		return bundleStatus{Bundle: name, State: rotator.Quarantined, Problem: problem}
	}
	b := bundleStatus{Bundle: name, State: rec.State, Generation: rec.Generation, Live: rec.Live, Rotation: rec.Rotation, Owner: rec.Owner, Waiting: rec.Queue, History: rec.History}
	if rec.Live != nil {
		b.Version = rec.Live.Version
	}
	return b
}

func writeStatus(w io.Writer, all []bundleStatus) {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "BUNDLE\tSTATE\tGENERATION\tKV VERSION\tWAITING\tLAST RESULT\tWHEN\tNOTE")
	for _, b := range all {
		last, when, note := "-", "-", b.Problem
		if n := len(b.History); n > 0 {
			last, when = b.History[n-1].Result, age(b.History[n-1].Finished)
		}
		if i := slices.IndexFunc(b.Waiting, func(w rotator.Waiting) bool { return w.Held != "" }); i >= 0 {
			note = cmp.Or(note, "waits for approval: rotator approve "+rotator.ApprovalID(b.Waiting[i].Event))
		}
		if from := b.from(time.Now()); !from.IsZero() {
			note = cmp.Or(note, "from "+from.Local().Format(time.DateTime))
		}
		if b.Rotation != nil {
			note = cmp.Or(note, b.Rotation.LastError)
			if b.State == rotator.Draining {
				note = cmp.Or(note, "until "+b.Rotation.DrainEnds.Local().Format(time.DateTime))
			}
		}
		if b.found != "" {
			note = strings.TrimPrefix(note+"; ", "; ") + b.found + "; rotator reconcile"
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\n", b.Bundle, b.State, b.Generation, dash(strings.TrimPrefix(strconv.Itoa(b.Version), "0")), len(b.Waiting), last, when, dash(note))
	}
	_ = tw.Flush()
	if len(all) > 0 && !all[0].Compared.IsZero() {
		fmt.Fprintf(w, "\nVault and the hosts were compared with the journal %s.\n", age(all[0].Compared))
	}
}

// from is when the next rotation begins of a bundle whose events all wait for their time; zero when one does not.
func (b bundleStatus) from(now time.Time) (at time.Time) {
	if b.State != rotator.Idle {
		return at
	}
	for _, w := range b.Waiting {
		switch {
		case w.Held != "":
		case !w.NotBefore.After(now):
			return time.Time{}
		case at.IsZero() || w.NotBefore.Before(at):
			at = w.NotBefore
		}
	}
	return at
}

func age(t time.Time) string {
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String() + " ago"
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s") + " ago"
	}
	return t.Local().Format(time.DateOnly)
}

func approvedBy(e rotator.Waiting) string {
	if e.Approval == nil {
		return ""
	}
	return ", approved by " + e.Approval.By
}

// writeWaiting lists the events for a rotation that has not begun.
func writeWaiting(w io.Writer, b bundleStatus) {
	for _, e := range b.Waiting {
		fmt.Fprintf(w, "\nwaits   %s, %s, since %s\n", e.ID, e.Kind, e.Stored.Local().Format(time.DateTime))
		fmt.Fprintf(w, "  why     %s\n", e.Why)
		if e.Held != "" {
			fmt.Fprintf(w, "  held    %s: rotator approve %s\n", e.Held, rotator.ApprovalID(e.Event))
		}
		if e.Approval != nil {
			fmt.Fprintf(w, "  yes     by %s, %s\n", e.Approval.By, e.Approval.At.Local().Format(time.DateTime))
		}
		if !e.NotBefore.IsZero() {
			fmt.Fprintf(w, "  from    %s\n", e.NotBefore.Local().Format(time.DateTime))
		}
	}
}

func writeHistory(w io.Writer, b bundleStatus) {
	for _, r := range slices.Backward(b.History) {
		fmt.Fprintf(w, "\n%s  %s, %s, KV version %d -> %d\n", r.Rotation, r.Result, r.Kind, r.VersionFrom, r.VersionTo)
		for _, e := range r.Events {
			fmt.Fprintf(w, "  event   %s: %s%s\n", e.ID, e.Why, approvedBy(e))
		}
		for _, name := range slices.SortedFunc(maps.Keys(r.Steps), func(a, c string) int { return r.Steps[a].Compare(r.Steps[c]) }) {
			fmt.Fprintf(w, "  %s  %s\n", r.Steps[name].Local().Format("15:04:05.000"), name)
		}
		for _, t := range r.Targets {
			fmt.Fprintf(w, "  target  %s %s -> %s %s\n", t.Ref, dash(t.Before), dash(t.After), t.Failure)
		}
		for _, text := range r.Warnings {
			fmt.Fprintf(w, "  note    %s\n", text)
		}
		if r.Reason != "" {
			fmt.Fprintf(w, "  reason  %s\n", r.Reason)
		}
	}
}

const deadHelp = `Lists the events that were refused, newest first, with the reason and the remedy.
The original bytes stay in the stream ROTATOR_DEAD for 90 days.`

func deadCommand(g *globals) *cobra.Command {
	limit := 20
	cmd := &cobra.Command{Use: "dead", Short: "List refused events", Long: deadHelp, Args: cobra.NoArgs}
	cmd.Flags().IntVar(&limit, "limit", limit, "how many")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := g.load(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 15*time.Second)
		defer cancel()
		nc, err := service.Dial(ctx, cfg, logger(cmd.ErrOrStderr(), cfg.Log))
		if err != nil {
			return remote(err)
		}
		defer nc.Close()
		letters, err := stream.DeadLetters(ctx, nc, limit)
		if err != nil {
			return remote(err)
		}
		return g.print(cmd.OutOrStdout(), letters, func(w io.Writer) {
			if len(letters) == 0 {
				fmt.Fprintln(w, "No event was refused.")
			}
			for _, d := range letters {
				at := strings.TrimSpace(d.OriginalSubject + " " + d.Field)
				fmt.Fprintf(w, "%s  %s  %s: %s\n", d.Stored.Local().Format(time.DateTime), d.Reason, at, d.Problem)
				if d.Remedy != "" {
					fmt.Fprintf(w, "    %s\n", d.Remedy)
				}
			}
		})
	}
	return cmd
}
