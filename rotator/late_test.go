package rotator

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// away makes calls fail until the returned function is called.
func (w *world) away(calls ...string) (back func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outage = make(map[string]error)
	for _, c := range calls {
		w.outage[c] = fmt.Errorf("injected: %w", ErrUnavailable)
	}
	return func() { w.mu.Lock(); w.outage = nil; w.mu.Unlock() }
}

// outcomesOf counts what was published with this result.
func (w *world) outcomesOf(result string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.outcomes {
		if o.Result == result {
			n++
		}
	}
	return n
}

// TestLeakIsContainedWhenTheHostIsAway: nothing can be planned, and the leaked credential dies in time all the same.
func TestLeakIsContainedWhenTheHostIsAway(t *testing.T) {
	for name, calls := range map[string][]string{"planning": {"get"}, "minting": {"anchor"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.shop("checkout", 3)
				b.Policy = Policy{events.KindLeak: {ContainWithin: 10 * time.Minute, AfterFailure: Contain}}
				back := w.away(calls...)
				p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
				defer p.end()
				if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(9 * time.Minute)
				if !w.lives(canary + "-checkout-first") {
					t.Error("revoked before the deadline")
				}
				w.mu.Lock()
				w.contain = true
				w.mu.Unlock()
				time.Sleep(3 * time.Minute)
				if w.lives(canary+"-checkout-first") || w.outcomesOf(events.ResultContaining) != 1 {
					t.Errorf("not contained after the deadline, or %d alarms", w.outcomesOf(events.ResultContaining))
				}
				back()
				if !w.settled(time.Hour) {
					t.Fatal("not settled")
				}
				w.check(t)
				if last := w.record(t, "checkout").Last(); last == nil || last.Result != events.ResultContained || last.Steps["contained"].IsZero() {
					t.Errorf("receipt = %+v", last)
				}
			})
		})
	}
}

// TestContainedAndRefusedIsHeld: with the old credential revoked, a refusal must not look like nothing happened.
func TestContainedAndRefusedIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 2)
		b.Policy = Policy{events.KindLeak: {ContainWithin: time.Minute, AfterFailure: Contain}}
		w.contain = true
		back := w.away("get")
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		w.mu.Lock()
		delete(w.targets, b.Targets[1].Ref)
		w.mu.Unlock()
		back()
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		if rec := w.record(t, "checkout"); rec.State != Quarantined || !strings.Contains(rec.Rotation.LastError, "contained, but") {
			t.Errorf("record = %+v", rec)
		}
	})
}

// TestLateRotationRaisesOneAlarm in every place where it can be stuck, and goes on by itself.
func TestLateRotationRaisesOneAlarm(t *testing.T) {
	for _, call := range []string{"get", "anchor", "mint", "kv write", "put", "revoke"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.shop("checkout", 2)
				b.Policy = Policy{events.KindOffboarding: {Overlap: 0, ContainWithin: time.Hour, AfterFailure: Rollback}, events.KindLeak: {AfterFailure: Hold, ContainWithin: 20 * time.Minute}}
				back := w.away(call)
				p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
				defer p.end()
				if err := p.Accept(t.Context(), departure("e1"), time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Minute)
				if n := w.outcomesOf(events.ResultDelayed); n != 0 {
					t.Errorf("%d alarms before the time was up", n)
				}
				time.Sleep(20 * time.Minute)
				want := 1
				if call == "put" { // this is what after_failure is for
					want = 0
				}
				if n := w.outcomesOf(events.ResultDelayed); n != want {
					t.Errorf("%d alarms, want %d", n, want)
				}
				back()
				if !w.settled(24 * time.Hour) {
					t.Fatal("not settled")
				}
				w.check(t)
			})
		})
	}
}

// TestDeletedTargetIsDroppedWhenSure: an action that disappears in the middle of a rotation holds it up for a while, is
// then left out, and is written after all when it comes back before the end.
func TestDeletedTargetIsDroppedWhenSure(t *testing.T) {
	for _, returns := range []bool{false, true} {
		t.Run(fmt.Sprintf("returns=%v", returns), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.shop("checkout", 3)
				b.Policy = Policy{events.KindOffboarding: {Overlap: time.Hour, AfterFailure: Rollback}}
				lost := b.Targets[0].Ref
				kept := w.targets[lost]
				w.fault = func(_ int, point string) fault {
					if point == "put" {
						delete(w.targets, lost)
					}
					return none
				}
				p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
				defer p.end()
				if err := p.Accept(t.Context(), departure("e1"), time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(goneAfter - time.Minute)
				if rec := w.record(t, "checkout"); rec.State != Applying {
					t.Errorf("dropped before it was sure: %s", rec.State)
				}
				time.Sleep(3 * time.Minute)
				rec := w.record(t, "checkout")
				if rec.State != Draining || !strings.Contains(rec.Rotation.Targets[0].Dropped, "does not exist") {
					t.Fatalf("want draining without the deleted target: %s %+v", rec.State, rec.Rotation)
				}
				if returns {
					w.mu.Lock()
					w.fault = nil
					w.targets[lost] = kept
					w.mu.Unlock()
				}
				if !w.settled(4 * time.Hour) {
					t.Fatal("not settled")
				}
				w.check(t)
				last := w.record(t, "checkout").Last()
				if last.Result != events.ResultRotated || (last.Targets[0].After != "") != returns {
					t.Errorf("receipt = %+v", last)
				}
			})
		})
	}
}

// TestAllTargetsMissingIsHeld: that is no deletion on purpose.
func TestAllTargetsMissingIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 2)
		b.Policy = Policy{events.KindLeak: {AfterFailure: Hold}}
		w.fault = func(_ int, point string) fault {
			if point == "put" {
				clear(w.targets)
			}
			return none
		}
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil {
			t.Fatal(err)
		}
		if !w.settled(3 * time.Hour) {
			t.Fatal("not settled")
		}
		if rec := w.record(t, "checkout"); rec.State != Quarantined || !w.lives(canary+"-checkout-first") {
			t.Errorf("record = %+v", rec)
		}
	})
}
