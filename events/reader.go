package events

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// reader collects every problem of one event, so the sender sees them all at once.
type reader struct {
	problems []Problem
}

func (r *reader) add(reason Reason, field, text, remedy string) {
	r.problems = append(r.problems, Problem{Reason: reason, Field: field, Text: text, Remedy: remedy})
}

func (r *reader) invalid(field, text string) {
	r.add(ReasonInvalidField, field, text, "")
}

// object reads the members of one JSON object and remembers which it knows.
type object struct {
	r     *reader
	path  string
	node  node
	known []string
}

// object opens a node as an object; nil, with a problem, when it is something else.
func (r *reader) object(path string, n node) *object {
	if n.kind != objectNode {
		r.invalid(path, "must be an object")
		return nil
	}
	return &object{r: r, path: path, node: n}
}

func (o *object) at(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

// take finds a member, marks its name as known, and reports a required one that is absent.
func (o *object) take(name string, required bool) (node, bool) {
	o.known = append(o.known, name)
	for _, m := range o.node.members {
		if m.name == name {
			return m.value, true
		}
	}
	if required {
		o.r.add(ReasonMissingField, o.at(name), "is required", "")
	}
	return node{}, false
}

// sub opens a member as an object; nil when it is absent or something else.
func (o *object) sub(name string, required bool) *object {
	n, ok := o.take(name, required)
	if !ok {
		return nil
	}
	return o.r.object(o.at(name), n)
}

// list returns the items of an array member.
func (o *object) list(name string, required bool, atLeast, atMost int) []node {
	n, ok := o.take(name, required)
	if !ok {
		return nil
	}
	if n.kind != arrayNode {
		o.r.invalid(o.at(name), "must be an array")
		return nil
	}
	if len(n.items) < atLeast || len(n.items) > atMost {
		o.r.invalid(o.at(name), fmt.Sprintf("must have %d to %d items", atLeast, atMost))
		return nil
	}
	return n.items
}

// textRule says what a string may be; the zero rule allows every string.
type textRule struct {
	min, max int // in characters; max 0 is no limit
	enum     []string
	pattern  *regexp.Regexp
	check    func(string) bool
	looks    string // the pattern or the check in words
}

func (t textRule) wrong(s string) string {
	switch length := utf8.RuneCountInString(s); {
	case length < t.min:
		return "must not be empty"
	case t.max > 0 && length > t.max:
		return fmt.Sprintf("must have at most %d characters", t.max)
	case t.enum != nil && !slices.Contains(t.enum, s):
		return "must be one of " + strings.Join(t.enum, ", ")
	case t.pattern != nil && !t.pattern.MatchString(s), t.check != nil && !t.check(s):
		return "must be " + t.looks
	}
	return ""
}

// text reads a string member; "" when it is absent or wrong.
func (o *object) text(name string, required bool, rule textRule) string {
	n, ok := o.take(name, required)
	if !ok {
		return ""
	}
	if n.kind != stringNode {
		o.r.invalid(o.at(name), "must be a string")
		return ""
	}
	if wrong := rule.wrong(n.text); wrong != "" {
		o.r.invalid(o.at(name), wrong)
		return ""
	}
	return n.text
}

// integer reads a whole number member of at least the given size.
func (o *object) integer(name string, atLeast int) int {
	n, ok := o.take(name, false)
	if !ok {
		return 0
	}
	v, whole := wholeNumber(n)
	if !whole || v < atLeast {
		o.r.invalid(o.at(name), fmt.Sprintf("must be a whole number of at least %d", atLeast))
		return 0
	}
	return v
}

// moment reads an RFC 3339 member in UTC; the zero time when it is absent or wrong.
func (o *object) moment(name string, required bool) time.Time {
	return o.momentThat(name, required, nil)
}

// stamp reads a time of the envelope. It takes only what the CloudEvents SDK
// takes too: no small letters and no leap second.
func (o *object) stamp(name string, required bool) time.Time {
	return o.momentThat(name, required, func(s string) bool {
		_, err := time.Parse(time.RFC3339Nano, s)
		return err == nil
	})
}

func (o *object) momentThat(name string, required bool, check func(string) bool) time.Time {
	s := o.text(name, required, textRule{pattern: momentPattern, check: check, looks: momentLooks})
	if s == "" {
		return time.Time{}
	}
	t, ok := parseMoment(s)
	if !ok {
		o.r.invalid(o.at(name), "must be "+momentLooks)
	}
	return t
}
