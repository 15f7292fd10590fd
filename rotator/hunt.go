package rotator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// huntPause is between two searches of the hosts: an event must not keep them busy.
const huntPause = 10 * time.Minute

// strange is a leaked value that no bundle holds.
type strange struct {
	id     string
	key    string
	stored time.Time
	prints []events.Fingerprint
}

// suspect remembers a leak that matched no bundle, if its value could be looked for on the hosts.
func (e *Engine) suspect(ev events.Event, stored time.Time, err error) {
	_, unmatched := errors.AsType[*UnmatchedError](err)
	if !unmatched || e.Search == nil || ev.Leak == nil || len(ev.Leak.Credential.Fingerprints) == 0 {
		return
	}
	select {
	case e.strange <- strange{id: ev.Source + " " + ev.ID, key: ev.Key(), stored: stored, prints: ev.Leak.Credential.Fingerprints}:
	default: // one is enough: the next search is minutes away
		e.Log.Warn().Str("event", ev.Source+" "+ev.ID).Msg("a value that no bundle holds is not searched for on the hosts now; see: rotator affected --fingerprint")
	}
}

// hunt looks on the hosts for values that have leaked and that no bundle holds, and says where they are bound: a rotation does not
// reach them, somebody has to.
func (e *Engine) hunt(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-e.strange:
			if err := e.track(ctx, s); err != nil && ctx.Err() == nil {
				e.Log.Warn().Err(err).Str("event", s.id).Msg("the hosts could not be searched for a value that has leaked")
			}
		}
		if sleep(ctx, huntPause) != nil {
			return
		}
	}
}

func (e *Engine) track(ctx context.Context, s strange) error {
	key, err := e.Secrets.Key(ctx)
	if err != nil {
		return fmt.Errorf("reading the fingerprint key: %w", err)
	}
	found, err := e.Search.Run(ctx, Matcher(key, s.prints))
	if err != nil {
		return err
	}
	e.Log.Info().Str("event", s.id).Int("searched", found.Searched).Int("places", len(found.Places)).Int("unread", len(found.Unread)).Msg("the hosts were searched for a value that no bundle holds")
	if len(found.Places) == 0 {
		return nil
	}
	var places []string
	for _, p := range found.Places[:min(len(found.Places), 20)] {
		places = append(places, p.String())
	}
	if more := len(found.Places) - len(places); more > 0 {
		places = append(places, fmt.Sprintf("and %d more", more))
	}
	return e.Outbox.Outcome(ctx, events.Outcome{Rotation: "event-" + ApprovalID(s.key), Result: events.ResultReported, Kind: events.KindLeak, Events: []string{s.id},
		Started: s.stored.UTC(), Finished: s.stored.UTC(), Reason: "a leaked value that no bundle holds is " + strings.Join(places, "; "),
		Remedy: "make it part of a bundle (rotator bundle import), or replace it by hand"})
}
