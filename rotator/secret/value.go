// Package secret holds parameter values in a type that cannot be printed.
//
// A [Value] is one JSON value - a password, a key, a nested object - that must reach Vault and an
// OpenWhisk PUT body and nothing else. It is redacted under every fmt verb, in JSON, YAML and text,
// in structured logs, and also as an unexported field of another struct, where fmt never asks for a
// Formatter: the bytes sit behind a function, which prints as an address.
//
// The only ways out are [Value.Reveal] and [Value.Text]; both are named so that their call sites can
// be counted. What may be shown instead is a keyed fingerprint, see [Key].
//
// Failure modes: a Go program cannot promise to erase memory. Values live until the garbage
// collector reuses them; run the process without core dumps.
package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"strings"
)

// Redacted is what every printed form of a secret shows.
const Redacted = "[redacted]"

// Value is one JSON value that is never printed. The zero Value is "no value": it reveals JSON null.
type Value struct {
	open func() []byte // a func, so that reflection-based printers find an address, not bytes
}

// Set is a whole bundle or parameter list by key. It prints as redacted because its values do.
type Set map[string]Value

// FromJSON takes one JSON value. The error names no byte of the input.
func FromJSON(raw []byte) (Value, error) {
	raw = bytes.TrimSpace(raw)
	if !json.Valid(raw) {
		return Value{}, fmt.Errorf("parsing a secret value: not valid JSON (%d bytes)", len(raw))
	}
	return wrap(bytes.Clone(raw)), nil
}

// FromText takes a plain string, which becomes a JSON string.
func FromText(s string) Value {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return Value{} // a string always encodes
	}
	return wrap(bytes.TrimSpace(b.Bytes()))
}

func wrap(raw []byte) Value { return Value{open: func() []byte { return raw }} }

// Reveal returns the value as JSON bytes. The caller must not change, keep, log or wrap them in an error.
func (v Value) Reveal() []byte {
	if v.open == nil {
		return []byte("null")
	}
	return v.open()
}

// Text returns the plain text of a JSON string, and whether the value is one.
func (v Value) Text() (string, bool) {
	raw := v.Reveal()
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false
	}
	return s, true
}

// plain is the text of a string, or the canonical JSON of anything else: what fingerprints cover.
func (v Value) plain() []byte {
	if s, ok := v.Text(); ok {
		return []byte(s)
	}
	return canonical(v.Reveal())
}

// Len is the length of the JSON form in bytes.
func (v Value) Len() int { return len(v.Reveal()) }

// Blank reports a value that must never be bound: JSON null, or a string of nothing but white space.
func (v Value) Blank() bool {
	raw := v.Reveal()
	if bytes.Equal(raw, []byte("null")) {
		return true
	}
	s, ok := v.Text()
	return ok && strings.TrimSpace(s) == ""
}

// Equal compares as JSON does: object keys in any order, numbers by value, strings by characters.
func (v Value) Equal(o Value) bool {
	a, b := v.Reveal(), o.Reveal()
	return bytes.Equal(a, b) || bytes.Equal(canonical(a), canonical(b))
}

// Format redacts under every verb.
func (v Value) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, Redacted) }

// String redacts.
func (v Value) String() string { return Redacted }

// GoString redacts.
func (v Value) GoString() string { return Redacted }

// MarshalJSON redacts: a Value never reaches a body or a file by accident. Writers use Reveal.
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalText redacts.
func (v Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// canonical re-encodes JSON with sorted keys and normal numbers; invalid input comes back as it is.
func canonical(raw []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var x any
	if err := dec.Decode(&x); err != nil {
		return raw
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(normal(x)); err != nil {
		return raw
	}
	return bytes.TrimSpace(b.Bytes())
}

// normal rewrites every number inside x to one spelling, so that 1e2, 100 and 100.0 compare equal.
func normal(x any) any {
	switch t := x.(type) {
	case json.Number:
		return json.RawMessage(number(string(t)))
	case []any:
		for i := range t {
			t[i] = normal(t[i])
		}
	case map[string]any:
		for k := range t {
			t[k] = normal(t[k])
		}
	}
	return x
}

// number writes a decimal as <digits>e<exponent> without trailing zeros; it never expands the exponent,
// so a hostile 1e999999999 costs nothing.
func number(s string) string {
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	exp := new(big.Int)
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		exp.SetString(strings.TrimPrefix(s[i+1:], "+"), 10)
		s = s[:i]
	}
	if whole, frac, ok := strings.Cut(s, "."); ok {
		exp.Sub(exp, big.NewInt(int64(len(frac))))
		s = whole + frac
	}
	s = strings.TrimLeft(s, "0")
	digits := strings.TrimRight(s, "0")
	if digits == "" {
		return "0"
	}
	exp.Add(exp, big.NewInt(int64(len(s)-len(digits))))
	if neg {
		digits = "-" + digits
	}
	return digits + "e" + exp.String()
}
