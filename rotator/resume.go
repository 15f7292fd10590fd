package rotator

import (
	"errors"
	"fmt"
	"time"
)

// ErrNotHeld says that a bundle is not quarantined, so there is nothing to resume.
var ErrNotHeld = errors.New("bundle is not quarantined")

// Resume takes a quarantined record up where it was held, with fresh patience, once an operator has mended the cause.
// The caller writes the record back by compare-and-swap; any replica goes on from there.
func (r *Record) Resume(now time.Time) error {
	if r.State != Quarantined || r.Rotation == nil || moves(r.Rotation.HeldIn) == nil {
		return fmt.Errorf("resuming %s, which is %s: %w", r.Bundle, r.State, ErrNotHeld)
	}
	r.State = r.Rotation.HeldIn
	r.Owner, r.LeaseUntil, r.NotBefore = "", time.Time{}, time.Time{}
	r.Epoch++
	r.Rotation.HeldIn = ""
	r.Rotation.Attempts, r.Rotation.Redone = 0, 0
	r.Rotation.Deadline = now.Add(DefaultPatience)
	return nil
}
