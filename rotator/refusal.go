package rotator

import (
	"fmt"
	"slices"
	"strings"
)

// A Reason says why a rotation is refused before it has any effect. The set is closed.
type Reason string

// Why a rotation is refused.
const (
	MissingBundle  Reason = "missing-bundle"       // the secret has no readable version
	BlankValue     Reason = "blank-value"          // a key is null or empty
	NoCredential   Reason = "nothing-to-mint"      // the bundle lists no credential
	MissingTarget  Reason = "missing-target"       // a PUT would fail, or create it
	SequenceTarget Reason = "sequence"             // a PUT is answered 200 and ignored
	BelowBinding   Reason = "below-binding"        // actions are written where they live
	OldRuntime     Reason = "deprecated-runtime"   // the host refuses every update
	NoPermission   Reason = "no-permission"        // the key may not read or write the target
	TooLarge       Reason = "too-large"            // the set is over the host's limit
	KeysVanish     Reason = "keys-would-vanish"    // values are hidden, so carrying them over is not safe
	KeyCollision   Reason = "key-collision"        // two bundles, or two keys, deliver one parameter
	BadTemplate    Reason = "template"             // a composed value cannot be built
	ProbeFailed    Reason = "candidate-not-usable" // what Vault minted was not accepted, several times
	Cancelled      Reason = "cancelled"            // an operator decided so before anything was written
	MarkChanges    Reason = "mark-would-change"    // an edit by hand would turn environment into an ordinary parameter, or the reverse
)

// A Refusal is one reason with what it is about and what to do.
type Refusal struct {
	Reason Reason   `json:"reason"`
	Target *Ref     `json:"target,omitempty"`
	Keys   []string `json:"keys,omitempty"`
	Text   string   `json:"text"`
	Remedy string   `json:"remedy"`
}

// String is one line for people.
func (r Refusal) String() string {
	var b strings.Builder
	if r.Target != nil {
		fmt.Fprintf(&b, "%s: ", r.Target)
	}
	fmt.Fprintf(&b, "%s (%s)", r.Text, r.Reason)
	if r.Remedy != "" {
		fmt.Fprintf(&b, "; %s", r.Remedy)
	}
	return b.String()
}

// RefusedError carries every refusal of a plan; nothing was changed.
type RefusedError struct{ Refusals []Refusal }

// Error lists the refusals.
func (e *RefusedError) Error() string {
	lines := make([]string, len(e.Refusals))
	for i, r := range e.Refusals {
		lines[i] = r.String()
	}
	return "refused: " + strings.Join(lines, "; ")
}

func about(ref Ref, reason Reason, remedy, format string, a ...any) Refusal {
	return Refusal{Reason: reason, Target: &ref, Text: fmt.Sprintf(format, a...), Remedy: remedy}
}

// names writes a short, sorted, quoted list.
func names(keys []string) string {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	if len(keys) > 12 {
		return fmt.Sprintf("%s and %d more", strings.Join(keys[:12], ", "), len(keys)-12)
	}
	return strings.Join(keys, ", ")
}
