package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/journal"
)

const resumeHelp = `Takes a quarantined rotation up where it was held, after you have mended the cause.
It shows what that means and asks first; --yes does not ask.

  rotator status checkout     why it is held, and which target has which version
  rotator resume checkout`

func resumeCommand(g *globals) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{Use: "resume BUNDLE", Short: "Take up a quarantined rotation", Long: resumeHelp, Args: cobra.ExactArgs(1), ValidArgsFunction: g.completeBundles}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := g.load(cmd)
		if err != nil {
			return err
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
		return resume(ctx, store, args[0], yes, cmd.InOrStdin(), cmd.OutOrStdout())
	}
	return cmd
}

// resume shows, asks, and writes with the revision that was shown: what changed meanwhile is not resumed unseen.
func resume(ctx context.Context, store *journal.Store, bundle string, yes bool, in io.Reader, out io.Writer) error {
	value, revision, err := store.Get(ctx, bundle)
	if errors.Is(err, rotator.ErrNotFound) {
		return coded(exitFailed, fmt.Errorf("the journal has no bundle %q", bundle))
	}
	if err != nil {
		return remote(err)
	}
	rec, err := rotator.DecodeRecord(value)
	if err != nil {
		return coded(exitFailed, err)
	}
	if err := rec.Resume(time.Now()); errors.Is(err, rotator.ErrNotHeld) {
		return coded(exitFailed, fmt.Errorf("%s is %s, not quarantined: there is nothing to resume", bundle, rec.State))
	} else if err != nil {
		return coded(exitFailed, err)
	}
	fmt.Fprintf(out, "%s was held because: %s\n", bundle, rec.Rotation.LastError)
	for _, t := range rec.Rotation.Targets {
		fmt.Fprintf(out, "  %s: version %s before, %s now %s\n", t.Ref, dash(t.Before), dash(t.After), t.Failure)
	}
	fmt.Fprintf(out, "It goes on %s, towards KV version %d, for %s.\n", rec.State, rec.Rotation.Desired, rotator.DefaultPatience)
	if !yes {
		fmt.Fprint(out, "Resume? [y/N] ")
		answer, _ := bufio.NewReader(in).ReadString('\n')
		if !strings.EqualFold(strings.TrimSpace(answer), "y") {
			return coded(exitFailed, errors.New("not resumed"))
		}
	}
	if value, err = rec.Encode(); err != nil {
		return err
	}
	if _, err := store.Put(ctx, bundle, value, revision); errors.Is(err, rotator.ErrConflict) {
		return coded(exitFailed, errors.New("the record changed meanwhile; look again: rotator status "+bundle))
	} else if err != nil {
		return remote(err)
	}
	fmt.Fprintln(out, "resumed")
	return nil
}
