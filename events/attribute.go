package events

import (
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

const maxAttribute = 1024

// attributesOfV1 stops at an envelope that is no CloudEvent 1.0: the other
// problems would only be noise. A secret in it is still reported.
func (r *reader) attributesOfV1(o *object) bool {
	v, ok := o.take("specversion", false)
	if ok && v.kind == stringNode && v.text == "1.0" {
		return true
	}
	r.add(ReasonNotCloudEvent, "specversion", `must be "1.0"`, "send a CloudEvent 1.0; see the schemas for its data")
	for _, m := range o.node.members {
		r.rawSecret("", m)
	}
	return false
}

func (r *reader) attributes(o *object) Event {
	e := Event{
		ID:     r.attribute(o, "id", true),
		Source: r.attribute(o, "source", true),
		Time:   o.stamp("time", true),
	}
	if _, err := url.Parse(e.Source); err != nil || e.Source != "" && !sourcePattern.MatchString(e.Source) {
		r.invalid("source", "must be a URI or a relative reference")
	}
	if t := r.attribute(o, "type", true); t != "" {
		kind, ok := kindOfType(t)
		if !ok {
			r.add(ReasonUnknownType, "type", "is not a type the rotator takes", "use one of "+strings.Join(knownTypes(), ", "))
		}
		e.Kind = kind
	}
	e.Subject = r.attribute(o, "subject", false)
	e.DataSchema = r.attribute(o, "dataschema", false)
	if e.DataSchema != "" && e.Kind != "" && e.DataSchema != e.Kind.dataSchema() {
		r.invalid("dataschema", "must be "+e.Kind.dataSchema()+" for this type")
	}
	if c := r.attribute(o, "datacontenttype", false); c != "" && c != "application/json" && c != "application/json; charset=utf-8" {
		r.invalid("datacontenttype", "must be application/json")
	}
	if _, ok := o.take("data_base64", false); ok {
		r.add(ReasonInvalidField, "data_base64", "is not accepted", "send data as a JSON object")
	}
	return e
}

// attribute reads a context attribute, which is never empty and has no control characters.
func (r *reader) attribute(o *object, name string, required bool) string {
	s := o.text(name, required, textRule{min: 1, max: maxAttribute})
	if hasControl(s) {
		r.invalid(o.at(name), "must not have control characters")
		return ""
	}
	return s
}

// extensions checks the attributes that CloudEvents leaves open and keeps the two we use.
func (r *reader) extensions(o *object, e *Event) {
	if t := r.attribute(o, "traceparent", false); traceparentPattern.MatchString(t) {
		// A broken trace id is dropped: it is no reason to lose a leak.
		e.TraceParent = t
	}
	e.RecordedTime = o.stamp("recordedtime", false)
	core := len(o.known)
	for _, m := range o.node.members {
		if extensionPattern.MatchString(m.name) && !isRawName(m.name) && scalar(m.value) {
			o.known = append(o.known, m.name)
		}
	}
	o.doneListing(o.known[:core])
}

// scalar says whether a value is one of the CloudEvents types: string, boolean, 32-bit integer.
func scalar(n node) bool {
	switch n.kind {
	case stringNode:
		return !hasControl(n.text)
	case boolNode:
		return true
	case numberNode:
		_, err := strconv.ParseInt(n.text, 10, 32)
		return err == nil
	}
	return false
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, unicode.IsControl)
}

func mediaType(s string) string {
	base, _, _ := strings.Cut(s, ";")
	return strings.ToLower(strings.TrimSpace(base))
}

func knownTypes() []string {
	var out []string
	for _, k := range kinds() {
		out = append(out, k.Type())
	}
	return out
}
