package rotator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Config is what an Engine is made of. Every interface is required.
type Config struct {
	Bundles  map[string]Bundle
	Replica  string // unique among the replicas; names the owner of a claim
	Secrets  Secrets
	Minter   Minter
	Revoker  Revoker
	Prober   Prober
	Platform Platform
	Journal  Journal
	Outbox   Outbox
	Log      zerolog.Logger
	Parallel int              // bundles rotated at the same time; default 8
	Lease    time.Duration    // after which another replica may take over; default 45 s
	Zombie   time.Duration    // longest request a dead replica may still have under way; default 65 s
	Backoff  time.Duration    // first pause after a failure, doubling up to a minute; default 500 ms
	Grace    time.Duration    // how long a step may go on after Run's context has ended; default 15 s
	Now      func() time.Time // default time.Now

	Home      Home // the Vault that events have to mean, if they name one
	Gate      Gate
	People    People    // may be nil: then persons are found by holders only
	Disable   bool      // the logins of who leaves are ended as well; needs People
	Never     []string  // globs of names whose login is never ended
	Search    *Search   // may be nil: then a value that has leaked is looked for in bundles only
	Inventory Inventory // may be nil: then nothing is compared
	Reconcile Reconcile
	Clock     Clock // may be nil: then clocks are not compared

	LoginsPerHour int // more logins that are ended within an hour need approval; 0: any number
}

// A Clock tells how far this machine's clock is ahead of the journal's.
type Clock func(ctx context.Context) (time.Duration, error)

// An Engine takes events into the journal and works the journal off.
type Engine struct {
	Config
	resolver *resolver
	view     *view
	lanes    *lanes
	wake     chan struct{}
	strange  chan strange
	clock    clock

	meeting chan struct{} // full while it is decided what somebody's leaving may do
	leaving chan struct{} // departures may have changed
	turns   chan struct{} // one departure is carried out at a time
}

// New checks the configuration and returns an Engine that has not started.
func New(cfg Config) (*Engine, error) {
	if cfg.Secrets == nil || cfg.Minter == nil || cfg.Revoker == nil || cfg.Prober == nil || cfg.Platform == nil || cfg.Journal == nil || cfg.Outbox == nil {
		return nil, errors.New("creating the engine: every interface of Config is required")
	}
	if cfg.Replica == "" {
		return nil, errors.New("creating the engine: Replica must not be empty")
	}
	cfg.Parallel = cmp.Or(cfg.Parallel, 8)
	cfg.Lease = cmp.Or(cfg.Lease, 45*time.Second)
	cfg.Zombie = cmp.Or(cfg.Zombie, defaultZombie)
	cfg.Backoff = cmp.Or(cfg.Backoff, 500*time.Millisecond)
	cfg.Grace = cmp.Or(cfg.Grace, 15*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	seen := newView()
	return &Engine{Config: cfg, resolver: &resolver{bundles: cfg.Bundles, secrets: cfg.Secrets, people: cfg.People, log: cfg.Log, vault: cfg.Home, records: seen.record}, view: seen, lanes: new(lanes), wake: make(chan struct{}, 1), strange: make(chan strange, huntMost),
		meeting: make(chan struct{}, 1), leaving: make(chan struct{}, 1), turns: make(chan struct{}, 1)}, nil
}

// Run works the journal off until ctx ends: it claims what is due, leaks first, and returns when every rotation
// in hand has reached its next durable state. Replicas may run side by side.
func (e *Engine) Run(ctx context.Context) error {
	changes := e.Journal.Watch(ctx)
	if err := e.reload(ctx); err != nil {
		e.Log.Warn().Err(err).Msg("journal cannot be listed; trying again")
	}
	var workers sync.WaitGroup
	defer workers.Wait()
	done := make(chan string)
	busy := make(map[string]bool)
	if e.Inventory != nil && e.Config.Reconcile.Every > 0 {
		workers.Go(func() { e.reconcileLoop(ctx) })
	}
	if e.Search != nil {
		workers.Go(func() { e.hunt(ctx) })
	}
	workers.Go(func() { e.leavers(ctx) })
	e.lanes.open(e.Parallel)
	defer e.lanes.close()
	e.measure(ctx)
	if e.Clock != nil {
		workers.Go(func() { e.measureLoop(ctx) })
	}
	workers.Go(func() { e.watch(ctx) })
	sweep := time.NewTicker(e.Lease)
	defer sweep.Stop()
	for {
		if found := e.view.damaged(); len(found) > 0 {
			workers.Go(func() { e.raiseDamaged(ctx, found) })
		}
		next := e.dispatch(ctx, &workers, busy, done)
		select {
		case <-ctx.Done():
			return nil
		case name := <-done:
			delete(busy, name)
			e.lanes.leave()
		case c, ok := <-changes:
			if !ok {
				if ctx.Err() != nil {
					return nil
				}
				return errors.New("watching the journal: the watch ended by itself")
			}
			if c.Deleted {
				e.view.deleted(c.Key, c.Revision)
				continue
			}
			e.view.put(c.Key, c.Stored)
			if IsDeparture(c.Key) {
				e.rouse()
			}
		case <-sweep.C: // hints may be lost; the list is the truth
			if err := e.reload(ctx); err != nil {
				e.Log.Warn().Err(err).Msg("journal cannot be listed; trying again")
			}
		case <-e.wake:
		case <-next:
		}
	}
}

// reload reads the list of the journal into the view. What it does not name has been deleted, unless it came meanwhile.
func (e *Engine) reload(ctx context.Context) error {
	known := e.view.revisions()
	all, err := e.Journal.List(ctx)
	if err != nil {
		return fmt.Errorf("listing the journal: %w", err)
	}
	for key, s := range all {
		e.view.put(key, s)
	}
	for key, revision := range known {
		if _, there := all[key]; !there {
			e.view.forget(key, revision)
		}
	}
	e.rouse()
	return nil
}

// Records returns the newest known record of every bundle.
func (e *Engine) Records() map[string]Record {
	all := e.view.records()
	delete(all, turnKey)
	return all
}

// dispatch starts workers for what is due and returns a channel that fires when the next record is.
func (e *Engine) dispatch(ctx context.Context, workers *sync.WaitGroup, busy map[string]bool, done chan<- string) <-chan time.Time {
	now := e.Now()
	var next time.Time
	for _, item := range e.agenda(now) {
		if busy[item.bundle] {
			continue
		}
		if item.due.After(now) {
			if next.IsZero() || item.due.Before(next) {
				next = item.due
			}
			continue
		}
		if !e.lanes.enter(item.bundle, item.urgent) {
			continue // a worker that ends wakes us
		}
		busy[item.bundle] = true
		workers.Go(func() {
			e.drive(ctx, item.bundle)
			select {
			case done <- item.bundle:
			case <-ctx.Done():
			}
		})
	}
	if next.IsZero() {
		return nil
	}
	return time.After(next.Sub(now))
}

type item struct {
	bundle string
	due    time.Time
	urgent bool
}

// agenda lists what there is to do: leaks first, then by time.
func (e *Engine) agenda(now time.Time) []item {
	var items []item
	for name, rec := range e.view.records() {
		if _, known := e.Bundles[name]; !known {
			continue
		}
		due, any := rec.Due()
		if !any {
			continue
		}
		if rec.Owner != "" && rec.Owner != e.Replica {
			due = later(due, rec.LeaseUntil)
		}
		items = append(items, item{bundle: name, due: due, urgent: rec.Urgent()})
	}
	slices.SortFunc(items, func(a, b item) int {
		if aDue, bDue := !a.due.After(now), !b.due.After(now); aDue && bDue && a.urgent != b.urgent {
			if a.urgent {
				return -1
			}
			return 1
		}
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.bundle, b.bundle))
	})
	return items
}

