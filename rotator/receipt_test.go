package rotator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// chainOf makes n sealed receipts as they are published.
func chainOf(t *testing.T, bundle string, n int) (published []events.Outcome, last *Receipt) {
	t.Helper()
	for i := range n {
		r := Receipt{Bundle: bundle, Rotation: fmt.Sprint("r", i), Result: events.ResultRotated, Kind: events.KindLeak, Finished: time.Date(2026, 1, i+1, 0, 0, 0, 0, time.UTC),
			Events: []Waiting{{ID: "urn:test e"}}, Targets: []TargetState{{Ref: Ref{Host: "prod", Kind: Action, Name: "a"}, Failure: "503"}}}
		sealed, err := r.seal(last)
		if err != nil {
			t.Fatal(err)
		}
		published = append(published, sealed.Outcome(bundle))
		last = &sealed
	}
	return published, last
}

func TestChain(t *testing.T) {
	alarm := events.Outcome{Rotation: "r0", Bundle: "a", Result: events.ResultDelayed}
	for name, tc := range map[string]struct {
		tamper func(os []events.Outcome) []events.Outcome
		broken int // number at which it shows; 0: intact
	}{
		"intact":                         {func(os []events.Outcome) []events.Outcome { return os }, 0},
		"published twice":                {func(os []events.Outcome) []events.Outcome { return append(os[:2:2], os[1:]...) }, 0},
		"alarms between":                 {func(os []events.Outcome) []events.Outcome { return slices.Insert(os, 2, alarm) }, 0},
		"the first are past":             {func(os []events.Outcome) []events.Outcome { return os[2:] }, 0},
		"one removed":                    {func(os []events.Outcome) []events.Outcome { return slices.Delete(os, 2, 3) }, 4},
		"the last removed":               {func(os []events.Outcome) []events.Outcome { return os[:4] }, 5},
		"all removed":                    {func(os []events.Outcome) []events.Outcome { return nil }, 5},
		"two swapped":                    {func(os []events.Outcome) []events.Outcome { os[2], os[3] = os[3], os[2]; return os }, 4},
		"text changed":                   {func(os []events.Outcome) []events.Outcome { os[1].Receipt += " "; return os }, 2},
		"no receipt":                     {func(os []events.Outcome) []events.Outcome { os[1].Receipt = ""; return os }, 2},
		"outcome says another word":      {func(os []events.Outcome) []events.Outcome { os[3].Result = events.ResultRolledBack; return os }, 4},
		"another kind in the outcome":    {func(os []events.Outcome) []events.Outcome { os[3].Kind = events.KindManual; return os }, 4},
		"another event in the outcome":   {func(os []events.Outcome) []events.Outcome { os[3].Events = []string{"urn:other e"}; return os }, 4},
		"a target less in the outcome":   {func(os []events.Outcome) []events.Outcome { os[3].Targets = nil; return os }, 4},
		"a target's failure is gone":     {func(os []events.Outcome) []events.Outcome { os[3].Targets[0].Failure = ""; return os }, 4},
		"another version in the outcome": {func(os []events.Outcome) []events.Outcome { os[3].KVVersionTo = 9; return os }, 4},
		"another time in the outcome":    {func(os []events.Outcome) []events.Outcome { os[3].ProvenDead = os[3].Finished; return os }, 4},
		"replaced with a good hash": {func(os []events.Outcome) []events.Outcome {
			os[1].Receipt = strings.Replace(os[1].Receipt, `"leak"`, `"manual"`, 1)
			os[1].ReceiptHash, os[1].Kind = hashOf(os[1].Receipt), events.KindManual
			return os
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			published, last := chainOf(t, "a", 5)
			other, _ := chainOf(t, "b", 2)
			c, err := VerifyChain("a", tc.tamper(append(other, published...)[2:]), last, Archive{})
			broken, is := errors.AsType[*ChainError](err)
			if tc.broken == 0 && (err != nil || c.Last != 5 || c.Hash != last.Hash) {
				t.Errorf("%+v, %v", c, err)
			}
			if tc.broken > 0 && (!is || broken.Number != tc.broken) {
				t.Errorf("broken at %+v, want %d", broken, tc.broken)
			}
		})
	}
}

