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

// TestRecordOfManyRefusalsFitsIntoOneMessage: 499 of 500 targets refuse, each with a long text, until the leak is contained and
// they give in; twice over. Nothing that is written or published is too large, and the chain of receipts verifies.
func TestRecordOfManyRefusalsFitsIntoOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.contain = true
		b := w.shop("checkout", 500)
		b.Policy = Policy{events.KindLeak: {ContainWithin: time.Second, AfterFailure: Contain}}
		refusing := true
		for _, target := range b.Targets[1:] {
			w.targets[target.Ref].fail = func(int) error {
				if refusing {
					return fmt.Errorf("%s: %w", strings.Repeat("x\"ü<", 60), ErrPermanent)
				}
				return nil
			}
		}
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		var inOrder []events.Outcome
		for i := range 2 {
			if err := p.Accept(t.Context(), leak(fmt.Sprint("e", i), "checkout"), time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(4 * time.Second)
			if rec := w.record(t, "checkout"); rec.Rotation == nil || !rec.Rotation.Contained || len(rec.Rotation.Targets[1].Failure) > maxFailure {
				t.Fatalf("rotation %d: %s %+v", i, rec.State, rec.Rotation)
			}
			w.mu.Lock()
			refusing = false
			w.mu.Unlock()
			if !w.settled(time.Hour) {
				t.Fatal("not settled")
			}
			w.mu.Lock()
			refusing = true
			w.mu.Unlock()
			inOrder = append(inOrder, w.outcomes[w.record(t, "checkout").Last().Rotation+" "+events.ResultContained])
		}
		w.check(t)
		if w.tooLarge > 0 {
			t.Errorf("%d messages were too large", w.tooLarge)
		}
		if c, err := VerifyChain("checkout", inOrder, w.record(t, "checkout").Last(), Archive{}); err != nil || c.Last != 2 {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

// TestRefusalOfManyTargetsFits: a host that refuses hundreds of reads with a page of text each is one refusal of ordinary size.
func TestRefusalOfManyTargetsFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 400)
		w.outage = map[string]error{"get": fmt.Errorf("%s: %w", strings.Repeat("<p>no</p>", 500), ErrPermanent)}
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		if err := p.Accept(t.Context(), departure("e1"), time.Now()); err != nil || !w.settled(time.Minute) {
			t.Fatal(err)
		}
		rec := w.record(t, "checkout")
		o := w.outcomes[rec.Last().Rotation+" "+events.ResultRefused]
		if w.tooLarge != 0 || o.Receipt == "" || !strings.Contains(o.Reason, "no-permission") && !strings.Contains(o.Reason, "cannot be read") {
			t.Errorf("%d too large, %.300s", w.tooLarge, o.Reason)
		}
		if _, err := VerifyChain("checkout", []events.Outcome{o}, rec.Last(), Archive{}); err != nil {
			t.Error(err)
		}
	})
}

// TestWhatDoesNotFitIsAnAlarm and no endless loop: no write is tried again at once, and it goes on when the limit is raised.
func TestWhatDoesNotFitIsAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 100)
		b.Policy = Policy{events.KindLeak: {ContainWithin: 24 * time.Hour, AfterFailure: Hold}}
		w.message = 8 << 10
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Minute)
		w.mu.Lock()
		tooLarge := w.tooLarge
		w.mu.Unlock()
		if tooLarge == 0 || tooLarge > 10 || w.outcomesOf(events.ResultDelayed) != 1 {
			t.Errorf("%d writes were too large in an hour, %d alarms", tooLarge, w.outcomesOf(events.ResultDelayed))
		}
		if rec := w.record(t, "checkout"); !strings.Contains(rec.Rotation.LastError, ErrTooLarge.Error()) {
			t.Errorf("the record says %q", rec.Rotation.LastError)
		}
		w.mu.Lock()
		w.message = 1 << 20
		w.mu.Unlock()
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		w.check(t)
	})
}

