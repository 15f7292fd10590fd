package rotator

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
)

// startSkewed starts a replica whose clock is ahead by what skew holds.
func (w *world) startSkewed(replica string, bundles map[string]Bundle, skew *atomic.Int64, logs io.Writer) *process {
	ctx, cancel := context.WithCancel(context.Background())
	p := &ports{world: w, kill: cancel}
	ahead := func() time.Duration { return time.Duration(skew.Load()) }
	e, err := New(Config{Bundles: bundles, Replica: replica, Secrets: p, Minter: p, Revoker: p, Prober: p, Platform: p, Journal: journalPort{p}, Outbox: p, Log: zerolog.New(logs),
		Now: func() time.Time { return time.Now().Add(ahead()) }, Clock: func(context.Context) (time.Duration, error) { return ahead(), nil }})
	if err != nil {
		w.t.Fatal(err)
	}
	proc := &process{Engine: e, ports: p, stop: cancel, done: make(chan error, 1)}
	go func() { proc.done <- e.Run(ctx) }()
	synctest.Wait()
	return proc
}

// TestClockThatIsWrongEndsNoDrain: a replica whose clock is hours ahead, from the start or from the middle of a drain, begins
// nothing and says so; the other one does the work, and this one goes on when its clock is right.
func TestClockThatIsWrongEndsNoDrain(t *testing.T) {
	for name, jumps := range map[string]bool{"from the start": false, "in the middle": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.shop("checkout", 2)
				b.Policy = Policy{events.KindOffboarding: {Overlap: time.Hour, AfterFailure: Rollback}}
				bundles := map[string]Bundle{"checkout": b}
				var skew, right atomic.Int64
				if !jumps {
					skew.Store(int64(2 * time.Hour))
				}
				var logs bytes.Buffer
				p := w.startSkewed("r1", bundles, &skew, &syncWriter{w: &logs})
				defer p.end()
				if !jumps {
					if err := p.Accept(t.Context(), departure("e1"), time.Now()); err != nil { // taking it in needs no clock
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
					if rec := w.record(t, "checkout"); rec.State != Idle || rec.Owner != "" || len(rec.Queue) != 1 {
						t.Fatalf("%+v", rec)
					}
				}
				other := w.startSkewed("r2", bundles, &right, io.Discard)
				if jumps {
					if err := other.Accept(t.Context(), departure("e1"), time.Now()); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(10 * time.Minute)
				skew.Store(int64(2 * time.Hour))
				other.end()
				time.Sleep(45 * time.Minute)
				if rec := w.record(t, "checkout"); rec.State != Draining || !w.lives(canary+"-checkout-first") {
					t.Fatalf("the drain was ended early: %s", rec.State)
				}
				time.Sleep(30 * time.Minute) // the end of the drain has come, but not for this clock
				err := p.ClockError()
				if err == nil || !strings.Contains(err.Error(), "2h0m0s ahead") || p.ClockOffset() != 2*time.Hour {
					t.Errorf("it says %v", err)
				}
				if n := strings.Count(logs.String(), "begins nothing"); n != 1 {
					t.Errorf("said %d times in the log", n)
				}
				skew.Store(int64(-time.Second))
				if !w.settled(time.Hour) {
					t.Fatalf("not settled: %+v", w.record(t, "checkout"))
				}
				w.check(t)
				if err := p.ClockError(); err != nil || w.lives(canary+"-checkout-first") {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// TestClockThatJumpsInTheMiddleOfARotation: the step in hand ends, the claim is given back without a moment of that clock, and the
// rest is done when the clock is right.
func TestClockThatJumpsInTheMiddleOfARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		bundles := map[string]Bundle{"checkout": w.shop("checkout", 2)}
		var skew atomic.Int64
		p := w.startSkewed("r1", bundles, &skew, io.Discard)
		defer p.end()
		jumped := false
		w.fault = func(_ int, point string) fault {
			if point == "put" && !jumped {
				jumped = true
				skew.Store(int64(-2 * time.Hour))
				p.clock.mu.Lock()
				p.clock.at = time.Time{} // half a minute later
				p.clock.mu.Unlock()
				p.measure(context.Background())
			}
			return none
		}
		if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if rec := w.record(t, "checkout"); rec.State != Draining || rec.Owner != "" || !w.lives(canary+"-checkout-first") || rec.NotBefore.After(time.Now()) {
			t.Errorf("%+v", rec)
		}
		skew.Store(0)
		if !w.settled(10 * time.Minute) {
			t.Fatalf("not settled: %+v", w.record(t, "checkout"))
		}
		w.check(t)
	})
}
