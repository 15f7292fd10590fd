package rotator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// errLost says that this replica no longer owns the rotation; whoever does, goes on.
var errLost = errors.New("another replica has taken over")

// errIllegal is a defect in this program: a state that must not follow the one before.
var errIllegal = errors.New("illegal move")

// A cursor is one claimed record with the revision in hand. All changes go through move, which is a
// compare-and-swap, so a replica that lost its claim can change nothing.
type cursor struct {
	e      *Engine
	bundle Bundle

	mu  sync.Mutex
	rec Record
	rev uint64

	run run
}

// run is what the process knows beyond the record. It may be lost at any moment; every step works without it.
type run struct {
	anchor *Anchor // with its token; without it a minting that was begun can only be undone
	base   *Snapshot
	facts  *Facts
	minted bool // this process wrote the staged version from these facts

	verified bool // this process has seen every target hold what it should, and went straight on to revoke
}

// claim takes the record over, or returns nil when there is nothing to do for this replica.
func (e *Engine) claim(ctx context.Context, name string) (*cursor, error) {
	rec, rev, err := e.view.get(name)
	if err != nil {
		return nil, err
	}
	now := e.Now()
	if rec.Owner == e.Replica && rec.State == Claimed && now.Before(rec.LeaseUntil) { // claimed with the event, see Accept
		return &cursor{e: e, bundle: e.Bundles[name], rec: rec, rev: rev}, nil
	}
	if e.ClockError() != nil { // what is due by this clock need not be
		return nil, nil
	}
	due, any := rec.Due()
	taken := rec.Owner != "" && rec.Owner != e.Replica && now.Before(rec.LeaseUntil)
	if !any || due.After(now) || taken {
		return nil, nil
	}
	c := &cursor{e: e, bundle: e.Bundles[name], rec: rec, rev: rev}
	err = c.write(ctx, func(r *Record) {
		r.inherited(now, e.Zombie)
		r.take(e.Replica, now, e.Lease)
	})
	if errors.Is(err, ErrConflict) {
		if err = e.refresh(ctx, name); errors.Is(err, ErrNotFound) {
			err = nil // somebody has deleted it: nothing is due
		}
		return nil, err
	}
	return c, err
}

// take makes a replica the owner, fences off whoever was it before, and opens a rotation if one is due.
func (r *Record) take(replica string, now time.Time, lease time.Duration) {
	r.Epoch++
	r.Owner, r.LeaseUntil = replica, now.Add(lease)
	if r.State == Idle {
		r.begin(now)
	}
}

// begin opens a rotation for the events that are due. A record without such events stays idle.
func (r *Record) begin(now time.Time) {
	var due, along, rest []Waiting
	for _, w := range r.Queue {
		switch {
		case w.Effective.After(now):
			rest = append(rest, w)
		case w.Held != "": // what it asks for is done anyway, if another event asks for it
			along = append(along, w)
		case w.NotBefore.After(now):
			rest = append(rest, w)
		default:
			due = append(due, w)
		}
	}
	if len(due) == 0 || r.NotBefore.After(now) {
		return
	}
	plan, kind := pinned(due), mostUrgent(due)
	if plan == "" {
		due = append(due, along...)
	} else {
		rest = append(rest, along...)
	}
	r.Queue = rest
	r.State = Claimed
	r.NotBefore = time.Time{}
	r.Rotation = &Rotation{ID: rotationID(r.Bundle, r.Epoch, now), Kind: kind, Events: due, Started: now, Plan: plan}
	r.Rotation.step("claimed", now)
}

// rotationID is unique per bundle because the epoch never repeats, and readable.
func rotationID(bundle string, epoch uint64, now time.Time) string {
	return fmt.Sprintf("%s-%s-%d", bundle, now.UTC().Format("20060102T150405"), epoch)
}

// refresh reads the newest revision into the view. With ErrNotFound the view knows none any more.
func (e *Engine) refresh(ctx context.Context, name string) error {
	known := e.view.revision(name)
	value, rev, err := e.Journal.Get(ctx, name)
	if errors.Is(err, ErrNotFound) {
		e.view.forget(name, known)
	}
	if err != nil {
		return fmt.Errorf("reading the journal record of %s: %w", name, err)
	}
	e.view.put(name, Stored{Value: value, Revision: rev})
	return nil
}

// record returns the record as last written. Callers read it and change nothing.
func (c *cursor) record() Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rec
}

// move changes the record by compare-and-swap and extends the lease. When somebody else only added an event, the
// change is made again on top; when the claim is gone it fails with errLost.
func (c *cursor) move(ctx context.Context, change func(*Record)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range 20 {
		err := c.write(ctx, change)
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if err := c.reread(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("moving the record of %s: %w", c.bundle.Name, ErrConflict)
}

func (c *cursor) reread(ctx context.Context) error {
	value, rev, err := c.e.Journal.Get(ctx, c.bundle.Name)
	if errors.Is(err, ErrNotFound) {
		return errLost // somebody has deleted it, and the claim with it
	}
	if err != nil {
		return fmt.Errorf("reading the journal record of %s: %w", c.bundle.Name, err)
	}
	rec, err := DecodeRecord(value)
	if err != nil {
		return err
	}
	if rec.Owner != c.rec.Owner || rec.Epoch != c.rec.Epoch {
		return errLost
	}
	c.rec, c.rev = rec, rev
	return nil
}

// write makes one attempt. An answer that was lost is settled by reading back what is there.
func (c *cursor) write(ctx context.Context, change func(*Record)) error {
	next := c.rec.clone()
	next.LeaseUntil = c.e.Now().Add(c.e.Lease)
	change(&next)
	next.trim()
	if !slices.Contains(moves(c.rec.State), next.State) {
		return fmt.Errorf("%w: %s from %s to %s", errIllegal, c.rec.Bundle, c.rec.State, next.State)
	}
	value, err := next.Encode()
	if err != nil {
		return fmt.Errorf("encoding the record of %s: %w", c.rec.Bundle, err)
	}
	rev, err := c.e.Journal.Put(ctx, c.rec.Bundle, value, c.rev)
	if errors.Is(err, ErrUnknown) {
		stored, at, gerr := c.e.Journal.Get(ctx, c.rec.Bundle)
		switch {
		case gerr == nil && bytes.Equal(stored, value):
			rev, err = at, nil
		case gerr == nil && at == c.rev, errors.Is(gerr, ErrNotFound) && c.rev == 0:
			return fmt.Errorf("writing the record of %s: %w", c.rec.Bundle, ErrUnavailable)
		case gerr == nil:
			err = ErrConflict
		}
	}
	if err != nil {
		return fmt.Errorf("writing the record of %s: %w", c.rec.Bundle, err)
	}
	c.rec, c.rev = next, rev
	c.e.view.put(c.rec.Bundle, Stored{Value: value, Revision: rev})
	return nil
}

// held fails when the lease may have passed: nothing external may be written any more.
func (c *cursor) held() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.e.Now().After(c.rec.LeaseUntil.Add(-c.e.Lease / 9)) {
		return errLost
	}
	return nil
}

// keepLease extends the lease while a step takes long, and ends ctx when it cannot.
func (c *cursor) keepLease(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var beat sync.WaitGroup
	beat.Go(func() {
		t := time.NewTicker(c.e.Lease / 3)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			err := c.move(ctx, func(*Record) {})
			if errors.Is(err, errLost) || err != nil && c.held() != nil {
				cancel(errLost)
				return
			}
		}
	})
	return ctx, func() { cancel(nil); beat.Wait() }
}
