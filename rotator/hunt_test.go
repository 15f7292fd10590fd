package rotator

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// reports keeps what is told of searches.
type reports struct {
	Outbox
	mu  sync.Mutex
	got []events.Outcome
}

func (r *reports) Outcome(ctx context.Context, o events.Outcome) error {
	if o.Result == events.ResultReported {
		r.mu.Lock()
		r.got = append(r.got, o)
		r.mu.Unlock()
	}
	return r.Outbox.Outcome(ctx, o)
}

func (r *reports) take() []events.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// hunting is a service whose hosts are searched.
type hunting struct {
	*process
	*searched
	*reports
	t *testing.T
	n int
}

// hunted starts a service that searches the hosts "prod" and "dark", which hides values.
func hunted(t *testing.T, w *world, bundles map[string]Bundle) *hunting {
	h := &hunting{process: w.start("one", bundles, io.Discard), searched: &searched{hostOf: hostOf{w}, away: make(map[string]error), listed: make(map[string]int)}, t: t}
	h.end()
	h.reports = &reports{Outbox: h.process.Outbox}
	h.process.Engine.Config.Outbox = h.reports
	h.Search = &Search{Entities: h.searched, Hosts: []string{"prod", "dark"}, Hides: map[string]bool{"dark": true}, Bundles: bundles, Parallel: 2}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go func() { h.done <- h.Engine.Run(ctx) }()
	synctest.Wait()
	return h
}

// leaks tells the service that a value has leaked.
func (h *hunting) leaks(value string) {
	h.n++
	ev := leak(fmt.Sprint("n", h.n), "")
	key := must(h.Secrets.Key(context.Background()))
	ev.Leak.Credential = events.Credential{Fingerprints: []events.Fingerprint{{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(secret.FromText(value))}}}
	_ = h.Accept(h.t.Context(), ev, time.Now())
}

func (h *hunting) after(d time.Duration) { time.Sleep(d); synctest.Wait() }

// lists is how often a host was searched.
func (h *hunting) lists() int {
	h.searched.mu.Lock()
	defer h.searched.mu.Unlock()
	return h.listed["prod"]
}

// TestCopiesOfALeakedValue: a bundle holds the value and is rotated; copies elsewhere, which die with the old credential, are told,
// and what is rotated is not.
func TestCopiesOfALeakedValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("a", 2)
		h := hunted(t, w, map[string]Bundle{"a": b})
		defer h.end()
		const leaked = canary + "-a-first"
		h.put(Ref{Host: "prod", Kind: Action, Name: "copy"}, texts("COPY", "https://app:"+leaked+"@host/"))
		h.put(Ref{Host: "dark", Kind: Action, Name: "who-knows"}, texts("X", "9f86d0"))
		h.leaks(leaked)
		if !w.settled(time.Hour) || w.record(t, "a").Last().Result != events.ResultRotated {
			t.Fatal("not rotated")
		}
		got := h.take()
		const want = "the leaked value is also where no rotation of a replaces it: bound on prod action copy as parameter COPY, the password of a URL; " +
			"the leaked value could not be looked for everywhere: 1 entities of host dark could not be compared: it hides values"
		if len(got) != 1 || got[0].Reason != want || got[0].Bundle != "a" || !strings.Contains(got[0].Remedy, "by hand") {
			t.Errorf("%+v", got)
		}
		w.check(t)
	})
}

// TestManyLeaksShareASearch: what waits is looked for in one walk over the hosts, and the same value not again for a while.
func TestManyLeaksShareASearch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hunted(t, newWorld(t), nil)
		defer h.end()
		for i := range 200 {
			h.put(Ref{Host: "prod", Kind: Action, Name: fmt.Sprint("a", i)}, texts("K", fmt.Sprint("value-", i)))
		}
		for i := range 200 {
			h.leaks(fmt.Sprint("value-", i))
			h.leaks(fmt.Sprint("value-", i))
			synctest.Wait()
		}
		if n, got := h.lists(), h.take(); n != 1 || len(got) != 1 {
			t.Errorf("%d searches at once, %d reports", n, len(got))
		}
		h.after(huntGap + huntGap/2)
		got := h.take()
		if n := h.lists(); n != 2 || len(got) < 100 {
			t.Errorf("%d searches after a minute, %d more reports", n, len(got))
		}
		for _, o := range got {
			if strings.Count(o.Reason, "bound on") != 1 {
				t.Error(o.Reason)
			}
		}
		h.leaks("value-0")
		h.after(huntGap * 2)
		if n := h.lists(); n != 2 {
			t.Errorf("the same value was searched for again: %d", n)
		}
		h.after(huntAgain)
		h.leaks("value-0")
		h.after(time.Second)
		if n := h.lists(); n != 3 {
			t.Errorf("much later it was not: %d", n)
		}
	})
}

// TestASearchThatFailsIsTriedAgain: what is found is told at once and once, and at the end what could not be searched.
func TestASearchThatFailsIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		back time.Duration // when the other host is back; 0: never
		want []string
	}{
		"it comes back": {90 * time.Second, []string{"bound on prod action a as parameter K", "bound on dark action b as annotation A"}},
		"it never does": {0, []string{"bound on prod action a as parameter K", "could not be looked for everywhere: host dark: its packages cannot be listed: no route"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := hunted(t, newWorld(t), nil)
				defer h.end()
				h.put(Ref{Host: "prod", Kind: Action, Name: "a"}, texts("K", "the-value"))
				h.put(Ref{Host: "dark", Kind: Action, Name: "b"}, nil, Annotation{"A", secret.FromText("the-value").Reveal()})
				h.gone("dark", fmt.Errorf("no route: %w", ErrUnavailable))
				h.leaks("the-value")
				if c.back > 0 {
					h.after(c.back)
					h.gone("dark", nil)
				}
				h.after(time.Hour)
				got := h.take()
				if len(got) != 2 || !strings.Contains(got[0].Reason, c.want[0]) || !strings.Contains(got[1].Reason, c.want[1]) || strings.Contains(got[1].Reason, c.want[0]) {
					t.Errorf("%+v", got)
				}
				if n := h.lists(); n > huntTries {
					t.Errorf("%d searches", n)
				}
			})
		})
	}
}
