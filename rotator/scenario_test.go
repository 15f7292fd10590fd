package rotator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// A scenario is something that happens, with the end it must come to, whatever fails on the way.
type scenario struct {
	name    string
	policy  Policy
	prepare func(*stage) // nothing fails yet
	play    func(*stage)

	result    string // of the last receipt
	rotations int    // receipts; zero: one
	lives     bool   // the first credential
	left      []int  // targets that keep what they hold
}

// scenarios are every way a record can go: forward and back, contained and refused, decided by somebody, written again, renewed.
func scenarios() []scenario {
	const first = canary + "-checkout-first"
	drain := Rule{Overlap: 3 * time.Minute, AfterFailure: Rollback}
	hold := Rule{Overlap: 3 * time.Minute, ContainWithin: time.Second, AfterFailure: Hold}
	leaves := func(s *stage) { s.deliver(departure("e1")) }
	rotated := func(s *stage) { s.deliver(leak("e0", "checkout")); s.settle() }
	return []scenario{
		{name: "rotated", policy: Policy{events.KindOffboarding: drain}, play: leaves, result: events.ResultRotated},
		{name: "rolled back", policy: Policy{events.KindOffboarding: drain}, play: func(s *stage) {
			s.refuses(2)
			leaves(s)
		}, result: events.ResultRolledBack, lives: true},
		{name: "refused by the probe", policy: Policy{events.KindOffboarding: drain}, play: func(s *stage) {
			s.rejects()
			leaves(s)
		}, result: events.ResultRefused, lives: true},
		{name: "contained at the deadline", policy: Policy{events.KindLeak: {ContainWithin: 2 * time.Second, AfterFailure: Contain}}, play: func(s *stage) {
			s.refuses(2)
			began := time.Now()
			s.deliver(leak("e1", "checkout"))
			time.Sleep(time.Until(began.Add(1900 * time.Millisecond)))
			if !s.lives(first) {
				s.t.Error("P4: revoked before the deadline")
			}
			s.mayDie(first)
			s.until("contained", func(r Record) bool { return r.Rotation != nil && r.Rotation.Contained })
			s.says(Decision{Verb: Abandon, Target: s.b.Targets[2].Ref})
		}, result: events.ResultContained, left: []int{2}},
		{name: "a drifted target is written again", prepare: rotated, play: func(s *stage) {
			s.mayDie(first)
			s.deploy(1)
			s.reconcile()
		}, result: events.ResultReapplied, rotations: 2},
		{name: "resumed", policy: Policy{events.KindOffboarding: hold}, play: func(s *stage) {
			mended := s.refuses(2)
			leaves(s)
			s.until("held", func(r Record) bool { return r.State == Quarantined })
			mended()
			s.says(Decision{Verb: Resume})
		}, result: events.ResultRotated},
		{name: "abandoned", policy: Policy{events.KindLeak: hold}, play: func(s *stage) {
			s.refuses(2)
			s.deliver(leak("e1", "checkout"))
			s.until("held", func(r Record) bool { return r.State == Quarantined })
			s.mayDie(first)
			s.says(Decision{Verb: Abandon, Target: s.b.Targets[2].Ref})
		}, result: events.ResultRotated, left: []int{2}},
		{name: "turned around by an operator", policy: Policy{events.KindOffboarding: {Overlap: 10 * time.Minute, AfterFailure: Rollback}}, play: func(s *stage) {
			leaves(s)
			s.until("draining", func(r Record) bool { return r.State == Draining })
			s.says(Decision{Verb: Undo})
		}, result: events.ResultRolledBack, lives: true},
		{name: "contained by an operator", policy: Policy{events.KindOffboarding: {Overlap: 24 * time.Hour, AfterFailure: Rollback}}, play: func(s *stage) {
			leaves(s)
			s.until("draining", func(r Record) bool { return r.State == Draining })
			s.mayDie(first)
			s.says(Decision{Verb: Cutoff})
		}, result: events.ResultContained},
		{name: "renewed, and rotated before the end", policy: Policy{events.KindExpiring: drain}, prepare: func(s *stage) {
			rotated(s)
			s.mu.Lock()
			s.end = time.Now().Add(80 * time.Second)
			s.mu.Unlock()
			s.change(s.t, s.procs[0], "checkout", func(r Record) (Record, error) {
				r.Live.RenewAt = time.Now().Add(time.Minute)
				return r, nil
			})
		}, play: func(s *stage) {
			var raised []events.Event
			s.until("said that the end is near", func(Record) bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				raised = slices.Clone(s.raised)
				return len(raised) > 0
			})
			s.deliver(raised[0])
		}, result: events.ResultRotated, rotations: 2},
		{name: "a leak joins the drain", policy: Policy{events.KindOffboarding: {Overlap: 2 * time.Hour, AfterFailure: Rollback}}, play: func(s *stage) {
			leaves(s)
			s.until("draining", func(r Record) bool { return r.State == Draining })
			key := must(s.procs[0].ports.Key(s.t.Context()))
			s.deliver(leaked(events.Credential{Fingerprints: []events.Fingerprint{{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(txt(first))}}}))
		}, result: events.ResultRotated},
		{name: "overwritten while Vault does not revoke", policy: Policy{events.KindOffboarding: drain}, play: func(s *stage) {
			back := s.away("revoke")
			leaves(s)
			s.until("revoking", func(r Record) bool { return r.State == Revoking })
			time.Sleep(10 * time.Second)
			s.deploy(0)
			back()
		}, result: events.ResultRotated},
	}
}

