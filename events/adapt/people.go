package adapt

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// A logEvent is one of Okta's system log.
type logEvent struct {
	UUID, Published loose[string]
	EventType       string
	Outcome         struct{ Result string }
	Actor           loose[struct{ Type string }]
	Target          list[struct{ ID, Type, AlternateID string }]
}

// okta reads event hooks, which hold several events, and single events of the system log.
func okta(b *builder, in Native) error {
	var m struct {
		EventType loose[string]
		Source    loose[string]
		Data      struct{ Events []json.RawMessage }
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	issuer := in.Origin
	if u, err := url.Parse(m.Source.v); err == nil && u.Host != "" {
		issuer = u.Scheme + "://" + u.Host
	}
	switch {
	case len(m.Data.Events) > 0:
		each(b, "data.events", m.Data.Events, func(raw json.RawMessage) {
			if err := b.logged(raw, issuer); err != nil {
				b.misread(err)
			}
		})
		return nil
	case m.EventType.v != "":
		b.next("")
		return b.logged(in.Body, issuer)
	}
	return fmt.Errorf("%w: data.events and eventType are missing", ErrForeign)
}

// logged adds somebody of whom Okta's log says that they are gone.
func (b *builder) logged(raw json.RawMessage, issuer string) error {
	var kind struct{ EventType string }
	if err := decode(raw, &kind); err != nil {
		return err
	}
	change := map[string]string{"user.lifecycle.deactivate": "deactivated", "user.lifecycle.suspend": "suspended", "user.lifecycle.delete.initiated": "deleted"}[kind.EventType]
	switch {
	case kind.EventType == "":
		return missing("eventType")
	case change == "":
		b.ignore(clip(kind.EventType, 64) + " rotates nothing")
		return nil
	}
	var l logEvent
	if err := decode(raw, &l); err != nil {
		return err
	}
	switch {
	case l.Outcome.Result == "":
		return missing("outcome.result")
	case l.Outcome.Result != "SUCCESS":
		b.ignore(l.EventType + " did not succeed")
		return nil
	}
	at := slices.IndexFunc(l.Target, func(t struct{ ID, Type, AlternateID string }) bool { return t.Type == "User" })
	if at < 0 { // the actor is the administrator
		return &misread{"target", "names no user"}
	}
	t := l.Target[at]
	who := []events.Identifier{{Format: "opaque", ID: t.ID}}
	if issuer != "" {
		who[0] = events.Identifier{Format: "iss_sub", Iss: issuer, Sub: t.ID}
	}
	if strings.Contains(t.AlternateID, "@") {
		who = append(who, events.Identifier{Format: "email", Email: t.AlternateID})
	}
	person, ok := b.person(fmt.Sprintf("target[%d]", at), who...)
	if !ok {
		return nil
	}
	b.event(events.Event{ID: or(l.UUID.v, digest(string(raw))), Source: or(issuer, "urn:okta"), Time: when(l.Published.v), Offboarding: &events.Offboarding{Change: change, Severity: "high", Reason: l.EventType,
		Person: person, InitiatedBy: map[bool]string{true: "admin", false: "system"}[l.Actor.v.Type == "User"], Upstream: events.Upstream{System: "okta", ID: l.UUID.v, Type: l.EventType}}})
	return nil
}

const (
	risc = "https://schemas.openid.net/secevent/risc/event-type/"
	prov = "urn:ietf:params:scim:event:prov:"
)

// subject is a subject identifier in any of its three shapes.
type subject struct {
	simple
	User        *subject
	Identifiers list[simple] // aliases
}

// person is the human part of a subject; a device or a session alone is none.
func (s subject) person() (out []events.Identifier) {
	switch {
	case s.User != nil:
		return s.User.person()
	case s.format() == "aliases":
		for _, one := range s.Identifiers {
			out = append(out, one.person()...)
		}
		return out
	}
	return s.simple.person()
}

// simple is a subject that has no parts.
type simple struct {
	Format, Iss, Sub, Email, URI, ID string
	Phone                            string `json:"phone_number"`
	External                         string `json:"externalId"`
	SubjectType                      string `json:"subject_type"`
}

func (s simple) format() string { return or(s.Format, strings.ReplaceAll(s.SubjectType, "-", "_")) }

func (s simple) person() []events.Identifier {
	switch s.format() {
	case "iss_sub":
		return []events.Identifier{{Format: "iss_sub", Iss: s.Iss, Sub: s.Sub}}
	case "id_token_claims": // any of what an ID token says
		return []events.Identifier{{Format: "iss_sub", Iss: s.Iss, Sub: s.Sub}, {Format: "email", Email: s.Email}, {Format: "phone_number", PhoneNumber: s.Phone}}
	case "email":
		return []events.Identifier{{Format: "email", Email: s.Email}}
	case "account":
		return []events.Identifier{{Format: "account", URI: s.URI}}
	case "opaque":
		return []events.Identifier{{Format: "opaque", ID: s.ID}}
	case "scim":
		return []events.Identifier{{Format: "scim", URI: s.URI, ExternalID: s.External}}
	case "phone_number":
		return []events.Identifier{{Format: "phone_number", PhoneNumber: s.Phone}}
	}
	return nil
}

// A securityEvent is what a Security Event Token says below the name of an event.
type securityEvent struct {
	Subject    json.RawMessage
	Reason     loose[string]
	Type       loose[string]  `json:"credential_type"`
	At         loose[float64] `json:"event_timestamp"`
	Initiating loose[string]  `json:"initiating_entity"`
	Status     loose[string]
}

// ssf reads the claims of a Security Event Token: RISC and SCIM events. CAEP's are no departures.
func ssf(b *builder, in Native) error {
	var m struct {
		Iss, Jti loose[string]
		Iat, Toe loose[float64]
		SubID    json.RawMessage `json:"sub_id"`
		Events   map[string]loose[securityEvent]
	}
	if strings.HasPrefix(string(in.Body), "eyJ") {
		return errors.New("it is a signed token, whose signature cannot be checked here: send its claims")
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	if len(m.Events) != 1 {
		return &misread{"events", "must hold exactly one event"}
	}
	b.next("")
	for uri, e := range m.Events {
		at := cmp.Or(m.Toe.v, e.v.At.v, m.Iat.v) // when it happened, before when the token was made
		ev := events.Event{ID: or(m.Jti.v, digest(string(in.Body))), Source: or(m.Iss.v, "urn:ssf"), Time: moment(at)}
		return b.security(uri, e.v, ev, m.SubID)
	}
	return nil
}

// moment reads seconds, or milliseconds as early drafts had them.
func moment(at float64) time.Time {
	if at > 1e11 {
		at /= 1000
	}
	if !(at > 0 && at < 1e11) {
		return time.Time{}
	}
	return time.Unix(int64(at), 0).UTC()
}

func (b *builder) security(uri string, e securityEvent, ev events.Event, sub json.RawMessage) error {
	lower := strings.ToLower(uri)
	change := map[string]string{risc + "account-disabled": "deactivated", risc + "account-purged": "deleted", prov + "deactivate": "deactivated", prov + "delete": "deleted"}[lower]
	switch {
	case strings.HasSuffix(lower, "/ssf/event-type/stream-updated") && e.Status.v != "enabled":
		b.alarm("the transmitter has stopped this stream; leavers are missed until it is enabled again")
		return nil
	case change == "" && lower != risc+"credential-compromise":
		b.ignore(clip(uri[strings.LastIndexAny(uri, "/:")+1:], 64) + " rotates nothing")
		return nil
	}
	field := "sub_id"
	if kindOfJSON(sub) == "null" {
		field, sub = "events.*.subject", e.Subject
	}
	if kindOfJSON(sub) == "null" {
		return missing("sub_id")
	}
	var s subject
	if err := decode(sub, &s); err != nil {
		return below(field, err)
	}
	who := s.person()
	switch {
	case len(who) == 0 && s.format() == "complex" && s.User == nil:
		b.ignore("its subject is no person")
		return nil
	case len(who) == 0:
		return &misread{join(field, "format"), "is none that names a person"}
	}
	person, ok := b.person(field, who...)
	if !ok {
		return nil
	}
	up := events.Upstream{System: "ssf", ID: ev.ID, Type: uri}
	if change == "" {
		ev.Leak = &events.Leak{Severity: "high", Reason: "credential_compromise", Credential: events.Credential{SecretType: "risc:" + or(e.Type.v, "unknown")}, Upstream: up, Person: &person}
	} else {
		ev.Offboarding = &events.Offboarding{Person: person, Change: change, Severity: "high", Reason: or(e.Reason.v, lower[strings.LastIndexAny(lower, "/:")+1:]), InitiatedBy: known(e.Initiating.v), Upstream: up}
		if e.Reason.v == "hijacking" {
			ev.Offboarding.Severity = "critical"
		}
	}
	b.event(ev)
	return nil
}

// known is an initiating entity in our words.
func known(entity string) string {
	if slices.Contains([]string{"admin", "user", "policy", "system"}, entity) {
		return entity
	}
	return "unknown"
}
