package rotator

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// RecordVersion is the format of the journal records this program writes.
const RecordVersion = 1

// ErrNewerRecord says that a journal record was written by a newer program; it is left alone.
var ErrNewerRecord = errors.New("journal record is from a newer version of rotator")

// ErrCrowded says that too many events wait for somebody's approval, or for their date; no further one is kept.
var ErrCrowded = errors.New("too many events of this bundle wait for approval or for their date")

// ErrBadRecord says that a journal record cannot be read; it is left alone, and its bundle waits for an operator.
var ErrBadRecord = errors.New("journal record is damaged")

// State of a bundle's record.
type State string

// The states of design: forward from Idle to Idle; failing: RollingBack, Quarantined.
const (
	Idle        State = "idle"
	Claimed     State = "claimed"      // a rotation exists; nothing was done yet
	Minting     State = "minting"      // the anchor is journalled; something may exist in Vault
	Applying    State = "applying"     // the new version is in Vault (staged); targets are being written
	Draining    State = "draining"     // every target is verified (committed); work in flight finishes
	Revoking    State = "revoking"     // the old generation is being killed and proven dead
	RollingBack State = "rolling-back" // the previous values are a new version; targets are written back
	Quarantined State = "quarantined"  // an operator decides
)

// moves is the legal next states of each state.
func moves(s State) []State {
	switch s {
	case Idle:
		return []State{Idle, Claimed, Applying} // to Applying: the live version again, see reapply
	case Claimed:
		return []State{Claimed, Minting, Idle, Quarantined}
	case Minting:
		return []State{Minting, Claimed, Applying, Idle, Quarantined}
	case Applying:
		return []State{Applying, Draining, RollingBack, Quarantined, Idle} // to Idle: the live version was not written again after all
	case RollingBack:
		return []State{RollingBack, Draining, Revoking, Quarantined}
	case Draining:
		return []State{Draining, Applying, RollingBack, Revoking, Quarantined}
	case Revoking:
		return []State{Revoking, Applying, RollingBack, Idle, Quarantined}
	case Quarantined:
		return []State{Quarantined, Claimed, Applying, RollingBack, Draining, Revoking, Idle}
	}
	return nil
}

// A Record is everything the journal keeps of one bundle: lock, state, queue, and the live generation.
// It holds no value of a secret.
type Record struct {
	V          int         `json:"v"`
	Bundle     string      `json:"bundle"`
	Born       time.Time   `json:"born,omitzero"` // when the journal began to know this bundle
	Generation int         `json:"generation"`    // rotations completed
	State      State       `json:"state"`
	Owner      string      `json:"owner,omitempty"` // replica that works on it
	Epoch      uint64      `json:"epoch"`           // grows with every claim: fences predecessors
	LeaseUntil time.Time   `json:"lease_until,omitzero"`
	NotBefore  time.Time   `json:"not_before,omitzero"` // next moment there is something to do
	Queue      []Waiting   `json:"queue,omitempty"`     // events for a rotation that has not begun
	Rotation   *Rotation   `json:"rotation,omitempty"`
	Live       *Generation `json:"live,omitempty"`
	Stragglers []Straggler `json:"stragglers,omitempty"` // PUTs that may still arrive
	Seen       []SeenEvent `json:"seen,omitempty"`
	History    []Receipt   `json:"history,omitempty"`  // newest last
	Compared   *Compared   `json:"compared,omitempty"` // of the turn's record only
}

// A Generation is what one rotation minted, owned and revoked as a unit.
type Generation struct {
	Rotation string    `json:"rotation,omitempty"`
	Version  int       `json:"version"` // KV version that holds its values
	Handles  []Handle  `json:"handles,omitempty"`
	Minted   time.Time `json:"minted,omitzero"`
	RenewAt  time.Time `json:"renew_at,omitzero"`
	Expires  time.Time `json:"expires,omitzero"` // of the first part that Vault cannot renew for want of a handle: a certificate
	Ends     time.Time `json:"ends,omitzero"`    // no renewal helps beyond this
	Raised   time.Time `json:"raised,omitzero"`  // when its end was last raised
}

// Waiting is an event that asks for a rotation.
type Waiting struct {
	Event     string      `json:"event"` // events.Event.Key
	ID        string      `json:"id"`    // its id and source, for people
	Kind      events.Kind `json:"kind"`
	Stored    time.Time   `json:"stored"`              // when the stream stored it
	NotBefore time.Time   `json:"not_before,omitzero"` // a departure in the future
	Why       string      `json:"why"`                 // how the bundle was found
	Severity  string      `json:"severity,omitempty"`
	Proven    bool        `json:"proven,omitempty"`   // the value itself has led here
	Version   int         `json:"version,omitempty"`  // KV version that has leaked, if it is known and not the newest
	Like      int         `json:"like,omitempty"`     // further events that ask for the same
	Departs   bool        `json:"departs,omitempty"`  // a login is to be ended as well, see Departure
	Effective time.Time   `json:"effective,omitzero"` // a departure in the future: a rotation before does not do for it
	Held      string      `json:"held,omitempty"`     // why it waits for approval
	Approval  *Approval   `json:"approval,omitempty"`
}

