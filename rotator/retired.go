package rotator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// stillDead answers the leak of a value that a rotation has replaced and revoked: nothing is rotated, but the backends are asked once
// more whether they refuse it. One that does not is an alarm.
func (e *Engine) stillDead(ctx context.Context, h Hit, w Waiting, stored time.Time) error {
	b := e.Bundles[h.Bundle]
	old, err := e.Secrets.Read(ctx, b.Secret, h.Version)
	if errors.Is(err, ErrNotFound) {
		return e.tell(ctx, h.Bundle, w, stored, events.ResultReported, fmt.Sprintf("version %d was revoked when it was replaced, and is deleted: nothing is left to do", h.Version), "")
	}
	if err != nil {
		return fmt.Errorf("reading version %d of bundle %s: %w", h.Version, b.Name, err)
	}
	probed := 0
	for _, cr := range b.Credentials {
		if cr.Probe.IsZero() {
			continue
		}
		switch err := e.Prober.Probe(ctx, cr.Probe, old.Set); {
		case errors.Is(err, ErrRejected):
			probed++
		case err == nil:
			return e.tell(ctx, h.Bundle, w, stored, events.ResultOrphaned, fmt.Sprintf("credential %s of version %d, which was revoked, is accepted again", cr.Name, h.Version),
				"revoke it where it is accepted; somebody has made it valid again")
		default:
			return fmt.Errorf("testing whether version %d of bundle %s is dead: %w", h.Version, b.Name, err)
		}
	}
	why := fmt.Sprintf("version %d was revoked when it was replaced: nothing is left to do", h.Version)
	if probed > 0 {
		why = fmt.Sprintf("version %d was revoked when it was replaced, and was refused again just now: nothing is left to do", h.Version)
	}
	return e.tell(ctx, h.Bundle, w, stored, events.ResultReported, why, "")
}

// crowded is the refusal of an event that nobody would look at among so many; what rotates at once is never refused so.
func crowded(bundle string) error {
	return &UnmatchedError{reason: "crowded", Text: fmt.Sprintf("%d events of bundle %s wait for approval or for their date already", maxParked, bundle),
		Remedy: "decide about those that wait (rotator approve), find out who sends them, then send this one again"}
}
