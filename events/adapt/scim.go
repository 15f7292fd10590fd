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
	b.next("")
	active, external, err := true, "", error(nil)
	change, reason := "deactivated", "scim."+strings.ToLower(in.Method)+".active_false"
	switch in.Method {
	case http.MethodDelete:
		active, change, reason = false, "deleted", "scim.delete"
	case http.MethodPut:
		var m struct {
			Active     *switched
			ExternalID loose[string]
		}
		if err = decode(in.Body, &m); m.Active != nil {
			active = bool(*m.Active)
		}
		external = m.ExternalID.v
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
	if person, ok := b.person("the path of the request", append([]events.Identifier{{Format: "scim", URI: in.Path, ExternalID: external}}, in.Known...)...); ok {
		b.event(events.Event{ID: digest(in.Method, in.Path, string(in.Body), in.Received.Format("2006-01-02T15:04")), Source: or(in.Origin, "urn:scim"),
			Offboarding: &events.Offboarding{Person: person, Change: change, Severity: "high", Reason: reason, InitiatedBy: "system", Upstream: events.Upstream{System: "scim"}}})
	}
	return nil
}

// userSchema may stand before the name of an attribute, or be the name of an object that holds them.
const userSchema = "urn:ietf:params:scim:schemas:core:2.0:user"

// patched is what a PATCH leaves active; true when it says nothing of it. Okta names no path, Entra writes False as a text.
func patched(body []byte) (active bool, err error) {
	var m struct {
		Operations list[struct {
			Op, Path string
			Value    json.RawMessage
		}]
	}
	if err := decode(body, &m); err != nil {
		return true, err
	}
	if len(m.Operations) == 0 {
		return true, missing("operations")
	}
	active = true
	for i, op := range m.Operations {
		at := fmt.Sprintf("operations[%d]", i)
		switch strings.ToLower(op.Op) {
		case "replace", "add":
			said, known, err := activeIn(op.Path, op.Value)
			if err != nil {
				return true, below(at, below("value", err))
			}
			if known {
				active = said
			}
		case "remove":
		default:
			return true, &misread{at + ".op", "is none of add, replace and remove"}
		}
	}
	return active, nil
}

// activeIn is what the value at a path says of active, if it does. Where it says both, it is false.
func activeIn(path string, value json.RawMessage) (active, known bool, err error) {
	path = strings.ToLower(path)
	if strings.TrimPrefix(path, userSchema+":") == "active" {
		var s switched
		if json.Unmarshal(value, &s) != nil {
			return true, false, &misread{text: "is neither true nor false"}
		}
		return bool(s), true, nil
	}
	if path != "" && path != userSchema {
		return true, false, nil
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(value, &members) != nil || members == nil {
		return true, false, &misread{text: "has another type than expected (" + kindOfJSON(value) + ")"}
	}
	active = true
	for name, v := range members {
		if name == "" || path == userSchema && strings.EqualFold(name, userSchema) { // once is enough
			continue
		}
		said, is, err := activeIn(name, v)
		if err != nil {
			return true, false, err
		}
		active, known = active && (said || !is), known || is
	}
	return active, known, nil
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
		return wrongType(raw)
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
