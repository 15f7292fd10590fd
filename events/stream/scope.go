package stream

import (
	"path"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/events"
)

// Scopes are what publishers may say, by publisher. One that is not listed may say everything.
type Scopes map[string]Scope

// A Scope bounds the events of one publisher. An empty list bounds nothing.
type Scope struct {
	Sources []string // globs of the event's source; * stands for anything
	Kinds   []events.Kind
}

// Permit fails when the publisher of an event may not say it. The error repeats nothing of the event.
func (s Scopes) Permit(e events.Event) error {
	scope := s[e.Publisher]
	r := refusal{reason: string(events.ReasonPublisherMismatch), remedy: "correct the event, or what events.publishers allows this publisher"}
	switch {
	case len(scope.Kinds) > 0 && !slices.Contains(scope.Kinds, e.Kind):
		r.field, r.problem = "type", "events.publishers does not allow this publisher events of this kind"
	case len(scope.Sources) > 0 && !slices.ContainsFunc(scope.Sources, func(glob string) bool { return fits(glob, e.Source) }):
		r.field, r.problem = "source", "events.publishers does not allow this publisher to speak for this source"
	default:
		return nil
	}
	return r
}

// fits matches a glob in which * stands for slashes too: most sources are URLs.
func fits(glob, text string) bool {
	flat := strings.NewReplacer("/", "\x01")
	ok, err := path.Match(flat.Replace(glob), flat.Replace(text))
	return ok && err == nil
}
