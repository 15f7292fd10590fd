package rotator

import "context"

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
		back, err = e.Secrets.Write(ctx, c.bundle.Secret, Snapshot{Version: head.Version, Set: base.Set, Marker: Marker{Rotation: backOf(rot.ID), Epoch: rec.Epoch, Handles: rot.Old.Handles, Expires: rot.Old.Expires}})
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

func backOf(rotation string) string { return rotation + "-back" }
