package whisktest

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
)

// entry is one parameter or annotation as the host keeps it. It has its own parser on purpose: a mistake in the
// client's must not be repeated here.
type entry struct {
	key        string
	value      json.RawMessage
	init       bool
	encryption string
}

var errMalformed = errors.New("parameters malformed")

// parseEntries is Parameter.scala's serdes.read.
func parseEntries(raw json.RawMessage) ([]entry, error) {
	var items []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil || bytes.Equal(raw, []byte("null")) {
		return nil, errMalformed
	}
	var out []entry
	for _, item := range items {
		e, err := parseEntry(item)
		if err != nil {
			return nil, err
		}
		out = setEntry(out, e)
	}
	return out, nil
}

func parseEntry(item map[string]json.RawMessage) (entry, error) {
	var e entry
	value, hasValue := item["value"]
	init, hasInit := item["init"]
	encryption, hasEncryption := item["encryption"]
	isNull := func(raw json.RawMessage) bool { return string(raw) == "null" }
	switch {
	case item["key"] == nil, isNull(item["key"]), json.Unmarshal(item["key"], &e.key) != nil, !hasValue:
		return e, errMalformed
	case hasInit && (isNull(init) || json.Unmarshal(init, &e.init) != nil):
		return e, errMalformed
	case hasEncryption && isNull(encryption) && !hasInit:
		return e, errMalformed
	case hasEncryption && json.Unmarshal(encryption, &e.encryption) != nil:
		return e, errMalformed
	}
	e.value = compact(value)
	return e, nil
}

func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

// setEntry replaces by key, or adds.
func setEntry(list []entry, e entry) []entry {
	for i := range list {
		if list[i].key == e.key {
			list[i] = e
			return list
		}
	}
	return append(list, e)
}

func dropEntry(list []entry, key string) []entry {
	return slices.DeleteFunc(slices.Clone(list), func(e entry) bool { return e.key == key })
}

func findEntry(list []entry, key string) (entry, bool) {
	i := slices.IndexFunc(list, func(e entry) bool { return e.key == key })
	if i < 0 {
		return entry{}, false
	}
	return list[i], true
}

// merge lets later lists win.
func merge(lists ...[]entry) []entry {
	var out []entry
	for _, l := range lists {
		for _, e := range l {
			out = setEntry(out, e)
		}
	}
	return out
}

// size is what the controller measures.
func size(list []entry) int {
	n := 0
	for _, e := range list {
		var b bytes.Buffer
		var v any
		dec := json.NewDecoder(bytes.NewReader(e.value))
		dec.UseNumber()
		_ = dec.Decode(&v)
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(v)
		n += len(e.key) + b.Len() - 1
	}
	return n
}

type shownEntry struct {
	Key        string          `json:"key"`
	Value      json.RawMessage `json:"value"`
	Init       bool            `json:"init,omitempty"`
	Encryption string          `json:"encryption,omitempty"`
}

// show renders entries in any order: above four entries the controller keeps none.
func show(list []entry) []shownEntry {
	out := make([]shownEntry, 0, len(list))
	for _, e := range list {
		out = append(out, shownEntry{e.key, e.value, e.init, e.encryption})
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return bytes.Equal(a, b)
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}