// SeenEvent remembers a delivered event beyond the stream's own de-duplication.
type SeenEvent struct {
	Event string    `json:"event"`
	At    time.Time `json:"at"`
}

// A Rotation is one run.
type Rotation struct {
	ID        string               `json:"id"`
	Kind      events.Kind          `json:"kind"` // the most urgent of its events
	Events    []Waiting            `json:"events"`
	Started   time.Time            `json:"started"`
	MintBegan time.Time            `json:"mint_began,omitzero"`
	Base      int                  `json:"base"`               // KV version before
	Attempt   int                  `json:"attempt,omitempty"`  // mintings that were undone
	Rejected  int                  `json:"rejected,omitempty"` // candidates that a backend did not accept
	Anchor    string               `json:"anchor,omitempty"`   // accessor, journalled before anything is minted under it
	New       Generation           `json:"new"`
	Old       Generation           `json:"old"`
	Back      bool                 `json:"back,omitempty"` // rolling back: New is to be revoked, Old stays
	Contained bool                 `json:"contained,omitempty"`
	Desired   int                  `json:"desired,omitempty"` // KV version the targets are to hold
	Targets   []TargetState        `json:"targets,omitempty"`
	DrainEnds time.Time            `json:"drain_ends,omitzero"`
	Deadline  time.Time            `json:"deadline,omitzero"` // of failing targets
	Attempts  int                  `json:"attempts,omitempty"`
	Steps     map[string]time.Time `json:"steps,omitempty"` // when each step was durable
	Warnings  []string             `json:"warnings,omitempty"`
	LastError string               `json:"last_error,omitempty"`
	Redone    int                  `json:"redone,omitempty"`  // times that targets were overwritten by somebody else
	HeldIn    State                `json:"held_in,omitempty"` // state that was quarantined
	Reapply   bool                 `json:"reapply,omitempty"` // the live version is written again: nothing is minted or revoked
	Asked     Verb                 `json:"asked,omitempty"`   // what an operator decided and nobody has done yet
	Alarmed   bool                 `json:"alarmed,omitempty"` // that it is late has been published
	Final     *Receipt             `json:"final,omitempty"`   // how it ended; being published
	Plan      string               `json:"plan,omitempty"`    // digest of the plan that was approved; no other is run
}

// TargetState is what a rotation knows of one target.
type TargetState struct {
	Ref     Ref    `json:"target"`
	Before  string `json:"before,omitempty"`  // version before the PUT
	After   string `json:"after,omitempty"`   // version of the PUT; empty: not written yet
	Holds   int    `json:"holds,omitempty"`   // KV version of what it holds, by its annotation
	Failure string `json:"failure,omitempty"` // why it could not be written

	Missing time.Time `json:"missing,omitzero"`  // since when the host says that it does not exist
	Dropped string    `json:"dropped,omitempty"` // why the rotation goes on without it
}

// Bounds on what a record keeps.
const (
	maxSeen    = 512
	maxHistory = 20
	maxEvents  = 256       // of one kind, of one rotation
	maxAlike   = 64        // of one kind, in the queue
	maxParked  = 128       // that wait for approval or for their date
	maxRecord  = 512 << 10 // bytes, at rest

	keptTargets = 50 // of an older receipt; a longer list is dropped
)

