package rotator

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/rs/zerolog"
)

// process is one replica: an engine with its own connection to the world.
type process struct {
	*Engine
	ports *ports
	stop  context.CancelFunc
	done  chan error
}

func (w *world) start(replica string, bundles map[string]Bundle, logs io.Writer, more ...func(*Config)) *process {
	ctx, cancel := context.WithCancel(context.Background())
	p := &ports{world: w, kill: cancel}
	cfg := Config{Bundles: bundles, Replica: replica, Secrets: p, Minter: p, Revoker: p, Prober: p, Platform: p,
		Journal: journalPort{p}, Outbox: p, Log: zerolog.New(io.MultiWriter(logs, testLog{w.t}))}
	for _, change := range more {
		change(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	proc := &process{Engine: e, ports: p, stop: cancel, done: make(chan error, 1)}
	go func() { proc.done <- e.Run(ctx) }()
	synctest.Wait()
	return proc
}

func (p *process) end() { p.stop(); <-p.done }

func leak(id, bundle string) events.Event {
	return events.Event{ID: id, Source: "urn:test", Kind: events.KindLeak, Leak: &events.Leak{Credential: events.Credential{Name: bundle}, Severity: "high"}}
}

func departure(id string) events.Event {
	return events.Event{ID: id, Source: "urn:test", Kind: events.KindOffboarding, Offboarding: &events.Offboarding{
		Person: events.Person{Identifiers: []events.Identifier{{Format: "email", Email: "Alice@Example.com"}}}, Change: "terminated", Severity: "high"}}
}

// settled waits, in virtual time, until no record has anything left to do.
func (w *world) settled(limit time.Duration) bool {
	looked, busy := make(map[string]int), make(map[string]bool)
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(time.Second) {
		synctest.Wait()
		w.mu.Lock()
		for key, h := range w.journal {
			if looked[key] == len(h) {
				continue
			}
			value := h[len(h)-1].Value
			looked[key] = len(h)
			switch {
			case value == nil: // deleted
				busy[key] = false
			case IsDeparture(key):
				d := must(DecodeDeparture(value))
				busy[key] = d.open() && !d.Waits()
			default:
				rec, err := DecodeRecord(value)
				busy[key] = err != nil || !(rec.State == Idle && len(rec.Queue) == 0 || rec.State == Quarantined)
			}
		}
		w.mu.Unlock()
		if !slices.Contains(slices.Collect(maps.Values(busy)), true) {
			return true
		}
	}
	return false
}

func (w *world) record(t *testing.T, bundle string) Record {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.journal[bundle]
	if len(h) == 0 {
		t.Fatalf("no record of %s", bundle)
	}
	rec, err := DecodeRecord(h[len(h)-1].Value)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// lives reports whether a backend accepts this credential.
func (w *world) lives(value string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.creds[value].alive
}

// alive lists the credentials of one bundle's history that a backend still accepts.
func (w *world) alive() (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for v, c := range w.creds {
		if c.alive {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}

// check fails the test for every broken promise.
func (w *world) check(t *testing.T) {
	t.Helper()
	for _, v := range w.violated {
		t.Error(v)
	}
	for path, vs := range w.secrets {
		head := text(vs[len(vs)-1].Set["PASSWORD"])
		if !w.creds[head].alive {
			t.Errorf("P3: the newest version of %s holds a dead credential", path)
		}
	}
	bound := make(map[string]bool)
	for _, target := range w.targets {
		e, _ := target.obs.Parameters.Get("PASSWORD")
		bound[text(e.Value)] = true
	}
	for _, v := range w.alive() {
		if !bound[v] {
			t.Errorf("P5: credential %s is alive and bound nowhere", v)
		}
	}
	for accessor, a := range w.anchors {
		if a.confirmed && !a.revoked && !slices.ContainsFunc(w.alive(), func(v string) bool { return w.creds[v].anchor == accessor }) {
			t.Errorf("P5: anchor %s lives on and owns nothing", accessor)
		}
	}
}

func TestRotationOfALeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 5)
		var logs strings.Builder
		p := w.start("r1", map[string]Bundle{"checkout": b}, &syncWriter{w: &logs})
		defer p.end()
		if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil {
			t.Fatal(err)
		}
		if !w.settled(time.Minute) {
			t.Fatal("not settled")
		}
		w.check(t)
		rec := w.record(t, "checkout")
		if rec.Generation != 1 || len(rec.History) != 1 || rec.History[0].Result != events.ResultRotated || rec.History[0].Steps["proven-dead"].IsZero() {
			t.Errorf("record = %+v", rec)
		}
		if w.lives(canary + "-checkout-first") {
			t.Error("P4: the leaked credential is alive")
		}
		if strings.Contains(logs.String(), canary) {
			t.Error("P7: the log holds a value")
		}
		want := map[string]int{"get": 10, "put": 5, "kv read": 2, "kv write": 1, "anchor": 1, "mint": 1, "confirm": 1, "revoke": 1, "probe": 2, "outcome": 1, "journal put": 7, "journal list": 1}
		for call, n := range want {
			if w.calls[call] != n {
				t.Errorf("%s: %d calls, want %d", call, w.calls[call], n)
			}
		}
		for call := range w.calls {
			if _, ok := want[call]; !ok {
				t.Errorf("unexpected call: %s", call)
			}
		}
	})
}

// testLog shows the log of a test that fails.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) { l.t.Logf("%s", b); return len(b), nil }

type syncWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *syncWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

func TestSameEventRotatesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		bundles := map[string]Bundle{"checkout": w.shop("checkout", 3)}
		var replicas []*process
		for i := range 3 {
			p := w.start(fmt.Sprintf("r%d", i), bundles, io.Discard)
			defer p.end()
			replicas = append(replicas, p)
		}
		stored := time.Now()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				if err := replicas[i%3].Accept(t.Context(), leak("same", "checkout"), stored); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if !w.settled(5 * time.Minute) {
			t.Fatal("not settled")
		}
		w.check(t)
		if rec := w.record(t, "checkout"); rec.Generation != 1 || w.minted != 1 {
			t.Errorf("P6: generation %d, %d minted, want 1 and 1", rec.Generation, w.minted)
		}
	})
}

func TestBurstOfEventsIsFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.start("r1", map[string]Bundle{"checkout": w.shop("checkout", 3)}, io.Discard)
		defer p.end()
		for i := range 50 {
			if err := p.Accept(t.Context(), leak(fmt.Sprint("e", i), "checkout"), time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !w.settled(5 * time.Minute) {
			t.Fatal("not settled")
		}
		w.check(t)
		// In the double a rotation takes no time, so each event here finds an idle bundle or joins the one waiting.
		if rec := w.record(t, "checkout"); len(rec.History) == 0 || !rec.Knows(leak("e49", "checkout").Key()) {
			t.Errorf("the last event is unknown: %+v", rec)
		}
	})
}

func TestDrainThenRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 2)
		b.Policy = Policy{events.KindOffboarding: {Overlap: 10 * time.Minute, AfterFailure: Rollback}}
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer func() { p.end() }()
		if err := p.Accept(t.Context(), departure("e1"), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if !w.lives(canary + "-checkout-first") {
			t.Error("P4: revoked during the overlap")
		}
		p.end() // a restart in the middle changes nothing
		p = w.start("r2", map[string]Bundle{"checkout": b}, io.Discard)
		time.Sleep(4*time.Minute + 50*time.Second)
		if !w.lives(canary + "-checkout-first") {
			t.Error("P4: revoked before the end of the overlap")
		}
		// A deploy writes the old value back just before the end: it has to be applied again.
		w.mu.Lock()
		ref := b.Targets[0].Ref
		w.targets[ref].obs.Parameters = w.targets[ref].obs.Parameters.With(w.entries("secret/checkout", 1))
		w.targets[ref].obs.Version = "0.0.9"
		w.mu.Unlock()
		if !w.settled(30 * time.Minute) {
			t.Fatal("not settled")
		}
		w.check(t)
		if w.lives(canary + "-checkout-first") {
			t.Error("P4: never revoked")
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := w.targets[ref].puts; n != 2 {
			t.Errorf("%d PUTs to the overwritten target, want 2", n)
		}
		if n := w.targets[b.Targets[1].Ref].puts; n != 1 {
			t.Errorf("%d PUTs to the other target, want 1", n)
		}
	})
}

func TestADeployThatNeverStopsIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 2)
		b.Policy = Policy{events.KindOffboarding: {Overlap: time.Minute, AfterFailure: Rollback}}
		w.targets[b.Targets[1].Ref].again = true
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		if err := p.Accept(t.Context(), departure("e1"), time.Now()); err != nil {
			t.Fatal(err)
		}
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		rec := w.record(t, "checkout")
		if rec.State != Quarantined || !w.lives(canary+"-checkout-first") || !strings.Contains(rec.Rotation.LastError, "checkout-1") {
			t.Errorf("want quarantine with the old one alive and the target named: %+v", rec)
		}
		if _, ok := w.outcomes[rec.Rotation.ID+" "+events.ResultQuarantined]; !ok {
			t.Error("no alarm was published")
		}
	})
}

func TestRollbackWhenATargetRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 4)
		b.Policy = Policy{events.KindManual: {AfterFailure: Rollback}}
		w.targets[b.Targets[3].Ref].fail = func(int) error { return fmt.Errorf("413: %w", ErrPermanent) }
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		ev := events.Event{ID: "m1", Source: "urn:test", Kind: events.KindManual, Manual: &events.Manual{Credential: events.Credential{Name: "checkout"}, Reason: "test"}}
		if err := p.Accept(t.Context(), ev, time.Now()); err != nil {
			t.Fatal(err)
		}
		if !w.settled(time.Hour) {
			t.Fatalf("not settled: %+v", w.record(t, "checkout"))
		}
		w.check(t)
		rec := w.record(t, "checkout")
		if len(rec.History) != 1 || rec.History[0].Result != events.ResultRolledBack {
			t.Fatalf("record = %+v %+v", rec, rec.Rotation)
		}
		if rec.History[0].Result != events.ResultRolledBack {
			t.Errorf("result %s, want %s", rec.History[0].Result, events.ResultRolledBack)
		}
		if got := w.alive(); !slices.Equal(got, []string{canary + "-checkout-first"}) {
			t.Errorf("alive: %v, want only the first", got)
		}
	})
}

func TestLeakHoldsOrContainsAtTheDeadline(t *testing.T) {
	for _, after := range []AfterFailure{Hold, Contain} {
		t.Run(string(after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.contain = after == Contain
				b := w.shop("checkout", 4)
				b.Policy = Policy{events.KindLeak: {ContainWithin: 10 * time.Minute, AfterFailure: after}}
				start := time.Now()
				w.targets[b.Targets[2].Ref].fail = func(int) error {
					if time.Since(start) < 30*time.Minute {
						return fmt.Errorf("503: %w", ErrUnavailable)
					}
					return nil
				}
				p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
				defer p.end()
				if err := p.Accept(t.Context(), leak("e1", "checkout"), start); err != nil {
					t.Fatal(err)
				}
				time.Sleep(9 * time.Minute)
				if !w.lives(canary + "-checkout-first") {
					t.Error("revoked before the deadline")
				}
				if !w.settled(2 * time.Hour) {
					t.Fatal("not settled")
				}
				rec := w.record(t, "checkout")
				if after == Hold {
					if rec.State != Quarantined || !w.lives(canary+"-checkout-first") || !strings.Contains(rec.Rotation.LastError, "checkout-2") {
						t.Errorf("want quarantine with the old one alive and the target named: %+v", rec)
					}
					time.Sleep(time.Hour) // the host is back; an operator resumes
					w.decide(t, p, Decision{Verb: Resume, By: "test"})
					if !w.settled(time.Hour) {
						t.Fatal("not settled after resume")
					}
					w.check(t)
					if rec := w.record(t, "checkout"); rec.State != Idle || rec.History[0].Result != events.ResultRotated {
						t.Errorf("want rotated after resume: %+v", rec)
					}
					return
				}
				w.check(t)
				if rec.State != Idle || rec.History[0].Result != events.ResultContained || w.lives(canary+"-checkout-first") {
					t.Errorf("want contained and then finished: %+v", rec)
				}
			})
		})
	}
}

// TestEveryWritePoint makes each external write of a scenario fail in every way - not applied; applied with the answer lost, at once or late;
// process dead before it, after it, or while it is still under way - and lets another replica go on. The list of write points is recorded,
// not written by hand.
func TestEveryWritePoint(t *testing.T) {
	for _, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			points := recordWrites(t, sc)
			if len(points) < 10 {
				t.Fatalf("only %d write points recorded: %v", len(points), points)
			}
			t.Logf("%d write points", len(points))
			for n, point := range points {
				for f, name := range map[fault]string{refusedIt: "NotPersisted", lostIt: "Persisted", dieBefore: "DiesBefore", dieAfter: "DiesAfter", lateLost: "Late", lateDead: "LateOfTheDead"} {
					t.Run(fmt.Sprintf("%02d %s/%s", n, point, name), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							sc.run(t, newWorld(t), func(at int, _ string) fault {
								if at == n {
									return f
								}
								return none
							})
						})
					})
				}
			}
		})
	}
}

func recordWrites(t *testing.T, sc scenario) (points []string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sc.run(t, w, nil)
		points = slices.Clone(w.writes)
	})
	return points
}
