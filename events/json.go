package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is far above what any schema needs, so it only stops abuse.
const maxDepth = 16

// node is one parsed JSON value that remembers what a Go map forgets.
type node struct {
	kind    nodeKind
	text    string // the string, or the digits of a number
	members []member
	items   []node
}

type member struct {
	name  string
	value node
}

type nodeKind int

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	stringNode
	arrayNode
	objectNode
)

// parseJSON reads exactly one JSON value and refuses what parsers disagree on:
// repeated or empty member names, trailing data, bad UTF-8, half a surrogate
// pair, deep nesting.
func parseJSON(body []byte) (node, *Problem) {
	switch {
	case !utf8.Valid(body):
		return node{}, malformed("is not valid UTF-8")
	case bytes.HasPrefix(body, []byte("\ufeff")):
		return node{}, malformed("starts with a byte order mark")
	case !json.Valid(body):
		return node{}, malformed("is not one JSON document")
	case loneSurrogate(body):
		return node{}, malformed("has half of a surrogate pair")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	return parseValue(dec, 0)
}

func malformed(text string) *Problem {
	return &Problem{Reason: ReasonMalformed, Text: "the message " + text,
		Remedy: "send exactly one JSON object, with each member name once"}
}

func parseValue(dec *json.Decoder, depth int) (node, *Problem) {
	if depth > maxDepth {
		return node{}, malformed(fmt.Sprintf("is nested deeper than %d levels", maxDepth))
	}
	tok, err := dec.Token()
	if err != nil {
		return node{}, malformed("is not one JSON document")
	}
	switch t := tok.(type) {
	case json.Delim:
		if t == '{' {
			return parseObject(dec, depth)
		}
		return parseArray(dec, depth)
	case string:
		return node{kind: stringNode, text: t}, nil
	case json.Number:
		return node{kind: numberNode, text: t.String()}, nil
	case bool:
		return node{kind: boolNode}, nil
	}
	return node{kind: nullNode}, nil
}

func parseObject(dec *json.Decoder, depth int) (node, *Problem) {
	out := node{kind: objectNode}
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		name, ok := tok.(string)
		switch {
		case err != nil || !ok:
			return node{}, malformed("is not one JSON document")
		case name == "":
			return node{}, malformed("has an empty member name")
		case seen[name]:
			return node{}, malformed("has the same member name twice in one object")
		}
		seen[name] = true
		value, problem := parseValue(dec, depth+1)
		if problem != nil {
			return node{}, problem
		}
		out.members = append(out.members, member{name, value})
	}
	return out, closing(dec)
}

func parseArray(dec *json.Decoder, depth int) (node, *Problem) {
	out := node{kind: arrayNode}
	for dec.More() {
		value, problem := parseValue(dec, depth+1)
		if problem != nil {
			return node{}, problem
		}
		out.items = append(out.items, value)
	}
	return out, closing(dec)
}

func closing(dec *json.Decoder) *Problem {
	if _, err := dec.Token(); err != nil {
		return malformed("is not one JSON document")
	}
	return nil
}

// loneSurrogate finds a \u escape that is no character by itself. Parsers read
// it in several ways; Go's makes all of them one character, so that two ids would become one.
func loneSurrogate(body []byte) bool {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		i++ // at the letter of the escape
		first, ok := escaped(body[i:])
		if !ok {
			continue
		}
		i += 4
		if !utf16.IsSurrogate(first) {
			continue
		}
		if i+2 >= len(body) || body[i+1] != '\\' {
			return true
		}
		second, ok := escaped(body[i+2:])
		if !ok || utf16.DecodeRune(first, second) == utf8.RuneError {
			return true
		}
		i += 6
	}
	return false
}

// escaped reads the uXXXX of an escape.
func escaped(s []byte) (rune, bool) {
	if len(s) < 5 || s[0] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(s[1:5]), 16, 16)
	return rune(v), err == nil
}
