package model

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// search explores every order of events from the first state, breadth first, and returns the shortest way to a
// violation, or "".
func search(p protocol, b budget) (violation string, trace []string, states int) {
	type link struct {
		from int
		text string
	}
	index := map[state]struct{}{}
	var order []state
	var links []link
	add := func(s state, from int, text string) {
		if _, known := index[s]; !known {
			index[s] = struct{}{}
			order = append(order, s)
			links = append(links, link{from, text})
		}
	}
	add(first(b), -1, "")
	for at := 0; at < len(order); at++ {
		s := order[at]
		wrong := s.broken()
		if wrong == "" && s.over() {
			wrong = s.unfinished()
		}
		moves := 0
		for i := range s.replicas {
			for _, n := range p.act(s, i) {
				add(n.to, at, fmt.Sprintf("replica %d %s", i+1, n.text))
				moves++
			}
		}
		for _, n := range p.around(s) {
			add(n.to, at, n.text)
			moves++
		}
		if wrong == "" && moves == 0 && !s.over() {
			wrong = "nothing leads on from here: " + s.rec.phase.String()
		}
		if wrong != "" {
			for i := at; i > 0; i = links[i].from {
				trace = append([]string{links[i].text}, trace...)
			}
			return wrong, trace, len(order)
		}
	}
	return "", nil, len(order)
}

// TestProtocolKeepsItsPromises: with every rule in place no order of events breaks a promise.
func TestProtocolKeepsItsPromises(t *testing.T) {
	for name, b := range budgets() {
		for _, overlap := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, overlap %v", name, overlap), func(t *testing.T) {
				began := time.Now()
				wrong, trace, states := search(protocol{allRules(), overlap}, b)
				t.Logf("%d states in %s", states, time.Since(began).Round(time.Millisecond))
				if wrong != "" {
					t.Fatalf("%s\n%s", wrong, strings.Join(trace, "\n"))
				}
			})
		}
	}
}

// budgets are what may happen within one run. Each explores a different corner; all together at once would take hours.
func budgets() map[string]budget {
	return map[string]budget{
		"two deaths, an expiry":           {crashes: 2, expiries: 1, refusals: 1},
		"a death, a freeze":               {crashes: 1, freezes: 1, refusals: 1},
		"two freezes, an expiry":          {freezes: 2, expiries: 1},
		"lost answers, a death, a deploy": {losses: 2, crashes: 1, deploys: 1, refusals: 1},
		"a freeze, a loss, a deploy":      {freezes: 1, losses: 1, deploys: 1, refusals: 1},
	}
}

// TestEveryRuleIsNeeded: without any one rule there is an order of events that breaks a promise.
func TestEveryRuleIsNeeded(t *testing.T) {
	for name, without := range map[string]func(*rules){
		"fence":                    func(r *rules) { r.fence = false },
		"confirm before commit":    func(r *rules) { r.confirmFirst = false },
		"bound on late PUTs":       func(r *rules) { r.stragglers = false },
		"late PUTs of the dead":    func(r *rules) { r.inherit = false },
		"verify before revoke":     func(r *rules) { r.verify = false },
		"compare-and-swap":         func(r *rules) { r.compare = false },
		"anchor journalled first":  func(r *rules) { r.journalAnchor = false },
		"late PUTs while looking":  func(r *rules) { r.wary = false },
		"attempts told apart":      func(r *rules) { r.attempts = false },
		"lease held when PUT goes": func(r *rules) { r.lease = false },
	} {
		t.Run(name, func(t *testing.T) {
			r := allRules()
			without(&r)
			for corner, b := range budgets() {
				for _, overlap := range []bool{false, true} {
					if wrong, trace, states := search(protocol{r, overlap}, b); wrong != "" {
						t.Logf("%s, overlap %v: %s, after %d steps, %d states", corner, overlap, wrong, len(trace), states)
						return
					}
				}
			}
			t.Error("the search finds no violation: the rule is superfluous, or the model does not see what it is for")
		})
	}
}
