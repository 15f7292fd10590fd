package rotator

import (
	"context"
	"errors"
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
	vault    error  // instead of holdings
	away     string // a host that does not answer
}

func (f stock) Holdings(context.Context, []string, []Handle) ([]Holding, []Unchecked, error) {
	if f.vault != nil {
		return nil, nil, f.vault
	}
	return slices.Clone(f.holdings), []Unchecked{{What: "secret-ids", Why: "403", Remedy: "a right"}}, nil
}

func (f stock) Rows(_ context.Context, host string, kind Kind) (out []Row, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if host == f.away {
		return nil, ErrUnavailable
	}
	for ref, t := range f.targets {
		if ref.Host == host && ref.Kind == kind {
			out = append(out, Row{Name: ref.Name, Version: t.obs.Version, Annotations: slices.Clone(t.obs.Annotations)})
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

// TestRecreatedActionIsDrift: deleted, created with what it once had and updated once, it shows the version of our PUT again. What
// nobody has touched costs a line of the list and no GET.
func TestRecreatedActionIsDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 3)
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		p.Engine.Inventory = stock{ports: p.ports}
		if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil || !w.settled(time.Hour) {
			t.Fatal(err)
		}
		before := w.calls["get"]
		if got, err := p.Engine.Reconcile(t.Context(), Reconcile{}); err != nil || len(got.Drifted) != 0 || w.calls["get"] != before {
			t.Errorf("untouched: %+v, %v, %d GETs", got, err, w.calls["get"]-before)
		}
		w.mu.Lock()
		w.contain = true
		made := w.targets[b.Targets[0].Ref]
		made.obs.Parameters, made.obs.Annotations = made.obs.Parameters.With(w.entries("secret/checkout", 1)), nil
		same := made.obs.Version == w.targets[b.Targets[1].Ref].obs.Version
		w.mu.Unlock()
		got, err := p.Engine.Reconcile(t.Context(), Reconcile{})
		if err != nil || len(got.Drifted) != 1 || got.Drifted[0].Target != b.Targets[0].Ref || !same {
			t.Errorf("recreated: %+v, %v", got, err)
		}
	})
}

// TestReconcileGoesOnWithoutWhatIsAway: of two hosts one does not answer, or Vault does not. What the others show is found,
// revoked, raised and kept; nothing is said of what could not be seen.
func TestReconcileGoesOnWithoutWhatIsAway(t *testing.T) {
	for name, tc := range map[string]struct {
		host, call       string
		vault            error
		orphans, drifted int
		unchecked        string
	}{
		"a host":           {host: "edge", orphans: 1, drifted: 1, unchecked: "targets on host edge"},
		"Vault's lists":    {vault: ErrUnavailable, drifted: 2, unchecked: "what Vault holds"},
		"GETs of a target": {call: "get", orphans: 1, unchecked: "targets of checkout"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				bundles := map[string]Bundle{"checkout": w.shop("checkout", 2), "billing": w.shop("billing", 2)}
				for i, target := range bundles["billing"].Targets {
					state := w.targets[target.Ref]
					delete(w.targets, target.Ref)
					target.Host, state.obs.Ref.Host = "edge", "edge"
					bundles["billing"].Targets[i], w.targets[target.Ref] = target, state
				}
				p := w.start("r1", bundles, io.Discard)
				defer p.end()
				for name := range bundles {
					if err := p.Accept(t.Context(), leak("e-"+name, name), time.Now()); err != nil || !w.settled(time.Hour) {
						t.Fatal(err)
					}
				}
				made := time.Now()
				time.Sleep(time.Hour)
				w.mu.Lock()
				w.contain = true
				w.anchors["orphan"] = &anchorState{confirmed: true}
				for name, b := range bundles {
					over := w.targets[b.Targets[0].Ref]
					over.obs.Parameters, over.obs.Version = over.obs.Parameters.With(w.entries("secret/"+name, 1)), "0.0.9"
				}
				if tc.call != "" {
					w.outage = map[string]error{tc.call: ErrUnavailable}
				}
				w.mu.Unlock()
				p.Engine.Inventory = stock{ports: p.ports, away: tc.host, vault: tc.vault, holdings: []Holding{
					{Handle: Handle{Kind: "anchor", ID: "orphan"}, Bundle: "checkout", Rotation: "checkout-20000101T000000-9", Created: made},
					{Handle: Handle{Kind: "lease", ID: "gone"}, Path: "database/creds/checkout", Created: made, Irrevocable: true},
				}}
				got, err := p.Engine.Reconcile(t.Context(), Reconcile{Revoke: true})
				if !errors.Is(err, ErrUnavailable) || len(got.Orphans) != tc.orphans || len(got.Revoked) != tc.orphans || len(got.Drifted) != tc.drifted {
					t.Errorf("%+v, %v", got, err)
				}
				if !slices.ContainsFunc(got.Unchecked, func(u Unchecked) bool { return u.What == tc.unchecked && u.Why != "" && u.Remedy != "" }) {
					t.Errorf("unchecked is %+v", got.Unchecked)
				}
				if w.outcomesOf(events.ResultOrphaned) != tc.orphans || w.outcomesOf(events.ResultDrifted) != min(tc.drifted, 1) {
					t.Errorf("%d and %d alarms", w.outcomesOf(events.ResultOrphaned), w.outcomesOf(events.ResultDrifted))
				}
				if c := w.record(t, turnKey).Compared; c == nil || !c.At.Equal(got.At) || c.Unchecked != len(got.Unchecked) {
					t.Errorf("kept: %+v", c)
				}
			})
		})
	}
}

