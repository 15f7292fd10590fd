package adapt

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/openwhisk-rotator/rotator/events"
)

// scim reads what an identity system writes to a SCIM 2.0 server about a user who goes: PATCH or PUT with active=false, or DELETE.
func scim(b *builder, in Native) error {
	if in.Method == "" || in.Path == "" {
		return errors.New("a SCIM request is known by its method and path: send it to the HTTP edge")
	}
	b.next()
	active, external, err := true, "", error(nil)
	change, reason := "deactivated", "scim."+strings.ToLower(in.Method)+".active_false"
	switch in.Method {
	case http.MethodDelete:
		active, change, reason = false, "deleted", "scim.delete"
	case http.MethodPut:
		var m struct {
			Active     *switched
			ExternalID string
		}
		if err = decode(in.Body, &m); m.Active != nil {
			active = bool(*m.Active)
		}
		external = m.ExternalID
	case http.MethodPatch:
		active, err = patched(in.Body)
	default:
		err = fmt.Errorf("%w: method %s", ErrForeign, clip(in.Method, 16))
	}
	if err != nil {
		return err
	}
	if active {
		b.ignore("it takes nobody's access away")
		return nil
	}
	o := &events.Offboarding{Change: change, Severity: "high", Reason: reason, InitiatedBy: "system", Upstream: events.Upstream{System: "scim"}}
	o.Person.Identifiers = append([]events.Identifier{{Format: "scim", URI: in.Path, ExternalID: external}}, in.Known...)
	b.event(events.Event{ID: digest(in.Method, in.Path, string(in.Body), in.Received.Format("2006-01-02T15:04")), Source: or(in.Origin, "urn:scim"), Offboarding: o})
	return nil
}

// patched is what a PATCH leaves active; true when it says nothing of it. Okta names no path, Entra writes False as a text.
func patched(body []byte) (active bool, err error) {
	var m struct {
		Operations []struct {
			Op, Path string
			Value    json.RawMessage
		}
	}
	if err := decode(body, &m); err != nil {
		return true, err
	}
	if len(m.Operations) == 0 {
		return true, errors.New("field operations is missing")
	}
	active = true
	for i, op := range m.Operations {
		if verb := strings.ToLower(op.Op); verb != "replace" && verb != "add" {
			continue
		}
		value := op.Value
		if op.Path == "" {
			var members map[string]json.RawMessage
			if json.Unmarshal(op.Value, &members) != nil {
				return true, fmt.Errorf("field operations[%d].value has another type than expected", i)
			}
			value = nil
			for name, v := range members {
				if strings.EqualFold(name, "active") {
					value = v
				}
			}
		} else if !strings.EqualFold(strings.TrimPrefix(strings.ToLower(op.Path), "urn:ietf:params:scim:schemas:core:2.0:user:"), "active") {
			continue
		}
		if value == nil {
			continue
		}
		var s switched
		if json.Unmarshal(value, &s) != nil {
			return true, fmt.Errorf("field operations[%d].value is neither true nor false", i)
		}
		active = bool(s)
	}
	return active, nil
}

// switched is a boolean, or a text that says true or false. Anything else is an error: a guess would let a leaver stay.
type switched bool

// UnmarshalJSON reads either form.
func (s *switched) UnmarshalJSON(raw []byte) error {
	switch strings.ToLower(strings.Trim(string(raw), `"`)) {
	case "true":
		*s = true
	case "false":
		*s = false
	default:
		return &json.UnmarshalTypeError{Value: "value", Field: "active"}
	}
	return nil
}

// SCIMUser is what a SCIM resource says of who somebody is.
func SCIMUser(body []byte) (identifiers []events.Identifier, active bool, err error) {
	var m struct {
		UserName, ExternalID string
		Active               *switched
		Emails               []struct{ Value string }
	}
	if err := decode(body, &m); err != nil {
		return nil, false, err
	}
	seen := make(map[string]bool)
	add := func(text string) {
		if text == "" || seen[text] || len(identifiers) == 8 || len(text) > 320 {
			return
		}
		seen[text] = true
		if strings.Contains(text, "@") {
			identifiers = append(identifiers, events.Identifier{Format: "email", Email: text})
		} else {
			identifiers = append(identifiers, events.Identifier{Format: "opaque", ID: text})
		}
	}
	add(m.UserName)
	for _, e := range m.Emails {
		add(e.Value)
	}
	add(m.ExternalID)
	return identifiers, m.Active == nil || bool(*m.Active), nil
}
