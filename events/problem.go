package events

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Reason classifies a refusal; it is a closed set and each is one NATS subject token.
type Reason string

// The reasons, the most important first.
const (
	ReasonRawSecret         Reason = "raw-secret"
	ReasonTooLarge          Reason = "too-large"
	ReasonMalformed         Reason = "malformed"
	ReasonNotCloudEvent     Reason = "not-cloudevent"
	ReasonPublisherMismatch Reason = "publisher-mismatch"
	ReasonUnknownType       Reason = "unknown-type"
	ReasonUnknownField      Reason = "unknown-field"
	ReasonMissingField      Reason = "missing-field"
	ReasonInvalidField      Reason = "invalid-field"
	ReasonFuture            Reason = "future"
)

func (r Reason) rank() int {
	return slices.Index([]Reason{
		ReasonRawSecret, ReasonTooLarge, ReasonMalformed, ReasonNotCloudEvent, ReasonPublisherMismatch,
		ReasonUnknownType, ReasonUnknownField, ReasonMissingField, ReasonInvalidField, ReasonFuture,
	}, r)
}

// Problem is one thing wrong with an event; no part of it is copied from the payload.
type Problem struct {
	Reason Reason
	// Field is where, like data.credential.fingerprints[0].value; empty means the whole message.
	Field  string
	Text   string
	Remedy string
}

func (p Problem) String() string {
	s := p.Text
	if p.Field != "" {
		s = p.Field + ": " + s
	}
	if p.Remedy != "" {
		s += " (" + p.Remedy + ")"
	}
	return s
}

// InvalidError lists everything wrong with a refused event; it is safe to log and to publish.
type InvalidError struct {
	Problems []Problem
}

// The limits keep a hostile message from filling the log.
const (
	maxProblems = 64
	maxInText   = 12
)

// Error describes the problems, the most important first.
func (e *InvalidError) Error() string {
	lines := make([]string, 0, maxInText)
	for _, p := range e.Problems[:min(len(e.Problems), maxInText)] {
		lines = append(lines, p.String())
	}
	if more := len(e.Problems) - maxInText; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("event refused (%s): %s", e.Reason(), strings.Join(lines, "; "))
}

// Reason returns the most important reason of all the problems.
func (e *InvalidError) Reason() Reason {
	if len(e.Problems) == 0 {
		return ReasonMalformed
	}
	return slices.MinFunc(e.Problems, byRank).Reason
}

func byRank(a, b Problem) int { return cmp.Compare(a.Reason.rank(), b.Reason.rank()) }

// refuse makes an error out of the problems, nil out of none.
func refuse(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	sorted := slices.Clone(problems)
	slices.SortStableFunc(sorted, byRank)
	return &InvalidError{Problems: sorted[:min(len(sorted), maxProblems)]}
}
