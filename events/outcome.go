package events

import (
	"encoding/json"
	"fmt"
	"time"
)

// How a rotation ended, or - delayed, containing, quarantined - what it raises on the way.
const (
	ResultRotated     = "rotated"
	ResultRolledBack  = "rolled-back"
	ResultRefused     = "refused"
	ResultQuarantined = "quarantined"
	ResultContained   = "contained"
	ResultDelayed     = "delayed"    // alarm: later than its policy allows; it goes on
	ResultReapplied   = "reapplied"  // the live version was written again after somebody had overwritten it
	ResultOrphaned    = "orphaned"   // alarm: something in Vault belongs to no rotation
	ResultDrifted     = "drifted"    // alarm: targets do not hold the live version any more
	ResultReported    = "reported"   // notice: an event touches the bundle, and a rule says that it rotates nothing
	ResultHeld        = "held"       // alarm: an event waits for approval
	ResultContaining  = "containing" // alarm: the old generation was revoked while targets were missing; it goes on
)

const (
	outcomeType   = "rotator.rotation.finished.v1"
	outcomeSource = "urn:rotator"
)

// Outcome tells the world how one rotation ended; it never holds a secret.
type Outcome struct {
	Rotation      string          `json:"rotation"`
	Bundle        string          `json:"bundle,omitempty"`
	Result        string          `json:"result"`
	Kind          Kind            `json:"kind,omitempty"`
	Events        []string        `json:"events,omitempty"`
	KVVersionFrom int             `json:"kv_version_from,omitempty"`
	KVVersionTo   int             `json:"kv_version_to,omitempty"`
	Started       time.Time       `json:"started,omitzero"`
	Finished      time.Time       `json:"finished,omitzero"`
	Revoked       time.Time       `json:"revoked,omitzero"`
	ProvenDead    time.Time       `json:"proven_dead,omitzero"`
	Targets       []OutcomeTarget `json:"targets,omitempty"`
	Reason        string          `json:"reason,omitempty"`
	Remedy        string          `json:"remedy,omitempty"`
	Warnings      []string        `json:"warnings,omitempty"`
	UpdatedMS     int             `json:"exposure_updated_ms,omitempty"` // from the first event in the stream until every target was updated
	DeadMS        int             `json:"exposure_dead_ms,omitempty"`    // and until the old credential was proven dead
	Receipt       string          `json:"receipt,omitempty"`             // JSON text, as it was hashed
	ReceiptHash   string          `json:"receipt_hash,omitempty"`        // hex SHA-256 of receipt
}

// OutcomeTarget is one place in OpenWhisk that the rotation touched.
type OutcomeTarget struct {
	Host          string `json:"host"`
	Kind          string `json:"kind"`
	Name          string `json:"name"`
	VersionBefore string `json:"version_before,omitempty"`
	VersionAfter  string `json:"version_after,omitempty"`
	Failure       string `json:"failure,omitempty"`
}

// Final reports whether the rotation is over. The other results are alarms.
func (o Outcome) Final() bool {
	switch o.Result {
	case ResultQuarantined, ResultDelayed, ResultContaining, ResultOrphaned, ResultDrifted, ResultHeld, ResultReported:
		return false
	}
	return true
}

// Key returns the Nats-Msg-Id: a rotation ends once, but may raise the same alarm again later.
func (o Outcome) Key() string {
	if o.Final() {
		return o.Rotation + "." + o.Result
	}
	return fmt.Sprintf("%s.%s.%d", o.Rotation, o.Result, o.Finished.UnixMilli())
}

// EncodeOutcome writes the outcome as a structured CloudEvent of type rotator.rotation.finished.v1.
func EncodeOutcome(o Outcome) ([]byte, error) {
	r := &reader{}
	r.outcomeRules(o)
	if err := refuse(r.problems); err != nil {
		return nil, fmt.Errorf("encoding outcome: %w", err)
	}
	body, err := json.Marshal(wire{SpecVersion: "1.0", ID: o.Key(), Source: outcomeSource, Type: outcomeType,
		Time: firstSet(o.Finished, o.Started), DataContentType: "application/json", Data: o})
	if err != nil {
		return nil, fmt.Errorf("encoding outcome: %w", err)
	}
	return body, nil
}

func firstSet(a, b time.Time) time.Time {
	if a.IsZero() {
		return b.UTC()
	}
	return a.UTC()
}
