package rotator

import (
	"context"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// unapproved gives a rotation up before it has done anything, because its plan is not the one that was approved: something it
// would touch has changed since. Its events wait again.
func (e *Engine) unapproved(ctx context.Context, c *cursor) *pause {
	const why = "what it would do has changed since it was approved"
	waiting, began := slices.Clone(c.record().Rotation.Events), c.record().Rotation.Started
	for i := range waiting {
		waiting[i].Held, waiting[i].Approval = why, nil
	}
	for _, w := range waiting[:1] { // told before it is written: a crash in between tells it again
		if err := e.tell(ctx, c.bundle.Name, w, began, events.ResultHeld, why, "look at the plan again: rotator approve "+ApprovalID(w.Event)); err != nil {
			return e.retry(c, err)
		}
	}
	err := c.move(ctx, func(r *Record) {
		r.Queue = append(waiting, r.Queue...)
		r.State, r.Rotation = Idle, nil
		r.Owner, r.LeaseUntil, r.NotBefore = "", time.Time{}, time.Time{}
	})
	if err != nil {
		return &pause{until: e.Now().Add(e.Backoff), why: err}
	}
	return nil
}
