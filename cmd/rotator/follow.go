package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/journal"
)

// A follower watches one event until every rotation it causes has an outcome.
type follower struct {
	conn     *nats.Conn
	event    events.Event
	seq      uint64 // of the event in its stream
	progress io.Writer
	quiet    bool

	open map[string]string         // bundle -> last state shown
	done map[string]events.Outcome // bundle -> what came of the event
	told string                    // of the login
}

// run reads the journal, which knows which bundles took the event, and returns one outcome per bundle.
func (f *follower) run(ctx context.Context) ([]events.Outcome, error) {
	store, err := journal.Open(ctx, f.conn, journal.Config{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := store.Watch(ctx)
	notices, err := stream.FollowOutcomes(ctx, f.conn, time.Now().Add(-5*time.Second)) // what rotates nothing is in no record
	if err != nil {
		return nil, fmt.Errorf("following the outcomes: %w", err)
	}
	f.open, f.done = make(map[string]string), make(map[string]events.Outcome)
	check := time.NewTicker(500 * time.Millisecond)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			why := "the time is up"
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				why = "interrupted"
			}
			return f.outcomes(), fmt.Errorf("%s%s; the rotation goes on without us, see: rotator status", why, f.pending())
		case c, ok := <-changes:
			if !ok {
				return f.outcomes(), errors.New("the connection to NATS ended; the rotation goes on without us, see: rotator status")
			}
			f.look(c.Value)
		case o, ok := <-notices:
			if !ok {
				notices = nil
			}
			f.notice(o)
		case <-check.C:
			if settled, err := f.settled(ctx); err != nil || !settled {
				if err != nil {
					return f.outcomes(), err
				}
				continue
			}
			// Taken: every bundle that it touches is in the journal. Changes are hints, the list is the truth.
			all, err := store.List(ctx)
			if err != nil {
				return f.outcomes(), fmt.Errorf("reading the journal: %w", err)
			}
			for _, s := range all {
				f.look(s.Value)
			}
			if len(f.open) > 0 {
				continue
			}
			for len(f.done) == 0 { // it was published before the event was taken, and is about to be here
				select {
				case o, ok := <-notices:
					if !ok {
						return f.outcomes(), nil
					}
					f.notice(o)
				case <-time.After(500 * time.Millisecond):
					return f.outcomes(), nil
				}
			}
			return f.outcomes(), nil
		}
	}
}

// notice takes what is said about the event where it rotates nothing.
func (f *follower) notice(o events.Outcome) {
	if (o.Result == events.ResultReported || o.Result == events.ResultOrphaned) && slices.Contains(o.Events, f.event.Source+" "+f.event.ID) {
		f.done[cmp.Or(o.Bundle, "-")+" "+o.Result] = o
	}
}

