package rotator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// acceptLeaver takes an event about somebody who leaves. What it touches is found out once and journalled before anything follows
// from it; delivered again, the event goes by what stands there.
func (e *Engine) acceptLeaver(ctx context.Context, ev events.Event, stored time.Time) error {
	verdict := Allow
	d, _, err := e.departure(ctx, ev.Key())
	if errors.Is(err, ErrNotFound) {
		d, verdict, err = e.meet(ctx, ev, stored)
	}
	if err != nil {
		return err
	}
	switch { // another delivery may have journalled another verdict
	case verdict == Report:
	case d.Asks != "":
		verdict = Ask
	default:
		verdict = Allow
	}
	w := waiting(ev, stored)
	w.Effective, w.NotBefore = d.Effective, d.Effective
	w.Departs = len(d.Names) > 0
	if err := e.unknown(ctx, w, d.Refused, d.Notices); err != nil {
		return err
	}
	if err := e.announce(ctx, d, w, verdict); err != nil {
		return err
	}
	return e.spread(ctx, d.Hits, w, verdict, d.Asks)
}

// meet finds out what the leaving of somebody touches and what it may do, and journals that if anything hangs on it: a login that is
// to be ended, or several bundles, of which a later delivery might find fewer.
func (e *Engine) meet(ctx context.Context, ev events.Event, stored time.Time) (Departure, Verdict, error) {
	t, err := e.resolver.touched(ctx, ev)
	if err != nil {
		return Departure{}, "", err
	}
	select {
	case e.meeting <- struct{}{}: // each counts those before it
		defer func() { <-e.meeting }()
	case <-ctx.Done():
		return Departure{}, "", ctx.Err()
	}
	now := e.Now()
	d := Departure{Event: ev.Key(), ID: ev.Source + " " + ev.ID, Kind: ev.Kind, Severity: ev.Severity(), Stored: stored, Taken: now, By: e.Replica, Hits: t.Hits, Refused: t.Refused, Notices: t.Notes}
	if at := ev.Offboarding.EffectiveAt; at.After(now) {
		d.Effective = at
	}
	if e.ends(*ev.Offboarding) && (len(t.Accounts)+len(t.Refused) > 0 || d.Effective.After(now)) {
		d.Names, d.Accounts = called(ev.Offboarding.Person), t.Accounts
	}
	verdict, why := e.judge(ev, t, d.logins())
	d.Asks = why
	switch {
	case verdict == Report, len(d.Names) == 0 && len(d.Hits) < 2:
		return d, verdict, nil
	case len(d.Names) == 0:
		d.Done = now
	case verdict == Ask:
		d.Held = why
	}
	d, err = e.newDeparture(ctx, d.fit())
	return d, verdict, err
}

// ends reports whether an event is to end logins: somebody is gone for good.
func (e *Engine) ends(o events.Offboarding) bool {
	return e.People != nil && e.Disable && slices.Contains([]string{"terminated", "deleted", "deactivated"}, o.Change)
}

// announce says aloud that a login waits for approval, or would be ended if a rule did not say that the event is only reported.
func (e *Engine) announce(ctx context.Context, d Departure, w Waiting, verdict Verdict) error {
	switch {
	case d.Waits():
		return e.say(ctx, w, "", events.ResultHeld, d.Held+"; it would end the login of "+d.Ends(), "look at it and decide: rotator approve "+ApprovalID(d.Event))
	case verdict == Report && len(d.Names) > 0:
		return e.say(ctx, w, "", events.ResultReported, d.Asks+"; the login of "+d.Ends()+" is not ended", "")
	}
	return nil
}

// departure reads a departure from the leader of the journal.
func (e *Engine) departure(ctx context.Context, event string) (Departure, uint64, error) {
	value, revision, err := e.Journal.Get(ctx, DepartureKey(event))
	if err != nil {
		return Departure{}, 0, fmt.Errorf("reading the journal's departure: %w", err)
	}
	d, err := DecodeDeparture(value)
	if err != nil {
		return d, 0, fmt.Errorf("departure %s: %w", ApprovalID(event), err)
	}
	return d, revision, nil
}

// newDeparture journals a departure, or returns the one that another delivery of the event has journalled.
func (e *Engine) newDeparture(ctx context.Context, d Departure) (Departure, error) {
	err := e.writeDeparture(ctx, d, 0)
	if errors.Is(err, ErrConflict) {
		d, _, err = e.departure(ctx, d.Event)
	}
	return d, err
}

// writeDeparture is a compare-and-swap. An answer that was lost is settled by reading back what is there.
func (e *Engine) writeDeparture(ctx context.Context, d Departure, revision uint64) error {
	value, err := d.Encode()
	if err != nil {
		return fmt.Errorf("encoding a departure: %w", err)
	}
	key := DepartureKey(d.Event)
	at, err := e.Journal.Put(ctx, key, value, revision)
	if errors.Is(err, ErrUnknown) {
		got, gotAt, gerr := e.Journal.Get(ctx, key)
		switch {
		case gerr == nil && bytes.Equal(got, value):
			at, err = gotAt, nil
		case gerr == nil:
			err = ErrConflict
		}
	}
	if err != nil {
		return fmt.Errorf("journalling a departure: %w", err)
	}
	e.view.put(key, Stored{Value: value, Revision: at})
	e.rouse()
	return nil
}

// rouse makes leavers look at the departures now.
func (e *Engine) rouse() {
	select {
	case e.leaving <- struct{}{}:
	default:
	}
}

// leaving lists the departures that are known, by event.
func (v *view) leaving() map[string]Departure {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.departures)
}

func (v *view) departure(event string) (Departure, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d, ok := v.departures[event]
	return d, ok
}

// putDeparture is put for a departure. The caller holds the lock.
func (v *view) putDeparture(key string, value []byte) {
	d, err := DecodeDeparture(value)
	if err == nil && DepartureKey(d.Event) != key {
		err = fmt.Errorf("%w: it is about event %q", ErrBadRecord, d.Event)
	}
	if err != nil {
		v.bad[key] = fmt.Errorf("departure %s: %w", key, err)
		return
	}
	delete(v.bad, key)
	v.departures[d.Event] = d
}

// dropDeparture forgets one, and returns the revision of its last value.
func (v *view) dropDeparture(event string) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.departures, event)
	return v.revs[DepartureKey(event)]
}

// ended counts the logins that were ended since, or are about to be.
func (v *view) ended(since time.Time) (n int) {
	for _, d := range v.leaving() {
		if d.Held == "" && later(d.Taken, d.Done).After(since) {
			n += d.logins()
		}
	}
	return n
}
