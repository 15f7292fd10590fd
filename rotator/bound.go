package rotator

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openwhisk-rotator/rotator/events"
)

// Bounds on what a record and an outcome hold. NATS takes 1 MiB in one message, a host may refuse with a text of any length,
// and a failure stands in a record several times: at its target, as the last error, in a warning, in the receipt.
const (
	maxFailure    = 200       // bytes, of what is told of one target
	maxText       = 2000      // bytes, of a reason or a warning
	maxWarnings   = 40        // of one rotation
	maxListed     = 20        // members of a list in a text
	maxTold       = 64        // events and refusals of one receipt
	maxReceipt    = 320 << 10 // bytes of its text; an outcome has the text, escaped once more, and most of it again
	maxWritten    = 700 << 10 // bytes of a record
	outgrownPause = 10 * time.Minute
)

// clip shortens a text to n bytes of valid UTF-8.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= n {
		return s
	}
	const end = " ..."
	cut := n - len(end)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + end
}

// listed puts the members of a list into one text: the first of them, and how many more there are.
func listed(members []string) string {
	if more := len(members) - maxListed; more > 0 {
		return strings.Join(members[:maxListed], "; ") + fmt.Sprintf("; and %d more", more)
	}
	return strings.Join(members, "; ")
}

// trim bounds the texts of the rotation in hand. What is sealed already stays as it is.
func (r *Record) trim() {
	rot := r.Rotation
	if rot == nil {
		return
	}
	rot.LastError = clip(rot.LastError, maxText)
	rot.Warnings = trimmedWarnings(rot.Warnings)
	trimTargets(rot.Targets)
}

// trimmedWarnings keeps the first and the last of many: how it began, and what led to the present state.
func trimmedWarnings(ws []string) []string {
	var out []string
	for _, w := range ws {
		if w = clip(w, maxText); !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	if more := len(out) - maxWarnings; more > 0 {
		out = slices.Delete(out, maxWarnings/2, maxWarnings/2+more)
	}
	return out
}

func trimTargets(ts []TargetState) {
	for i := range ts {
		ts[i].Failure, ts[i].Dropped = clip(ts[i].Failure, maxFailure), clip(ts[i].Dropped, maxFailure)
	}
}

// fit bounds a receipt before it is sealed, so that the outcome which carries it fits into one message.
func (r Receipt) fit() Receipt {
	r.Reason, r.Warnings, r.Targets = clip(r.Reason, maxText), trimmedWarnings(r.Warnings), slices.Clone(r.Targets)
	trimTargets(r.Targets)
	if more := len(r.Refusals) - maxTold; more > 0 {
		r.Refusals = append(slices.Clone(r.Refusals[:maxTold]), Refusal{Reason: r.Refusals[maxTold].Reason, Text: fmt.Sprintf("and %d more", more)})
	}
	r.Refusals = slices.Clone(r.Refusals)
	for i := range r.Refusals {
		r.Refusals[i].Text, r.Refusals[i].Remedy = clip(r.Refusals[i].Text, maxText), clip(r.Refusals[i].Remedy, maxText)
	}
	if more := len(r.Events) - maxTold; more > 0 {
		r.Events = slices.SortedStableFunc(slices.Values(r.Events), func(a, b Waiting) int { return a.Stored.Compare(b.Stored) })[:maxTold]
		r.Warnings = append(r.Warnings, fmt.Sprintf("%d later events are not listed", more))
	}
	all := len(r.Targets)
	for raw, err := json.Marshal(r); err == nil && len(raw) > maxReceipt && r.halve(); {
		raw, err = json.Marshal(r)
	}
	if more := all - len(r.Targets); more > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%d targets are not listed: they do not fit into one message", more))
	}
	return r
}

// halve drops half of a list, targets without a failure first. It reports whether there was one.
func (r *Receipt) halve() bool {
	switch {
	case len(r.Targets) > maxListed:
		slices.SortStableFunc(r.Targets, func(a, b TargetState) int { return cmp.Compare(len(b.Failure+b.Dropped), len(a.Failure+a.Dropped)) })
		r.Targets = r.Targets[:len(r.Targets)/2]
	case len(r.Refusals) > 1:
		r.Refusals = r.Refusals[:len(r.Refusals)/2]
	case len(r.Warnings) > 1:
		r.Warnings = r.Warnings[len(r.Warnings)/2:]
	default:
		return false
	}
	return true
}

// forget drops what is least needed of a record that is too large: what older receipts list, the oldest of them, what the last
// one lists. The outcome stream has all of it. It reports whether there was anything.
func (r *Record) forget() bool {
	r.History = slices.Clone(r.History)
	n, dropped := len(r.History), false
	if n == 0 {
		return false
	}
	for i := range n - 1 {
		dropped = r.History[i].shorten() || dropped
	}
	switch {
	case dropped:
		return true
	case n > 1:
		r.History = r.History[n/2:]
		return true
	}
	return r.History[0].shorten()
}

// shorten leaves of a receipt what the next one refers to, and what the status shows. It reports whether there was more.
func (r *Receipt) shorten() bool {
	if r.Targets == nil && r.Warnings == nil && r.Refusals == nil {
		return false
	}
	r.Targets, r.Warnings, r.Refusals, r.Shortened = nil, nil, nil, true
	return true
}

// outgrown raises that what is to be written of a bundle does not fit into one message of NATS, and tells when to try again: at
// once would not help.
func (e *Engine) outgrown(ctx context.Context, bundle, rotation string, why error) time.Time {
	const remedy = "raise max_payload of the NATS servers to 1MB or more, or split the targets of the bundle"
	now := e.Now()
	e.Log.Error().Str("bundle", bundle).Err(why).Str("remedy", remedy).Msg("too large for NATS; it cannot go on")
	err := e.Outbox.Outcome(ctx, events.Outcome{Rotation: cmp.Or(rotation, bundle+"-record"), Bundle: bundle, Result: events.ResultDelayed, Finished: now.UTC().Truncate(time.Hour),
		Reason: clip(why.Error(), maxText), Remedy: remedy})
	if err != nil {
		e.report(e.Log, err, "raising that a record is too large")
	}
	return now.Add(outgrownPause)
}
