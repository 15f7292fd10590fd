package events

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// verdict makes an error out of the problems of a message, nil out of none. A
// refused message is kept for people to read, so it is searched once more for
// a secret in a place that the checks did not come to: scanners send arrays,
// and several documents in one body.
func (r *reader) verdict(body []byte) error {
	if len(r.problems) > 0 && !slices.ContainsFunc(r.problems, func(p Problem) bool { return p.Reason == ReasonRawSecret }) {
		r.suspect(body)
	}
	return refuse(r.problems)
}

func (r *reader) suspect(body []byte) {
	if n, problem := parseJSON(body); problem == nil && r.rawSecretInside("", n) {
		return
	}
	if _, found := RawSecret(body); found {
		r.add(ReasonRawSecret, "", "the message looks like one with a raw secret, which is not accepted", rawSecretRemedy)
	}
}

// rawMemberPattern finds, in what is no JSON document, a member that carries a
// secret. "value" is left out: it is right in a fingerprint.
var rawMemberPattern = regexp.MustCompile(`(?i)"(` + strings.Join(slices.DeleteFunc(rawSecretNames(), func(s string) bool { return s == "value" }), "|") + `)"\s*:`)

// RawSecret reports where a JSON document carries what looks like a secret itself: a text under one of the names that
// scanners use for it. It is for messages that are in no format of ours. What is no JSON is searched as a form and as text; the
// document inside a form, and the one inside a Pub/Sub push, are searched too.
func RawSecret(body []byte) (field string, found bool) {
	if inner, ok := pushed(body); ok {
		if field, found = RawSecret(inner); found {
			return field, true
		}
	}
	n, problem := parseJSON(body)
	if problem == nil {
		return rawText(n)
	}
	if rawMemberPattern.Match(body) {
		return "", true
	}
	return rawForm(body)
}

// pushed is the document that a Pub/Sub push wraps, however it is encoded.
func pushed(body []byte) ([]byte, bool) {
	var m struct{ Message struct{ Data string } }
	if json.Unmarshal(body, &m) != nil || m.Message.Data == "" {
		return nil, false
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		if inner, err := encoding.DecodeString(m.Message.Data); err == nil {
			return inner, true
		}
	}
	return nil, false
}

// rawForm searches a form, and the document in its field "payload", which is how GitHub can be told to send.
func rawForm(body []byte) (field string, found bool) {
	form, _ := url.ParseQuery(string(body)) // of a broken one, what can be read
	for name, values := range form {
		if at := slices.Index(rawSecretNames(), strings.ToLower(name)); at >= 0 && rawSecretNames()[at] != "value" && strings.Join(values, "") != "" {
			return rawSecretNames()[at], true
		}
	}
	for _, inner := range form["payload"] {
		if n, problem := parseJSON([]byte(inner)); problem == nil {
			field, found = rawText(n)
		} else {
			found = rawMemberPattern.MatchString(inner)
		}
		if found {
			return field, true
		}
	}
	return "", false
}

func rawText(n node) (field string, found bool) {
	for _, m := range n.members {
		if at := slices.Index(rawSecretNames(), strings.ToLower(m.name)); at >= 0 && rawSecretNames()[at] != "value" && holdsText(m.value) {
			return rawSecretNames()[at], true
		}
		if field, found := rawText(m.value); found {
			return field, true
		}
	}
	for _, item := range n.items {
		if field, found := rawText(item); found {
			return field, true
		}
	}
	return "", false
}

func holdsText(n node) bool {
	return n.kind == stringNode && n.text != "" || slices.ContainsFunc(n.items, holdsText)
}
