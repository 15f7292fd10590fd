package rotator

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// A ChainError says where the chain of a bundle's receipts is broken.
type ChainError struct {
	Bundle string
	Number int // of the receipt at which it shows
	Text   string
}

// Error is one line for people.
func (e *ChainError) Error() string {
	return fmt.Sprintf("receipt %d of %s: %s", e.Number, e.Bundle, e.Text)
}

// A Chain is what the published receipts of one bundle amount to.
type Chain struct {
	Bundle      string `json:"bundle"`
	First, Last int    `json:"-"`
	Hash        string `json:"hash,omitempty"` // of the last
	Gone        string `json:"gone,omitempty"` // why none of the receipts is kept any more
}

// An Archive says what the outcome stream has to have still. The zero Archive drops nothing.
type Archive struct {
	Now    time.Time
	MaxAge time.Duration // for which a message is kept; zero: for ever
	Oldest time.Time     // when the first of its messages was stored, of whatever bundle
	Full   bool          // it drops its oldest to make room
}

// dropped says why an outcome of this moment need not be kept any more; empty: it has to be there.
func (a Archive) dropped(at time.Time) string {
	const slack = time.Minute // clocks differ
	switch {
	case a.MaxAge > 0 && at.Add(a.MaxAge-slack).Before(a.Now):
		return fmt.Sprintf("the last receipt is of %s, and the stream keeps them for %s", at.UTC().Format(time.DateOnly), days(a.MaxAge))
	case a.Full && at.Add(-slack).Before(a.Oldest):
		return fmt.Sprintf("the last receipt is of %s, and the stream is full: it had to drop everything before %s", at.UTC().Format(time.DateOnly), a.Oldest.UTC().Format(time.DateTime))
	}
	return ""
}

func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}

// VerifyChain checks the receipts of one bundle in the order of the outcome stream: each text has its hash, says what the
// outcome says, and names the hash of the one before; the last is the one that the journal remembers. Outcomes of
// other bundles, alarms, and the same receipt again are skipped. The first receipts may be past the stream's retention, and
// those of a bundle that was not rotated for long may be so all together, which kept tells. The error, if any, is a *ChainError.
//
// What it proves: nobody who could write the outcomes alone, or the journal alone, has changed, dropped, added or reordered a
// receipt since. The hashes have no key: who can write both can make another chain that verifies. Against that, keep the newest
// hash somewhere else from time to time; a later chain has to lead to it.
func VerifyChain(bundle string, published []events.Outcome, journal *Receipt, kept Archive) (Chain, error) {
	c := Chain{Bundle: bundle}
	broken := func(number int, format string, a ...any) (Chain, error) {
		return c, &ChainError{Bundle: bundle, Number: number, Text: fmt.Sprintf(format, a...)}
	}
	for _, o := range published {
		if o.Bundle != bundle || !o.Final() || o.ReceiptHash == c.Hash && c.Last > 0 {
			continue
		}
		var r Receipt
		switch err := json.Unmarshal([]byte(o.Receipt), &r); {
		case err != nil:
			return broken(c.Last+1, "the outcome of rotation %s carries no readable receipt", o.Rotation)
		case hashOf(o.Receipt) != o.ReceiptHash:
			return broken(r.Number, "its text was changed: it does not have the hash it was published with")
		case r.Bundle != bundle || r.Rotation != o.Rotation || r.Result != o.Result:
			return broken(r.Number, "it is about another rotation than the outcome that carries it (%s)", o.Rotation)
		case c.Last > 0 && r.Number == 1 && r.Prev == "":
			return broken(r.Number, "it begins a new chain after number %d: the journal's record was deleted, or the receipt is not the rotator's", c.Last)
		case c.Last > 0 && r.Number != c.Last+1:
			return broken(r.Number, "it follows number %d: receipts are missing between them", c.Last)
		case c.Last > 0 && r.Prev != c.Hash, c.Last == 0 && r.Number == 1 && r.Prev != "":
			return broken(r.Number, "it does not name the hash of the receipt before")
		}
		if what := differs(o, r); what != "" {
			return broken(r.Number, "the outcome that carries it was changed: its %s differs from the receipt's", what)
		}
		if c.First == 0 {
			c.First = r.Number
		}
		c.Last, c.Hash = r.Number, o.ReceiptHash
	}
	switch {
	case journal == nil && c.Last > 0:
		return broken(c.Last, "the journal knows no receipt of this bundle: its record was deleted or replaced")
	case journal != nil && c.Last == 0:
		if c.Gone = kept.dropped(journal.Finished); c.Gone == "" {
			return broken(journal.Number, "the journal knows it, of %s, and the stream has none of this bundle although it had no reason to drop it: the receipts were deleted", journal.Finished.UTC().Format(time.DateTime))
		}
	case journal != nil && (journal.Number != c.Last || journal.Hash != c.Hash):
		return broken(journal.Number, "the journal's last receipt is not the last one published (number %d): the end of the chain was cut off or replaced", c.Last)
	}
	return c, nil
}

// differs names what an outcome says otherwise than the receipt in it.
func differs(o events.Outcome, r Receipt) string {
	r.Hash = o.ReceiptHash
	want := r.Outcome(r.Bundle)
	switch {
	case o.Kind != want.Kind:
		return "kind"
	case !slices.Equal(o.Events, want.Events):
		return "events"
	case !slices.Equal(o.Targets, want.Targets):
		return "targets"
	case o.KVVersionFrom != want.KVVersionFrom || o.KVVersionTo != want.KVVersionTo:
		return "KV version"
	case !o.Started.Equal(want.Started) || !o.Finished.Equal(want.Finished) || !o.Revoked.Equal(want.Revoked) || !o.ProvenDead.Equal(want.ProvenDead):
		return "time"
	case o.Reason != want.Reason || !slices.Equal(o.Warnings, want.Warnings):
		return "reason"
	}
	return ""
}
