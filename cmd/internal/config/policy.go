package config

import (
	"fmt"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator"
)

const maxWait = 3650 * 24 * time.Hour

// policy returns a rule for every kind of event, and the bundle's cool-down.
func (r *reader) policy(bundle *section) (_ rotator.Policy, cooldown time.Duration) {
	s := bundle.sub("policy")
	defer s.done()
	otherwise := rotator.Rollback
	if at, ok := s.field("after_failure"); ok {
		otherwise = at.afterFailure(rotator.Rollback, rotator.Rollback, rotator.Hold)
	}
	cooldown = s.duration("cooldown", 0, 0, 30*24*time.Hour)
	out := make(rotator.Policy)
	for _, kind := range []events.Kind{events.KindLeak, events.KindOffboarding, events.KindExpiring, events.KindManual} {
		rule := rotator.DefaultRule(kind)
		if kind != events.KindLeak {
			rule.AfterFailure = otherwise
		}
		v, _ := s.field(string(kind))
		out[kind] = r.rule(v.section(), kind, rule)
	}
	return out, cooldown
}

// rule reads one kind's rule; what it does not say stays as it is in rule.
func (r *reader) rule(s *section, kind events.Kind, rule rotator.Rule) rotator.Rule {
	defer s.done()
	if v, ok := s.field("overlap"); ok {
		if text, isText := v.node.(*ast.StringNode); isText && text.Value == "drain" {
			rule.Drain, rule.Overlap = true, 0
		} else {
			rule.Drain, rule.Overlap = false, s.duration("overlap", 0, 0, maxWait)
		}
	}
	if _, ok := s.field("contain_within"); ok {
		rule.ContainWithin = s.duration("contain_within", 0, 0, maxWait)
		if kind == events.KindLeak {
			rule.AfterFailure = rotator.Contain
		}
	}
	if v, ok := s.field("after_failure"); ok {
		if kind == events.KindLeak {
			rule.AfterFailure = v.afterFailure(rule.AfterFailure, rotator.Contain, rotator.Hold)
		} else {
			rule.AfterFailure = v.afterFailure(rule.AfterFailure, rotator.Rollback, rotator.Hold)
		}
	}
	return rule
}

func (v value) afterFailure(def rotator.AfterFailure, a, b rotator.AfterFailure) rotator.AfterFailure {
	got := rotator.AfterFailure(v.nonEmpty(string(def)))
	if got == a || got == b {
		return got
	}
	remedy := fmt.Sprintf("write %s or %s", a, b)
	switch got {
	case rotator.Contain:
		remedy += "; contain is for leaks only: leak: {contain_within: 15m, after_failure: contain}"
	case rotator.Rollback:
		remedy += "; after a leak nothing is put back"
	}
	v.fail(fmt.Sprintf("after_failure cannot be %q here", show(string(got))), remedy)
	return def
}
