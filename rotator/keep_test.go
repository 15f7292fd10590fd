package rotator

import (
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// TestEndIsRaisedUntilItIsReplaced: a certificate has ten days, and whoever asks for a rotation is refused. It is asked for daily in
// the last third, hourly in the last tenth and then with an alarm, and no more when it was replaced. The rotator's death between
// minting and journalling does not make it forget the end.
func TestEndIsRaisedUntilItIsReplaced(t *testing.T) {
	const day = 24 * time.Hour
	for _, dies := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			b := w.shop("checkout", 2)
			w.expiring = 10 * day
			if dies {
				w.fault = func(_ int, point string) fault {
					if point == "kv write" && w.calls[point] == 1 {
						return dieAfter
					}
					return none
				}
			}
			p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
			p2 := p
			if dies {
				p2 = w.start("r2", map[string]Bundle{"checkout": b}, io.Discard)
				defer p2.end()
			}
			defer p.end()
			began := time.Now()
			if err := p.Accept(t.Context(), leak("e1", "checkout"), began); err != nil || !w.settled(time.Hour) {
				t.Fatal(err)
			}
			if live := w.record(t, "checkout").Live; live.Ends.Sub(began).Round(time.Hour) != 10*day || p.ports.died() != dies {
				t.Fatalf("it ends %v", live.Ends)
			}
			w.mu.Lock()
			lost := w.targets[b.Targets[0].Ref]
			delete(w.targets, b.Targets[0].Ref) // every plan is refused from now on
			w.mu.Unlock()
			heard, asked := 0, make(map[int]int) // by day
			ids := make(map[string]bool)         // the stream drops what it has had
			live := func(until time.Duration) {
				for time.Since(began) < until {
					time.Sleep(10 * time.Minute)
					w.mu.Lock()
					fresh := slices.Clone(w.raised[heard:])
					heard = len(w.raised)
					w.mu.Unlock()
					for _, ev := range fresh {
						if ids[ev.ID] {
							continue
						}
						ids[ev.ID] = true
						asked[int(time.Since(began)/day)]++
						if err := p2.Accept(t.Context(), ev, time.Now()); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			live(9*day - 15*time.Minute)
			if want := map[int]int{6: 1, 7: 1, 8: 1}; !maps.Equal(asked, want) {
				t.Errorf("dies %v: asked %v by day, want %v", dies, asked, want)
			}
			live(10*day - time.Hour)
			if n := asked[9]; n < 22 || n > 24 {
				t.Errorf("dies %v: asked %d times on the last day, want every hour", dies, n)
			}
			w.mu.Lock()
			o := w.outcomes["checkout-v2-expires "+events.ResultDelayed]
			w.mu.Unlock()
			if !strings.Contains(o.Reason, "refused") || !strings.Contains(o.Reason, "does not exist") || o.Remedy == "" {
				t.Errorf("alarm: %+v", o)
			}
			w.mu.Lock()
			w.targets[b.Targets[0].Ref] = lost
			w.mu.Unlock()
			live(10*day + 2*time.Hour)
			if rec := w.record(t, "checkout"); rec.Generation != 2 || rec.Live.Ends.Sub(began) < 19*day {
				t.Fatalf("%+v", rec.Live)
			}
			before := heard
			live(13 * day)
			if heard != before {
				t.Errorf("%d more requests after it was replaced", heard-before)
			}
			w.check(t)
		})
	}
}

// TestReminderIsAlwaysAhead: from minting to the end the next look is in the future, the last tenth is not slept through, and
// between two looks there is at least a minute.
func TestReminderIsAlwaysAhead(t *testing.T) {
	for _, life := range []time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour, 90 * 24 * time.Hour} {
		g := Generation{Minted: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		g.Ends = g.Minted.Add(life)
		var before, after int
		for now := g.Minted; now.Before(g.Ends); {
			due, again := g.reminder(now)
			if again.Sub(now) < time.Minute && again.Before(g.Ends.Add(-life/10)) {
				t.Fatalf("life %v: at %v the next look is %v later", life, now.Sub(g.Minted), again.Sub(now))
			}
			if due {
				g.Raised = now
				if now.Before(g.Ends.Add(-life / 10)) {
					before++
				} else {
					after++
				}
			}
			now = again
		}
		if before < 1 || after < 1 {
			t.Errorf("life %v: raised %d and %d times", life, before, after)
		}
	}
}
