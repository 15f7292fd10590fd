package rotator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// A Receipt is what remains of a finished rotation. The receipts of a bundle form a chain: each holds the hash of the
// one before. The text that is hashed is published with the outcome, so that the chain can be checked from the outcome
// stream alone, and its end against the journal.
type Receipt struct {
	Bundle      string               `json:"bundle,omitempty"`
	Number      int                  `json:"number,omitempty"` // of this bundle, from 1
	Prev        string               `json:"prev,omitempty"`   // Hash of the receipt before
	Rotation    string               `json:"rotation"`
	Result      string               `json:"result"` // rotated, rolled-back, refused, contained
	Kind        events.Kind          `json:"kind"`
	Events      []Waiting            `json:"events"`
	VersionFrom int                  `json:"version_from"`
	VersionTo   int                  `json:"version_to,omitempty"`
	Targets     []TargetState        `json:"targets,omitempty"`
	Steps       map[string]time.Time `json:"steps,omitempty"`
	Refusals    []Refusal            `json:"refusals,omitempty"`
	Warnings    []string             `json:"warnings,omitempty"`
	Reason      string               `json:"reason,omitempty"`
	Finished    time.Time            `json:"finished"`

	Hash      string `json:"hash,omitempty"`      // hex SHA-256 of Text
	Shortened bool   `json:"shortened,omitempty"` // the journal has dropped what this old receipt lists; the stream has it
}

// Text is what Hash is over: the receipt as JSON, without the hash.
func (r Receipt) Text() (string, error) {
	r.Hash, r.Shortened = "", false
	raw, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encoding the receipt of %s: %w", r.Rotation, err)
	}
	return string(raw), nil
}

// seal numbers the receipt and links it to the one before, which may be nil.
func (r Receipt) seal(before *Receipt) (Receipt, error) {
	r.Number, r.Prev = 1, ""
	if before != nil {
		r.Number, r.Prev = before.Number+1, before.Hash
	}
	text, err := r.Text()
	if err != nil {
		return r, err
	}
	r.Hash = hashOf(text)
	return r, nil
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Exposure is the time from the first event in the stream until every target was updated, and until the old
// credential was proven dead, as far as the rotation got.
func (r Receipt) Exposure() map[string]time.Duration {
	out := make(map[string]time.Duration)
	if len(r.Events) == 0 {
		return out
	}
	first := r.Events[0].Stored
	for _, w := range r.Events {
		if w.Stored.Before(first) {
			first = w.Stored
		}
	}
	for until, step := range map[string]string{"updated": "applied", "dead": "proven-dead"} {
		if at, ok := r.Steps[step]; ok {
			out[until] = at.Sub(first)
		}
	}
	return out
}

// Outcome is the receipt as it is published. One that is not sealed is of an alarm.
func (r Receipt) Outcome(bundle string) events.Outcome {
	if r.Hash == "" {
		r = r.fit()
	}
	o := events.Outcome{
		Rotation: r.Rotation, Bundle: bundle, Result: r.Result, Kind: r.Kind, KVVersionFrom: r.VersionFrom, KVVersionTo: r.VersionTo,
		Started: r.Steps["claimed"], Finished: r.Finished, Revoked: r.Steps["revoked"], ProvenDead: r.Steps["proven-dead"],
		Reason: r.Reason, Warnings: r.Warnings,
		UpdatedMS: int(r.Exposure()["updated"].Milliseconds()), DeadMS: int(r.Exposure()["dead"].Milliseconds()),
	}
	if r.Hash != "" && !r.Shortened {
		if text, err := r.Text(); err == nil {
			o.Receipt, o.ReceiptHash = text, r.Hash
		}
	}
	for _, w := range r.Events {
		o.Events = append(o.Events, w.ID)
	}
	for _, t := range r.Targets {
		failure := t.Failure
		if t.Dropped != "" {
			failure = t.Dropped
		}
		o.Targets = append(o.Targets, events.OutcomeTarget{Host: t.Ref.Host, Kind: t.Ref.Kind.String(), Name: t.Ref.Name, VersionBefore: t.Before, VersionAfter: t.After, Failure: failure})
	}
	for _, f := range r.Refusals {
		if f.Remedy != "" {
			o.Remedy = f.Remedy
			break
		}
	}
	return o
}

// remember adds a receipt and keeps the record well below what NATS takes in one message: older receipts lose a long
// list of targets, and the oldest themselves. What they said is on the outcome stream as well.
func (r *Record) remember(receipt Receipt) {
	for i := range r.History {
		if len(r.History[i].Targets) > keptTargets {
			r.History[i].shorten()
		}
	}
	r.History = append(r.History, receipt)
	for len(r.History) > 1 {
		if raw, err := r.Encode(); len(r.History) <= maxHistory && (err != nil || len(raw) <= maxRecord) {
			return
		}
		r.History = slices.Delete(r.History, 0, 1)
	}
}

// Last is the receipt of the newest finished rotation, or nil.
func (r Record) Last() *Receipt {
	if len(r.History) == 0 {
		return nil
	}
	return &r.History[len(r.History)-1]
}
