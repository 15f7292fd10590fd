package rotator

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// decide writes an operator's decision to the journal, as the command does.
func (w *world) decide(t *testing.T, p *process, d Decision) []string {
	t.Helper()
	next, follows, err := w.record(t, "checkout").Decide(d, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	value, err := next.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	h := w.journal["checkout"]
	w.mu.Unlock()
	if _, err := (journalPort{p.ports}).Put(t.Context(), "checkout", value, h[len(h)-1].Revision); err != nil {
		t.Fatal(err)
	}
	return follows
}

// stuck is a world in which one of four targets answers as given, until it is released, and an event of this kind came in.
func stuck(t *testing.T, kind events.Kind, rule Rule, answer error) (w *world, p *process, b Bundle, release func()) {
	t.Helper()
	w = newWorld(t)
	b = w.shop("checkout", 4)
	b.Policy = Policy{kind: rule}
	failing := true
	release = func() { w.mu.Lock(); failing = false; w.mu.Unlock() }
	w.targets[b.Targets[2].Ref].fail = func(int) error {
		if failing {
			return answer
		}
		return nil
	}
	p = w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
	ev := departure("e1")
	if kind == events.KindLeak {
		ev = leak("e1", "checkout")
	}
	if err := p.Accept(t.Context(), ev, time.Now()); err != nil {
		t.Fatal(err)
	}
	return w, p, b, release
}

var errForbidden = fmt.Errorf("403: %w", ErrPermanent)

func TestAbandonedTargetIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p, b, _ := stuck(t, events.KindLeak, Rule{AfterFailure: Hold}, errForbidden)
		defer p.end()
		if !w.settled(time.Hour) || w.record(t, "checkout").State != Quarantined {
			t.Fatalf("want quarantine: %+v", w.record(t, "checkout"))
		}
		w.mu.Lock()
		w.contain = true // the abandoned target loses its credential: that is what was decided
		w.mu.Unlock()
		follows := w.decide(t, p, Decision{Verb: Abandon, Target: b.Targets[2].Ref, By: "alice"})
		if !strings.Contains(strings.Join(follows, " "), "checkout-2 stops working") {
			t.Errorf("the consequence is not told: %q", follows)
		}
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		last := w.record(t, "checkout").Last()
		if last == nil || last.Result != events.ResultRotated || !strings.Contains(last.Targets[2].Dropped, "alice") || last.Targets[2].After != "" {
			t.Fatalf("receipt = %+v", last)
		}
		if w.lives(canary+"-checkout-first") || !strings.Contains(strings.Join(last.Warnings, " "), "abandon prod action checkout-2 decided by alice") {
			t.Errorf("the old credential lives, or the decision is not in the receipt: %q", last.Warnings)
		}
	})
}

func TestRollbackByAnOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p, _, release := stuck(t, events.KindLeak, Rule{AfterFailure: Hold}, errForbidden)
		defer p.end()
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		release()
		if follows := w.decide(t, p, Decision{Verb: Undo, By: "alice"}); !strings.Contains(strings.Join(follows, " "), "leaked credential stays in use") {
			t.Errorf("no warning: %q", follows)
		}
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		w.check(t)
		if last := w.record(t, "checkout").Last(); last.Result != events.ResultRolledBack || !w.lives(canary+"-checkout-first") {
			t.Errorf("receipt = %+v", last)
		}
	})
}

