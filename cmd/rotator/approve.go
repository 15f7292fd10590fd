package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/journal"
)

const approveHelp = `Events can do harm: rules and bounds of the configuration (events.rules, events.max_bundles,
events.max_per_hour) hold some of them until somebody has looked. Without an argument this lists them. With an
ID it shows, for every bundle that the event touches, exactly what the rotation would do, asks, and lets that plan run and
no other: if what it would do changes before it begins - a parameter more or less, another version of the secret - it waits for
approval again. Where somebody leaves and people.disable is set, whose login in Vault would end is shown and decided with it; that
does not wait for the rotations.

  rotator approve                 what waits
  rotator approve 3f2a90c14b7d    show the plan, ask, let it run
  rotator approve 3f2a90c14b7d --deny
  rotator approve 3f2a90c14b7d --bundle checkout    one of the bundles only
  rotator approve 3f2a90c14b7d --login              only that the login ends

Exit codes: 0 approved, denied, or listed; 1 the answer was no, nothing of that name waits, or the plan would be refused; 3 a system
could not be reached.`

// An approving is one call of approve.
type approving struct {
	*globals
	bundle, by            string
	yes, deny, dry, login bool
}

// heldEvent is an event that waits, with the bundles where it waits.
type heldEvent struct {
	ID       string         `json:"id"`
	Event    string         `json:"event"`
	Kind     events.Kind    `json:"kind"`
	Severity string         `json:"severity,omitempty"`
	Since    time.Time      `json:"since"`
	Why      string         `json:"why"`            // it waits
	Ends     string         `json:"ends,omitempty"` // whose login
	Bundles  []string       `json:"bundles"`
	Found    []string       `json:"found"` // how each was found
	Plans    []rotator.Plan `json:"plans,omitempty"`
	Decided  string         `json:"decided,omitempty"`

	departure string // key of its record
}

func approveCommand(g *globals) *cobra.Command {
	a := &approving{globals: g}
	cmd := &cobra.Command{Use: "approve [ID]", Short: "Let an event go on that waits for approval", Long: approveHelp, Args: cobra.MaximumNArgs(1), RunE: a.run}
	f := cmd.Flags()
	f.StringVar(&a.bundle, "bundle", "", "only this `bundle`")
	f.StringVar(&a.by, "by", author(), "who decides, for the receipt")
	f.BoolVar(&a.yes, "yes", false, "do not ask")
	f.BoolVar(&a.deny, "deny", false, "take the event away instead")
	f.BoolVar(&a.dry, "dry-run", false, "only show")
	f.BoolVar(&a.login, "login", false, "only that a login ends, not the bundles")
	cmd.MarkFlagsMutuallyExclusive("yes", "dry-run")
	cmd.MarkFlagsMutuallyExclusive("bundle", "login")
	_ = cmd.RegisterFlagCompletionFunc("bundle", g.completeBundles)
	cmd.ValidArgsFunction = a.complete
	return cmd
}

func (a *approving) run(cmd *cobra.Command, args []string) error {
	cfg, err := a.load(cmd)
	if err != nil {
		return err
	}
	if len(args) == 1 && a.json() && !a.yes && !a.dry && !a.deny {
		return coded(exitUsage, errors.New("with -o json nobody can be asked; add --yes, --deny or --dry-run"))
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Minute)
	defer cancel()
	log := logger(cmd.ErrOrStderr(), cfg.Log)
	nc, err := service.Dial(ctx, cfg, log)
	if err != nil {
		return remote(err)
	}
	defer nc.Close()
	store, err := journal.Open(ctx, nc, journal.Config{ReadOnly: true})
	if err != nil {
		return remote(err)
	}
	all, err := held(ctx, store, a.bundle)
	if err != nil {
		return remote(err)
	}
	if len(args) == 0 {
		return a.print(cmd.OutOrStdout(), all, func(w io.Writer) { writeHeld(w, all) })
	}
	i := slices.IndexFunc(all, func(h heldEvent) bool { return h.ID == args[0] })
	if i < 0 {
		return coded(exitFailed, fmt.Errorf("no event %q waits for approval; see: rotator approve", args[0]))
	}
	if a.login && all[i].Ends == "" {
		return coded(exitFailed, fmt.Errorf("event %s ends no login", args[0]))
	}
	if a.login {
		all[i].Bundles, all[i].Found = []string{}, []string{}
	}
	preview, err := service.Preview(ctx, cfg, log)
	if err != nil {
		return remote(err)
	}
	return a.decide(ctx, cmd, store, preview, all[i])
}

