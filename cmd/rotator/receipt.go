package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/journal"
)

const receiptHelp = `Every finished rotation leaves a receipt: its events, KV versions, each target's version before and
after, the time of each step, and how long the old credential could do harm. Receipts
are published with the outcomes and kept for 90 days; each holds the hash of the one before.

  rotator receipt show checkout                    the last one
  rotator receipt show checkout ROTATION
  rotator receipt verify                           every chain, against the journal`

func receiptCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "receipt", Short: "Show receipts of rotations, and verify their chain", Long: receiptHelp}
	cmd.AddCommand(receiptShowCommand(g), receiptVerifyCommand(g))
	return cmd
}

func receiptShowCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "show BUNDLE [ROTATION]", Short: "Show one receipt", Long: receiptHelp, Args: cobra.RangeArgs(1, 2), ValidArgsFunction: g.completeBundles}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return g.archive(cmd, func(ctx context.Context, nc *nats.Conn) error {
			var found *rotator.Receipt
			err := stream.OutcomesOf(ctx, nc, args[0], func(o events.Outcome) error {
				var r rotator.Receipt
				if o.Receipt == "" || len(args) == 2 && o.Rotation != args[1] || json.Unmarshal([]byte(o.Receipt), &r) != nil {
					return nil
				}
				r.Hash = o.ReceiptHash
				found = &r
				return nil
			})
			if err != nil {
				return remote(err)
			}
			if found == nil {
				return coded(exitFailed, fmt.Errorf("no receipt of %s is kept; see: rotator status %s", strings.Join(args, " "), args[0]))
			}
			return g.print(cmd.OutOrStdout(), found, func(w io.Writer) { writeReceipt(w, *found) })
		})
	}
	return cmd
}

// writeReceipt is one receipt for people.
func writeReceipt(w io.Writer, r rotator.Receipt) {
	writeHistory(w, bundleStatus{History: []rotator.Receipt{r}})
	exposure := r.Exposure()
	for _, until := range slices.Sorted(maps.Keys(exposure)) {
		fmt.Fprintf(w, "  exposure, event to %s: %s\n", map[string]string{"updated": "every target updated", "dead": "old credential proven dead"}[until], exposure[until].Round(time.Millisecond))
	}
	fmt.Fprintf(w, "  number  %d\n  hash    %s\n  before  %s\n", r.Number, r.Hash, dash(r.Prev))
}

const verifyHelp = `Checks the chain of receipts of every bundle (or of those named): each text has its hash, each names
the hash of the one before, none is missing, and the last is the one the journal knows.
Receipts of a bundle that was not rotated for 90 days are kept nowhere but in the
journal: that is said, and is no break.

  rotator receipt verify
  rotator receipt verify checkout -o json

It shows that nobody who could write only the outcomes, or only the journal, has changed,
dropped or added a receipt. The hashes have no key: who may write both can make another
chain. Keep the newest hash elsewhere from time to time (-o json) and compare.

Exit code 1 means that a chain is broken.`

// verified is one bundle's line.
type verified struct {
	Bundle   string `json:"bundle"`
	Receipts int    `json:"receipts"`
	First    int    `json:"first,omitempty"`
	Last     int    `json:"last,omitempty"`
	Hash     string `json:"hash,omitempty"`
	Broken   string `json:"broken,omitempty"`
	Gone     string `json:"gone,omitempty"` // why none is kept any more
}

func receiptVerifyCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "verify [BUNDLE...]", Short: "Verify the chain of receipts", Long: verifyHelp, ValidArgsFunction: g.completeBundles}
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return g.archive(cmd, func(ctx context.Context, nc *nats.Conn) error {
			all, err := verifyChains(ctx, nc, names)
			if err != nil {
				return remote(err)
			}
			err = g.print(cmd.OutOrStdout(), all, func(w io.Writer) { writeVerified(w, all) })
			if err == nil && slices.ContainsFunc(all, func(v verified) bool { return v.Broken != "" }) {
				return coded(exitFailed, errSaid)
			}
			return err
		})
	}
	return cmd
}

// archive connects a command that only reads NATS.
func (g *globals) archive(cmd *cobra.Command, do func(context.Context, *nats.Conn) error) error {
	cfg, err := g.load(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
	defer cancel()
	nc, err := service.Dial(ctx, cfg, logger(cmd.ErrOrStderr(), cfg.Log))
	if err != nil {
		return remote(err)
	}
	defer nc.Close()
	return do(ctx, nc)
}

func verifyChains(ctx context.Context, nc *nats.Conn, names []string) ([]verified, error) {
	store, err := journal.Open(ctx, nc, journal.Config{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	stored, err := store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	kept, err := archiveOf(ctx, nc)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = slices.DeleteFunc(slices.Sorted(maps.Keys(stored)), rotator.Housekeeping)
	}
	all := make([]verified, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16) // each is a chain of small questions
	for i, name := range names {
		group.Go(func() (err error) {
			all[i], err = verifyChain(ctx, nc, name, stored[name], kept)
			return err
		})
	}
	return all, group.Wait()
}

// archiveOf asks what the outcome stream has to have still.
func archiveOf(ctx context.Context, nc *nats.Conn) (rotator.Archive, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return rotator.Archive{}, fmt.Errorf("preparing JetStream: %w", err)
	}
	s, err := js.Stream(ctx, stream.Outcomes)
	if err != nil {
		return rotator.Archive{}, fmt.Errorf("reading how long outcomes are kept: %w", err)
	}
	info := s.CachedInfo()
	limit := info.Config.MaxBytes
	return rotator.Archive{Now: info.TimeStamp, MaxAge: info.Config.MaxAge, Oldest: info.State.FirstTime, Full: limit > 0 && info.State.Bytes > uint64(limit)/10*9}, nil
}

func verifyChain(ctx context.Context, nc *nats.Conn, bundle string, s rotator.Stored, kept rotator.Archive) (verified, error) {
	v := verified{Bundle: bundle}
	var head, next *rotator.Receipt
	if rec, err := rotator.DecodeRecord(s.Value); err == nil {
		head = rec.Last()
		if rec.Rotation != nil {
			next = rec.Rotation.Final // published this moment, or about to be
		}
	} else if s.Value != nil {
		v.Broken = err.Error()
		return v, nil
	}
	var published []events.Outcome
	err := stream.OutcomesOf(ctx, nc, bundle, func(o events.Outcome) error {
		published = append(published, o)
		return nil
	})
	if err != nil {
		return v, err
	}
	if n := len(published); n > 0 && next != nil && published[n-1].ReceiptHash == next.Hash {
		head = next
	}
	chain, err := rotator.VerifyChain(bundle, published, head, kept)
	if broken, ok := errors.AsType[*rotator.ChainError](err); ok {
		v.Broken = broken.Error()
	}
	v.First, v.Last, v.Hash, v.Gone = chain.First, chain.Last, chain.Hash, chain.Gone
	if v.Last > 0 {
		v.Receipts = v.Last - v.First + 1
	}
	return v, nil
}

func writeVerified(w io.Writer, all []verified) {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "BUNDLE\tRECEIPTS\tLAST HASH\tCHAIN")
	for _, v := range all {
		state := "intact"
		switch {
		case v.Broken != "":
			state = "BROKEN: " + v.Broken
		case v.Gone != "":
			state = "nothing left to check: " + v.Gone
		case v.First > 1:
			state = fmt.Sprintf("intact from number %d; older ones are past the retention", v.First)
		}
		hash := v.Hash
		if len(hash) > 16 {
			hash = hash[:16]
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\n", v.Bundle, v.Receipts, dash(hash), state)
	}
	_ = tw.Flush()
}
