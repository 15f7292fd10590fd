package rotator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// TestUnreadableRecordHoldsOnlyItsBundle: an event for ten bundles rotates nine; the tenth's record is not rewritten, and the
// event comes back until it can be read.
func TestUnreadableRecordHoldsOnlyItsBundle(t *testing.T) {
	for name, tc := range map[string]struct {
		bytes  string
		want   error
		alarms int
	}{
		"newer":    {`{"v":99,"bundle":["another shape"]}`, ErrNewerRecord, 0},
		"garbage":  {"\x00\xff not json", ErrBadRecord, 1},
		"nonsense": {`{"v":1,"bundle":"b4","state":"dancing","epoch":3}`, ErrBadRecord, 1},
		"foreign":  {`{"v":1,"bundle":"b5","state":"idle","epoch":3}`, ErrBadRecord, 1},
		"half":     {`{"v":1,"bundle":"b4","state":"applying","epoch":3}`, ErrBadRecord, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				bundles := make(map[string]Bundle)
				for i := range 10 {
					b := w.shop(fmt.Sprint("b", i), 1)
					b.Policy = Policy{events.KindOffboarding: {}}
					bundles[b.Name] = b
				}
				w.journal["b4"] = []Stored{{Value: []byte(tc.bytes), Revision: 1}}
				p := w.start("r1", bundles, io.Discard)
				defer p.end()
				for range 3 { // as the stream redelivers
					if err := p.Accept(t.Context(), departure("e1"), time.Now()); !errors.Is(err, tc.want) {
						t.Errorf("Accept = %v, want %v", err, tc.want)
					}
					time.Sleep(time.Hour)
				}
				for name := range bundles {
					if name == "b4" {
						continue
					}
					if rec := w.record(t, name); rec.Generation != 1 {
						t.Errorf("%s: generation %d, want 1", name, rec.Generation)
					}
				}
				w.mu.Lock()
				if h := w.journal["b4"]; len(h) != 1 || !bytes.Equal(h[0].Value, []byte(tc.bytes)) {
					t.Errorf("the record was rewritten: %+v", h)
				}
				w.mu.Unlock()
				if n := w.outcomesOf(events.ResultQuarantined); n != tc.alarms {
					t.Errorf("%d alarms, want %d", n, tc.alarms)
				}
				w.remove("b4", name != "half") // an operator deletes it; where the hint is lost, the next list tells
				time.Sleep(time.Minute)
				if err := p.Accept(t.Context(), departure("e1"), time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				w.check(t)
				if rec := w.record(t, "b4"); rec.Generation != 1 {
					t.Errorf("b4 after the repair: %+v", rec)
				}
			})
		})
	}
}

// TestHealthyRecordIsDeleted: the next event makes a new one, also when nobody was told; a rotation in hand is given up, and
// its bundle can be rotated again.
func TestHealthyRecordIsDeleted(t *testing.T) {
	for _, hint := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			b := w.shop("checkout", 2)
			b.Policy = Policy{events.KindOffboarding: {Overlap: time.Hour, AfterFailure: Rollback}}
			p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
			defer p.end()
			for i := range 3 {
				if err := p.Accept(t.Context(), leak(fmt.Sprint("e", i), "checkout"), time.Now()); err != nil {
					t.Fatalf("hint %v, event %d: %v", hint, i, err)
				}
				if !w.settled(time.Hour) || w.record(t, "checkout").Generation != 1 {
					t.Fatalf("hint %v, event %d: %+v", hint, i, w.record(t, "checkout"))
				}
				w.check(t)
				w.remove("checkout", hint)
				synctest.Wait()
				if _, known := p.Records()["checkout"]; known == hint {
					t.Errorf("hint %v: known %v", hint, known)
				}
			}
			if err := p.Accept(t.Context(), departure("d"), time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if rec := w.record(t, "checkout"); rec.State != Draining {
				t.Fatalf("%+v", rec)
			}
			w.remove("checkout", hint)
			time.Sleep(2 * time.Hour)
			if _, known := p.Records()["checkout"]; known {
				t.Error("a deleted record is still known")
			}
			if err := p.Accept(t.Context(), leak("last", "checkout"), time.Now()); err != nil {
				t.Fatal(err)
			}
			if !w.settled(time.Hour) || w.record(t, "checkout").Generation != 1 {
				t.Errorf("after the rotation was deleted: %+v", w.record(t, "checkout"))
			}
		})
	}
}
