package adapt

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/openwhisk-rotator/rotator/events"
)

// unwrapped is the message inside a Pub/Sub push.
func unwrapped(body []byte) []byte {
	var m struct{ Message struct{ Data []byte } }
	if json.Unmarshal(body, &m) == nil && len(m.Message.Data) > 0 {
		return m.Message.Data
	}
	return body
}

// google reads alerts of the Alert Center, and records of the reports of admins and logins.
func google(b *builder, in Native) error {
	if strings.EqualFold(in.header("X-Goog-Resource-State"), "sync") { // the first message of a channel, which has no body
		b.next("")
		b.ignore("a push channel was opened")
		return nil
	}
	var m struct {
		AlertID, StartTime loose[string]
		Type               string
		Deleted            loose[bool]
		Data               loose[struct{ Email string }]
		Metadata           loose[struct{ Severity, Status string }]
		ID                 loose[struct{ Time, UniqueQualifier string }]
		Events             oneOrMany
	}
	body := unwrapped(in.Body)
	if err := decode(body, &m); err != nil {
		return err
	}
	if m.ID.v.UniqueQualifier == "" {
		m.ID.v.UniqueQualifier = digest(string(body))
	}
	if len(m.Events) > 0 {
		each(b, "events", m.Events, func(e reported) {
			b.activity(e, m.ID.v.Time, fmt.Sprintf("%s/%s/%d", m.ID.v.Time, m.ID.v.UniqueQualifier, b.count-1))
		})
		return nil
	}
	b.next("")
	switch {
	case m.Type == "":
		return fmt.Errorf("%w: type and events are missing: neither an alert nor a report", ErrForeign)
	case m.Type != "Leaked password":
		b.ignore(clip(m.Type, 64) + " rotates nothing")
	case strings.EqualFold(m.Metadata.v.Status, "CLOSED"):
		b.ignore("the alert is closed")
	case m.Deleted.v:
		b.ignore("the alert is deleted")
	default:
		b.password("data.email", or(m.AlertID.v, digest(string(body))), "urn:google:alertcenter", m.StartTime.v, m.Type, word(m.Metadata.v.Severity), m.Data.v.Email)
	}
	return nil
}

// reported is one event of Google's reports.
type reported struct {
	Name       string
	Parameters list[loose[struct {
		Name  string
		Value any // a text, or something we do not look at
	}]]
}

// value of a parameter; "" if it is no text.
func (r reported) value(name string) string {
	for _, p := range r.Parameters {
		if text, ok := p.v.Value.(string); ok && p.v.Name == name {
			return text
		}
	}
	return ""
}

func (b *builder) activity(e reported, at, id string) {
	change := map[string]string{"SUSPEND_USER": "suspended", "DELETE_USER": "deleted", "ARCHIVE_USER": "deactivated"}[e.Name]
	switch {
	case e.Name == "":
		b.unread("name", "is missing")
	case e.Name == "account_disabled_password_leak":
		b.password("parameters.affected_email_address", id, "urn:google:login", at, e.Name, "high", e.value("affected_email_address"))
	case change == "":
		b.ignore(clip(e.Name, 64) + " rotates nothing")
	default:
		if person, ok := b.person("parameters.USER_EMAIL", events.Identifier{Format: "email", Email: e.value("USER_EMAIL")}); ok {
			b.event(events.Event{ID: id, Source: "urn:google:admin", Time: when(at), Offboarding: &events.Offboarding{Change: change, Severity: "high", Reason: e.Name, InitiatedBy: "admin",
				Person: person, Upstream: events.Upstream{System: "google", ID: id, Type: e.Name}}})
		}
	}
}

// password adds somebody whose password is known to others.
func (b *builder) password(from, id, source, at, kind, severity, email string) {
	person, ok := b.person(from, events.Identifier{Format: "email", Email: email})
	if !ok {
		return
	}
	b.event(events.Event{ID: id, Source: source, Time: when(at), Leak: &events.Leak{Severity: severity, Reason: "credential_compromise", Credential: events.Credential{SecretType: "google:password"},
		Person: &person, Upstream: events.Upstream{System: "google", ID: id, Type: kind}}})
}