// held reads the journal.
func held(ctx context.Context, store *journal.Store, bundle string) ([]heldEvent, error) {
	stored, err := store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	found := make(map[string]*heldEvent)
	event := func(w rotator.Waiting) *heldEvent {
		id := rotator.ApprovalID(w.Event)
		if found[id] == nil {
			found[id] = &heldEvent{ID: id, Event: w.ID, Kind: w.Kind, Severity: w.Severity, Since: w.Stored, Why: w.Held, Bundles: []string{}, Found: []string{}}
		}
		return found[id]
	}
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		if d, err := rotator.DecodeDeparture(stored[name].Value); rotator.IsDeparture(name) && err == nil && bundle == "" && d.Waits() {
			h := event(rotator.Waiting{Event: d.Event, ID: d.ID, Kind: d.Kind, Severity: d.Severity, Stored: d.Stored, Held: d.Held})
			h.Ends, h.departure = d.Ends(), name
		}
		rec, err := rotator.DecodeRecord(stored[name].Value)
		if err != nil || bundle != "" && name != bundle {
			continue
		}
		for _, w := range rec.Held() {
			h := event(w)
			h.Bundles, h.Found = append(h.Bundles, name), append(h.Found, w.Why)
		}
	}
	out := []heldEvent{}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		out = append(out, *found[id])
	}
	slices.SortStableFunc(out, func(x, y heldEvent) int { return x.Since.Compare(y.Since) })
	return out, nil
}

// decide shows the plans, asks, and writes into every bundle's record.
func (a *approving) decide(ctx context.Context, cmd *cobra.Command, store *journal.Store, preview rotator.Preview, h heldEvent) error {
	w := cmd.OutOrStdout()
	refused := false
	if !a.deny {
		for _, bundle := range h.Bundles {
			plan, err := preview.Plan(ctx, bundle, h.Kind)
			if err != nil {
				return remote(err)
			}
			h.Plans = append(h.Plans, plan)
			refused = refused || len(plan.Refusals) > 0
		}
	}
	if !a.json() {
		writeHeld(w, []heldEvent{h})
		for i, plan := range h.Plans {
			fmt.Fprintln(w)
			writePlan(w, rotator.Hit{Bundle: plan.Bundle, Why: h.Found[i]}, plan)
		}
	}
	if refused && !a.dry {
		remedy := ""
		if h.Ends != "" {
			remedy = fmt.Sprintf("; the login alone ends with: rotator approve %s --login", h.ID)
		}
		return coded(exitFailed, errors.New("the plan would be refused; mend that first, nothing was approved"+remedy))
	}
	question := a.question(h)
	if a.dry {
		return a.print(w, h, func(w io.Writer) { fmt.Fprintln(w, "Nothing was changed.") })
	}
	if !a.yes && !a.json() && !ask(cmd.InOrStdin(), w, question) {
		return coded(exitFailed, errors.New("nothing was changed"))
	}
	if h.Ends != "" {
		if err := a.write(ctx, store, h.departure, a.onLogin); err != nil {
			return err
		}
	}
	for i, bundle := range h.Bundles {
		if err := a.write(ctx, store, bundle, a.onBundle(h, i)); err != nil {
			return err
		}
	}
	h.Decided = map[bool]string{true: "denied", false: "approved"}[a.deny]
	return a.print(w, h, func(w io.Writer) { fmt.Fprintf(w, "%s by %s. See how it goes on: rotator status\n", h.Decided, a.by) })
}