// view is the newest known revision of every record: a cache. Decisions rest on compare-and-swap, never on it.
type view struct {
	mu   sync.Mutex
	recs map[string]Record
	revs map[string]uint64
	bad  map[string]error
	told map[string]uint64 // revision of a damaged record that has been raised

	departures map[string]Departure // by event
}

func newView() *view {
	return &view{recs: make(map[string]Record), revs: make(map[string]uint64), bad: make(map[string]error), told: make(map[string]uint64), departures: make(map[string]Departure)}
}

func (v *view) put(key string, s Stored) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s.Revision <= v.revs[key] {
		return
	}
	v.revs[key] = s.Revision
	if IsDeparture(key) {
		v.putDeparture(key, s.Value)
		return
	}
	rec, err := decodeOf(key, s.Value)
	if err != nil {
		delete(v.recs, key)
		v.bad[key] = fmt.Errorf("bundle %s: %w", key, err)
		return
	}
	delete(v.bad, key)
	v.recs[key] = rec
}

// decodeOf reads the record of one bundle.
func decodeOf(key string, value []byte) (Record, error) {
	rec, err := DecodeRecord(value)
	if err == nil && rec.Bundle != key {
		err = fmt.Errorf("%w: it is about bundle %q", ErrBadRecord, rec.Bundle)
	}
	return rec, err
}

// deleted notes that a person has deleted a record, and at which revision.
func (v *view) deleted(key string, revision uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if revision <= v.revs[key] {
		return
	}
	delete(v.recs, key)
	delete(v.bad, key)
	v.revs[key] = revision
}

// forget drops a record of which a read has said that it does not exist, unless it is another one by now than the one that was
// known before the read. An older leader may have said so: the same revision may come back.
func (v *view) forget(key string, revision uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if revision != v.revs[key] {
		return
	}
	delete(v.recs, key)
	delete(v.bad, key)
	delete(v.revs, key)
}

func (v *view) revisions() map[string]uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.revs)
}

func (v *view) revision(key string) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.revs[key]
}

// get returns a copy that the caller may change.
func (v *view) get(key string) (rec Record, rev uint64, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.bad[key]; err != nil {
		return Record{}, 0, err
	}
	rec, ok := v.recs[key]
	if !ok {
		return Record{V: RecordVersion, Bundle: key, State: Idle}, 0, nil
	}
	return rec.clone(), v.revs[key], nil
}

// record is for reading only.
func (v *view) record(key string) (Record, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	rec, ok := v.recs[key]
	return rec, ok
}

func (v *view) records() map[string]Record {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.recs)
}

// clone copies everything that a change could reach.
func (r Record) clone() Record {
	raw, err := r.Encode()
	if err != nil {
		return r
	}
	c, err := DecodeRecord(raw)
	if err != nil {
		return r
	}
	return c
}

// defaultZombie is the time after which OpenWhisk gives up on a request.
const defaultZombie = 65 * time.Second