// run plays a scenario on two replicas, of which one may die, and checks every promise.
func (sc scenario) run(t *testing.T, w *world, fails func(n int, point string) fault) {
	t.Helper()
	s := &stage{world: w, t: t, b: w.shop("checkout", 3)}
	s.b.Policy = sc.policy
	bundles := map[string]Bundle{"checkout": s.b}
	for i := range s.procs {
		s.procs[i] = w.start(fmt.Sprint("r", i+1), bundles, io.Discard)
		s.procs[i].Engine.Inventory = stock{ports: s.procs[i].ports}
		defer s.procs[i].end()
	}
	if sc.prepare != nil {
		sc.prepare(s)
	}
	w.mu.Lock()
	w.writes, w.fault = nil, fails
	w.mu.Unlock()
	sc.play(s)
	s.settle()
	time.Sleep(2 * defaultZombie) // what is late arrives
	s.settle()
	w.check(t)
	s.check(sc)
}

// check holds the end of a scenario against its promises.
func (s *stage) check(sc scenario) {
	s.t.Helper()
	rec := s.record(s.t, "checkout")
	last := rec.Last()
	if rec.State != Idle || len(rec.History) != max(sc.rotations, 1) || last.Result != sc.result {
		s.t.Fatalf("P6: %s with %+v, want one %s", rec.State, rec.History, sc.result)
	}
	if alive := s.lives(canary + "-checkout-first"); alive != sc.lives {
		s.t.Errorf("P4: the old credential is alive: %v, want %v", alive, sc.lives)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.outcomes[last.Rotation+" "+sc.result]; !ok {
		s.t.Errorf("no outcome was published: %v", s.outcomes)
	}
	vs := s.secrets[s.b.Secret]
	for i, target := range s.b.Targets {
		e, _ := s.targets[target.Ref].obs.Parameters.Get("PASSWORD")
		if e.Value.Equal(vs[len(vs)-1].Set["PASSWORD"]) == slices.Contains(sc.left, i) {
			s.t.Errorf("P2: %s holds the newest version: %v", target.Ref, slices.Contains(sc.left, i))
		}
	}
}

// A stage is what happens in one run of a scenario.
type stage struct {
	*world
	t     *testing.T
	b     Bundle
	procs [2]*process
}

// deliver gives an event to the replicas until one takes it, as the stream would.
func (s *stage) deliver(ev events.Event) {
	s.t.Helper()
	stored := time.Now()
	for range 600 {
		for _, p := range s.procs {
			if p.Accept(s.t.Context(), ev, stored) == nil {
				return
			}
		}
		time.Sleep(time.Second)
	}
	s.t.Fatalf("nobody takes event %s", ev.ID)
}

// settle waits until everything is done, without anybody's help.
func (s *stage) settle() {
	s.t.Helper()
	done := s.settled(4 * time.Hour)
	if rec := s.record(s.t, "checkout"); !done || rec.State == Quarantined {
		s.t.Fatalf("not settled: %+v %+v", rec, rec.Rotation)
	}
}

// until waits for a record that is as described.
func (s *stage) until(what string, is func(Record) bool) {
	s.t.Helper()
	looked := 0
	for range 4 * 3600 {
		s.mu.Lock()
		now := len(s.journal["checkout"])
		s.mu.Unlock()
		if looked != now && is(s.record(s.t, "checkout")) {
			return
		}
		looked = now
		time.Sleep(time.Second)
	}
	s.t.Fatalf("never %s: %+v", what, s.record(s.t, "checkout"))
}

// refuses makes a target answer every PUT with 403, until it is mended.
func (s *stage) refuses(target int) (mended func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets[s.b.Targets[target].Ref].fail = func(int) error { return errForbidden }
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.targets[s.b.Targets[target].Ref].fail = nil
	}
}

// rejects makes every probe say no.
func (s *stage) rejects() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = map[string]error{"probe": ErrRejected}
}

// deploy puts the values of the first version back on a target.
func (s *stage) deploy(target int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.overwrite(s.b.Targets[target].Ref, s.b.Secret, "0.0.9", true)
}

// mayDie says that from now on this credential may be dead while it is bound.
func (s *stage) mayDie(value string) { s.mu.Lock(); defer s.mu.Unlock(); s.cut = value }

// says journals an operator's decision as the command does, from a process of its own, until it is there.
func (s *stage) says(d Decision) {
	s.t.Helper()
	d.By = "alice"
	word := d.String() + " decided by alice"
	said := func(warnings []string) bool { return strings.Contains(strings.Join(warnings, "\n"), word) }
	for range 600 {
		rec := s.record(s.t, "checkout")
		if rec.Rotation != nil && said(rec.Rotation.Warnings) || rec.Last() != nil && said(rec.Last().Warnings) {
			return
		}
		next, _, err := rec.Decide(d, time.Now())
		if err == nil {
			command := &ports{world: s.world, kill: func() {}}
			_, rev, _ := command.Get(context.Background(), "checkout")
			_, _ = journalPort{command}.Put(s.t.Context(), "checkout", must(next.Encode()), rev)
		} else if !errors.Is(err, ErrInWork) {
			s.t.Fatalf("%s: %v", d, err)
		}
		time.Sleep(time.Second)
	}
	s.t.Fatalf("nobody takes the decision %s: %+v", d, s.record(s.t, "checkout"))
}

// reconcile compares what exists with the journal until that has led to something.
func (s *stage) reconcile() {
	s.t.Helper()
	for range 100 {
		for _, p := range s.procs {
			found, err := p.Engine.Reconcile(s.t.Context(), Reconcile{Apply: true})
			if err == nil && (len(found.Drifted) == 0 || found.Drifted[0].Applied) {
				return
			}
			time.Sleep(10 * time.Second)
		}
	}
	s.t.Fatal("the comparison never succeeds")
}
