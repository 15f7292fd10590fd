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
		Rotation: rot.ID, Result: result, Kind: rot.Kind, Events: rot.Events, VersionFrom: rot.Base, VersionTo: rot.Desired,
		Targets: rot.Targets, Steps: rot.Steps, Warnings: rot.Warnings, Reason: rot.LastError,
	}
}

// finish publishes the outcome and then closes the rotation. A crash in between publishes it again, which the
// stream recognises; the other order could lose it.
func (e *Engine) finish(ctx context.Context, c *cursor, receipt Receipt, live *Generation) *pause {
	receipt.Finished = e.Now()
	if err := e.Outbox.Outcome(ctx, receipt.Outcome(c.bundle.Name)); err != nil {
		return e.retry(c, fmt.Errorf("publishing the outcome: %w", err))
	}
	err := c.move(ctx, func(r *Record) {
		r.State = Idle
		r.Owner, r.LeaseUntil, r.NotBefore = "", time.Time{}, time.Time{}
		r.Rotation = nil
		if live != nil {
			r.Live = live
			r.Generation++
		}
		r.remember(receipt)
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	e.Log.Info().Str("bundle", c.bundle.Name).Str("rotation", receipt.Rotation).Str("result", receipt.Result).Msg("finished")
	return nil
}

// quarantine stops: from here on an operator decides. The old generation stays alive.
func (e *Engine) quarantine(ctx context.Context, c *cursor, why string) *pause {
	receipt := c.receipt(events.ResultQuarantined)
	receipt.Reason, receipt.Finished = why, e.Now()
	if err := e.Outbox.Outcome(ctx, receipt.Outcome(c.bundle.Name)); err != nil {
		return e.retry(c, fmt.Errorf("publishing the alarm: %w", err))
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
	e.Log.Error().Str("bundle", c.bundle.Name).Str("rotation", receipt.Rotation).Str("reason", why).Msg("quarantined: an operator has to decide")
	return nil
}

// Outcome is the receipt as it is published.
func (r Receipt) Outcome(bundle string) events.Outcome {
	o := events.Outcome{
		Rotation: r.Rotation, Bundle: bundle, Result: r.Result, Kind: r.Kind, KVVersionFrom: r.VersionFrom, KVVersionTo: r.VersionTo,
		Started: r.Steps["claimed"], Finished: r.Finished, Revoked: r.Steps["revoked"], ProvenDead: r.Steps["proven-dead"],
		Reason: r.Reason, Warnings: r.Warnings,
	}
	for _, w := range r.Events {
		o.Events = append(o.Events, w.ID)
	}
	for _, t := range r.Targets {
		o.Targets = append(o.Targets, events.OutcomeTarget{Host: t.Ref.Host, Kind: t.Ref.Kind.String(), Name: t.Ref.Name, VersionBefore: t.Before, VersionAfter: t.After, Failure: t.Failure})
	}
	for _, f := range r.Refusals {
		if f.Remedy != "" {
			o.Remedy = f.Remedy
			break
		}
	}
	return o
}
