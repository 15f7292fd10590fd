package rotator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// careful begins a note about something that was to be done and is not.
const careful = "CAREFUL: "

// A trial is a departure that could not be carried out yet.
type trial struct {
	times int
	next  time.Time
	told  bool
}

// leavers ends logins when they are due, whatever becomes of the rotations. The replica that took an event comes first; the others
// leave it the time of a lease.
func (e *Engine) leavers(ctx context.Context) {
	trials := make(map[string]trial)
	for {
		now := e.Now()
		wait := e.Lease
		for event, d := range e.view.leaving() {
			at := later(later(d.Taken, d.Effective), trials[event].next)
			if d.By != e.Replica {
				at = later(at, later(d.Taken, d.Effective).Add(e.Lease))
			}
			switch {
			case !d.open() && now.Sub(d.Done) > departureKept:
				e.forget(ctx, event)
			case !d.open():
				delete(trials, event)
			case d.Held != "", e.People == nil, !e.Disable:
			case at.After(now):
				wait = min(wait, at.Sub(now))
			default:
				trials[event] = e.attempt(ctx, d, trials[event])
				wait = min(wait, max(trials[event].next.Sub(now), 0))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-e.leaving:
		case <-time.After(wait):
		}
	}
}

// attempt carries a departure out, or says when to try again. What fails for long is told once.
func (e *Engine) attempt(ctx context.Context, d Departure, t trial) trial {
	_, err := e.depart(ctx, d.Event)
	if err == nil || ctx.Err() != nil {
		return trial{next: e.Now().Add(e.Lease)}
	}
	pause := e.Backoff
	for range min(t.times, 10) {
		pause = min(2*pause, time.Minute)
	}
	t.times, t.next = t.times+1, e.Now().Add(pause+rand.N(pause/4+1))
	e.Log.Warn().Err(err).Str("event", d.ID).Time("again", t.next).Msg("the login of who leaves cannot be ended now; will try again")
	if since := later(d.Taken, d.Effective); !t.told && e.Now().After(since.Add(DefaultPatience)) {
		w := Waiting{Event: d.Event, ID: d.ID, Kind: d.Kind, Stored: d.Stored}
		t.told = e.say(ctx, w, "", events.ResultDelayed, "the login of "+d.Ends()+" is still not ended: "+err.Error(), "end it by hand if it is urgent; the rotator keeps trying") == nil
	}
	return t
}

// forget takes a departure that is long over out of the journal.
func (e *Engine) forget(ctx context.Context, event string) {
	if err := e.Journal.Forget(ctx, DepartureKey(event), e.view.dropDeparture(event)); err != nil {
		e.report(e.Log, err, "forgetting a departure") // at the next start
	}
}

// depart ends the login if that is due, and returns the departure as it then is. It may be called at any time, by any replica: what it
// does may be repeated.
func (e *Engine) depart(ctx context.Context, event string) (Departure, error) {
	select {
	case e.turns <- struct{}{}: // rotations of fifty bundles ask for the same
		defer func() { <-e.turns }()
	case <-ctx.Done():
		return Departure{}, ctx.Err()
	}
	for range 20 {
		d, revision, err := e.departure(ctx, event)
		if err != nil || !d.due(e.Now()) {
			return d, err
		}
		next, err := e.end(ctx, d)
		if err != nil {
			return d, err
		}
		if err := e.tellEnded(ctx, next); err != nil { // before it is written: a crash in between tells it again
			return d, err
		}
		if err := e.writeDeparture(ctx, next, revision); !errors.Is(err, ErrConflict) {
			return next, err
		}
	}
	return Departure{}, fmt.Errorf("departure %s is changed too often: %w", ApprovalID(event), ErrUnavailable)
}

// end disables the accounts of who leaves: those found now, and those found when the event came. What Vault refuses for good is noted.
func (e *Engine) end(ctx context.Context, d Departure) (Departure, error) {
	found, err := e.People.Reach(ctx, d.Names, nil)
	if err != nil {
		return d, fmt.Errorf("finding the login of who leaves: %w", err)
	}
	d, strange := d.renewed(found.Accounts)
	if strange != "" {
		d.Held, d.Approval = strange, nil
		return d, nil
	}
	d.Done = e.Now()
	for _, text := range found.Refused {
		d.Notes = append(d.Notes, careful+"a login of who leaves may be left: "+text)
	}
	if pattern := d.spared(d.Accounts, e.Never); pattern != "" {
		d.Notes = append(d.Notes, fmt.Sprintf("%sthe login of %s is not ended: %s is in people.never", careful, d.Ends(), pattern))
		return d, nil
	}
	for i, a := range d.Accounts {
		if slices.ContainsFunc(d.Accounts[:i], a.same) {
			continue
		}
		done, err := e.People.Disable(ctx, a)
		switch {
		case errors.Is(err, ErrPermanent), errors.Is(err, ErrIrrevocable):
			d.Notes = append(d.Notes, careful+"the login of "+a.String()+" could not be ended: "+err.Error())
		case err != nil:
			return d, fmt.Errorf("ending the login of who leaves: %w", err)
		default:
			d.Notes = append(d.Notes, done)
		}
	}
	return d, nil
}

// tellEnded publishes what no receipt tells: that a login was ended and no bundle is touched, or that it was not.
func (e *Engine) tellEnded(ctx context.Context, d Departure) error {
	w := Waiting{Event: d.Event, ID: d.ID, Kind: d.Kind, Stored: d.Stored}
	if d.Waits() {
		return e.say(ctx, w, "again", events.ResultHeld, d.Held+"; it would end the login of "+d.Ends(), "look at it and decide: rotator approve "+ApprovalID(d.Event))
	}
	text, remedy := strings.Join(d.Notes, "; "), ""
	if strings.Contains(text, careful) {
		remedy = "end the login by hand, mend what the reason names (rotator check)"
	}
	if text == "" || len(d.Hits) > 0 && remedy == "" {
		return nil
	}
	if len(d.Hits) == 0 {
		text = "no bundle is touched; " + text
	}
	return e.say(ctx, w, "", events.ResultReported, text, remedy)
}

// leave ends the logins of those whose leaving a rotation is about before it does anything else, and notes it for the receipt. One
// that is not due yet, or waits for approval, holds up nothing; one that cannot be ended now holds it up for a while.
func (e *Engine) leave(ctx context.Context, c *cursor) *pause {
	if e.People == nil || !e.Disable {
		return nil
	}
	var notes []string
	ended := false
	for _, w := range c.record().Rotation.Events {
		if !w.Departs {
			continue
		}
		if err := c.held(); err != nil {
			return &pause{why: err}
		}
		d, err := e.departed(ctx, w.Event)
		switch {
		case errors.Is(err, ErrNotFound): // long over
			continue
		case errors.Is(err, ErrBadRecord), errors.Is(err, ErrNewerRecord):
			notes = append(notes, careful+"the login of who leaves could not be ended: "+err.Error())
		case err != nil && e.Now().Before(e.patience(c)):
			return e.retry(c, err)
		case err != nil:
			notes = append(notes, careful+"the login of who leaves is not ended yet: "+err.Error())
		case d.Waits():
			notes = append(notes, fmt.Sprintf("the login of %s is not ended: it waits for approval (rotator approve %s): %s", d.Ends(), ApprovalID(d.Event), d.Held))
		case d.open():
			notes = append(notes, fmt.Sprintf("the login of %s is ended at %s", d.Ends(), d.Effective.UTC().Format(time.RFC3339)))
		default:
			notes = append(notes, d.Notes...)
			ended = ended || d.Held == "" && len(d.Notes) > 0
		}
	}
	if len(notes) == 0 {
		return nil
	}
	err := c.move(ctx, func(r *Record) {
		if ended {
			r.Rotation.step("leaver-disabled", e.Now())
		}
		for _, note := range notes {
			r.Rotation.warn(note)
		}
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	return nil
}

// patience is until when a rotation waits for a login to end: a leak not at all.
func (e *Engine) patience(c *cursor) time.Time {
	rot := c.record().Rotation
	if rot.Kind == events.KindLeak {
		return rot.Started
	}
	return rot.Started.Add(DefaultPatience)
}

// departed is depart for one that is mostly over.
func (e *Engine) departed(ctx context.Context, event string) (Departure, error) {
	if d, known := e.view.departure(event); known && !d.open() {
		return d, nil
	}
	return e.depart(ctx, event)
}
