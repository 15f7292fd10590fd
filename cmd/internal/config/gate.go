package config

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/nats-io/nkeys"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
)

// Bounds on what events may do by themselves, unless the file says otherwise.
const (
	defaultPerEvent = 50
	defaultPerHour  = 200
)

func (r *reader) events(top *section) Events {
	s := top.sub("events")
	defer s.done()
	var e Events
	e.Publishers, e.Scopes = s.publishers()
	e.Gate.PerEvent = s.count("max_bundles", defaultPerEvent, 0, 100_000)
	e.Gate.PerHour = s.count("max_per_hour", defaultPerHour, 0, 1_000_000)
	e.Signers, e.SignFile = r.signers(s), s.secretFile("sign_file")
	v, _ := s.field("rules")
	for _, item := range v.items() {
		e.Gate.Rules = append(e.Gate.Rules, item.gateRule())
	}
	return e
}

// signers are the public keys of publishers: nkeys, and files with a key set.
func (r *reader) signers(s *section) stream.Signers {
	named := s.sub("signers")
	if len(named.names()) == 0 {
		return nil
	}
	out := make(stream.Signers)
	for _, name := range named.names() {
		at, _ := named.field(name)
		var one stream.Signer
		for _, item := range at.items() {
			text := item.nonEmpty("")
			switch {
			case text == "":
			case strings.HasPrefix(text, "S") && nkeys.IsValidEncoding([]byte(text)) && len(text) > 56:
				item.fail("this is a seed, which is secret", "write the public key, and replace the seed: it has been in this file")
			case nkeys.IsValidPublicKey(text):
				one.NKeys = append(one.NKeys, text)
			case one.JWKS != "":
				item.fail("there is a key set already", "put all keys into one file")
			default:
				one.JWKS = r.path(text)
				r.inspect(item, one.JWKS, false)
			}
		}
		if len(one.NKeys) == 0 && one.JWKS == "" {
			at.fail("names no key", "write public nkeys (U...), or a file with a key set (JWKS)")
		}
		out[name] = one
	}
	return out
}

// gateRule is one rule; the first that fits an event decides.
func (v value) gateRule() rotator.GateRule {
	s := v.section()
	defer s.done()
	rule := rotator.GateRule{Publisher: s.pattern("publisher"), Source: s.pattern("source"), Severity: s.oneOf("severity", "critical", "high", "medium", "low", "info")}
	for _, k := range s.oneOf("kind", kindNames()...) {
		rule.Kinds = append(rule.Kinds, events.Kind(k))
	}
	at, ok := s.require("do", "write rotate, approve or report")
	if !ok {
		return rule
	}
	rule.Do = rotator.Verdict(at.nonEmpty(string(rotator.Allow)))
	if all := []string{string(rotator.Allow), string(rotator.Ask), string(rotator.Report)}; !slices.Contains(all, string(rule.Do)) {
		at.fail(fmt.Sprintf("unknown value %q", show(string(rule.Do))), didYouMean(string(rule.Do), all))
	}
	return rule
}

// pattern is a glob.
func (s *section) pattern(key string) string {
	text := s.text(key, "")
	if _, err := path.Match(text, ""); err != nil {
		at, _ := s.field(key)
		at.fail("is no pattern", `* stands for anything but /, ? for one character, [ab] for one of them`)
	}
	return text
}

// oneOf is one of the words, or a list of them.
func (s *section) oneOf(key string, known ...string) (out []string) {
	v, ok := s.field(key)
	if !ok {
		return nil
	}
	list := []value{v}
	if _, many := v.node.(*ast.SequenceNode); many {
		list = v.items()
	}
	for _, item := range list {
		text := item.nonEmpty("")
		if text != "" && !slices.Contains(known, text) {
			item.fail(fmt.Sprintf("unknown value %q", show(text)), didYouMean(text, known))
			continue
		}
		out = append(out, text)
	}
	return out
}
