package rotator

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// delayed lists the names under which the stream has kept alarms that something is late, and how often each was told.
func (w *world) delayed() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make(map[string]int)
	for _, o := range w.told {
		if o.Result == events.ResultDelayed {
			out[o.Key()]++
		}
	}
	return out
}

// TestLookout: what is late, what is not, and where a policy cuts off.
func TestLookout(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	w := func(kind events.Kind, stored time.Time) Waiting {
		return Waiting{Event: "e" + stored.String(), ID: "urn:test e", Kind: kind, Stored: stored}
	}
	old, fresh, other := w(events.KindLeak, ago(20*time.Minute)), w(events.KindLeak, ago(time.Minute)), w(events.KindManual, ago(24*time.Hour))
	held, cooling, approved := old, old, old
	held.Held = "a rule"
	cooling.NotBefore = now.Add(time.Hour)
	approved.Approval = &Approval{At: ago(time.Minute)}
	contain := Policy{events.KindLeak: {AfterFailure: Contain, ContainWithin: 10 * time.Minute}}
	slow := Policy{events.KindLeak: {Overlap: time.Hour, AfterFailure: Hold}}
	run := func(s State, heldIn State, ws ...Waiting) Record {
		return Record{V: 1, Bundle: "a", State: s, Rotation: &Rotation{ID: "a-1", HeldIn: heldIn, Events: ws, Kind: mostUrgent(ws), Started: ago(20 * time.Minute)}}
	}
	with := func(r Record, change func(*Record)) Record { change(&r); return r }
	queued := func(r Record, ws ...Waiting) Record { r.Queue = ws; return r }
	for name, tc := range map[string]struct {
		rec    Record
		policy Policy
		alert  bool
		leaks  int
		cut    bool
		says   string
	}{
		"nothing":                        {rec: Record{V: 1, Bundle: "a", State: Idle}},
		"no leak, however old":           {rec: run(Quarantined, Applying, other)},
		"a leak that is being rotated":   {rec: run(Applying, "", fresh)},
		"the same, late":                 {rec: run(Applying, "", old, fresh), alert: true, leaks: 1, says: "rotator contain a"},
		"late by the policy only":        {rec: run(Applying, "", w(events.KindLeak, ago(12*time.Minute))), policy: contain, alert: true, leaks: 1},
		"the policy has an overlap":      {rec: run(Draining, "", old), policy: slow},
		"contained":                      {rec: with(run(Applying, "", old), func(r *Record) { r.Rotation.Contained = true })},
		"over, being published":          {rec: with(run(Revoking, "", old), func(r *Record) { r.Rotation.Final = &Receipt{} })},
		"on its way back":                {rec: with(run(RollingBack, "", old), func(r *Record) { r.Rotation.Back = true }), alert: true, leaks: 1, says: "rotator emit leak"},
		"nobody begins it":               {rec: queued(Record{V: 1, Bundle: "a", State: Idle}, old), alert: true, leaks: 1, says: "nobody begins it"},
		"waits for approval":             {rec: queued(Record{V: 1, Bundle: "a", State: Idle}, held)},
		"has just been approved":         {rec: queued(Record{V: 1, Bundle: "a", State: Idle}, approved)},
		"waits for the cooldown":         {rec: queued(Record{V: 1, Bundle: "a", State: Idle}, cooling)},
		"behind a held one, fresh":       {rec: queued(run(Quarantined, Applying, other), fresh), policy: contain, alert: true, says: "rotator resume a"},
		"behind a held one, late":        {rec: queued(run(Quarantined, Applying, other), old), alert: true, leaks: 1},
		"the same, to be contained":      {rec: queued(run(Quarantined, Draining, other), old), policy: contain, alert: true, leaks: 1, cut: true},
		"held itself, to be contained":   {rec: run(Quarantined, Claimed, old), policy: contain, alert: true, leaks: 1, cut: true},
		"held while it revoked":          {rec: queued(run(Quarantined, Revoking, other), old), policy: contain, alert: true, leaks: 1},
		"held on its way back":           {rec: queued(with(run(Quarantined, RollingBack, other), func(r *Record) { r.Rotation.Back = true }), old), policy: contain, alert: true, leaks: 1},
		"somebody works on the decision": {rec: queued(with(run(Quarantined, Applying, other), func(r *Record) { r.Owner, r.LeaseUntil = "r", now.Add(time.Minute) }), old), policy: contain, alert: true, leaks: 1},
	} {
		t.Run(name, func(t *testing.T) {
			got := lookout(map[string]Record{"a": tc.rec}, map[string]Bundle{"a": {Name: "a", Policy: tc.policy}}, now)
			if (len(got) == 1) != tc.alert || tc.alert && (got[0].leaks != tc.leaks || got[0].cut != tc.cut) {
				t.Fatalf("%+v", got)
			}
			if !tc.alert {
				return
			}
			o := got[0].outcome
			if !strings.Contains(o.Remedy, tc.says) || !strings.Contains(o.Reason, string(tc.rec.State)) || o.Bundle != "a" || !o.Finished.Equal(now.Truncate(time.Hour)) {
				t.Errorf("%+v", o)
			}
			if _, err := events.EncodeOutcome(o); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUnconfiguredBundle that has something to do is raised when nobody does it, and not while another replica knows it.
func TestUnconfiguredBundle(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	rotation := &Rotation{ID: "a-1", Started: now.Add(-time.Hour)}
	for name, tc := range map[string]struct {
		rec   Record
		alert bool
	}{
		"nothing to do":                {Record{State: Idle, Live: &Generation{Version: 2}}, false},
		"renewed in time":              {Record{State: Idle, Live: &Generation{RenewAt: now.Add(time.Hour)}}, false},
		"to be renewed":                {Record{State: Idle, Live: &Generation{RenewAt: now.Add(-time.Hour)}}, true},
		"another replica rotates it":   {Record{State: Applying, Rotation: rotation, Owner: "r", LeaseUntil: now.Add(30 * time.Second)}, false},
		"nobody rotates it":            {Record{State: Applying, Rotation: rotation}, true},
		"its owner has died":           {Record{State: Applying, Rotation: rotation, Owner: "r", LeaseUntil: now.Add(-10 * time.Minute)}, true},
		"it drains":                    {Record{State: Draining, Rotation: rotation, NotBefore: now.Add(time.Hour)}, false},
		"an event came and no replica": {Record{State: Idle, Queue: []Waiting{{Stored: now.Add(-time.Hour), Kind: events.KindLeak}}}, true},
	} {
		tc.rec.Bundle = "a"
		got := lookout(map[string]Record{"a": tc.rec, turnKey: tc.rec}, nil, now)
		if (len(got) == 1) != tc.alert || tc.alert && (!strings.Contains(got[0].outcome.Reason, "no longer in the configuration") || got[0].outcome.Remedy == "") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestLeakBehindAHeldRotation is raised at once and then hourly, by every replica under the same name; at its deadline the policy
// decides, and the leaked credential dies although nobody has looked.
func TestLeakBehindAHeldRotation(t *testing.T) {
	for _, after := range []AfterFailure{Hold, Contain} {
		t.Run(string(after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.shop("checkout", 2)
				b.Policy = Policy{events.KindOffboarding: {ContainWithin: time.Minute, AfterFailure: Hold}, events.KindLeak: {ContainWithin: 30 * time.Minute, AfterFailure: after}}
				refusing := true
				w.targets[b.Targets[1].Ref].fail = func(int) error {
					if refusing {
						return fmt.Errorf("413: %w", ErrPermanent)
					}
					return nil
				}
				var replicas []*process
				for _, name := range []string{"r1", "r2"} {
					p := w.start(name, map[string]Bundle{"checkout": b}, io.Discard)
					defer p.end()
					replicas = append(replicas, p)
				}
				if err := replicas[0].Accept(t.Context(), departure("d"), time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Minute)
				if rec := w.record(t, "checkout"); rec.State != Quarantined || len(w.delayed()) != 0 {
					t.Fatalf("%s, %v", rec.State, w.delayed())
				}
				if err := replicas[0].Accept(t.Context(), leak("e", "checkout"), time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Minute)
				if told := w.delayed(); len(told) != 1 || replicas[0].Overdue() != 0 {
					t.Errorf("at once: %v, %d overdue", told, replicas[0].Overdue())
				}
				w.mu.Lock()
				w.contain = true
				w.mu.Unlock()
				time.Sleep(26 * time.Minute)
				if !w.lives(canary + "-checkout-first") {
					t.Error("cut off before the deadline")
				}
				time.Sleep(5*time.Hour - 29*time.Minute)
				told := w.delayed()
				if after == Hold {
					if !w.lives(canary+"-checkout-first") || replicas[1].Overdue() != 1 || len(told) < 5 || len(told) > 6 {
						t.Errorf("in five hours: %v, %d overdue", told, replicas[1].Overdue())
					}
					for key, n := range told {
						if n > 2 {
							t.Errorf("%s was told %d times by two replicas", key, n)
						}
					}
					return
				}
				rec := w.record(t, "checkout")
				if w.lives(canary+"-checkout-first") || !rec.Rotation.Contained || !slices.ContainsFunc(rec.Rotation.Warnings, func(s string) bool { return strings.Contains(s, "the containment deadline of a leak") }) {
					t.Fatalf("not contained: %s %+v", rec.State, rec.Rotation)
				}
				w.mu.Lock()
				refusing = false
				w.mu.Unlock()
				if !w.settled(2 * time.Hour) {
					t.Fatal("not settled")
				}
				w.check(t)
				if rec := w.record(t, "checkout"); len(rec.History) != 2 || rec.History[0].Result != events.ResultContained || rec.History[1].Kind != events.KindLeak {
					t.Errorf("%+v", rec.History)
				}
			})
		})
	}
}

// TestLeakThatNeverBeginsIsRaised: it waits for a neighbour that goes on for ever; the rotation says so once, and the watchdog by the hour.
func TestLeakThatNeverBeginsIsRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.shop("a", 1), w.shop("b", 1)
		b.Targets = append(b.Targets, a.Targets[0])
		a.Targets[0].Keys = []string{"PASSWORD"}
		b.Targets[1].Keys = []string{"SMTP"}
		a.Policy = Policy{events.KindOffboarding: {ContainWithin: 100 * time.Hour, AfterFailure: Hold}}
		w.targets[a.Targets[0].Ref].fail = func(int) error { return fmt.Errorf("503: %w", ErrUnavailable) }
		b.Holders = nil
		p := w.start("r1", map[string]Bundle{"a": a, "b": b}, io.Discard)
		defer p.end()
		if err := p.Accept(t.Context(), departure("d"), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := p.Accept(t.Context(), leak("e", "b"), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(14 * time.Minute)
		if told := w.delayed(); len(told) != 0 {
			t.Errorf("before it is late: %v", told)
		}
		time.Sleep(3 * time.Minute)
		if rec := w.record(t, "b"); len(w.delayed()) != 2 || p.Overdue() != 1 || rec.Rotation == nil || rec.State != Claimed {
			t.Errorf("%v, %d overdue, %+v", w.delayed(), p.Overdue(), rec)
		}
	})
}
