package rotator

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// stock is an inventory: fixed holdings, and the targets of the world.
type stock struct {
	*ports
	holdings []Holding
}

func (f stock) Holdings(context.Context, []string, []Handle) ([]Holding, []Unchecked, error) {
	return f.holdings, []Unchecked{{What: "secret-ids", Why: "403", Remedy: "a right"}}, nil
}

func (f stock) Rows(_ context.Context, host string, kind Kind) (out []Row, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ref, t := range f.targets {
		if ref.Host == host && ref.Kind == kind {
			out = append(out, Row{Name: ref.Name, Version: t.obs.Version})
		}
	}
	return out, f.outage["rows"]
}

// TestStrays: only what a finished rotation of this journal left behind may be revoked.
func TestStrays(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	old := now.Add(-24 * time.Hour)
	live := Handle{Kind: "anchor", ID: "live"}
	records := map[string]Record{
		"idle":   {Bundle: "idle", State: Idle, Born: old.Add(-time.Hour), Live: &Generation{Handles: []Handle{live, {Kind: "lease", ID: "database/creds/a/1", Path: "x"}}}},
		"busy":   {Bundle: "busy", State: Minting, Born: old.Add(-time.Hour), Rotation: &Rotation{ID: "busy-20260301T110000-7", Anchor: "journalled"}},
		"newish": {Bundle: "newish", State: Idle, Born: old.Add(time.Hour)},
		"unborn": {Bundle: "unborn", State: Idle},
	}
	for name, tc := range map[string]struct {
		h                Holding
		stray, revocable bool
	}{
		"live anchor":              {Holding{Handle: live, Rotation: "idle-20260101T000000-1", Created: old}, false, false},
		"live lease, other path":   {Holding{Handle: Handle{Kind: "lease", ID: "database/creds/a/1"}, Created: old}, false, false},
		"left behind":              {Holding{Handle: Handle{Kind: "anchor", ID: "x"}, Bundle: "idle", Rotation: "idle-20260101T000000-1", Created: old}, true, true},
		"left behind, by its name": {Holding{Handle: Handle{Kind: "secret-id", ID: "x"}, Rotation: "idle-20260101T000000-1", Created: old}, true, true},
		"just made":                {Holding{Handle: Handle{Kind: "anchor", ID: "x"}, Bundle: "idle", Rotation: "idle-20260101T000000-1", Created: now.Add(-time.Minute)}, false, false},
		"of a running rotation":    {Holding{Handle: Handle{Kind: "secret-id", ID: "x"}, Rotation: "busy-20260301T110000-7", Created: old}, false, false},
		"of its second attempt":    {Holding{Handle: Handle{Kind: "secret-id", ID: "x"}, Rotation: "busy-20260301T110000-7.1", Created: old}, false, false},
		"lease where we are alone": {Holding{Handle: Handle{Kind: "lease", ID: "y"}, Path: "mine", Created: old}, true, true},
		"the same, being minted":   {Holding{Handle: Handle{Kind: "lease", ID: "y"}, Path: "making", Created: old}, true, false},
		"the same, before us":      {Holding{Handle: Handle{Kind: "lease", ID: "y"}, Path: "mine", Created: old.Add(-2 * time.Hour)}, true, false},
		"the same, no such record": {Holding{Handle: Handle{Kind: "lease", ID: "y"}, Path: "gone", Created: old}, true, false},
		"its anchor":               {Holding{Handle: Handle{Kind: "anchor", ID: "journalled"}, Bundle: "busy", Rotation: "busy-20260301T110000-6", Created: old}, false, false},
		"older than the journal":   {Holding{Handle: Handle{Kind: "anchor", ID: "x"}, Bundle: "newish", Rotation: "newish-20260101T000000-1", Created: old}, true, false},
		"journal of unknown age":   {Holding{Handle: Handle{Kind: "anchor", ID: "x"}, Bundle: "unborn", Rotation: "unborn-20260101T000000-1", Created: old}, true, false},
		"bundle unknown":           {Holding{Handle: Handle{Kind: "anchor", ID: "x"}, Bundle: "other", Rotation: "other-20260101T000000-1", Created: old}, true, false},
		"lease of whoever":         {Holding{Handle: Handle{Kind: "lease", ID: "y"}, Created: old}, true, false},
		"irrevocable, just made":   {Holding{Handle: Handle{Kind: "lease", ID: "y"}, Created: now, Irrevocable: true}, true, false},
		"secret-id made by hand":   {Holding{Handle: Handle{Kind: "secret-id", ID: "y"}, Created: old}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := Strays([]Holding{tc.h}, records, map[string]string{"mine": "idle", "making": "busy", "gone": "nobody"}, now.Add(-20*time.Minute))
			if (len(got) == 1) != tc.stray || tc.stray && (got[0].Revocable != tc.revocable || got[0].Why == "") {
				t.Errorf("%+v, want stray %v, revocable %v", got, tc.stray, tc.revocable)
			}
		})
	}
}

