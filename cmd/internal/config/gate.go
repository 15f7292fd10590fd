package config

import (
	"fmt"
	"path"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/openwhisk-rotator/rotator/events"
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
	e := Events{Publishers: s.publishers()}
	e.Gate.PerEvent = s.count("max_bundles", defaultPerEvent, 0, 100_000)
	e.Gate.PerHour = s.count("max_per_hour", defaultPerHour, 0, 1_000_000)
	v, _ := s.field("rules")
	for _, item := range v.items() {
		e.Gate.Rules = append(e.Gate.Rules, item.gateRule())
	}
	return e
}

// gateRule is one rule; the first that fits an event decides.
func (v value) gateRule() rotator.GateRule {
	s := v.section()
	defer s.done()
	rule := rotator.GateRule{Publisher: s.pattern("publisher"), Source: s.pattern("source"), Severity: s.oneOf("severity", "critical", "high", "medium", "low", "info")}
	for _, k := range s.oneOf("kind", "leak", "offboarding", "expiring", "manual") {
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
