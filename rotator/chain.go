package rotator

import (
	"encoding/json"
	"fmt"

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
}

// VerifyChain checks the receipts of one bundle in the order of the outcome stream: each text has its hash, says what the
// outcome says, and names the hash of the one before; the last is the one that the journal remembers. Outcomes of
// other bundles, alarms, and the same receipt again are skipped. The first receipts may be past the stream's retention.
// The error, if any, is a *ChainError.
func VerifyChain(bundle string, published []events.Outcome, journal *Receipt) (Chain, error) {
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
		case c.Last > 0 && r.Number != c.Last+1:
			return broken(r.Number, "it follows number %d: receipts are missing between them", c.Last)
		case c.Last > 0 && r.Prev != c.Hash, c.Last == 0 && r.Number == 1 && r.Prev != "":
			return broken(r.Number, "it does not name the hash of the receipt before")
		}
		if c.First == 0 {
			c.First = r.Number
		}
		c.Last, c.Hash = r.Number, o.ReceiptHash
	}
	switch {
	case journal == nil && c.Last > 0:
		return broken(c.Last, "the journal knows no receipt of this bundle")
	case journal != nil && (journal.Number != c.Last || journal.Hash != c.Hash):
		return broken(journal.Number, "the journal's last receipt is not the last one published (number %d): the end of the chain was cut off or replaced", c.Last)
	}
	return c, nil
}
