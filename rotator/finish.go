package rotator

import (
	"context"
	"fmt"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// receipt is what there is to say about the rotation so far.
func (c *cursor) receipt(result string) Receipt {
	rot := c.record().Rotation
	return Receipt{
		Bundle: c.bundle.Name, Rotation: rot.ID, Result: result, Kind: rot.Kind, Events: rot.Events, VersionFrom: rot.Base, VersionTo: rot.Desired,
		Targets: rot.Targets, Steps: rot.Steps, Warnings: rot.Warnings, Reason: rot.LastError,
	}
}

// finish writes down how the rotation ended, before anybody is told: what is published is then the same after a crash.
// An event that has joined since the receipt was begun is named in it: after this write none joins any more.
func (e *Engine) finish(ctx context.Context, c *cursor, receipt Receipt) *pause {
	receipt.Finished = e.Now()
	var failed error
	err := c.move(ctx, func(r *Record) {
		if r.Rotation.Final != nil { // written already; only the answer was lost
			return
		}
		receipt.Events, receipt.Kind = r.Rotation.Events, r.Rotation.Kind
		var sealed Receipt
		if sealed, failed = receipt.fit().seal(r.Last()); failed == nil {
			r.Rotation.Final = &sealed
			r.Rotation.Targets, r.Rotation.Events = nil, nil // the receipt has them
		}
	})
	if failed != nil {
		return e.retry(c, failed)
	}
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	return nil
}

// closeUp publishes the outcome and then closes the rotation. A crash in between publishes it again, which the stream
// recognises; the other order could lose it.
func (e *Engine) closeUp(ctx context.Context, c *cursor) *pause {
	rot := c.record().Rotation
	receipt := *rot.Final
	if err := e.Outbox.Outcome(ctx, receipt.Outcome(c.bundle.Name)); err != nil {
		return e.retry(c, fmt.Errorf("publishing the outcome: %w", err))
	}
	err := c.move(ctx, func(r *Record) {
		switch receipt.Result {
		case events.ResultRefused:
		case events.ResultRolledBack:
			r.Live = &r.Rotation.Old
			r.Generation++
		case events.ResultReapplied:
			r.Live = &r.Rotation.New
		default:
			r.Live = &r.Rotation.New
			r.Generation++
		}
		r.State = Idle
		r.Owner, r.LeaseUntil, r.NotBefore = "", time.Time{}, time.Time{}
		r.Rotation = nil
		r.remember(receipt)
		r.cool(c.bundle)
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	e.Log.Info().Str("bundle", c.bundle.Name).Str("rotation", receipt.Rotation).Str("result", receipt.Result).Msg("finished")
	return nil
}

// quarantine stops: from here on an operator decides. The old generation stays alive.
func (e *Engine) quarantine(ctx context.Context, c *cursor, why string) *pause {
	id := c.record().Rotation.ID
	if err := e.alarm(ctx, c, events.ResultQuarantined, why); err != nil {
		return e.retry(c, err)
	}
	err := c.move(ctx, func(r *Record) {
		r.Rotation.HeldIn = r.State
		r.State = Quarantined
		r.Owner, r.LeaseUntil, r.NotBefore = "", time.Time{}, time.Time{}
		r.Rotation.LastError = why
		r.Rotation.step("quarantined", e.Now())
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	e.Log.Error().Str("bundle", c.bundle.Name).Str("rotation", id).Str("reason", why).Msg("quarantined: an operator has to decide")
	return nil
}
