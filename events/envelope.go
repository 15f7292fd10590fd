package events

import (
	"strings"
	"unicode/utf8"
)

// envelope finds out how the event travels and returns it as one object, as
// if it were structured. Header names are compared in any case: bridges that
// come from HTTP change it.
func (m Message) envelope() (node, *Problem) {
	size := len(m.Body)
	header := map[string]string{}
	binary := false
	for name, values := range m.Header {
		lower := strings.ToLower(name)
		attr := strings.HasPrefix(lower, "ce-")
		if !attr && lower != "content-type" {
			continue
		}
		if _, twice := header[lower]; twice || len(values) != 1 {
			return node{}, malformed("has a CloudEvents header more than once or without a value")
		}
		header[lower] = values[0]
		size += len(name) + len(values[0])
		binary = binary || attr
	}
	if size > maxBody {
		return node{}, tooLarge()
	}
	content := mediaType(header["content-type"])
	delete(header, "content-type")
	switch {
	case strings.HasPrefix(content, "application/cloudevents") && content != "application/cloudevents+json" && content != "application/cloudevents":
		return node{}, &Problem{Reason: ReasonNotCloudEvent, Text: "the Content-Type header names a form that is not accepted",
			Remedy: "send one event as application/cloudevents+json"}
	case strings.HasPrefix(content, "application/cloudevents") && binary:
		return node{}, &Problem{Reason: ReasonNotCloudEvent, Text: "the message is in structured and in binary form at once",
			Remedy: "send no ce- headers with application/cloudevents+json"}
	case binary:
		return binaryEnvelope(header, m.Body)
	}
	return structured(m.Body)
}

func structured(body []byte) (node, *Problem) {
	if len(body) > maxBody {
		return node{}, tooLarge()
	}
	n, problem := parseJSON(body)
	if problem == nil && n.kind != objectNode {
		problem = malformed("is not a JSON object")
	}
	return n, problem
}

func tooLarge() *Problem {
	return &Problem{Reason: ReasonTooLarge, Text: "the message is larger than 64 KiB",
		Remedy: "shorten data.detail and data.evidence"}
}

func binaryEnvelope(header map[string]string, body []byte) (node, *Problem) {
	data, problem := parseJSON(body)
	if problem != nil {
		return node{}, problem
	}
	out := node{kind: objectNode, members: []member{{"data", data}}}
	for name, value := range header {
		attr := strings.TrimPrefix(name, "ce-")
		text, ok := percentDecode(value)
		if !ok || !extensionPattern.MatchString(attr) || attr == "data" {
			return node{}, malformed("has a ce- header with a bad name or a bad percent-encoding")
		}
		out.members = append(out.members, member{attr, node{kind: stringNode, text: text}})
	}
	return out, nil
}

// percentDecode undoes what the NATS binding does to header values.
func percentDecode(s string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) || hexDigit(s[i+1]) < 0 || hexDigit(s[i+2]) < 0 {
			return "", false
		}
		out.WriteByte(byte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2])))
		i += 2
	}
	return out.String(), utf8.ValidString(out.String())
}

func hexDigit(c byte) int {
	if c >= 'A' && c <= 'F' {
		c += 'a' - 'A'
	}
	return strings.IndexByte("0123456789abcdef", c)
}
