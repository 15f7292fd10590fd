package rotator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// damagedRemedy is what an operator can do about a record that cannot be read.
const damagedRemedy = "put an earlier revision back (nats kv history, nats kv put), or delete the key to let the bundle start afresh: " +
	"its live generation is found by the marker in Vault"

// raiseDamaged publishes an alarm for every damaged record, once per revision. Replicas publish the same one, which the
// stream recognises. A record of a newer program is no alarm: a newer replica works on it.
func (e *Engine) raiseDamaged(ctx context.Context, found map[string]damage) {
	for key, d := range found {
		e.Log.Error().Str("bundle", key).Err(d.err).Str("remedy", damagedRemedy).Msg("journal record cannot be used; its bundle waits for an operator, the others go on")
		if !errors.Is(d.err, ErrBadRecord) {
			continue
		}
		err := e.Outbox.Outcome(ctx, events.Outcome{Rotation: fmt.Sprintf("%s-record-%d", key, d.revision), Bundle: key, Result: events.ResultQuarantined,
			Reason: d.err.Error(), Remedy: damagedRemedy, Finished: e.Now().Truncate(time.Minute)})
		if err != nil {
			e.view.untell(key)
			e.report(e.Log, err, "raising a damaged record")
		}
	}
}

type damage struct {
	err      error
	revision uint64
}

// damaged lists the records that cannot be used and have not been told of, and counts them as told.
func (v *view) damaged() map[string]damage {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[string]damage)
	for key, err := range v.bad {
		if v.told[key] != v.revs[key] {
			v.told[key] = v.revs[key]
			out[key] = damage{err: err, revision: v.revs[key]}
		}
	}
	return out
}

func (v *view) untell(key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.told, key)
}