// TestReconcileAroundADamagedRecord: what it may own is no orphan, and everybody else's orphans are.
func TestReconcileAroundADamagedRecord(t *testing.T) {
	for name, damaged := range map[string]string{"garbage": "\x00", "newer": `{"v":99}`} {
		for _, configured := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				bundles := map[string]Bundle{"checkout": w.shop("checkout", 2), "billing": w.shop("billing", 1)}
				for _, b := range bundles {
					b.Credentials[0].Exclusive = true
				}
				if !configured {
					delete(bundles, "billing")
				}
				p := w.start("r1", bundles, io.Discard)
				defer p.end()
				if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil || !w.settled(time.Hour) {
					t.Fatal(err)
				}
				made := time.Now().Add(time.Second)
				time.Sleep(time.Hour)
				w.mu.Lock()
				w.journal["billing"] = []Stored{{Value: []byte(damaged), Revision: 1}}
				w.anchors["orphan"] = &anchorState{confirmed: true}
				w.mu.Unlock()
				p.Engine.Inventory = stock{ports: p.ports, holdings: []Holding{
					{Handle: Handle{Kind: "anchor", ID: "orphan"}, Bundle: "checkout", Rotation: "checkout-20000101T000000-9", Created: made},
					{Handle: Handle{Kind: "lease", ID: "checkout's"}, Path: "database/creds/checkout", Created: made},
					{Handle: Handle{Kind: "anchor", ID: "acc-billing"}, Bundle: "billing", Rotation: "billing-20000101T000000-9", Created: made},
					{Handle: Handle{Kind: "secret-id", ID: "s"}, Rotation: "billing-20000101T000000-9.2", Created: made},
					{Handle: Handle{Kind: "lease", ID: "billing's"}, Path: "database/creds/billing", Created: made},
					{Handle: Handle{Kind: "lease", ID: "lives on"}, Path: "database/creds/billing", Created: made, Irrevocable: true},
				}}
				got, err := p.Engine.Reconcile(t.Context(), Reconcile{Revoke: true})
				want := []string{"orphan", "checkout's"}
				if !configured { // whose lease it is cannot be told
					want = want[:1]
				}
				var revoked []string
				for _, s := range got.Revoked {
					revoked = append(revoked, s.Handle.ID)
				}
				if err != nil || !slices.Equal(revoked, want) || len(got.Orphans) != 1 || got.Orphans[0].Handle.ID != "lives on" || w.anchors["acc-billing"].revoked {
					t.Errorf("%s, configured %v: revoked %v, orphans %+v, %v", name, configured, revoked, got.Orphans, err)
				}
				if got.Unchecked[0].What != "bundle billing" || w.outcomesOf(events.ResultOrphaned) != 1 {
					t.Errorf("%+v", got.Unchecked)
				}
			})
		}
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
