package adapt

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// okta reads event hooks, which hold several events, and single events of the system log.
func okta(b *builder, in Native) error {
	type log struct {
		UUID, EventType, Published string
		Outcome                    struct{ Result string }
		Actor                      struct{ Type string }
		Target                     []struct{ ID, Type, AlternateID string }
	}
	var m struct {
		log
		Source string
		Data   struct{ Events []json.RawMessage }
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	issuer := in.Origin
	if u, err := url.Parse(m.Source); err == nil && u.Host != "" {
		issuer = u.Scheme + "://" + u.Host
	}
	one := func(l log) {
		change := map[string]string{"user.lifecycle.deactivate": "deactivated", "user.lifecycle.suspend": "suspended", "user.lifecycle.delete.initiated": "deleted"}[l.EventType]
		switch {
		case change == "":
			b.ignore(clip(or(l.EventType, "an event without a type"), 64) + " rotates nothing")
			return
		case l.Outcome.Result != "SUCCESS":
			b.ignore(l.EventType + " did not succeed")
			return
		}
		o := &events.Offboarding{Change: change, Severity: "high", Reason: l.EventType, InitiatedBy: map[bool]string{true: "admin", false: "system"}[l.Actor.Type == "User"],
			Upstream: events.Upstream{System: "okta", ID: l.UUID, Type: l.EventType}}
		for _, t := range l.Target { // the actor is the administrator
			if t.Type != "User" {
				continue
			}
			if issuer != "" {
				o.Person.Identifiers = append(o.Person.Identifiers, events.Identifier{Format: "iss_sub", Iss: issuer, Sub: t.ID})
			} else {
				o.Person.Identifiers = append(o.Person.Identifiers, events.Identifier{Format: "opaque", ID: t.ID})
			}
			if strings.Contains(t.AlternateID, "@") {
				o.Person.Identifiers = append(o.Person.Identifiers, events.Identifier{Format: "email", Email: t.AlternateID})
			}
			break
		}
		b.event(events.Event{ID: or(l.UUID, digest(string(in.Body))), Source: or(issuer, "urn:okta"), Time: when(l.Published), Offboarding: o})
	}
	if m.EventType != "" && len(m.Data.Events) == 0 {
		b.next()
		one(m.log)
		return nil
	}
	if len(m.Data.Events) == 0 {
		return fmt.Errorf("%w: it holds no events", ErrForeign)
	}
	return each(b, m.Data.Events, one)
}

const (
	risc = "https://schemas.openid.net/secevent/risc/event-type/"
	prov = "urn:ietf:params:scim:event:prov:"
)

// subject is a subject identifier in any of its three shapes.
type subject struct {
	Format, Type, Iss, Sub, Email, URI, ID string
	Phone                                  string `json:"phone_number"`
	External                               string `json:"externalId"`
	SubjectType                            string `json:"subject_type"`
	User                                   *subject
	Identifiers                            []subject
}

// person is the human part of a subject; a device or a session alone is none.
func (s *subject) person() (out []events.Identifier) {
	if s == nil {
		return nil
	}
	format := or(s.Format, strings.ReplaceAll(s.SubjectType, "-", "_"))
	switch {
	case s.User != nil:
		return s.User.person()
	case format == "aliases":
		for _, one := range s.Identifiers {
			out = append(out, one.person()...)
		}
		return out
	case format == "iss_sub", format == "id_token_claims":
		return []events.Identifier{{Format: "iss_sub", Iss: s.Iss, Sub: s.Sub}}
	case format == "email":
		return []events.Identifier{{Format: "email", Email: s.Email}}
	case format == "account" && strings.HasPrefix(s.URI, "acct:"):
		return []events.Identifier{{Format: "account", URI: s.URI}}
	case format == "opaque":
		return []events.Identifier{{Format: "opaque", ID: s.ID}}
	case format == "scim":
		return []events.Identifier{{Format: "scim", URI: s.URI, ExternalID: s.External}}
	case format == "phone_number":
		return []events.Identifier{{Format: "phone_number", PhoneNumber: s.Phone}}
	}
	return nil
}

// ssf reads the claims of a Security Event Token: RISC and SCIM events. CAEP's are no departures.
func ssf(b *builder, in Native) error {
	type body struct {
		Subject    *subject
		Reason     string
		Type       string  `json:"credential_type"`
		At         float64 `json:"event_timestamp"`
		Initiating string  `json:"initiating_entity"`
	}
	var m struct {
		Iss, Jti string
		Iat      float64
		SubID    *subject `json:"sub_id"`
		Events   map[string]json.RawMessage
	}
	if strings.HasPrefix(string(in.Body), "eyJ") {
		return errors.New("it is a signed token, whose signature cannot be checked here: send its claims")
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	if len(m.Events) != 1 {
		return errors.New("a token holds exactly one event")
	}
	b.next()
	for uri, raw := range m.Events {
		var e body
		if err := decode(raw, &e); err != nil {
			return err
		}
		who := m.SubID
		if who == nil {
			who = e.Subject
		}
		at := time.Unix(int64(m.Iat), 0).UTC()
		up := events.Upstream{System: "ssf", ID: m.Jti, Type: uri}
		ev := events.Event{ID: or(m.Jti, digest(string(in.Body))), Source: m.Iss, Time: at}
		person := who.person()
		lower := strings.ToLower(uri)
		change := map[string]string{risc + "account-disabled": "deactivated", risc + "account-purged": "deleted", prov + "deactivate": "deactivated", prov + "delete": "deleted"}[lower]
		switch {
		case lower == risc+"credential-compromise":
			if e.At > 0 {
				ev.Time = time.Unix(int64(e.At), 0).UTC()
			}
			ev.Leak = &events.Leak{Severity: "high", Reason: "credential_compromise", Credential: events.Credential{SecretType: "risc:" + or(e.Type, "unknown")}, Upstream: up, Person: &events.Person{Identifiers: person}}
		case change != "":
			ev.Offboarding = &events.Offboarding{Person: events.Person{Identifiers: person}, Change: change, Severity: "high", Reason: or(e.Reason, lower[strings.LastIndexAny(lower, "/:")+1:]),
				InitiatedBy: or(known(e.Initiating), "unknown"), Upstream: up}
			if e.Reason == "hijacking" {
				ev.Offboarding.Severity = "critical"
			}
		default:
			b.ignore(clip(uri[strings.LastIndexAny(uri, "/:")+1:], 64) + " rotates nothing")
			return nil
		}
		if len(person) == 0 {
			b.ignore("its subject is no person")
			return nil
		}
		b.event(ev)
	}
	return nil
}

// known is an initiating entity in our words.
func known(entity string) string {
	switch entity {
	case "admin", "user", "policy", "system":
		return entity
	}
	return ""
}