// TestChainOfAQuietBundle: when none of its receipts is kept any more, that is no break if the stream had to drop them, and one if
// somebody has deleted them.
func TestChainOfAQuietBundle(t *testing.T) {
	published, last := chainOf(t, "a", 5)
	after := func(d time.Duration) time.Time { return last.Finished.Add(d) }
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		kept Archive
		says string // empty: broken
	}{
		"past the retention":           {Archive{Now: after(91 * day), MaxAge: 90 * day, Oldest: after(50 * day)}, "90 days"},
		"the stream is empty":          {Archive{Now: after(91 * day), MaxAge: 90 * day}, "90 days"},
		"pushed out":                   {Archive{Now: after(10 * day), MaxAge: 90 * day, Oldest: after(5 * day), Full: true}, "full"},
		"deleted, others are kept":     {Archive{Now: after(10 * day), MaxAge: 90 * day, Oldest: after(-5 * day), Full: true}, ""},
		"purged, it was not full":      {Archive{Now: after(10 * day), MaxAge: 90 * day, Oldest: after(5 * day)}, ""},
		"deleted, it is kept for ever": {Archive{Now: after(1000 * day)}, ""},
	} {
		c, err := VerifyChain("a", nil, last, tc.kept)
		if tc.says == "" && (err == nil || !strings.Contains(err.Error(), "deleted")) || tc.says != "" && (err != nil || !strings.Contains(c.Gone, tc.says)) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
		if _, err := VerifyChain("a", published[:4], last, tc.kept); err == nil {
			t.Errorf("%s: an older one is kept, and the last is not: that is no retention", name)
		}
	}
}

// TestReceiptsOfRotationsAreChained from the outcome stream to the journal, also when processes die between them.
func TestReceiptsOfRotationsAreChained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 60)
		b.Policy = Policy{events.KindLeak: {AfterFailure: Hold}}
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		p2 := w.start("r2", map[string]Bundle{"checkout": b}, io.Discard)
		defer func() { p.end(); p2.end() }()
		var inOrder []events.Outcome
		for i := range 4 {
			w.mu.Lock()
			died := false
			w.fault = func(_ int, point string) fault { // once per rotation: published, then the process dies
				if point == "outcome" && !died {
					died = true
					return dieAfter
				}
				return none
			}
			w.mu.Unlock()
			if err := p.Accept(t.Context(), leak(fmt.Sprint("e", i), "checkout"), time.Now()); err != nil {
				t.Fatal(err)
			}
			if !w.settled(time.Hour) {
				t.Fatal("not settled")
			}
			inOrder = append(inOrder, w.outcomes[w.record(t, "checkout").Last().Rotation+" "+events.ResultRotated])
			for _, dead := range []**process{&p, &p2} {
				if (*dead).ports.died() {
					(*dead).end()
					*dead = w.start(fmt.Sprint("r", i+3), map[string]Bundle{"checkout": b}, io.Discard)
				}
			}
		}
		rec := w.record(t, "checkout")
		if c, err := VerifyChain("checkout", inOrder, rec.Last(), Archive{}); err != nil || c.First != 1 || c.Last != 4 {
			t.Errorf("%+v, %v", c, err)
		}
		if !rec.History[0].Shortened || rec.History[3].Shortened || inOrder[0].Targets == nil {
			t.Error("old receipts with many targets are to be shortened in the journal, not in the stream")
		}
		if o := inOrder[3]; o.Receipt == "" || len(o.Receipt) < 1000 || strings.Contains(o.Receipt, canary) {
			t.Errorf("receipt text: %s", o.Receipt)
		}
	})
}