// TestReconcileRevokesOrphans that are certainly ours, raises the others, and leaves alone what the newest version names.
func TestReconcileRevokesOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		bundles := map[string]Bundle{"checkout": w.shop("checkout", 2)}
		p := w.start("r1", bundles, io.Discard)
		defer p.end()
		time.Sleep(time.Hour)
		if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil {
			t.Fatal(err)
		}
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		made := time.Now()
		rec := w.record(t, "checkout")
		w.anchors["orphan"] = &anchorState{confirmed: true}
		w.anchors["stale-journal"] = &anchorState{confirmed: true}
		headMarker := w.secrets["secret/checkout"][1].Marker
		inventory := stock{ports: p.ports, holdings: []Holding{
			{Handle: Handle{Kind: "anchor", ID: "orphan"}, Bundle: "checkout", Rotation: "checkout-20000101T000000-1", Created: made},
			{Handle: Handle{Kind: "anchor", ID: "stale-journal"}, Bundle: "checkout", Rotation: headMarker.Rotation, Created: made},
			{Handle: Handle{Kind: "anchor", ID: "elsewhere"}, Bundle: "other", Rotation: "other-20000101T000000-1", Created: made},
			{Handle: Handle{Kind: "lease", ID: "whose"}, Created: made},
			{Handle: rec.Live.Handles[0], Bundle: "checkout", Rotation: rec.Live.Rotation, Created: made},
		}}
		p.Engine.Inventory = inventory
		time.Sleep(time.Hour)
		look, err := p.Engine.Reconcile(t.Context(), Reconcile{})
		if err != nil || len(look.Revoked) != 0 || len(look.Orphans) != 4 || len(look.Drifted) != 0 || len(look.Unchecked) != 1 || w.anchors["orphan"].revoked {
			t.Fatalf("looking: %+v, %v", look, err)
		}
		got, err := p.Engine.Reconcile(t.Context(), Reconcile{Revoke: true})
		if err != nil || len(got.Revoked) != 1 || got.Revoked[0].Handle.ID != "orphan" || !w.anchors["orphan"].revoked {
			t.Fatalf("revoking: %+v, %v", got, err)
		}
		if w.anchors["stale-journal"].revoked || w.anchors[rec.Live.Handles[0].ID].revoked {
			t.Error("something in use was revoked")
		}
		if w.outcomesOf(events.ResultOrphaned) == 0 {
			t.Error("no alarm for what was not revoked")
		}
	})
}

