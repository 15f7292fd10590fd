package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/journal"
)

const resumeHelp = `Takes a quarantined rotation up where it was held, after you have mended the cause.

  rotator status checkout     why it is held, and which target has which version
  rotator resume checkout`

const abandonHelp = `Goes on with a rotation without one of its targets, which keeps what it holds now. When
the generation that it holds is revoked, it stops working.

  rotator status checkout
  rotator abandon checkout "prod action shop/refund"`

const rollbackHelp = `Turns a rotation around: the previous values become a new version in Vault and are put back
on every target that was touched, and what was minted is revoked after the overlap. A
rotation that has written nothing yet is cancelled. After a leak that means that the
leaked credential stays in use.

  rotator rollback checkout`

const containHelp = `Revokes the old generation of a rotation now, whatever still holds it, and then goes on with
the rotation. Work in flight that uses the old credential fails; so do targets that were
not written yet, until they are. For a bundle that is not being rotated, publish a leak:
rotator emit leak --bundle NAME.

  rotator contain checkout`

const asksHelp = `

It shows what will follow and asks first; --yes does not ask, --dry-run only shows. The
decision and its author are kept in the receipt of the rotation.`

func resumeCommand(g *globals) *cobra.Command {
	return decideCommand(g, rotator.Resume, "resume BUNDLE", "Take up a quarantined rotation", resumeHelp)
}

func abandonCommand(g *globals) *cobra.Command {
	return decideCommand(g, rotator.Abandon, "abandon BUNDLE TARGET", "Go on without a target", abandonHelp)
}

func rollbackCommand(g *globals) *cobra.Command {
	return decideCommand(g, rotator.Undo, "rollback BUNDLE", "Turn a rotation around", rollbackHelp)
}

func containCommand(g *globals) *cobra.Command {
	return decideCommand(g, rotator.Cutoff, "contain BUNDLE", "Revoke the old generation now", containHelp)
}

func decideCommand(g *globals, verb rotator.Verb, use, short, long string) *cobra.Command {
	var yes, dry bool
	var by string
	cmd := &cobra.Command{Use: use, Short: short, Long: long + asksHelp, Args: cobra.ExactArgs(strings.Count(use, " ")), ValidArgsFunction: g.completeDecision(verb)}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would follow, and change nothing")
	cmd.Flags().StringVar(&by, "by", author(), "who decides, for the receipt")
	cmd.MarkFlagsMutuallyExclusive("yes", "dry-run")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := g.load(cmd)
		if err != nil {
			return err
		}
		d := rotator.Decision{Verb: verb, By: by}
		if verb == rotator.Abandon {
			if d.Target, err = target(args[1]); err != nil {
				return coded(exitUsage, err)
			}
		}
		if g.json() && !yes && !dry {
			return coded(exitUsage, errors.New("with -o json nobody can be asked; add --yes or --dry-run"))
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Minute)
		defer cancel()
		nc, err := service.Dial(ctx, cfg, logger(cmd.ErrOrStderr(), cfg.Log))
		if err != nil {
			return remote(err)
		}
		defer nc.Close()
		store, err := journal.Open(ctx, nc, journal.Config{ReadOnly: true})
		if err != nil {
			return remote(err)
		}
		desk := desk{globals: g, store: store, bundle: args[0], decision: d, yes: yes, dry: dry, cmd: cmd}
		return desk.decide(ctx)
	}
	return cmd
}

// author is the person at the keyboard, as far as the machine knows.
func author() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// target reads "host kind name", as status shows it.
func target(text string) (rotator.Ref, error) {
	part := strings.SplitN(strings.TrimSpace(text), " ", 3)
	if len(part) == 3 {
		r := rotator.Ref{Host: part[0], Name: strings.TrimSpace(part[2])}
		if err := r.Kind.UnmarshalText([]byte(part[1])); err == nil && r.Kind != 0 && r.Name != "" {
			return r, nil
		}
	}
	return rotator.Ref{}, fmt.Errorf("%q is no target; write it in quotes as status shows it: \"prod action shop/refund\"", text)
}