// TestEncodeForgetsBeforeItOutgrowsNATS, the least needed first: the last receipt keeps what the next one names.
func TestEncodeForgetsBeforeItOutgrowsNATS(t *testing.T) {
	var targets []TargetState
	for i := range 1500 {
		targets = append(targets, TargetState{Ref: Ref{Host: "prod", Kind: Action, Name: fmt.Sprint("shop/checkout-", i)}, Before: "0.0.1", Failure: strings.Repeat("f", 120)})
	}
	r := Record{Bundle: "a", State: Applying, Rotation: &Rotation{ID: "r", Targets: targets}}
	for i := range 8 {
		r.History = append(r.History, Receipt{Rotation: fmt.Sprint(i), Number: i + 1, Hash: "h", Targets: targets[:keptTargets], Reason: strings.Repeat("x", 30_000*(i/7))})
	}
	r.History[7].Targets = targets
	raw, err := r.Encode()
	if err != nil || len(raw) > maxWritten {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	got, err := DecodeRecord(raw)
	if err != nil || len(got.Rotation.Targets) != len(targets) || got.Last() == nil || got.Last().Number != 8 || got.Last().Hash != "h" {
		t.Errorf("%+v, %v", got.History, err)
	}
	if len(r.History) != 8 || len(r.History[0].Targets) != keptTargets {
		t.Error("encoding changed the record itself")
	}
}

// TestClip is valid UTF-8 of bounded length, and clipping again changes nothing.
func TestClip(t *testing.T) {
	for _, s := range []string{"", "short", strings.Repeat("ü", 300), strings.Repeat("a", 199) + "€", "\xff" + strings.Repeat("x\xfe", 200), strings.Repeat("𝄞", 60)} {
		got := clip(s, maxFailure)
		if len(got) > maxFailure || strings.ToValidUTF8(got, "!") != got || clip(got, maxFailure) != got || len(s) <= maxFailure && s == strings.ToValidUTF8(s, "?") && got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}

// TestOutcomeOfAnyReceiptFits into one message, whatever it lists, and its receipt verifies.
func TestOutcomeOfAnyReceiptFits(t *testing.T) {
	nasty := strings.Repeat("\"\\<\x01é", 500)
	r := Receipt{Bundle: "a", Rotation: "r", Result: events.ResultRefused, Kind: events.KindLeak, Reason: nasty}
	for i := range 2000 {
		r.Targets = append(r.Targets, TargetState{Ref: Ref{Host: "prod", Kind: Action, Name: fmt.Sprint("n", i)}, Failure: nasty})
		r.Warnings = append(r.Warnings, fmt.Sprint(i, nasty))
		r.Refusals = append(r.Refusals, Refusal{Reason: TooLarge, Text: nasty, Remedy: nasty})
		r.Events = append(r.Events, Waiting{ID: fmt.Sprint(i), Stored: time.Date(2026, 1, 1, 0, 0, 2000-i, 0, time.UTC)})
	}
	earliest := r.Events[1999].Stored
	sealed, err := r.fit().seal(nil)
	if err != nil {
		t.Fatal(err)
	}
	o := sealed.Outcome("a")
	body, err := events.EncodeOutcome(o)
	if err != nil || len(body) > 1<<20 || len(o.Targets) == 0 || !sealed.Events[0].Stored.Equal(earliest) {
		t.Errorf("%d bytes, %d targets, events from %v, %v", len(body), len(o.Targets), sealed.Events[0].Stored, err)
	}
	if _, err := VerifyChain("a", []events.Outcome{o}, &sealed, Archive{}); err != nil {
		t.Error(err)
	}
	alarm := r.Outcome("a")
	if body, err := events.EncodeOutcome(alarm); err != nil || len(body) > 1<<20 || alarm.Receipt != "" {
		t.Errorf("an alarm of %d bytes, %v", len(body), err)
	}
}
