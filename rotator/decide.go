package rotator

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// A Verb is what an operator may decide about a rotation.
type Verb string

// What an operator may decide.
const (
	Resume  Verb = "resume"   // take a quarantined rotation up where it was held
	Abandon Verb = "abandon"  // go on without one target
	Undo    Verb = "rollback" // put the previous version back, revoke what was minted
	Cutoff  Verb = "contain"  // revoke the old generation now, then go on
)

// A Decision is one operator's word about one rotation.
type Decision struct {
	Verb   Verb
	Target Ref    // of Abandon
	By     string // who decides; kept in the receipt
}

// Errors of Decide.
var (
	// ErrNotPossible says that a decision does not fit the state of the rotation.
	ErrNotPossible = errors.New("not possible now")
	// ErrInWork says that a replica works on the record this moment; its next pause is near.
	ErrInWork = errors.New("a replica is working on it right now")
)

// Decide applies a decision and tells what will follow, in sentences for the operator. It is pure: the caller writes the
// record back by compare-and-swap, and any replica goes on from there. A record that a replica holds is left alone, so
// that no request of the old course is still under way when the new one begins.
func (r Record) Decide(d Decision, now time.Time) (Record, []string, error) {
	if r.State == Idle || r.Rotation == nil {
		return r, nil, fmt.Errorf("%w: nothing is being rotated", ErrNotPossible)
	}
	if r.Owner != "" && now.Before(r.LeaseUntil) {
		return r, nil, ErrInWork
	}
	next := r.clone()
	if next.State == Quarantined {
		next.State, next.Rotation.HeldIn = next.Rotation.HeldIn, ""
	} else if d.Verb == Resume {
		return r, nil, fmt.Errorf("%w: it is %s, not quarantined", ErrNotPossible, r.State)
	}
	if moves(next.State) == nil {
		return r, nil, fmt.Errorf("%w: the record does not say where it was held", ErrNotPossible)
	}
	next.Epoch++
	next.LeaseUntil, next.NotBefore = time.Time{}, time.Time{} // an owner that did not give back stays noted, see inherited
	next.Rotation.Attempts, next.Rotation.Redone = 0, 0
	next.Rotation.Deadline = now.Add(DefaultPatience)
	next.Rotation.Warnings = append(next.Rotation.Warnings, fmt.Sprintf("%s: %s decided by %s", now.UTC().Format(time.RFC3339), d, d.By))
	follows, err := next.decided(d, now)
	if err != nil {
		return r, nil, err
	}
	return next, follows, nil
}

// String names the decision in the receipt.
func (d Decision) String() string {
	if d.Verb == Abandon {
		return string(d.Verb) + " " + d.Target.String()
	}
	return string(d.Verb)
}

func (r *Record) decided(d Decision, now time.Time) ([]string, error) {
	switch d.Verb {
	case Resume:
		return []string{r.course()}, nil
	case Abandon:
		return r.abandoned(d)
	case Undo:
		return r.undone()
	case Cutoff:
		return r.cutOff(now)
	}
	return nil, fmt.Errorf("%w: unknown decision %q", ErrNotPossible, d.Verb)
}

// course says how the rotation goes on by itself.
func (r *Record) course() string {
	switch r.State {
	case Claimed, Minting:
		return "It is planned and minted afresh; what an earlier attempt minted is revoked."
	case Applying:
		return fmt.Sprintf("It goes on towards KV version %d on every target, for %s.", r.Rotation.Desired, DefaultPatience)
	case RollingBack:
		return fmt.Sprintf("It goes on back to the values of KV version %d on every target, for %s.", r.Rotation.Base, DefaultPatience)
	case Draining:
		return "Every target holds the new generation; it is verified again, and then the old generation is revoked."
	case Revoking:
		return "It goes on revoking until the generation is proven dead."
	case Idle, Quarantined:
	}
	return ""
}

// abandoned goes on without a target, which keeps whatever it holds.
func (r *Record) abandoned(d Decision) ([]string, error) {
	i := slices.IndexFunc(r.Rotation.Targets, func(t TargetState) bool { return t.Ref == d.Target })
	if i < 0 {
		return nil, fmt.Errorf("%w: %s is none of its targets: %s", ErrNotPossible, d.Target, refs(r.Rotation.Targets))
	}
	if r.State != Applying && r.State != RollingBack && r.State != Draining {
		return nil, fmt.Errorf("%w: no target is being written in state %s", ErrNotPossible, r.State)
	}
	t := &r.Rotation.Targets[i]
	t.Dropped = "abandoned by " + d.By
	return []string{
		fmt.Sprintf("%s is not written any more; it keeps what it holds now.", t.Ref),
		fmt.Sprintf("If that is the generation which loses, %s stops working when it is revoked.", t.Ref),
		r.course(),
	}, nil
}

func refs(ts []TargetState) string {
	var out []string
	for _, t := range ts {
		out = append(out, t.Ref.String())
	}
	return names(out)
}

// undone turns the rotation around, or cancels it when nothing was committed yet.
func (r *Record) undone() ([]string, error) {
	rot := r.Rotation
	switch {
	case rot.Reapply:
		return nil, fmt.Errorf("%w: it only writes the live version again", ErrNotPossible)
	case rot.Contained, rot.Asked == Cutoff:
		return nil, fmt.Errorf("%w: the old generation is revoked, or about to be; resume, or abandon the targets that fail", ErrNotPossible)
	case r.State == Claimed, r.State == Minting:
		rot.Asked = Undo
		return []string{"Nothing was written to any target. What was minted is revoked, and the rotation ends as refused."}, nil
	case r.State == Applying, r.State == Draining:
	default:
		return nil, fmt.Errorf("%w: it is %s", ErrNotPossible, r.State)
	}
	r.State = RollingBack
	rot.Back, rot.LastError = true, "an operator rolled it back"
	rot.step("rolling-back", rot.Deadline.Add(-DefaultPatience))
	follows := []string{
		fmt.Sprintf("The values of KV version %d are written as a new version and put back on every target.", rot.Base),
		"After the overlap the generation that was minted is revoked, and the rotation ends as rolled-back.",
	}
	if rot.Kind == events.KindLeak {
		follows = append(follows, "CAREFUL: the leaked credential stays in use.")
	}
	return follows, nil
}

// cutOff asks for the old generation to be revoked before anything else.
func (r *Record) cutOff(now time.Time) ([]string, error) {
	rot := r.Rotation
	switch {
	case rot.Contained, rot.Reapply:
		return nil, fmt.Errorf("%w: there is no old generation to revoke", ErrNotPossible)
	case r.State == RollingBack, rot.Back:
		return nil, fmt.Errorf("%w: it is being rolled back to the old generation", ErrNotPossible)
	case r.State == Revoking:
		return []string{r.course()}, nil
	}
	rot.Asked = Cutoff
	if r.State == Draining {
		rot.DrainEnds = later(now, r.harmless(rot.Desired))
	}
	follows := []string{"The old generation is revoked now. Work in flight that still uses it fails."}
	for _, t := range rot.Targets {
		if t.After == "" {
			follows = append(follows, fmt.Sprintf("%s is not known to hold the new generation: it stops working until it is written.", t.Ref))
		}
	}
	if len(rot.Targets) == 0 {
		follows = append(follows, "No target holds a new generation yet: all of them stop working until they are written.")
	}
	return append(follows, r.course()), nil
}
