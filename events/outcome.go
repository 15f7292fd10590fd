package events

import (
	"encoding/json"
	"fmt"
	"time"
)

// How a rotation ended.
const (
	ResultRotated     = "rotated"
	ResultRolledBack  = "rolled-back"
	ResultRefused     = "refused"
	ResultQuarantined = "quarantined"
	ResultContained   = "contained"
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

// Key returns the Nats-Msg-Id: a rotation says each result once.
func (o Outcome) Key() string { return o.Rotation + "." + o.Result }

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
