package rotator

import (
	"slices"
	"time"
)

// A Straggler is a PUT that may still arrive at a host although nobody waits for its answer: the process that sent it
// died, or the answer was lost. The host cannot tell it from a fresh one, so nothing that it would bring back may be
// revoked while it can arrive.
type Straggler struct {
	Version int       `json:"version"` // KV version it carries
	Until   time.Time `json:"until"`   // the host has given it up by then
}

// strayed notes that PUTs of the version being applied may still be under way, and forgets those that cannot be any more.
func (r *Record) strayed(now time.Time, bound time.Duration) {
	r.Stragglers = slices.DeleteFunc(r.Stragglers, func(s Straggler) bool {
		return !s.Until.After(now) || r.Rotation != nil && s.Version == r.Rotation.Desired && s.Until.Before(now.Add(bound))
	})
	if r.Rotation != nil && r.Rotation.Desired > 0 {
		r.Stragglers = append(r.Stragglers, Straggler{Version: r.Rotation.Desired, Until: now.Add(bound)})
	}
}

// inherited is strayed for a claim that its owner did not give back while it was writing targets.
func (r *Record) inherited(now time.Time, bound time.Duration) {
	if r.Owner != "" && (r.State == Applying || r.State == RollingBack) {
		r.strayed(now, bound)
	}
}

// harmless is the moment from which no PUT can arrive any more that carries another version than this one.
func (r *Record) harmless(version int) (t time.Time) {
	for _, s := range r.Stragglers {
		if s.Version != version {
			t = later(t, s.Until)
		}
	}
	return t
}
