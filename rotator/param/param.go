// Package param is the parameter list of an OpenWhisk entity: parsing, set arithmetic and encoding.
//
// It guarantees that an entry nobody asked to change goes back as it came: the value's raw JSON, its
// `init` and `encryption` marks (also the legal `encryption:null`), and fields this package does not know.
// Lists are sets: the host returns them in any order, and so order never carries meaning here.
//
// Failure modes: Parse refuses what the host would refuse; its errors name the entry and its key, never a
// value. Only Encode reveals values.
package param

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// An Entry is one parameter with its marks. Encryption is the name of the algorithm that locked the value,
// or "" when it is in clear; a new value must go out without it, or the host stores it as if it were locked.
type Entry struct {
	Key        string
	Value      secret.Value
	Init       bool
	Encryption string

	wire wire
}

// wire is what the marks looked like beyond their meaning, so that they can be sent back the same.
type wire struct {
	init, nullEncryption, emptyEncryption bool
	extra                                 secret.Set // fields of a newer host; they may be anything, so they are secrets
}

// A List is the parameters of one entity, as a set with unique keys.
type List []Entry

// Get returns the entry with this key.
func (l List) Get(key string) (Entry, bool) {
	for _, e := range l {
		if e.Key == key {
			return e, true
		}
	}
	return Entry{}, false
}

// Keys returns all keys, sorted.
func (l List) Keys() []string { return slices.Sorted(maps.Keys(l.byKey())) }

// Own returns l without the entries that inherited holds with the same key, value and marks: what is left of
// a merged GET when the package's (or the binding provider's) parameters are taken away.
func (l List) Own(inherited List) List {
	from := inherited.byKey()
	var own List
	for _, e := range l {
		if i, ok := from[e.Key]; !ok || !e.equal(i) {
			own = append(own, e)
		}
	}
	return own
}

// With returns l with the changes in place of entries with the same key, or added. A change brings its own
// marks; every other entry is carried untouched.
func (l List) With(changes List) List {
	replaced := changes.byKey()
	next := make(List, 0, len(l)+len(changes))
	for _, e := range l {
		if _, ok := replaced[e.Key]; !ok {
			next = append(next, e)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(replaced)) {
		next = append(next, replaced[key])
	}
	return next
}

// Without returns l without these keys.
func (l List) Without(keys ...string) List {
	var rest List
	for _, e := range l {
		if !slices.Contains(keys, e.Key) {
			rest = append(rest, e)
		}
	}
	return rest
}

// Equal reports whether both hold the same keys with equal values and marks, in any order.
func (l List) Equal(o List) bool {
	a, b := l.byKey(), o.byKey()
	return maps.EqualFunc(a, b, Entry.equal)
}

// Missing returns the keys of o that l lacks, sorted: what would vanish if l were written over o.
func (l List) Missing(o List) []string {
	have := l.byKey()
	var missing []string
	for _, key := range o.Keys() {
		if _, ok := have[key]; !ok {
			missing = append(missing, key)
		}
	}
	return missing
}

// Encode returns the JSON array for a PUT body, sorted by key, with every value revealed as it was read.
func (l List) Encode() []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	entries := l.byKey()
	for i, key := range slices.Sorted(maps.Keys(entries)) {
		if i > 0 {
			b.WriteByte(',')
		}
		entries[key].encode(&b)
	}
	b.WriteByte(']')
	return b.Bytes()
}

// byKey indexes the list; of a repeated key the last entry wins, as it does on the host.
func (l List) byKey() map[string]Entry {
	m := make(map[string]Entry, len(l))
	for _, e := range l {
		m[e.Key] = e
	}
	return m
}

// equal compares key, value as JSON, and the meaning of the marks.
func (e Entry) equal(o Entry) bool {
	return e.Key == o.Key && e.Init == o.Init && e.Encryption == o.Encryption &&
		e.wire.emptyEncryption == o.wire.emptyEncryption &&
		e.Value.Equal(o.Value) && maps.EqualFunc(e.wire.extra, o.wire.extra, secret.Value.Equal)
}

func (e Entry) encode(b *bytes.Buffer) {
	b.WriteString(`{"key":`)
	b.Write(secret.FromText(e.Key).Reveal())
	b.WriteString(`,"value":`)
	b.Write(e.Value.Reveal())
	switch {
	case e.Init:
		b.WriteString(`,"init":true`)
	case e.wire.init:
		b.WriteString(`,"init":false`)
	}
	switch {
	case e.Encryption != "" || e.wire.emptyEncryption:
		b.WriteString(`,"encryption":`)
		b.Write(secret.FromText(e.Encryption).Reveal())
	case e.wire.nullEncryption:
		b.WriteString(`,"encryption":null`)
	}
	for _, name := range slices.Sorted(maps.Keys(e.wire.extra)) {
		b.WriteByte(',')
		b.Write(secret.FromText(name).Reveal())
		b.WriteByte(':')
		b.Write(e.wire.extra[name].Reveal())
	}
	b.WriteByte('}')
}

var _ json.Marshaler = List(nil)

// MarshalJSON gives keys and marks only: a list that lands in a log or a file by accident shows no value.
func (l List) MarshalJSON() ([]byte, error) {
	type shown struct {
		Key        string `json:"key"`
		Value      string `json:"value"`
		Init       bool   `json:"init,omitempty"`
		Encryption string `json:"encryption,omitempty"`
	}
	out := make([]shown, 0, len(l))
	for _, e := range l {
		out = append(out, shown{e.Key, secret.Redacted, e.Init, e.Encryption})
	}
	return json.Marshal(out)
}