// completeDecision offers bundles, and after one the targets of its rotation.
func (g *globals) completeDecision(verb rotator.Verb) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return g.completeBundles(cmd, args, word)
		case len(args) > 1 || verb != rotator.Abandon:
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cfg, err := g.load(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for _, t := range cfg.Bundles[args[0]].Targets {
			out = append(out, t.String())
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// A desk is where one decision is shown, asked about, and written down.
type desk struct {
	*globals
	store    *journal.Store
	bundle   string
	decision rotator.Decision
	yes, dry bool
	cmd      *cobra.Command
}

// decided is what -o json prints.
type decided struct {
	Bundle   string        `json:"bundle"`
	Decision string        `json:"decision"`
	State    rotator.State `json:"state"` // in which the rotation goes on
	Follows  []string      `json:"follows"`
	Written  bool          `json:"written"`
}

// decide shows, asks, and writes with the revision that was shown: what changed meanwhile is not decided unseen.
func (d *desk) decide(ctx context.Context) error {
	before, next, follows, revision, err := d.look(ctx)
	if err != nil {
		return err
	}
	out := decided{Bundle: d.bundle, Decision: d.decision.String(), State: next.State, Follows: follows}
	if !d.json() {
		show(d.cmd.OutOrStdout(), before, follows)
	}
	if d.dry {
		return d.print(d.cmd.OutOrStdout(), out, func(w io.Writer) { fmt.Fprintln(w, "Nothing was changed.") })
	}
	if !d.yes && !ask(d.cmd.InOrStdin(), d.cmd.OutOrStdout(), string(d.decision.Verb)) {
		return coded(exitFailed, errors.New("nothing was changed"))
	}
	value, err := next.Encode()
	if err != nil {
		return err
	}
	switch _, err := d.store.Put(ctx, d.bundle, value, revision); {
	case errors.Is(err, rotator.ErrConflict):
		return coded(exitFailed, fmt.Errorf("the rotation moved on meanwhile; look again: rotator status %s", d.bundle))
	case errors.Is(err, rotator.ErrUnknown):
		return coded(exitRemote, fmt.Errorf("the answer was lost; look whether it was written: rotator status %s", d.bundle))
	case err != nil:
		return remote(err)
	}
	out.Written = true
	return d.print(d.cmd.OutOrStdout(), out, func(w io.Writer) {
		fmt.Fprintf(w, "Done. See how it goes on: rotator status %s\n", d.bundle)
	})
}

// look reads the record and applies the decision to it. While a replica works on it, it waits for the next pause.
func (d *desk) look(ctx context.Context) (before, next rotator.Record, follows []string, revision uint64, err error) {
	told := false
	for {
		var value []byte
		value, revision, err = d.store.Get(ctx, d.bundle)
		if errors.Is(err, rotator.ErrNotFound) {
			return before, next, nil, 0, coded(exitFailed, fmt.Errorf("the journal has no bundle %q", d.bundle))
		}
		if err != nil {
			return before, next, nil, 0, remote(err)
		}
		if before, err = rotator.DecodeRecord(value); err != nil {
			return before, next, nil, 0, coded(exitFailed, err)
		}
		next, follows, err = before.Decide(d.decision, time.Now())
		if !errors.Is(err, rotator.ErrInWork) {
			break
		}
		if !told {
			fmt.Fprintf(d.cmd.ErrOrStderr(), "%s is %s, and replica %s works on it; waiting for its next pause\n", d.bundle, before.State, before.Owner)
			told = true
		}
		select {
		case <-ctx.Done():
			return before, next, nil, 0, coded(exitRemote, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err != nil {
		err = coded(exitFailed, fmt.Errorf("%s: %w", d.bundle, err))
	}
	return before, next, follows, revision, err
}

// show tells where the rotation stands and what will follow.
func show(w io.Writer, r rotator.Record, follows []string) {
	fmt.Fprintf(w, "%s is %s", r.Bundle, r.State)
	if r.State == rotator.Quarantined {
		fmt.Fprintf(w, " (held while %s)", r.Rotation.HeldIn)
	}
	fmt.Fprintf(w, ", rotation %s for a %s event, KV version %d -> %d\n", r.Rotation.ID, r.Rotation.Kind, r.Rotation.Base, r.Rotation.New.Version)
	if r.Rotation.LastError != "" {
		fmt.Fprintf(w, "because: %s\n", r.Rotation.LastError)
	}
	for _, t := range r.Rotation.Targets {
		fmt.Fprintf(w, "  %s: version %s before, %s now %s\n", t.Ref, dash(t.Before), dash(t.After), cmp.Or(t.Dropped, t.Failure))
	}
	fmt.Fprintln(w, "\nWhat will follow:")
	for _, line := range slices.Compact(follows) {
		fmt.Fprintf(w, "  - %s\n", line)
	}
}

// ask wants an explicit yes.
func ask(in io.Reader, out io.Writer, what string) bool {
	fmt.Fprintf(out, "\n%s? [y/N] ", strings.ToUpper(what[:1])+what[1:])
	answer, _ := bufio.NewReader(in).ReadString('\n')
	return strings.EqualFold(strings.TrimSpace(answer), "y") || strings.EqualFold(strings.TrimSpace(answer), "yes")
}