// pending names the bundles that have no outcome yet.
func (f *follower) pending() string {
	var out []string
	for _, bundle := range slices.Sorted(maps.Keys(f.open)) {
		out = append(out, bundle+" is "+f.open[bundle])
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

// outcomes lists what came of the event so far, by bundle.
func (f *follower) outcomes() []events.Outcome {
	out := []events.Outcome{}
	for _, bundle := range slices.Sorted(maps.Keys(f.done)) {
		out = append(out, f.done[bundle])
	}
	return out
}

// theLogin stands in the place of a bundle for the login that an event ends.
const theLogin = "(login)"

// login takes the event's departure in. That a login was ended is no outcome of a rotation; that it was not, or waits, is one.
func (f *follower) login(d rotator.Departure) {
	text := strings.Join(d.Notes, "; ")
	switch {
	case d.Waits():
		f.done[theLogin] = events.Outcome{Bundle: theLogin, Result: events.ResultHeld, Kind: d.Kind, Reason: d.Held + "; it would end the login of " + d.Ends(), Remedy: "rotator approve " + rotator.ApprovalID(d.Event)}
	case len(d.Names) > 0 && d.Done.IsZero():
		f.open[theLogin] = "about to be ended"
		return
	case strings.Contains(text, "CAREFUL"):
		f.done[theLogin] = events.Outcome{Bundle: theLogin, Result: events.ResultReported, Kind: d.Kind, Reason: text}
	case text != "" && f.told != text:
		f.say("%s", text)
		f.told = text
	}
	delete(f.open, theLogin)
}

// look takes one record in, if it is about the event.
func (f *follower) look(value []byte) {
	if d, err := rotator.DecodeDeparture(value); err == nil && d.Event == f.event.Key() {
		f.login(d)
		return
	}
	rec, err := rotator.DecodeRecord(value)
	if err != nil || !rec.Knows(f.event.Key()) {
		return
	}
	if o, over := f.step(rec); over {
		f.done[rec.Bundle] = o
		delete(f.open, rec.Bundle)
	}
}

// step shows how far a record is, and returns the outcome when the event's rotation is over.
func (f *follower) step(rec rotator.Record) (events.Outcome, bool) {
	for _, r := range slices.Backward(rec.History) {
		if slices.ContainsFunc(r.Events, func(w rotator.Waiting) bool { return w.Event == f.event.Key() }) {
			return r.Outcome(rec.Bundle), true
		}
	}
	for _, w := range rec.Held() {
		if w.Event == f.event.Key() {
			return events.Outcome{Bundle: rec.Bundle, Result: events.ResultHeld, Kind: w.Kind, Reason: w.Held, Remedy: "rotator approve " + rotator.ApprovalID(w.Event)}, true
		}
	}
	if rec.State == rotator.Quarantined && rec.Rotation != nil {
		return rotator.Receipt{Rotation: rec.Rotation.ID, Result: events.ResultQuarantined, Kind: rec.Rotation.Kind, Reason: rec.Rotation.LastError, Targets: rec.Rotation.Targets}.Outcome(rec.Bundle), true
	}
	if rec.State == rotator.Claimed && rec.Rotation.Alarmed { // a leak that is refused so far
		return rotator.Receipt{Rotation: rec.Rotation.ID, Result: events.ResultDelayed, Kind: rec.Rotation.Kind, Reason: rec.Rotation.LastError + "; it is tried again, see: rotator status"}.Outcome(rec.Bundle), true
	}
	state := string(rec.State)
	if rec.State == rotator.Idle {
		state = "waiting"
	}
	if rec.State == rotator.Draining {
		state += " until " + rec.Rotation.DrainEnds.Local().Format(time.TimeOnly)
	}
	if f.open[rec.Bundle] != state {
		f.say("%s: %s", rec.Bundle, state)
		f.open[rec.Bundle] = state
	}
	return events.Outcome{}, false
}

// settled reports whether the service has taken the event, so that no further bundle can join. An event that was
// refused is found among the dead letters.
func (f *follower) settled(ctx context.Context) (bool, error) {
	dead, err := stream.DeadLetters(ctx, f.conn, 50)
	if err != nil {
		return false, fmt.Errorf("looking for a dead letter: %w", err)
	}
	for _, d := range dead {
		if d.OriginalSeq == f.seq {
			return false, coded(exitFailed, fmt.Errorf("the event was refused (%s): %s; %s", d.Reason, d.Problem, d.Remedy))
		}
	}
	b, err := stream.Backlog(ctx, f.conn)
	if err != nil {
		return false, fmt.Errorf("asking for the backlog: %w", err)
	}
	return b.Done(f.event.Kind, f.seq), nil
}

func (f *follower) say(format string, a ...any) {
	if !f.quiet {
		fmt.Fprintf(f.progress, format+"\n", a...)
	}
}

func writeOutcomes(w io.Writer, os []events.Outcome) {
	if len(os) == 0 {
		fmt.Fprintln(w, "The event touches no bundle (a person is found by holders and by what Vault says; see rotator affected), or a rule only reports it; nothing was rotated.")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "BUNDLE\tRESULT\tKV VERSION\tTARGETS\tTOOK\tREASON")
	for _, o := range os {
		took := "-"
		if !o.Started.IsZero() {
			took = o.Finished.Sub(o.Started).Round(time.Millisecond).String()
		}
		versions := "-"
		if o.KVVersionFrom+o.KVVersionTo > 0 {
			versions = fmt.Sprintf("%d -> %d", o.KVVersionFrom, o.KVVersionTo)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\t%s\n", dash(o.Bundle), o.Result, versions, len(o.Targets), took, dash(strings.TrimSpace(o.Reason)))
	}
	_ = tw.Flush()
	for _, o := range os {
		if o.Result == events.ResultHeld {
			fmt.Fprintf(w, "%s waits for approval: %s\n", o.Bundle, o.Remedy)
		}
	}
}
