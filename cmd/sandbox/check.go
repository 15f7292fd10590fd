package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/param"
)

// A check is one promise, and what speaks against it.
type check struct {
	promise string
	text    string
	against []string
}

// report prints a check and returns whether the promise is kept.
func (s *sandbox) report(c check) bool {
	mark := s.out.paint(green, "ok  ")
	if len(c.against) > 0 {
		mark = s.out.paint(red, "FAIL")
	}
	s.out.line("%s  %s  %s", mark, c.promise, c.text)
	for _, a := range c.against[:min(len(c.against), 10)] {
		s.out.line("          %s", a)
	}
	return len(c.against) == 0
}

// nothingLost is P1.
func (s *sandbox) nothingLost(rounds []*round) check {
	c := check{promise: "P1", text: fmt.Sprintf("no parameter, mark or annotation lost, nothing copied down, on %d targets of %d bundles", len(s.shop.targets), len(s.shop.bundles))}
	for _, r := range rounds {
		for _, t := range s.shop.targets {
			was, is := r.before.entities[t.Ref], r.after.entities[t.Ref]
			for _, fault := range compare(was, is, s.delivered(t)) {
				c.against = append(c.against, t.String()+": "+fault)
			}
		}
		if r.before.sequence != r.after.sequence {
			c.against = append(c.against, "the sequence was written")
		}
	}
	c.against = append(c.against, s.ow.fouls.all()...)
	return c
}

// delivered are the parameters that bundles write on a target.
func (s *sandbox) delivered(t shopTarget) []string {
	var out []string
	for _, b := range s.shop.bundles {
		if bt, ok := b.target(t.Ref); ok {
			out = slices.AppendSeq(out, maps.Values(bt.Params(b.keys())))
		}
	}
	return out
}

// compare says what a target has lost, or has got that it should not have.
func compare(was, is entity, delivered []string) []string {
	var faults []string
	say := func(format string, a ...any) { faults = append(faults, fmt.Sprintf(format, a...)) }
	for _, old := range was.own {
		now, kept := is.own.Get(old.Key)
		switch {
		case !kept:
			say("parameter %s is lost", old.Key)
		case now.Init != old.Init:
			say("parameter %s: init was %v, is %v", old.Key, old.Init, now.Init)
		case !slices.Contains(delivered, old.Key) && !(param.List{now}).Equal(param.List{old}):
			say("parameter %s is none of the bundle's and changed", old.Key)
		}
	}
	for _, key := range was.own.Missing(is.own) {
		say("parameter %s was inherited and is now its own", key)
	}
	for name, value := range was.notes {
		if now, kept := is.notes[name]; name != rotator.AnnotationKey && (!kept || string(now) != string(value)) {
			say("annotation %s is lost or changed", name)
		}
	}
	return faults
}

// allOrNothing is P2: every target holds the version that was committed, after one PUT for each rotation.
func (s *sandbox) allOrNothing(rounds []*round) check {
	c := check{promise: "P2", text: "after each rotation all targets hold the same new version, each written in one PUT"}
	for _, r := range rounds {
		for _, b := range r.bundles {
			for _, t := range b.targets {
				if got, want := stampOf(r.after.entities[t.Ref])[b.name].Version, r.receipts[b.name].VersionTo; got != want {
					c.against = append(c.against, fmt.Sprintf("%s holds version %d of %s, not %d", t.Ref, got, b.name, want))
				}
			}
		}
		for _, t := range s.shop.targets {
			want := 0
			for _, b := range r.bundles {
				if slices.Contains(t.from, b.name) {
					want++
				}
			}
			got := patch(r.after.entities[t.Ref].version) - patch(r.before.entities[t.Ref].version)
			if r.puts != nil {
				got = max(got, r.puts[collection(t.Kind)+" "+t.Name])
			}
			if got != want {
				c.against = append(c.against, fmt.Sprintf("%s was written %d times in %d rotations", t.Ref, got, want))
			}
		}
	}
	return c
}

func stampOf(e entity) map[string]rotator.Stamp {
	var out map[string]rotator.Stamp
	if json.Unmarshal(e.notes[rotator.AnnotationKey], &out) != nil {
		return nil
	}
	return out
}

func patch(version string) int {
	n, err := strconv.Atoi(version[strings.LastIndexByte(version, '.')+1:])
	if err != nil {
		return -1
	}
	return n
}

// neverInvalid is P3.
func neverInvalid(p *prober) check {
	logins, failed := p.result()
	c := check{promise: "P3", text: fmt.Sprintf("%d logins with what was bound at that moment, %d refused", logins, len(failed)), against: failed}
	if logins == 0 {
		c.against = append(c.against, "nothing was tried")
	}
	return c
}

// stepOrder is the order in which a rotation may become durable.
var stepOrder = []string{"claimed", "planned", "staged", "applied", "verified", "revoked", "proven-dead"}

// revokedLast is P4.
func (s *sandbox) revokedLast(rounds []*round) check {
	c := check{promise: "P4", text: "old credentials revoked after all targets were verified and the overlap was over, and really dead"}
	for _, r := range rounds {
		for _, b := range r.bundles {
			for _, fault := range r.order(s, b) {
				c.against = append(c.against, b.name+": "+fault)
			}
		}
		for _, name := range r.dead {
			c.against = append(c.against, name+": the old credential is not dead")
		}
		for _, name := range r.alive {
			c.against = append(c.against, name+": the live credential does not log in")
		}
	}
	return c
}

func (r *round) order(s *sandbox, b *bundle) []string {
	var faults []string
	receipt := r.receipts[b.name]
	steps := receipt.Steps
	last := stepOrder[0]
	for _, name := range stepOrder {
		at := steps[name]
		switch {
		case at.IsZero() && name == "verified" && r.overlap == 0:
			continue // nothing to wait for: the answers to the PUTs were the verification
		case at.IsZero():
			faults = append(faults, "the receipt has no step "+name)
			continue
		case at.Before(steps[last]):
			faults = append(faults, name+" came before "+last)
		}
		last = name
	}
	if got := steps["revoked"].Sub(steps["applied"]); got < r.overlap {
		faults = append(faults, fmt.Sprintf("revoked %s after the last target, the policy asks for %s", got, r.overlap))
	}
	if receipt.Result != "rotated" {
		faults = append(faults, "the result is "+receipt.Result)
	}
	for _, t := range s.shop.targets {
		at := r.after.entities[t.Ref].updated
		if alone := len(r.bundles) == 1 || len(t.from) == 1; alone && slices.Contains(t.from, b.name) && at.After(steps["revoked"].Add(time.Millisecond)) {
			faults = append(faults, t.String()+" was written after the old credential was revoked")
		}
	}
	return faults
}
