package adapt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// misread says which field of a document is not what it should be. It holds nothing of the document.
type misread struct{ field, text string }

func (m *misread) Error() string {
	if m.field == "" {
		return m.text
	}
	return m.field + ": " + m.text
}

func missing(field string) error { return &misread{field, "is missing"} }

// below puts a field into the one that it is a part of.
func below(outer string, err error) error {
	if m, ok := errors.AsType[*misread](err); ok {
		return &misread{join(outer, m.field), m.text}
	}
	return err
}

func join(outer, inner string) string {
	switch {
	case outer == "" || inner == "" || strings.HasPrefix(inner, "["):
		return outer + inner
	case strings.Contains(outer, " "): // "line 7"
		return outer + ", " + inner
	}
	return outer + "." + inner
}

// decode reads a whole document, and says nothing of its content when it cannot. A member of a type of its own (loose, ident,
// list, switched) says by its type what is let pass.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if err == nil {
		return nil
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &misread{text: fmt.Sprintf("it is no valid JSON after %d bytes", s.Offset)}
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // its field is a name of ours, not of the message
		is, _, _ := strings.Cut(t.Value, " ")
		return &misread{spelled(t.Field), "has another type than expected (" + is + ")"}
	}
	return &misread{text: "it has another shape than expected"}
}

// spelled writes the names of our structures as the sources write theirs.
func spelled(field string) string {
	parts := strings.Split(strings.ReplaceAll(field, ".[", "["), ".")
	for i, p := range parts {
		n := strings.IndexFunc(p, unicode.IsLower)
		if n < 0 {
			n = len(p)
		} else if n > 1 {
			n--
		}
		parts[i] = strings.ToLower(p[:n]) + p[n:]
	}
	return strings.Join(parts, ".")
}

// wrongType is what a type of ours answers when it cannot take a value.
func wrongType(raw []byte) *json.UnmarshalTypeError {
	return &json.UnmarshalTypeError{Value: kindOfJSON(raw), Type: reflect.TypeFor[string]()}
}

func kindOfJSON(raw []byte) string {
	switch raw = bytes.TrimSpace(raw); {
	case len(raw) == 0 || raw[0] == 'n':
		return "null"
	case raw[0] == '{':
		return "object"
	case raw[0] == '[':
		return "array"
	case raw[0] == '"':
		return "string"
	case raw[0] == 't' || raw[0] == 'f':
		return "bool"
	}
	return "number"
}

// loose is what only describes: where it has another type than expected it is as if it were not there.
type loose[T any] struct{ v T }

// UnmarshalJSON takes what fits.
func (l *loose[T]) UnmarshalJSON(raw []byte) error {
	_ = json.Unmarshal(raw, &l.v)
	return nil
}

// ident is an id: a text, or a number as it is written.
type ident string

// UnmarshalJSON reads either form.
func (i *ident) UnmarshalJSON(raw []byte) error {
	switch kindOfJSON(raw) {
	case "string":
		return json.Unmarshal(raw, (*string)(i))
	case "number":
		*i = ident(raw)
	case "null":
	default:
		return wrongType(raw)
	}
	return nil
}

// list is a list that says which of its elements is wrong.
type list[T any] []T

// UnmarshalJSON reads the elements one by one.
func (l *list[T]) UnmarshalJSON(raw []byte) error {
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return wrongType(raw)
	}
	*l = make([]T, len(all))
	for i, one := range all {
		err := json.Unmarshal(one, &(*l)[i])
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			t.Field = join(fmt.Sprintf("[%d]", i), t.Field)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// oneOrMany is a list, or one element that stands for a list of one.
type oneOrMany []json.RawMessage

// UnmarshalJSON reads either form.
func (o *oneOrMany) UnmarshalJSON(raw []byte) error {
	switch kindOfJSON(raw) {
	case "array":
		return json.Unmarshal(raw, (*[]json.RawMessage)(o))
	case "object":
		*o = oneOrMany{slices.Clone(raw)}
	case "null":
	default:
		return wrongType(raw)
	}
	return nil
}

// each reads the elements of a JSON list one by one. One that cannot be read is kept apart, and takes no other along.
func each[T any](b *builder, name string, all []json.RawMessage, do func(T)) {
	for i, raw := range all {
		b.next(fmt.Sprintf("%s[%d]", name, i))
		var one T
		err := decode(raw, &one)
		if err == nil && kindOfJSON(raw) == "null" {
			err = &misread{text: "is null"}
		}
		if err != nil {
			b.misread(err)
			continue
		}
		do(one)
	}
}