// DecodeRecord reads a record. It fails with ErrNewerRecord for a format it does not know, and with ErrBadRecord for
// anything else that makes no sense.
func DecodeRecord(raw []byte) (Record, error) {
	var r Record
	var form struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(raw, &form); err != nil {
		return Record{}, fmt.Errorf("%w: it is no JSON object", ErrBadRecord)
	}
	if form.V > RecordVersion { // the rest may be of any shape
		return Record{}, fmt.Errorf("%w: it has format %d, this program knows %d; start the newer program", ErrNewerRecord, form.V, RecordVersion)
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	if r.V < 1 || r.Bundle == "" || moves(r.State) == nil {
		return Record{}, fmt.Errorf("%w: version %d, bundle %q, state %q do not make sense", ErrBadRecord, r.V, r.Bundle, r.State)
	}
	if r.State != Idle && r.Rotation == nil {
		return Record{}, fmt.Errorf("%w: bundle %q is %s without a rotation", ErrBadRecord, r.Bundle, r.State)
	}
	return r, nil
}

// Encode writes the record. One that would not fit into a message of NATS leaves out what the outcome stream has as well.
func (r Record) Encode() ([]byte, error) {
	r.V = RecordVersion
	raw, err := json.Marshal(r)
	for err == nil && len(raw) > maxWritten && r.forget() {
		raw, err = json.Marshal(r)
	}
	return raw, err
}

// Knows reports whether the event was delivered before.
func (r *Record) Knows(event string) bool {
	return slices.ContainsFunc(r.Seen, func(s SeenEvent) bool { return s.Event == event })
}

// Take puts an event into the record: into the running rotation when its minting began after the event was
// stored - then what that rotation mints is newer than the event - or when what has leaked is just what the rotation replaces; and
// into the queue otherwise. It reports whether anything changed; a known event changes nothing. ErrCrowded: it was not taken.
func (r *Record) Take(w Waiting, now time.Time) (bool, error) {
	if r.Knows(w.Event) {
		return false, nil
	}
	switch {
	case r.joins(w, now):
		w.Held, w.NotBefore = "", time.Time{} // what it asks for is being done
		rot := r.Rotation
		if rot.Events = together(rot.Events, w, maxEvents); w.Kind == events.KindLeak {
			rot.Kind = w.Kind
		}
	case !w.parked(now):
		r.Queue = together(r.Queue, w, maxAlike)
	case count(r.Queue, func(o Waiting) bool { return o.parked(now) }) >= maxParked:
		return false, ErrCrowded
	default:
		r.Queue = append(r.Queue, w)
	}
	r.Seen = append(r.Seen, SeenEvent{Event: w.Event, At: now})
	if n := len(r.Seen) - maxSeen; n > 0 {
		r.Seen = slices.Delete(r.Seen, 0, n)
	}
	return true, nil
}

// joins reports whether the running rotation does what an event asks for.
func (r *Record) joins(w Waiting, now time.Time) bool {
	rot := r.Rotation
	return rot != nil && !w.Effective.After(now) && r.State != Quarantined && !rot.Back && rot.Final == nil && (rot.MintBegan.After(w.Stored) || w.Version > 0 && w.Version == rot.Base)
}

// parked reports an event that does not lead to a rotation now: it waits for approval, or for its date.
func (w Waiting) parked(now time.Time) bool { return w.Held != "" || w.NotBefore.After(now) }

// together adds an event to others; beyond the bound it is counted with one of its kind, which asks for the same rotation.
func together(ws []Waiting, w Waiting, bound int) []Waiting {
	alike := func(o Waiting) bool { return o.Kind == w.Kind && o.Held == "" && !o.NotBefore.After(w.NotBefore) }
	if i := slices.IndexFunc(ws, alike); i >= 0 && count(ws, alike) >= bound {
		ws[i].Like++
		ws[i].Proven = ws[i].Proven || w.Proven
		return ws
	}
	return append(ws, w)
}

func count[T any](list []T, which func(T) bool) (n int) {
	for _, x := range list {
		if which(x) {
			n++
		}
	}
	return n
}

// Due is the moment from which there is something to do for this record, and whether there is anything at all.
func (r *Record) Due() (time.Time, bool) {
	var due time.Time
	found := false
	consider := func(t time.Time) {
		if !found || t.Before(due) {
			due, found = t, true
		}
	}
	switch r.State {
	case Quarantined:
	case Idle:
		for _, w := range r.Queue {
			if w.Held == "" {
				consider(later(w.NotBefore, r.NotBefore))
			}
		}
	default:
		consider(r.NotBefore)
	}
	for _, g := range r.kept() {
		if !g.RenewAt.IsZero() {
			consider(g.RenewAt)
		}
	}
	return due, found
}

// kept lists the generations that have to stay alive.
func (r *Record) kept() []*Generation {
	var out []*Generation
	if r.Rotation != nil {
		out = append(out, &r.Rotation.New, &r.Rotation.Old)
	} else if r.Live != nil {
		out = append(out, r.Live)
	}
	return out
}

// Urgent reports whether a leak is waiting or being worked on.
func (r *Record) Urgent() bool {
	if r.Rotation != nil {
		return r.Rotation.Kind == events.KindLeak
	}
	return slices.ContainsFunc(r.Queue, func(w Waiting) bool { return w.Kind == events.KindLeak && w.Held == "" })
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// step notes when a step became durable; the first time counts.
func (rot *Rotation) step(name string, now time.Time) {
	if rot.Steps == nil {
		rot.Steps = make(map[string]time.Time)
	}
	if _, ok := rot.Steps[name]; !ok {
		rot.Steps[name] = now
	}
}

// mostUrgent picks the kind whose policy counts: a leak before anything else.
func mostUrgent(ws []Waiting) events.Kind {
	order := []events.Kind{events.KindLeak, events.KindOffboarding, events.KindManual, events.KindExpiring}
	for _, k := range order {
		if slices.ContainsFunc(ws, func(w Waiting) bool { return w.Kind == k }) {
			return k
		}
	}
	return events.KindManual
}
