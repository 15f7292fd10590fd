package rotator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Compared is what the last comparison with the journal found and did not mend: for the status, and for alarms on a state
// where an outcome is only a moment.
type Compared struct {
	At        time.Time      `json:"at"`
	Orphans   map[string]int `json:"orphans,omitempty"` // by bundle; "" is a bundle that is not known
	Drifted   map[string]int `json:"drifted,omitempty"` // targets, by bundle
	Foreign   int            `json:"leases_unknown,omitempty"`
	Unchecked int            `json:"unchecked,omitempty"`
}

// Of puts what was found at a bundle into words, or is empty.
func (c *Compared) Of(bundle string) string {
	if c == nil {
		return ""
	}
	var found []string
	if n := c.Drifted[bundle]; n > 0 {
		found = append(found, fmt.Sprintf("drifted targets: %d", n))
	}
	if n := c.Orphans[bundle]; n > 0 {
		found = append(found, fmt.Sprintf("orphans: %d", n))
	}
	return strings.Join(found, ", ")
}

// ComparedIn finds the last comparison in a list of the journal. It is nil if there was none.
func ComparedIn(journal map[string]Stored) *Compared {
	rec, err := DecodeRecord(journal[turnKey].Value)
	if err != nil {
		return nil
	}
	return rec.Compared
}

// Compared is the last comparison that any replica made, as far as this one knows. It is nil if there was none.
func (e *Engine) Compared() *Compared { return e.view.records()[turnKey].Compared }

// compared counts what is left to look at.
func (r Reconciliation) compared() *Compared {
	c := &Compared{At: r.At, Orphans: make(map[string]int), Drifted: make(map[string]int), Unchecked: len(r.Unchecked)}
	for _, s := range r.Orphans {
		if s.foreign() {
			c.Foreign++
		} else {
			c.Orphans[s.Bundle]++
		}
	}
	for _, d := range r.Drifted {
		if !d.Applied {
			c.Drifted[d.Bundle]++
		}
	}
	return c
}

// note keeps the result beside the turn, whose time it leaves alone. A later result of another replica stays.
func (e *Engine) note(ctx context.Context, found *Compared) error {
	for {
		rec, revision, err := e.readTurn(ctx)
		if err != nil || rec.Compared != nil && rec.Compared.At.After(found.At) {
			return err
		}
		rec.Compared = found
		value, err := rec.Encode()
		if err != nil {
			return err
		}
		if _, err = e.Journal.Put(ctx, turnKey, value, revision); !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// readTurn is the record by which replicas take turns, or a new one at revision zero.
func (e *Engine) readTurn(ctx context.Context) (Record, uint64, error) {
	value, revision, err := e.Journal.Get(ctx, turnKey)
	if errors.Is(err, ErrNotFound) {
		return Record{V: RecordVersion, Bundle: turnKey, State: Idle}, 0, nil
	}
	if err != nil {
		return Record{}, 0, err
	}
	rec, err := DecodeRecord(value)
	return rec, revision, err
}
