package events

import (
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
	if n, problem := parseJSON(body); problem == nil {
		r.rawSecretInside("", n)
		return
	}
	if rawMemberPattern.Match(body) {
		r.add(ReasonRawSecret, "", "the message looks like one with a raw secret, which is not accepted", rawSecretRemedy)
	}
}

// rawMemberPattern finds, in what is no JSON document, a member that carries a
// secret. "value" is left out: it is right in a fingerprint.
var rawMemberPattern = regexp.MustCompile(`(?i)"(` + strings.Join(slices.DeleteFunc(rawSecretNames(), func(s string) bool { return s == "value" }), "|") + `)"\s*:`)

// RawSecret reports where a JSON document carries what looks like a secret itself: a text under one of the names that
// scanners use for it. It is for messages that are in no format of ours. What is no JSON is searched as text.
func RawSecret(body []byte) (field string, found bool) {
	n, problem := parseJSON(body)
	if problem != nil {
		return "", rawMemberPattern.Match(body)
	}
	return rawText(n)
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