// TestReceiptNamesTheEventThatJoinsLast: between the moment at which the receipt is put together and the write that ends
// the rotation, another event is folded into it.
func TestReceiptNamesTheEventThatJoinsLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 1)
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		p.end() // nobody but the test works on the record
		stored := time.Now()
		time.Sleep(time.Second)
		rec := Record{V: RecordVersion, Bundle: "checkout", State: Revoking, Epoch: 3, Owner: "r1", LeaseUntil: time.Now().Add(time.Hour), Rotation: &Rotation{
			ID: "checkout-1", Kind: events.KindOffboarding, Events: []Waiting{{Event: "e1", ID: "e1"}}, MintBegan: time.Now(), Started: stored}}
		value, err := rec.Encode()
		if err != nil {
			t.Fatal(err)
		}
		at, err := journalPort{p.ports}.Put(t.Context(), "checkout", value, 0)
		if err != nil {
			t.Fatal(err)
		}
		c := &cursor{e: p.Engine, bundle: b, rec: rec, rev: at}
		receipt := c.receipt(events.ResultRotated)
		if err := p.refresh(t.Context(), "checkout"); err != nil {
			t.Fatal(err)
		}
		if err := p.Accept(t.Context(), leak("e2", "checkout"), stored); err != nil {
			t.Fatal(err)
		}
		if pause := p.finish(t.Context(), c, receipt); pause != nil {
			t.Fatal(pause.why)
		}
		final := w.record(t, "checkout").Rotation.Final
		if len(final.Events) != 2 || final.Kind != events.KindLeak {
			t.Errorf("the receipt names %d events, kind %s", len(final.Events), final.Kind)
		}
	})
}

// overtaken is a journal whose first answer to a write is lost, while another replica adds an event right behind it.
type overtaken struct {
	journalPort
	once *bool
}

func (o overtaken) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	at, err := o.journalPort.Put(ctx, key, value, revision)
	if err != nil || *o.once {
		return at, err
	}
	*o.once = true
	rec := must(DecodeRecord(value))
	if took, err := rec.Take(Waiting{Event: "e9", ID: "e9", Kind: events.KindLeak, Stored: time.Now()}, time.Now()); !took || err != nil {
		return 0, fmt.Errorf("not taken: %w", err)
	}
	if _, err := o.journalPort.Put(ctx, key, must(rec.Encode()), at); err != nil {
		return 0, err
	}
	return 0, ErrUnknown
}

// TestReceiptIsWrittenOnce: the answer to the write that ends a rotation is lost, and another write has come on top of it. The receipt
// is not made again, out of a rotation whose lists are in the first one.
func TestReceiptIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 1)
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		p.end() // nobody but the test works on the record
		rec := Record{V: RecordVersion, Bundle: "checkout", State: Revoking, Epoch: 3, Owner: "r1", LeaseUntil: time.Now().Add(time.Hour), Rotation: &Rotation{
			ID: "checkout-1", Kind: events.KindLeak, Events: []Waiting{{Event: "e1", ID: "e1"}}, Targets: []TargetState{{Ref: b.Targets[0].Ref, After: "0.0.2"}}, Started: time.Now()}}
		at, err := journalPort{p.ports}.Put(t.Context(), "checkout", must(rec.Encode()), 0)
		if err != nil {
			t.Fatal(err)
		}
		p.Journal = overtaken{journalPort{p.ports}, new(bool)}
		c := &cursor{e: p.Engine, bundle: b, rec: rec, rev: at}
		if pause := p.finish(t.Context(), c, c.receipt(events.ResultRotated)); pause != nil {
			t.Fatal(pause.why)
		}
		got := w.record(t, "checkout")
		if f := got.Rotation.Final; len(f.Events) != 1 || len(f.Targets) != 1 || len(got.Queue) != 1 {
			t.Errorf("%+v, %d events wait", f, len(got.Queue))
		}
	})
}
