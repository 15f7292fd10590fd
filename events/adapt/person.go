package adapt

import (
	"errors"
	"fmt"
	"slices"

	"github.com/openwhisk-rotator/rotator/events"
)

// An event holds this many identifiers, and no adapter looks at more of them than maxLooked.
const (
	maxIdentifiers = 16
	maxLooked      = 64
	maxName        = 2048
)

// person is whom identifiers name. An identifier that no event could hold is left out and kept apart: it must not let the leaver
// stay. from is the field that should have named somebody.
func (b *builder) person(from string, who ...events.Identifier) (p events.Person, ok bool) {
	told := false
	for i, id := range who {
		if naming(id) == "" || slices.Contains(p.Identifiers, id) {
			continue
		}
		if len(p.Identifiers) == maxIdentifiers || i == maxLooked {
			b.unread(from, fmt.Sprintf("names somebody in more than %d ways; the others are left out", maxIdentifiers))
			return p, len(p.Identifiers) > 0
		}
		if wrong := wrongIdentifier(id); wrong != "" {
			b.unread(from, wrong+"; it is left out")
			told = true
			continue
		}
		p.Identifiers = append(p.Identifiers, id)
	}
	if len(p.Identifiers) == 0 && !told {
		b.unread(from, "names nobody who could be looked for")
	}
	return p, len(p.Identifiers) > 0
}

// naming is the part of an identifier without which it names nobody.
func naming(i events.Identifier) string {
	switch i.Format {
	case "email":
		return i.Email
	case "iss_sub":
		return i.Sub
	case "account", "scim":
		return i.URI
	case "phone_number":
		return i.PhoneNumber
	}
	return i.ID
}

// wrongIdentifier says why an event could not hold an identifier. The rules are those of package events.
func wrongIdentifier(id events.Identifier) string {
	if n := len(id.Iss) + len(naming(id)) + len(id.ExternalID) + len(id.Company); n > maxName {
		return fmt.Sprintf("an identifier (%s) is longer than %d bytes", id.Format, maxName)
	}
	_, err := events.Encode(events.Event{ID: "1", Source: "urn:x", Kind: events.KindOffboarding, Offboarding: &events.Offboarding{Change: "deleted", Severity: "high",
		Person: events.Person{Identifiers: []events.Identifier{id}}, Upstream: events.Upstream{System: "x"}}})
	if bad, ok := errors.AsType[*events.InvalidError](err); ok && len(bad.Problems) > 0 {
		return fmt.Sprintf("an identifier (%s) %s", id.Format, bad.Problems[0].Text)
	}
	return ""
}
