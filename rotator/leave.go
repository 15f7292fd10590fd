package rotator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// leaver lists the logins that an event wants to be ended: of somebody who is gone for good.
func (e *Engine) leaver(ev events.Event) []string {
	if e.People == nil || !e.Disable || ev.Offboarding == nil || !slices.Contains([]string{"terminated", "deleted", "deactivated"}, ev.Offboarding.Change) {
		return nil
	}
	return logins(ev.Offboarding.Person)
}

// leave ends the logins of those whose leaving a rotation is about, as a step of it. That Vault refuses it holds up nothing: the
// rotation goes on and says so.
func (e *Engine) leave(ctx context.Context, c *cursor) *pause {
	rot := c.record().Rotation
	var names []string
	for _, w := range rot.Events {
		for _, name := range w.Leaver {
			if !slices.Contains(rot.Left, name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 || e.People == nil {
		return nil
	}
	if err := c.held(); err != nil {
		return &pause{why: err}
	}
	done, err := e.People.Disable(ctx, names)
	if err != nil && !errors.Is(err, ErrPermanent) {
		return e.retry(c, fmt.Errorf("ending the login of who leaves: %w", err))
	}
	if err != nil {
		done = append(done, "CAREFUL: the login of who leaves could not be ended: "+err.Error()+"; run: rotator check")
		e.Log.Error().Err(err).Str("bundle", c.bundle.Name).Str("rotation", rot.ID).Msg("the login of who leaves could not be ended")
	}
	err = c.move(ctx, func(r *Record) {
		r.Rotation.Left = append(r.Rotation.Left, names...)
		r.Rotation.step("leaver-disabled", e.Now())
		for _, note := range done {
			r.Rotation.warn(note)
		}
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	return nil
}

// leaveAlone ends the logins of somebody whose leaving rotates nothing.
func (e *Engine) leaveAlone(ctx context.Context, ev events.Event, stored time.Time) error {
	names := e.leaver(ev)
	if len(names) == 0 {
		return nil
	}
	done, err := e.People.Disable(ctx, names)
	if errors.Is(err, ErrPermanent) {
		done, err = append(done, "CAREFUL: the login could not be ended: "+err.Error()), nil
	}
	if err != nil || len(done) == 0 {
		return err
	}
	o := events.Outcome{Rotation: "event-" + ApprovalID(ev.Key()), Result: events.ResultReported, Kind: ev.Kind, Events: []string{ev.Source + " " + ev.ID}, Started: stored.UTC(), Finished: stored.UTC(),
		Reason: "no bundle is touched; " + strings.Join(done, "; ")}
	if err := e.Outbox.Outcome(ctx, o); err != nil {
		return fmt.Errorf("publishing that a login was ended: %w", err)
	}
	e.Log.Info().Str("event", o.Events[0]).Str("done", strings.Join(done, "; ")).Msg("the login of who leaves was ended")
	return nil
}