// question is what somebody says yes to.
func (a *approving) question(h heldEvent) string {
	var parts []string
	switch {
	case len(h.Bundles) == 0:
	case a.deny:
		parts = append(parts, fmt.Sprintf("take this event away from %d bundles", len(h.Bundles)))
	default:
		parts = append(parts, fmt.Sprintf("rotate %d bundles exactly so", len(h.Bundles)))
	}
	switch {
	case h.Ends == "":
	case a.deny:
		parts = append(parts, "leave the login of "+h.Ends+" alone")
	default:
		parts = append(parts, "end the login of "+h.Ends)
	}
	return strings.Join(parts, ", and ")
}

// onLogin decides about a departure.
func (a *approving) onLogin(value []byte) ([]byte, error) {
	d, err := rotator.DecodeDeparture(value)
	if err != nil {
		return nil, err
	}
	if a.deny {
		d, err = d.Deny(a.by, time.Now().UTC())
	} else {
		d, err = d.Approve(rotator.Approval{By: a.by, At: time.Now().UTC()})
	}
	if err != nil {
		return nil, err
	}
	return d.Encode()
}

// onBundle decides about the event in the record of one bundle: what is approved is the plan, which is checked when it begins.
func (a *approving) onBundle(h heldEvent, i int) func([]byte) ([]byte, error) {
	return func(value []byte) ([]byte, error) {
		rec, err := rotator.DecodeRecord(value)
		if err != nil {
			return nil, err
		}
		if a.deny {
			rec, err = rec.Deny(h.ID)
		} else {
			rec, err = rec.Approve(h.ID, rotator.Approval{By: a.by, At: time.Now().UTC(), Plan: h.Plans[i].Digest()})
		}
		if err != nil {
			return nil, err
		}
		return rec.Encode()
	}
}

// write is a compare-and-swap, tried again when the record has moved.
func (a *approving) write(ctx context.Context, store *journal.Store, key string, change func([]byte) ([]byte, error)) error {
	for range 20 {
		value, revision, err := store.Get(ctx, key)
		if err != nil {
			return remote(err)
		}
		if value, err = change(value); err != nil {
			return coded(exitFailed, fmt.Errorf("%s: %w", key, err))
		}
		_, err = store.Put(ctx, key, value, revision)
		if err == nil {
			return nil
		}
		if !errors.Is(err, rotator.ErrConflict) && !errors.Is(err, rotator.ErrUnknown) {
			return remote(err)
		}
	}
	return coded(exitRemote, fmt.Errorf("the record of %s is changed too often; try again", key))
}

func writeHeld(w io.Writer, all []heldEvent) {
	if len(all) == 0 {
		fmt.Fprintln(w, "No event waits for approval.")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tKIND\tSEVERITY\tSINCE\tBUNDLE\tFOUND\tWHY IT WAITS")
	for _, h := range all {
		for i, bundle := range h.Bundles {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.ID, h.Kind, dash(h.Severity), age(h.Since), bundle, h.Found[i], h.Why)
		}
		if len(h.Bundles) == 0 {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t-\t-\t%s\n", h.ID, h.Kind, dash(h.Severity), age(h.Since), h.Why)
		}
	}
	_ = tw.Flush()
	for _, h := range all {
		fmt.Fprintf(w, "%s is event %s\n", h.ID, h.Event)
		if h.Ends != "" {
			fmt.Fprintf(w, "  and ends the login of %s in Vault\n", h.Ends)
		}
	}
}

// complete offers what waits.
func (a *approving) complete(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	cfg, err := a.load(cmd)
	if err != nil {
		return nil, none
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	nc, err := service.Dial(ctx, cfg, logger(io.Discard, cfg.Log))
	if err != nil {
		return nil, none
	}
	defer nc.Close()
	store, err := journal.Open(ctx, nc, journal.Config{ReadOnly: true})
	if err != nil {
		return nil, none
	}
	all, err := held(ctx, store, "")
	if err != nil {
		return nil, none
	}
	var out []string
	for _, h := range all {
		out = append(out, h.ID+"\t"+h.Event)
	}
	return out, none
}
