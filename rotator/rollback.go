package rotator

import (
	"context"
	"maps"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// rollBack journals the intent; stageBack does it.
func (e *Engine) rollBack(ctx context.Context, c *cursor, why string) *pause {
	rule := c.bundle.Policy.Rule(c.record().Rotation.Kind)
	patience := max(rule.ContainWithin, DefaultPatience)
	err := c.move(ctx, func(r *Record) {
		r.State = RollingBack
		r.Rotation.Back, r.Rotation.Asked = true, ""
		r.Rotation.LastError = why
		r.Rotation.Attempts = 0
		r.Rotation.Deadline = e.Now().Add(patience)
		r.Rotation.Warnings = append(r.Rotation.Warnings, why)
		r.Rotation.step("rolling-back", e.Now())
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	e.Log.Error().Str("bundle", c.bundle.Name).Str("why", why).Msg("rolling back")
	return nil
}

// stageBack writes the previous values as a new version. Its marker names the old generation, which stays alive.
func (e *Engine) stageBack(ctx context.Context, c *cursor) *pause {
	rec := c.record()
	rot := rec.Rotation
	head, err := e.Secrets.Read(ctx, c.bundle.Secret, 0)
	if err != nil {
		return e.retry(c, err)
	}
	back := head.Version
	if head.Marker.Rotation != backOf(rot.ID) {
		base, err := e.Secrets.Read(ctx, c.bundle.Secret, rot.Base)
		if err != nil {
			return e.retry(c, err)
		}
		if err := c.held(); err != nil {
			return &pause{until: e.Now(), why: err}
		}
		previous, err := c.bundle.before(head.Set, base.Set)
		if err != nil {
			return e.retry(c, err)
		}
		back, err = e.Secrets.Write(ctx, c.bundle.Secret, Snapshot{Version: head.Version, Set: previous, Marker: Marker{Rotation: backOf(rot.ID), Epoch: rec.Epoch, Handles: rot.Old.Handles, Expires: rot.Old.Expires}})
		if err != nil {
			return e.retry(c, err) // look again: the answer may have been lost
		}
	}
	err = c.move(ctx, func(r *Record) {
		r.Rotation.Desired = back
		r.Rotation.Old.Version = back
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	return nil
}

// before is the newest set with the previous values of what was minted; what somebody else has changed meanwhile stays changed.
func (b Bundle) before(head, base secret.Set) (secret.Set, error) {
	set := maps.Clone(head)
	for key := range b.mintedKeys() {
		if v, had := base[key]; had {
			set[key] = v
		} else {
			delete(set, key)
		}
	}
	return Rebuild(b, set)
}

func backOf(rotation string) string { return rotation + "-back" }
