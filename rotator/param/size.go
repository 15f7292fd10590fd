package param

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// Size measures the list as the host does before it answers 413: UTF-8 bytes of each key plus those of its
// value as compact JSON. Only escapes that JSON demands count, however the value happened to be written.
func (l List) Size() int {
	n := 0
	for _, e := range l {
		n += len(e.Key) + compactLen(e.Value.Reveal())
	}
	return n
}

func compactLen(raw []byte) int {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return len(raw)
	}
	return jsonLen(v)
}

func jsonLen(v any) int {
	switch t := v.(type) {
	case string:
		return stringLen(t)
	case json.Number:
		return len(t)
	case bool:
		if t {
			return len("true")
		}
		return len("false")
	case []any:
		n := max(len(t)-1, 0) + 2 // commas and brackets
		for _, x := range t {
			n += jsonLen(x)
		}
		return n
	case map[string]any:
		n := max(len(t)-1, 0) + 2
		for k, x := range t {
			n += stringLen(k) + 1 + jsonLen(x)
		}
		return n
	}
	return len("null")
}

func stringLen(s string) int {
	n := 2
	for _, r := range s {
		switch {
		case r == '"', r == '\\', r == '\b', r == '\f', r == '\n', r == '\r', r == '\t':
			n += 2
		case r < 0x20:
			n += 6 // \u00XX
		default:
			n += utf8.RuneLen(r)
		}
	}
	return n
}