func TestContainByAnOperator(t *testing.T) {
	for _, drains := range []bool{false, true} {
		t.Run(fmt.Sprintf("draining=%v", drains), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, p, _, release := stuck(t, events.KindOffboarding, Rule{Overlap: 24 * time.Hour, AfterFailure: Hold}, fmt.Errorf("503: %w", ErrUnavailable))
				defer p.end()
				if drains {
					release()
				}
				time.Sleep(10 * time.Second)
				w.mu.Lock()
				w.contain = true
				w.mu.Unlock()
				w.decide(t, p, Decision{Verb: Cutoff, By: "alice"})
				time.Sleep(2 * time.Minute)
				if w.lives(canary + "-checkout-first") {
					t.Error("the old credential lives")
				}
				release()
				if !w.settled(48 * time.Hour) {
					t.Fatal("not settled")
				}
				w.check(t)
				if last := w.record(t, "checkout").Last(); last.Result != events.ResultContained {
					t.Errorf("receipt = %+v", last)
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				var alarms int
				for _, o := range w.outcomes {
					if o.Result == events.ResultContaining {
						alarms++
					}
				}
				if alarms != 1 {
					t.Errorf("%d alarms, want 1: %v", alarms, w.outcomes)
				}
			})
		})
	}
}

// TestDecisionsThatDoNotFit: what cannot be done is refused with the reason, and nothing changes.
func TestDecisionsThatDoNotFit(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rot := func(change func(*Rotation)) *Rotation {
		r := &Rotation{ID: "r", Kind: events.KindLeak, Targets: []TargetState{{Ref: Ref{Host: "h", Kind: Action, Name: "a"}}}}
		if change != nil {
			change(r)
		}
		return r
	}
	for name, tc := range map[string]struct {
		rec  Record
		verb Verb
		want error
	}{
		"idle":                     {Record{State: Idle}, Undo, ErrNotPossible},
		"resume of a running one":  {Record{State: Applying, Rotation: rot(nil)}, Resume, ErrNotPossible},
		"in work":                  {Record{State: Applying, Rotation: rot(nil), Owner: "r1", LeaseUntil: now.Add(time.Second)}, Undo, ErrInWork},
		"foreign target":           {Record{State: Applying, Rotation: rot(nil)}, Abandon, ErrNotPossible},
		"back after containment":   {Record{State: Applying, Rotation: rot(func(r *Rotation) { r.Contained = true })}, Undo, ErrNotPossible},
		"back while containing":    {Record{State: Applying, Rotation: rot(func(r *Rotation) { r.Asked = Cutoff })}, Undo, ErrNotPossible},
		"back while revoking":      {Record{State: Revoking, Rotation: rot(nil)}, Undo, ErrNotPossible},
		"contain on the way back":  {Record{State: RollingBack, Rotation: rot(func(r *Rotation) { r.Back = true })}, Cutoff, ErrNotPossible},
		"contain twice":            {Record{State: Applying, Rotation: rot(func(r *Rotation) { r.Contained = true })}, Cutoff, ErrNotPossible},
		"held nowhere":             {Record{State: Quarantined, Rotation: rot(nil)}, Resume, ErrNotPossible},
		"unknown word":             {Record{State: Applying, Rotation: rot(nil)}, "dance", ErrNotPossible},
		"abandon while revoking":   {Record{State: Revoking, Rotation: rot(nil)}, Abandon, ErrNotPossible},
		"a lease that has passed":  {Record{State: Applying, Rotation: rot(nil), Owner: "r1", LeaseUntil: now.Add(-time.Second)}, Undo, nil},
		"cancel before the commit": {Record{State: Quarantined, Rotation: rot(func(r *Rotation) { r.HeldIn = Minting })}, Undo, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tc.rec.V, tc.rec.Bundle = RecordVersion, "checkout"
			before, _ := tc.rec.Encode()
			d := Decision{Verb: tc.verb, By: "alice", Target: Ref{Host: "h", Kind: Action, Name: "other"}}
			_, follows, err := tc.rec.Decide(d, now)
			if !errors.Is(err, tc.want) || err == nil && len(follows) == 0 {
				t.Errorf("Decide = %q, %v, want %v", follows, err, tc.want)
			}
			if after, _ := tc.rec.Encode(); string(after) != string(before) {
				t.Errorf("the record itself changed:\n%s\n%s", before, after)
			}
		})
	}
}
