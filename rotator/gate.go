package rotator

import (
	"fmt"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// A Verdict is what an event may do by itself.
type Verdict string

// What an event may do.
const (
	Allow  Verdict = "rotate"  // rotate at once
	Ask    Verdict = "approve" // wait until somebody has seen the plan and said yes
	Report Verdict = "report"  // say what it touches, and nothing more
)

// A Gate stands between events and rotations: an event can do harm. The zero Gate lets everything through.
type Gate struct {
	Rules    []GateRule // the first that fits decides
	PerEvent int        // more bundles than these need approval; 0: any number
	PerHour  int        // more rotations within an hour need approval; 0: any number
}

// A GateRule fits events. Empty members fit everything; texts are globs in any case.
type GateRule struct {
	Publisher string // as the NATS subject says
	Source    string // the system that found it: data.upstream.system
	Kinds     []events.Kind
	Severity  []string
	Do        Verdict
}

func (r GateRule) fits(ev events.Event) bool {
	return glob(r.Publisher, ev.Publisher) && glob(r.Source, upstreamOf(ev)) && (len(r.Kinds) == 0 || slices.Contains(r.Kinds, ev.Kind)) &&
		(len(r.Severity) == 0 || slices.Contains(r.Severity, ev.Severity()))
}

func upstreamOf(ev events.Event) string {
	switch {
	case ev.Leak != nil:
		return ev.Leak.Upstream.System
	case ev.Offboarding != nil:
		return ev.Offboarding.Upstream.System
	case ev.Expiring != nil:
		return ev.Expiring.Upstream.System
	case ev.Manual != nil && ev.Manual.Upstream != nil:
		return ev.Manual.Upstream.System
	}
	return ""
}

// Judge says what an event may do that touches so many bundles, when so many rotations have begun within the last hour. It is
// pure. What only reports is never held; the bounds hold whatever the rules say.
func (g Gate) Judge(ev events.Event, bundles, lastHour int) (v Verdict, why string) {
	v = Allow
	for i, r := range g.Rules {
		if r.fits(ev) {
			if v = r.Do; v != Allow {
				why = fmt.Sprintf("rule %d for events says %s", i+1, v)
			}
			break
		}
	}
	switch {
	case v == Report:
	case g.PerEvent > 0 && bundles > g.PerEvent:
		return Ask, fmt.Sprintf("the event touches %d bundles, and %d may be rotated by one event", bundles, g.PerEvent)
	case g.PerHour > 0 && bundles > 0 && lastHour+bundles > g.PerHour:
		return Ask, fmt.Sprintf("%d rotations within an hour are enough: %d may begin", lastHour, g.PerHour)
	}
	return v, why
}

// begun counts the rotations that began within the last hour, and the events that will begin one within the next.
func begun(records map[string]Record, now time.Time) (n int) {
	since := now.Add(-time.Hour)
	for _, r := range records {
		if r.Rotation != nil && r.Rotation.Started.After(since) {
			n++
		}
		for _, h := range r.History {
			if started, ok := h.Steps["claimed"]; ok && started.After(since) {
				n++
			}
		}
		if slices.ContainsFunc(r.Queue, func(w Waiting) bool { return w.Held == "" && w.NotBefore.Before(now.Add(time.Hour)) }) {
			n++
		}
	}
	return n
}

// An Approval is somebody's yes to one plan.
type Approval struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Plan string    `json:"plan"` // Plan.Digest of what was shown
}

// ApprovalID is how people name an event that waits for approval.
func ApprovalID(event string) string { return event[:min(len(event), 12)] }

// Held lists the events that wait for approval.
func (r *Record) Held() (out []Waiting) {
	for _, w := range r.Queue {
		if w.Held != "" {
			out = append(out, w)
		}
	}
	return out
}

// Approve lets an event go on with the plan that was shown, and no other. It fails with ErrNotPossible when the event does not
// wait here. It is pure: the caller writes the record back by compare-and-swap.
func (r Record) Approve(id string, a Approval) (Record, error) {
	next := r.clone()
	for i := range next.Queue {
		if w := &next.Queue[i]; w.Held != "" && ApprovalID(w.Event) == id {
			w.Held, w.Approval = "", &a
			next.NotBefore = time.Time{}
			return next, nil
		}
	}
	return r, fmt.Errorf("%w: no event %s waits for approval", ErrNotPossible, id)
}

// Deny takes an event that waits for approval away.
func (r Record) Deny(id string) (Record, error) {
	next := r.clone()
	next.Queue = slices.DeleteFunc(next.Queue, func(w Waiting) bool { return w.Held != "" && ApprovalID(w.Event) == id })
	if len(next.Queue) == len(r.Queue) {
		return r, fmt.Errorf("%w: no event %s waits for approval", ErrNotPossible, id)
	}
	return next, nil
}

// pinned is the plan that a rotation for these events must have, or "" when one of them needed no approval.
func pinned(ws []Waiting) (plan string) {
	var at time.Time
	for _, w := range ws {
		switch {
		case w.Held != "": // goes along with the others
		case w.Approval == nil:
			return ""
		case !w.Approval.At.Before(at):
			plan, at = w.Approval.Plan, w.Approval.At
		}
	}
	return plan
}

// cool makes the events that wait, and prove nothing, wait until the cool-down after the last rotation is over.
func (r *Record) cool(b Bundle) {
	last := r.Last()
	if b.Cooldown <= 0 || last == nil || last.Result == events.ResultRefused {
		return
	}
	for i := range r.Queue {
		if w := &r.Queue[i]; !w.Proven && w.Approval == nil {
			w.NotBefore = later(w.NotBefore, last.Finished.Add(b.Cooldown))
		}
	}
}
