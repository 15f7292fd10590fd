package adapt

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// left adds somebody whose account is closed.
func (b *builder) left(id, source string, at time.Time, change, reason, system string, who ...events.Identifier) {
	o := &events.Offboarding{Change: change, Severity: "high", Reason: reason, InitiatedBy: "admin", Upstream: events.Upstream{System: system, ID: id, Type: reason}}
	for _, w := range who {
		if w.Email+w.ID+w.Sub != "" {
			o.Person.Identifiers = append(o.Person.Identifiers, w)
		}
	}
	b.event(events.Event{ID: id, Source: source, Time: at, Offboarding: o})
}

// slack reads user_change of the Events API and user_deactivated of the audit log.
func slack(b *builder, in Native) error {
	type user struct {
		ID, Email string
		Deleted   bool
		Profile   struct{ Email string }
	}
	var m struct {
		ID    string
		Type  string
		Event *struct {
			Type string
			User json.RawMessage // an object, or an id
		}
		EventID string `json:"event_id"`
		Time    int64  `json:"event_time"`
		Team    string `json:"team_id"`
		Action  string
		Created int64 `json:"date_create"`
		Entity  struct{ User user }
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next()
	switch {
	case m.Action != "":
		if m.Action != "user_deactivated" {
			b.ignore(clip(m.Action, 64) + " rotates nothing")
			return nil
		}
		u := m.Entity.User
		b.left(or(m.ID, digest(string(in.Body))), "urn:slack", unix(m.Created), "deactivated", m.Action, "slack", events.Identifier{Format: "opaque", ID: u.ID}, events.Identifier{Format: "email", Email: u.Email})
	case m.Event != nil:
		var u user
		if json.Unmarshal(m.Event.User, &u) != nil || m.Event.Type != "user_change" || !u.Deleted {
			b.ignore(clip(m.Event.Type, 64) + " says of nobody that they are gone")
			return nil
		}
		b.left(or(m.EventID, digest(string(in.Body))), "urn:slack:"+or(m.Team, "team"), unix(m.Time), "deactivated", "user_change", "slack", events.Identifier{Format: "opaque", ID: u.ID}, events.Identifier{Format: "email", Email: or(u.Profile.Email, u.Email)})
	default:
		return fmt.Errorf("%w: neither an event nor an audit record", ErrForeign)
	}
	return nil
}

func unix(seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// auth0 reads event streams, which are CloudEvents of Auth0's own types.
func auth0(b *builder, in Native) error {
	var m struct {
		ID, Type, Source, Time string
		Purpose                string `json:"a0purpose"`
		Data                   struct {
			Object struct {
				UserID  string `json:"user_id"`
				Email   string
				Blocked bool
			}
		}
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next()
	o := m.Data.Object
	change := map[bool]string{true: "deleted", false: "deactivated"}[m.Type == "user.deleted"]
	switch {
	case m.Type == "":
		return fmt.Errorf("%w: type is missing", ErrForeign)
	case m.Purpose == "test":
		b.ignore("it is a test")
	case m.Type != "user.deleted" && !(m.Type == "user.updated" && o.Blocked):
		b.ignore(clip(m.Type, 64) + " rotates nothing")
	default:
		b.left(or(m.ID, digest(string(in.Body))), or(m.Source, "urn:auth0"), when(m.Time), change, m.Type, "auth0",
			events.Identifier{Format: "iss_sub", Iss: or(in.Origin, m.Source, "urn:auth0"), Sub: o.UserID}, events.Identifier{Format: "email", Email: o.Email})
	}
	return nil
}

// bamboohr reads employee events. A change names fields and no values: only a deletion, or a change of what ends an employment
// that comes with its new value, says that somebody is gone.
func bamboohr(b *builder, in Native) error {
	var m struct {
		Type, Timestamp string
		Data            struct {
			CompanyID  string
			EmployeeID any
			Status     string
			WorkEmail  string
		}
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next()
	if !strings.HasPrefix(m.Type, "employee.") {
		return fmt.Errorf("%w: it is about no employee", ErrForeign)
	}
	ended := strings.EqualFold(m.Data.Status, "terminated") || strings.EqualFold(m.Data.Status, "inactive")
	if m.Type != "employee.deleted" && !(m.Type == "employee.updated" && ended) {
		b.ignore(clip(m.Type, 64) + " does not say that the employment has ended")
		return nil
	}
	at, _ := time.Parse("2006-01-02T15:04:05-0700", m.Timestamp)
	employee := strings.TrimSuffix(fmt.Sprint(m.Data.EmployeeID), ".0")
	b.left(digest(m.Type, employee, m.Timestamp), "urn:bamboohr:"+or(m.Data.CompanyID, "company"), at, "terminated", m.Type, "bamboohr",
		events.Identifier{Format: "employee", Company: m.Data.CompanyID, ID: employee}, events.Identifier{Format: "email", Email: m.Data.WorkEmail})
	return nil
}
