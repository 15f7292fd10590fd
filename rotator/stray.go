package rotator

import (
	"fmt"
	"strings"
	"time"
)

// A Holding is one thing in Vault that keeps, or could keep, a credential alive.
type Holding struct {
	Handle      Handle    `json:"handle"`
	Path        string    `json:"path,omitempty"`     // where it was minted; empty for anchors
	Bundle      string    `json:"bundle,omitempty"`   // from its metadata; leases have none
	Rotation    string    `json:"rotation,omitempty"` // from its metadata; empty for what this installation did not make
	Created     time.Time `json:"created,omitzero"`
	Expires     time.Time `json:"expires,omitzero"`
	Irrevocable bool      `json:"irrevocable,omitempty"` // Vault has given up revoking it
}

// Unchecked is a part of Vault that could not be looked at.
type Unchecked struct {
	What   string `json:"what"`
	Why    string `json:"why"`
	Remedy string `json:"remedy"`
}

// A Stray is a holding that belongs to no journal record.
type Stray struct {
	Holding
	Revocable bool   `json:"revocable"` // certainly ours, certainly unused
	Why       string `json:"why"`
}

// foreign reports a lease that may be another client's.
func (s Stray) foreign() bool { return s.Bundle == "" && !s.Irrevocable }

// settleTime is the age below which a holding may be one that a rotation has just made and not journalled yet.
const settleTime = 20 * time.Minute

// Strays compares what exists with what the journal knows. It is pure. What was created after settled is left alone. Only
// what carries the mark of a rotation that this journal has begun and finished may be revoked; what is older than the
// journal's record, or carries no mark, could be in use and is only reported. A lease carries no mark: it may be another
// client's, unless its path is exclusive to one bundle.
func Strays(found []Holding, records map[string]Record, exclusive map[string]string, settled time.Time) []Stray {
	known := make(map[Handle]bool)
	busy := make(map[string]bool)
	for _, rec := range records {
		for _, g := range rec.kept() {
			for _, h := range g.Handles {
				known[Handle{Kind: h.Kind, ID: h.ID}] = true
			}
		}
		if rot := rec.Rotation; rot != nil {
			busy[rot.ID] = true
			known[Handle{Kind: "anchor", ID: rot.Anchor}] = true
		}
	}
	var out []Stray
	for _, h := range found {
		if known[Handle{Kind: h.Handle.Kind, ID: h.Handle.ID}] || busy[rotationOf(h.Rotation)] && h.Rotation != "" || h.Created.After(settled) && !h.Irrevocable {
			continue
		}
		if s, stray := judged(h, records, exclusive[h.Path]); stray {
			out = append(out, s)
		}
	}
	return out
}

// judged decides about one holding that no record names. owner is the bundle that its path is exclusive to, if any.
func judged(h Holding, records map[string]Record, owner string) (Stray, bool) {
	s := Stray{Holding: h}
	if h.Rotation == "" {
		if h.Handle.Kind != "lease" { // somebody made it by hand
			return s, false
		}
		if rec, ok := records[owner]; ok && !h.Irrevocable && !rec.Born.IsZero() && h.Created.After(rec.Born) {
			s.Bundle, s.Revocable = owner, rec.State == Idle // otherwise it may be the one that is being minted
			s.Why = "only this rotator mints there, and no rotation names it"
			return s, true
		}
		s.Why = "no journal record names this lease; it may be another client's"
		if h.Irrevocable {
			s.Why = "Vault has given up revoking this lease: its credential is alive"
		}
		return s, true
	}
	if s.Bundle == "" {
		s.Bundle = bundleOf(h.Rotation)
	}
	rec, ok := records[s.Bundle]
	switch {
	case !ok:
		s.Why = "the journal has no record of bundle " + s.Bundle
	case rec.Born.IsZero() || h.Created.Before(rec.Born):
		s.Why = "it is older than the journal's record of bundle " + s.Bundle + ", so it may be in use"
	default:
		s.Revocable = true
		s.Why = "rotation " + h.Rotation + " is over and does not keep it"
	}
	return s, true
}

// mark is what everything that one attempt mints carries in Vault. The next attempt of the same rotation has another, so
// that a process which was frozen while it undid the first cannot touch what the second minted.
func (rot *Rotation) mark() string {
	if rot.Attempt == 0 {
		return rot.ID
	}
	return fmt.Sprintf("%s.%d", rot.ID, rot.Attempt)
}

// rotationOf reads the rotation's id out of a mark.
func rotationOf(mark string) string {
	epoch := mark[strings.LastIndexByte(mark, '-')+1:]
	if _, attempt, ok := strings.Cut(epoch, "."); ok {
		return strings.TrimSuffix(mark, "."+attempt)
	}
	return mark
}

// bundleOf reads the bundle's name out of a rotation's id, see rotationID.
func bundleOf(rotation string) string {
	for range 2 {
		i := strings.LastIndexByte(rotation, '-')
		if i < 0 {
			return ""
		}
		rotation = rotation[:i]
	}
	return rotation
}
