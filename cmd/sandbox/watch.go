package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/journal"
)

// A watcher follows the journal and the outcomes, and prints one line for each step.
type watcher struct {
	out   *printer
	store *journal.Store

	mu       sync.Mutex
	began    time.Time // of the event that is being watched
	staying  bool      // events come from outside: each starts the clock again
	quiet    bool      // nothing more is printed
	shown    map[string]string
	records  map[string]rotator.Record
	outcomes map[string]events.Outcome // by rotation
	dead     []string                  // reasons of dead letters
	raw      [][]byte                  // every journal value and outcome as it was stored
}

func newWatcher(ctx context.Context, nc *nats.Conn, out *printer) (*watcher, error) {
	w := &watcher{out: out, began: time.Now(), shown: make(map[string]string), records: make(map[string]rotator.Record), outcomes: make(map[string]events.Outcome)}
	store, err := journal.Open(ctx, nc, journal.Config{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	w.store = store
	go func() {
		for c := range store.Watch(ctx) {
			w.change(c)
		}
	}()
	if _, err := nc.Subscribe("rotator.outcomes.v1.>", w.outcome); err != nil {
		return nil, fmt.Errorf("listening for outcomes: %w", err)
	}
	if _, err := nc.Subscribe("rotator.dead.v1.>", w.deadLetter); err != nil {
		return nil, fmt.Errorf("listening for dead letters: %w", err)
	}
	return w, nc.Flush()
}

func (w *watcher) change(c rotator.Change) {
	rec, err := rotator.DecodeRecord(c.Value)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.raw = append(w.raw, c.Value)
	if err != nil {
		return
	}
	if w.staying && rec.State != rotator.Idle && !w.busy() {
		w.began = rec.Rotation.Started
		w.out.line("")
	}
	w.records[c.Key] = rec
	state, text := w.describe(rec)
	if text == "" || w.shown[c.Key] == state+text {
		return
	}
	w.shown[c.Key] = state + text
	w.say(rec.Bundle, state, text)
}

// busy reports whether any bundle is being rotated.
func (w *watcher) busy() bool {
	for _, rec := range w.records {
		if rec.State != rotator.Idle {
			return true
		}
	}
	return false
}

func (w *watcher) say(bundle, state, text string) {
	if w.quiet {
		return
	}
	w.out.line("  %+8.3fs  %-9s %-12s %s", time.Since(w.began).Seconds(), bundle, state, text)
}

// describe is what one state means; an empty text is not worth a line.
func (w *watcher) describe(rec rotator.Record) (state, text string) {
	rot := rec.Rotation
	switch rec.State {
	case rotator.Idle:
		if len(rec.Queue) > 0 {
			return "waiting", "the event is in the journal"
		}
		if n := len(rec.History); n > 0 {
			return "idle", fmt.Sprintf("%s; generation %d is live", rec.History[n-1].Result, rec.Generation)
		}
	case rotator.Claimed:
		return "claimed", "looking at the bundle and its targets, planning"
	case rotator.Minting:
		return "minting", fmt.Sprintf("KV version %d; a new credential is minted and tested", rot.Base)
	case rotator.Applying:
		return "applying", fmt.Sprintf("KV version %d is written; one PUT for each target", rot.Desired)
	case rotator.Draining:
		return "draining", fmt.Sprintf("all %d targets verified; runs in flight finish", len(rot.Targets))
	case rotator.Revoking:
		return "revoking", "the old credential is revoked, then proven dead"
	case rotator.RollingBack:
		return "rolling back", rot.LastError
	case rotator.Quarantined:
		return "quarantined", rot.LastError
	}
	return string(rec.State), ""
}

func (w *watcher) outcome(m *nats.Msg) {
	o, err := events.DecodeOutcome(m.Data)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.raw = append(w.raw, m.Data)
	if err != nil {
		return
	}
	w.outcomes[o.Rotation] = o
	text := o.Result
	if o.Reason != "" {
		text += " (" + o.Reason + ")"
	}
	w.say(o.Bundle, "outcome", text+", published on "+m.Subject)
}

func (w *watcher) deadLetter(m *nats.Msg) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = append(w.dead, m.Subject)
	w.raw = append(w.raw, m.Data)
}

// start sets the clock of the printed lines to zero.
func (w *watcher) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began = time.Now()
}

// stay lets every event from now on start the clock.
func (w *watcher) stay() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.staying = true
}

// hush ends the printing; records are still kept.
func (w *watcher) hush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.quiet = true
}

// record reads a bundle's record from the journal as it is now.
func (w *watcher) record(ctx context.Context, bundle string) (rotator.Record, error) {
	value, _, err := w.store.Get(ctx, bundle)
	if err != nil {
		return rotator.Record{}, fmt.Errorf("reading the journal: %w", err)
	}
	return rotator.DecodeRecord(value)
}

// stored is every journal value and outcome so far.
func (w *watcher) stored() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.raw)
}

// receipts waits until an event is worked off for all of the bundles and the outcomes are published.
func (w *watcher) receipts(ctx context.Context, ev events.Event, bundles []string, quit <-chan error) (map[string]rotator.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := w.finished(ev, bundles)
		if err != nil || len(got) == len(bundles) {
			return got, err
		}
		select {
		case <-ctx.Done():
			done := slices.Sorted(maps.Keys(got))
			return nil, fmt.Errorf("waiting for the rotation: %w; finished are %v of %v", context.Cause(ctx), done, bundles)
		case err := <-quit:
			return nil, err
		case <-tick.C:
		}
	}
}

func (w *watcher) finished(ev events.Event, bundles []string) (map[string]rotator.Receipt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.dead) > 0 {
		return nil, errors.New("the service refused the event: dead letter on " + w.dead[0])
	}
	got := make(map[string]rotator.Receipt)
	for _, b := range bundles {
		rec := w.records[b]
		if rec.State == rotator.Quarantined {
			return nil, fmt.Errorf("bundle %s is quarantined: %s", b, rec.Rotation.LastError)
		}
		for _, r := range rec.History {
			_, published := w.outcomes[r.Rotation]
			if rec.State == rotator.Idle && published && slices.ContainsFunc(r.Events, func(e rotator.Waiting) bool { return e.Event == ev.Key() }) {
				got[b] = r
			}
		}
	}
	return got, nil
}
