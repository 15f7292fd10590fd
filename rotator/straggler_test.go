package rotator

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// TestStragglersFindNothingDead: a PUT whose sender died or whose answer was lost is applied as late as the bound allows,
// while the next rotation of the bundle, or the way back, has long gone on - without any overlap. The referee looks
// after the late PUT too.
func TestStragglersFindNothingDead(t *testing.T) {
	for _, f := range []fault{lateLost, lateDead} {
		for _, way := range []string{"the next rotation", "the way back"} {
			t.Run(fmt.Sprintf("%d, %s", f, way), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { straggling(t, f, way == "the way back") })
			})
		}
	}
}

func straggling(t *testing.T, f fault, back bool) {
	w := newWorld(t)
	b := w.shop("checkout", 2)
	b.Policy = Policy{events.KindManual: {AfterFailure: Rollback}, events.KindOffboarding: {AfterFailure: Rollback}, events.KindLeak: {AfterFailure: Hold}}
	puts := 0
	w.fault = func(_ int, point string) fault {
		if point == "put" {
			if puts++; puts == 1 {
				return f
			}
		}
		return none
	}
	if back { // once written, the second action says no until the rotation has turned around
		w.targets[b.Targets[1].Ref].fail = func(int) error { return ErrPermanent }
	}
	bundles := map[string]Bundle{"checkout": b}
	first := w.start("r1", bundles, io.Discard)
	second := w.start("r2", bundles, io.Discard)
	defer func() { first.end(); second.end() }()
	if err := first.Accept(t.Context(), departure("e1"), time.Now()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if err := second.Accept(t.Context(), leak("e2", "checkout"), time.Now()); err != nil {
		t.Fatal(err)
	}
	if !w.settled(time.Hour) {
		t.Fatalf("not settled: %+v", w.record(t, "checkout"))
	}
	time.Sleep(2 * defaultZombie)
	w.check(t)
}
