package config

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
)

var publisher = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// publishers are names, or mappings that say what a name may say.
func (s *section) publishers() (names []string, scopes stream.Scopes) {
	list, _ := s.field("publishers")
	for _, v := range list.items() {
		at, scope := v, (*stream.Scope)(nil)
		if isMapping(v.node) {
			at, scope = v.scope()
		}
		name, ok := at.scalar()
		switch {
		case !ok:
		case !publisher.MatchString(name):
			at.fail(fmt.Sprintf("%q is no publisher name", show(name)), "a publisher is one token of a NATS subject: letters, digits, _ and -")
		case slices.Contains(names, name):
			at.fail(fmt.Sprintf("publisher %q is there twice", show(name)), "keep one of them")
		default:
			names = append(names, name)
			if scope == nil {
				continue
			}
			if scopes == nil {
				scopes = make(stream.Scopes)
			}
			scopes[name] = *scope
		}
	}
	return names, scopes
}

// scope is one publisher with its bounds; name is where its name stands.
func (v value) scope() (name value, scope *stream.Scope) {
	s := v.section()
	defer s.done()
	scope = &stream.Scope{Sources: s.words("sources")}
	for _, glob := range scope.Sources {
		if _, err := path.Match(glob, ""); err != nil {
			at, _ := s.field("sources")
			at.fail(fmt.Sprintf("%q is no pattern", show(glob)), "* stands for anything, ? for one character, [ab] for one of them")
		}
	}
	for _, k := range s.oneOf("kinds", kindNames()...) {
		scope.Kinds = append(scope.Kinds, events.Kind(k))
	}
	name, _ = s.require("name", "write the publisher's token of the NATS subject")
	return name, scope
}

func kindNames() []string { return []string{"leak", "offboarding", "expiring", "manual"} }

// checkTaps reports mapped subjects whose messages would all be refused: their publisher is the source.
func checkTaps(top *section, publishers []string, in Intake) {
	if len(publishers) == 0 {
		return
	}
	subjects := top.sub("intake").sub("subjects")
	for _, subject := range slices.Sorted(maps.Keys(in.Subjects)) {
		source := in.Subjects[subject]
		webhook := slices.ContainsFunc(in.Sources, func(s IntakeSource) bool { return s.Name == source })
		if at, ok := subjects.field(subject); ok && !webhook && !slices.Contains(publishers, source) {
			at.fail(fmt.Sprintf("events.publishers does not list %q, so whatever comes on this subject would be refused", show(source)),
				"the publisher of these messages is their source: add it to events.publishers")
		}
	}
}
