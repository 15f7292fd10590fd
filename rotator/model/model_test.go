package model

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// A link is how a state was reached first.
type link struct {
	from    int
	who     int  // the replica, from 1; 0: the world
	swapped bool // the two changed places afterwards, see alike
	text    string
}

// search explores every order of events from the first state, breadth first, and returns the shortest way to a
// violation, or "".
func search(p protocol, b budget) (violation string, trace []string, states int) {
	index := map[state]struct{}{}
	var order []state
	var links []link
	add := func(s state, l link) {
		s, l.swapped = s.alike()
		if _, known := index[s]; !known {
			index[s] = struct{}{}
			order = append(order, s)
			links = append(links, l)
		}
	}
	add(first(b), link{from: -1})
	for at := 0; at < len(order); at++ {
		s := order[at]
		wrong := s.broken()
		if wrong == "" && s.over() {
			wrong = s.unfinished()
		}
		before := len(order)
		moves := 0
		for i := range s.replicas {
			for _, n := range append(p.act(s, i), p.befalls(s, i)...) {
				add(n.to, link{from: at, who: i + 1, text: n.text})
				moves++
			}
		}
		for _, n := range p.around(s) {
			add(n.to, link{from: at, text: n.text})
			moves++
		}
		if wrong == "" && moves == 0 && !s.over() {
			wrong = "nothing leads on from here: " + s.rec.phase.String()
		}
		if wrong != "" {
			return wrong, way(links, at), before
		}
	}
	return "", nil, len(order)
}

// way tells the steps from the first state to this one.
func way(links []link, at int) (texts []string) {
	var taken []link
	for ; at > 0; at = links[at].from {
		taken = append(taken, links[at])
	}
	slices.Reverse(taken)
	swapped := false
	for _, l := range taken {
		if l.who > 0 && swapped {
			l.who = 3 - l.who
		}
		if l.who > 0 {
			l.text = fmt.Sprintf("replica %d %s", l.who, l.text)
		}
		texts = append(texts, l.text)
		swapped = swapped != l.swapped
	}
	return texts
}

// TestProtocolKeepsItsPromises: with every rule in place no order of events breaks a promise.
func TestProtocolKeepsItsPromises(t *testing.T) {
	for _, c := range corners() {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			wrong, trace, states := search(allRules(), c.budget)
			t.Logf("%d states in %s", states, time.Since(began).Round(time.Millisecond))
			if wrong != "" {
				t.Fatalf("%s\n%s", wrong, strings.Join(trace, "\n"))
			}
		})
	}
}

// A corner is what may happen within one run.
type corner struct {
	name string
	budget
}

// corners explore different things, from small to large; all together at once would take hours.
func corners() []corner {
	return []corner{
		{"an outage, a death, a deploy", budget{outages: 1, crashes: 1, deploys: 1, refusals: 1}},
		{"contained, an outage, a death", budget{contains: 1, outages: 1, crashes: 1, refusals: 1}},
		{"a freeze, an outage, a deploy", budget{freezes: 1, outages: 1, deploys: 1}},
		{"two deaths, an expiry", budget{crashes: 2, expiries: 1, refusals: 1}},
		{"two freezes, an expiry", budget{freezes: 2, expiries: 1}},
		{"lost answers, a death, a deploy", budget{losses: 2, crashes: 1, deploys: 1, refusals: 1}},
		{"a death, a freeze", budget{crashes: 1, freezes: 1, refusals: 1}},
		{"contained, a freeze, a loss", budget{contains: 1, freezes: 1, losses: 1}},
		{"a freeze, a loss, a deploy", budget{freezes: 1, losses: 1, deploys: 1, refusals: 1}},
	}
}

// TestEveryRuleIsNeeded: without any one rule there is an order of events that breaks a promise.
func TestEveryRuleIsNeeded(t *testing.T) {
	takeOut := map[string]func(*protocol){
		"fence":                    func(p *protocol) { p.fence = false },
		"confirm before commit":    func(p *protocol) { p.confirmFirst = false },
		"bound on late PUTs":       func(p *protocol) { p.stragglers = false },
		"late PUTs of the dead":    func(p *protocol) { p.inherit = false },
		"verify before revoke":     func(p *protocol) { p.verify = false },
		"compare-and-swap":         func(p *protocol) { p.compare = false },
		"anchor journalled first":  func(p *protocol) { p.journalAnchor = false },
		"attempts told apart":      func(p *protocol) { p.attempts = false },
		"lease held when PUT goes": func(p *protocol) { p.lease = false },
		"look again at a takeover": func(p *protocol) { p.lookAgain = false },
		"decide before containing": func(p *protocol) { p.decideFirst = false },
		"no return once contained": func(p *protocol) { p.noReturn = false },
	}
	if n := reflect.TypeFor[protocol]().NumField(); n != len(takeOut) {
		t.Errorf("%d of %d rules are taken out", len(takeOut), n)
	}
	for name, without := range takeOut {
		t.Run(name, func(t *testing.T) {
			p := allRules()
			without(&p)
			for _, c := range corners() {
				if wrong, trace, states := search(p, c.budget); wrong != "" {
					t.Logf("%s: %s, after %d steps, %d states", c.name, wrong, len(trace), states)
					return
				}
			}
			t.Error("the search finds no violation: the rule is superfluous, or the model does not see what it is for")
		})
	}
}