// TestDriftIsReportedOrAppliedAgain, on a target that a deploy has overwritten and one that it only touched.
func TestDriftIsReportedOrAppliedAgain(t *testing.T) {
	for _, apply := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			b := w.shop("checkout", 3)
			p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
			defer p.end()
			p.Engine.Inventory = stock{ports: p.ports}
			if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil {
				t.Fatal(err)
			}
			if !w.settled(time.Hour) {
				t.Fatal("not settled")
			}
			if got, err := p.Engine.Reconcile(t.Context(), Reconcile{Apply: apply}); err != nil || len(got.Drifted) != 0 {
				t.Fatalf("without drift: %+v, %v", got, err)
			}
			w.mu.Lock()
			w.contain = true // the deploy has bound a dead credential: that is what drift is
			over, touched := w.targets[b.Targets[0].Ref], w.targets[b.Targets[1].Ref]
			over.obs.Parameters, over.obs.Version = over.obs.Parameters.With(w.entries("secret/checkout", 1)), "0.0.9"
			touched.obs.Version = "0.0.9"
			w.mu.Unlock()
			got, err := p.Engine.Reconcile(t.Context(), Reconcile{Apply: apply})
			if err != nil || len(got.Drifted) != 1 || got.Drifted[0].Target != b.Targets[0].Ref || got.Drifted[0].Applied != apply || !strings.Contains(got.Drifted[0].Text, "PASSWORD") {
				t.Fatalf("with drift: %+v, %v", got, err)
			}
			synctest.Wait()
			left := 1
			if apply {
				left = 0
			}
			if c := w.record(t, turnKey).Compared; c.Drifted["checkout"] != left || !c.At.Equal(got.At) || c.Unchecked != 1 || p.Compared().Of("checkout") != c.Of("checkout") {
				t.Errorf("kept for the status: %+v, and the engine knows %+v", c, p.Compared())
			}
			if w.outcomesOf(events.ResultDrifted) != 1 || strings.Contains(got.Drifted[0].Text, canary) {
				t.Error("no alarm, or a value in it")
			}
			if !apply {
				return
			}
			if !w.settled(time.Hour) {
				t.Fatal("not settled")
			}
			w.check(t)
			rec := w.record(t, "checkout")
			if rec.Last().Result != events.ResultReapplied || rec.Generation != 1 || over.puts != 2 || touched.puts != 1 || w.minted != 1 {
				t.Errorf("%s, generation %d, PUTs %d and %d, minted %d", rec.Last().Result, rec.Generation, over.puts, touched.puts, w.minted)
			}
			if again, err := p.Engine.Reconcile(t.Context(), Reconcile{Apply: true}); err != nil || len(again.Drifted) != 0 {
				t.Errorf("afterwards: %+v, %v", again, err)
			}
		})
	}
}

// TestReplicasTakeTurns: one comparison per period, however many replicas run.
func TestReplicasTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		bundles := map[string]Bundle{"checkout": w.shop("checkout", 1)}
		var procs []*process
		for _, name := range []string{"r1", "r2", "r3"} {
			ctx, cancel := context.WithCancel(context.Background())
			p := &ports{world: w, kill: cancel}
			e, err := New(Config{Bundles: bundles, Replica: name, Secrets: p, Minter: p, Revoker: p, Prober: p, Platform: p, Journal: journalPort{p}, Outbox: p,
				Inventory: stock{ports: p}, Reconcile: Reconcile{Every: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			proc := &process{Engine: e, ports: p, stop: cancel, done: make(chan error, 1)}
			go func() { proc.done <- e.Run(ctx) }()
			procs = append(procs, proc)
		}
		defer func() {
			for _, p := range procs {
				p.end()
			}
		}()
		time.Sleep(10*time.Hour + time.Minute)
		turns := w.record(t, turnKey).Epoch
		if turns < 10 || turns > 12 { // the first only starts the clock
			t.Errorf("%d turns in ten hours, want one an hour", turns)
		}
		if c := w.record(t, turnKey).Compared; c == nil || time.Since(c.At) > time.Hour {
			t.Errorf("the last comparison is kept as %+v", c)
		}
		if _, shown := procs[0].Records()[turnKey]; shown {
			t.Error("the turn is shown as a bundle")
		}
		if slices.ContainsFunc(procs[0].agenda(time.Now()), func(i item) bool { return i.bundle == turnKey }) {
			t.Error("the turn is on the agenda")
		}
	})
}
