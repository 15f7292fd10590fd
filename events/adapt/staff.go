package adapt

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// left adds somebody whose account is closed. from is the field that should name them.
func (b *builder) left(from, id, source string, at time.Time, change, reason, system string, who ...events.Identifier) {
	if person, ok := b.person(from, who...); ok {
		b.event(events.Event{ID: id, Source: source, Time: at, Offboarding: &events.Offboarding{Person: person, Change: change, Severity: "high", Reason: reason, InitiatedBy: "admin",
			Upstream: events.Upstream{System: system, ID: id, Type: reason}}})
	}
}

// slack reads user_change of the Events API and user_deactivated of the audit log.
func slack(b *builder, in Native) error {
	type user struct {
		ID, Email string
		Deleted   bool
		Profile   struct{ Email string }
	}
	var m struct {
		ID    loose[string]
		Event *struct {
			Type string
			User json.RawMessage // an object, or an id
		}
		EventID loose[string] `json:"event_id"`
		Time    loose[int64]  `json:"event_time"`
		Team    loose[string] `json:"team_id"`
		Action  string
		Created loose[int64] `json:"date_create"`
		Entity  struct{ User json.RawMessage }
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next("")
	var u user
	switch {
	case m.Action != "" && m.Action != "user_deactivated":
		b.ignore(clip(m.Action, 64) + " rotates nothing")
	case m.Action != "":
		if err := decode([]byte(or(string(m.Entity.User), "{}")), &u); err != nil {
			return below("entity.user", err)
		}
		b.left("entity.user", or(m.ID.v, digest(string(in.Body))), "urn:slack", unix(m.Created.v), "deactivated", m.Action, "slack", events.Identifier{Format: "opaque", ID: u.ID}, events.Identifier{Format: "email", Email: u.Email})
	case m.Event == nil:
		return fmt.Errorf("%w: event and action are missing: neither an event nor an audit record", ErrForeign)
	case m.Event.Type == "":
		return missing("event.type")
	case m.Event.Type != "user_change":
		b.ignore(clip(m.Event.Type, 64) + " says of nobody that they are gone")
	default:
		if err := decode([]byte(or(string(m.Event.User), "{}")), &u); err != nil {
			return below("event.user", err)
		}
		if !u.Deleted {
			b.ignore(m.Event.Type + " says of nobody that they are gone")
			return nil
		}
		b.left("event.user", or(m.EventID.v, digest(string(in.Body))), "urn:slack:"+or(m.Team.v, "team"), unix(m.Time.v), "deactivated", "user_change", "slack",
			events.Identifier{Format: "opaque", ID: u.ID}, events.Identifier{Format: "email", Email: or(u.Profile.Email, u.Email)})
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
		Type             string
		ID, Source, Time loose[string]
		Purpose          loose[string] `json:"a0purpose"`
		Data             struct {
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
	b.next("")
	o := m.Data.Object
	change := map[bool]string{true: "deleted", false: "deactivated"}[m.Type == "user.deleted"]
	switch {
	case m.Type == "":
		return fmt.Errorf("%w: type is missing", ErrForeign)
	case m.Purpose.v == "test":
		b.ignore("it is a test")
	case m.Type != "user.deleted" && !(m.Type == "user.updated" && o.Blocked):
		b.ignore(clip(m.Type, 64) + " rotates nothing")
	default:
		b.left("data.object", or(m.ID.v, digest(string(in.Body))), or(m.Source.v, "urn:auth0"), when(m.Time.v), change, m.Type, "auth0",
			events.Identifier{Format: "iss_sub", Iss: or(in.Origin, m.Source.v, "urn:auth0"), Sub: o.UserID}, events.Identifier{Format: "email", Email: o.Email})
	}
	return nil
}

// bamboohr reads employee events. A change names fields and no values: only a deletion, or a change of what ends an employment
// that comes with its new value, says that somebody is gone.
func bamboohr(b *builder, in Native) error {
	var m struct {
		Type      string
		Timestamp loose[string]
		Data      struct {
			CompanyID, EmployeeID ident
			Status                string
			WorkEmail             string
			ChangedFields         []string
		}
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next("")
	ended := strings.EqualFold(m.Data.Status, "terminated") || strings.EqualFold(m.Data.Status, "inactive")
	switch {
	case m.Type == "":
		return missing("type")
	case !strings.HasPrefix(m.Type, "employee."):
		return fmt.Errorf("%w: type is about no employee", ErrForeign)
	case m.Type == "employee.updated" && m.Data.Status == "" && slices.ContainsFunc(m.Data.ChangedFields, ofEmployment):
		b.alarm("data.changedFields: whether somebody has left changed, and BambooHR does not tell to what: look at the employee, and let a bridge add data.status and data.workEmail")
	case m.Type != "employee.deleted" && !(m.Type == "employee.updated" && ended):
		b.ignore(clip(m.Type, 64) + " does not say that the employment has ended")
	default:
		at, _ := time.Parse("2006-01-02T15:04:05-0700", m.Timestamp.v)
		company, employee := string(m.Data.CompanyID), string(m.Data.EmployeeID)
		b.left("data.employeeId", digest(m.Type, employee, or(m.Timestamp.v, string(in.Body))), "urn:bamboohr:"+or(company, "company"), at, "terminated", m.Type, "bamboohr",
			events.Identifier{Format: "employee", Company: company, ID: employee}, events.Identifier{Format: "email", Email: m.Data.WorkEmail})
	}
	return nil
}

// ofEmployment reports fields of which one says whether somebody is still employed: status, employmentHistoryStatus, terminationDate.
func ofEmployment(field string) bool {
	lower := strings.ToLower(field)
	return strings.Contains(lower, "status") && !strings.Contains(lower, "marital") || strings.Contains(lower, "terminat")
}
