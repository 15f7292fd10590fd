package rotator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// overwrite is a deploy that writes the values of version 1. The caller holds the lock.
func (w *world) overwrite(ref Ref, path, version string, keepsStamp bool) {
	t := w.targets[ref]
	t.obs.Parameters = t.obs.Parameters.With(w.entries(path, 1))
	t.obs.Version = version
	if !keepsStamp {
		t.obs.Annotations = nil
	}
}

// called counts the calls of one sort so far.
func (w *world) called(call string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[call]
}

// TestNothingIsRevokedUnderADeploy: whenever somebody overwrites a target between its PUT and the revocation, it is seen and written again.
func TestNothingIsRevokedUnderADeploy(t *testing.T) {
	for name, tc := range map[string]struct {
		event  events.Event
		rule   Rule
		deploy func(w *world, b Bundle, hourPasses func())
	}{
		"while the last target is written, without overlap": {leak("e1", "checkout"), Rule{AfterFailure: Hold}, func(w *world, b Bundle, hourPasses func()) {
			w.targets[b.Targets[2].Ref].fail = func(n int) error {
				if n == 1 {
					w.overwrite(b.Targets[0].Ref, b.Secret, "0.0.3", true)
				}
				return nil
			}
		}},
		"deleted and deployed anew during the drain": {departure("e1"), Rule{Overlap: 2 * time.Hour, AfterFailure: Rollback}, func(w *world, b Bundle, hourPasses func()) {
			hourPasses()
			w.mu.Lock()
			defer w.mu.Unlock()
			w.overwrite(b.Targets[0].Ref, b.Secret, "0.0.2", false) // the version of our PUT
		}},
		"while Vault does not revoke": {departure("e1"), Rule{Overlap: time.Minute, AfterFailure: Rollback}, func(w *world, b Bundle, hourPasses func()) {
			back := w.away("revoke")
			hourPasses()
			w.mu.Lock()
			w.overwrite(b.Targets[0].Ref, b.Secret, "0.0.9", true)
			w.mu.Unlock()
			hourPasses()
			back()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.shop("checkout", 3)
				b.Policy = Policy{tc.event.Kind: tc.rule}
				p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
				defer p.end()
				accept := func() {
					if err := p.Accept(t.Context(), tc.event, time.Now()); err != nil {
						t.Fatal(err)
					}
				}
				first := true
				tc.deploy(w, b, func() {
					if first {
						accept()
					}
					first = false
					time.Sleep(time.Hour)
					synctest.Wait()
				})
				if first {
					accept()
				}
				if !w.settled(12 * time.Hour) {
					t.Fatal("not settled")
				}
				w.check(t)
				if rec := w.record(t, "checkout"); rec.Last() == nil || rec.Last().Result != events.ResultRotated || !strings.Contains(strings.Join(rec.Last().Warnings, " "), "applied again") {
					t.Errorf("%+v", rec.Last())
				}
			})
		})
	}
}

// partly is a platform of which some targets cannot be reached.
type partly struct {
	*ports
	away func(Ref) bool
}

func (h partly) Observe(ctx context.Context, r Ref, s *Seen) (Observed, error) {
	if h.away(r) {
		return Observed{}, fmt.Errorf("no answer: %w", ErrUnavailable)
	}
	return h.ports.Observe(ctx, r, s)
}

func (h partly) Put(ctx context.Context, r Ref, w Write) (Written, error) {
	if h.away(r) {
		return Written{}, fmt.Errorf("no answer: %w", ErrUnavailable)
	}
	return h.ports.Put(ctx, r, w)
}

// TestAHostThatGoesAwayInTheMiddle: it must not keep the policy from being carried out on the others, nor an operator from going on without it.
func TestAHostThatGoesAwayInTheMiddle(t *testing.T) {
	for name, tc := range map[string]struct {
		event events.Event
		rule  Rule
		holds int // versions on the reachable targets in the end, before anybody decides
	}{
		"offboarding": {departure("e1"), Rule{AfterFailure: Rollback}, 3},
		"leak":        {leak("e1", "checkout"), Rule{ContainWithin: 15 * time.Minute, AfterFailure: Hold}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.shop("checkout", 5)
				b.Policy = Policy{tc.event.Kind: tc.rule}
				gone := false
				w.targets[b.Targets[0].Ref].fail = func(int) error { gone = true; return nil } // the canary, which goes alone
				p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
				defer p.end()
				lost := b.Targets[3].Ref
				p.Platform = partly{p.ports, func(r Ref) bool { w.mu.Lock(); defer w.mu.Unlock(); return gone && r == lost }}
				if err := p.Accept(t.Context(), tc.event, time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				rec := w.record(t, "checkout")
				if rec.State != Quarantined {
					t.Fatalf("%s two hours after the deadline: %s", rec.State, rec.Rotation.LastError)
				}
				for _, s := range rec.Rotation.Targets {
					if want := s.Ref != lost; (s.After != "") != want || want && s.Holds != tc.holds {
						t.Errorf("the list says of %s: version %q, holds %d", s.Ref, s.After, s.Holds)
					}
				}
				w.change(t, p, "checkout", func(r Record) (Record, error) {
					next, _, err := r.Decide(Decision{Verb: Abandon, Target: lost, By: "op"}, time.Now())
					return next, err
				})
				w.mu.Lock()
				w.contain = true // what is abandoned may hold what dies
				w.mu.Unlock()
				if !w.settled(time.Hour) {
					t.Fatalf("not settled without it: %s", w.record(t, "checkout").Rotation.LastError)
				}
				if alive := w.alive(); len(alive) != 1 {
					t.Errorf("alive: %v, want one", alive)
				}
			})
		})
	}
}

// TestTheListOfWhoHoldsWhat: a target that was written by an earlier pass does not disappear from the list because the first one fails now.
func TestTheListOfWhoHoldsWhat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 4)
		b.Policy = Policy{events.KindLeak: {ContainWithin: 10 * time.Minute, AfterFailure: Hold}}
		w.targets[b.Targets[3].Ref].fail = func(int) error { return fmt.Errorf("503: %w", ErrUnavailable) }
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		w.mu.Lock()
		w.overwrite(b.Targets[0].Ref, "secret/checkout", "0.0.9", true)
		w.targets[b.Targets[0].Ref].fail = func(int) error { return fmt.Errorf("403: %w", ErrPermanent) }
		w.mu.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		for i, s := range w.record(t, "checkout").Rotation.Targets {
			w.mu.Lock()
			e, _ := w.targets[s.Ref].obs.Parameters.Get("PASSWORD")
			w.mu.Unlock()
			if isNew := text(e.Value) != canary+"-checkout-first"; isNew != (i == 1 || i == 2) || (s.After != "") != isNew {
				t.Errorf("%s holds the new values: %v; the list says %+v", s.Ref, isNew, s)
			}
		}
	})
}

// TestALeakIsNotOverBecauseItIsRefused: what keeps it from being rotated is raised at once and tried again; mended, it rotates; not mended, it
// ends as the policy says.
func TestALeakIsNotOverBecauseItIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		after AfterFailure
		mend  bool
		state State
		lives bool
	}{
		"mended":    {Hold, true, Idle, false},
		"held":      {Hold, false, Quarantined, true},
		"contained": {Contain, false, Quarantined, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.contain = tc.after == Contain
				b := w.shop("checkout", 2)
				b.Policy = Policy{events.KindLeak: {ContainWithin: 10 * time.Minute, AfterFailure: tc.after}}
				missing := w.targets[b.Targets[1].Ref]
				delete(w.targets, b.Targets[1].Ref)
				p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
				defer p.end()
				if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if w.outcomesOf(events.ResultDelayed) != 1 || w.called("mint") != 0 {
					t.Errorf("%d alarms after five seconds, %d mintings", w.outcomesOf(events.ResultDelayed), w.called("mint"))
				}
				if tc.mend {
					w.mu.Lock()
					w.targets[b.Targets[1].Ref] = missing
					w.mu.Unlock()
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				rec := w.record(t, "checkout")
				if rec.State != tc.state || w.lives(canary+"-checkout-first") != tc.lives {
					t.Errorf("%s, the leaked one lives: %v", rec.State, w.lives(canary+"-checkout-first"))
				}
				if rec.Rotation != nil && !strings.Contains(rec.Rotation.LastError, "does not exist") {
					t.Errorf("the reason is lost: %s", rec.Rotation.LastError)
				}
			})
		})
	}
}

// TestALeakBehindANeighbour: a bundle that waits for another one's turn keeps its own deadline.
func TestALeakBehindANeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.contain = true
		a, b := w.shop("alpha", 1), w.shop("beta", 2)
		a.Policy = Policy{events.KindLeak: {ContainWithin: 10 * time.Minute, AfterFailure: Contain}}
		b.Policy = a.Policy
		a.Targets = append(a.Targets, Target{Ref: b.Targets[0].Ref, Keys: []string{"PASSWORD"}, Rename: map[string]string{"PASSWORD": "APW"}})
		w.targets[b.Targets[1].Ref].fail = func(int) error { return fmt.Errorf("503: %w", ErrUnavailable) }
		p := w.start("r1", map[string]Bundle{"alpha": a, "beta": b}, io.Discard)
		defer p.end()
		for _, bundle := range []string{"beta", "alpha"} {
			if err := p.Accept(t.Context(), leak("e-"+bundle, bundle), time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if rec := w.record(t, "alpha"); w.lives(canary+"-alpha-first") || !rec.Rotation.Contained {
			t.Errorf("alpha is %s, contained %v", rec.State, rec.Rotation.Contained)
		}
		w.mu.Lock()
		n := len(w.journal["alpha"])
		w.mu.Unlock()
		if n > 1000 {
			t.Errorf("%d revisions within an hour of waiting", n)
		}
	})
}

// TestOnlyWhatIsRejectedCountsAsACandidate: failures on the way there do not use up the attempts.
func TestOnlyWhatIsRejectedCountsAsACandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 1)
		back := w.away("get")
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		if err := p.Accept(t.Context(), departure("e1"), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		back()
		w.mu.Lock()
		w.outage = map[string]error{"probe": ErrRejected}
		w.mu.Unlock()
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		if n := w.called("mint"); n != maxCandidates {
			t.Errorf("%d candidates, want %d", n, maxCandidates)
		}
	})
}

// TestAnOutageWhileMintingUsesUpNoVersions: Vault keeps ten of them.
func TestAnOutageWhileMintingUsesUpNoVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 1)
		w.mu.Lock()
		w.outage = map[string]error{"mint": fmt.Errorf("500: %w", ErrUnknown)}
		w.mu.Unlock()
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		if err := p.Accept(t.Context(), leak("e1", "checkout"), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.mu.Lock()
		w.outage = nil
		if n := len(w.secrets["secret/checkout"]); n != 1 {
			t.Errorf("%d versions after an hour without the database", n)
		}
		w.mu.Unlock()
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		w.check(t)
	})
}

// TestAWayBackKeepsWhatOthersHaveChanged in the bundle meanwhile.
func TestAWayBackKeepsWhatOthersHaveChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("checkout", 2)
		b.Policy = Policy{events.KindOffboarding: {AfterFailure: Rollback}}
		w.targets[b.Targets[1].Ref].fail = func(n int) error {
			if n == 1 {
				vs := w.secrets["secret/checkout"]
				s := vs[len(vs)-1]
				s.Set = secret.Set{"PASSWORD": s.Set["PASSWORD"], "RETRIES": s.Set["RETRIES"], "NEW": txt("x"), "SMTP": txt("other.example")}
				s.Version++
				w.secrets["secret/checkout"] = append(vs, s)
				return fmt.Errorf("413: %w", ErrPermanent)
			}
			return nil
		}
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		if err := p.Accept(t.Context(), departure("e1"), time.Now()); err != nil {
			t.Fatal(err)
		}
		w.settled(time.Hour)
		w.mu.Lock()
		vs := w.secrets["secret/checkout"]
		head := vs[len(vs)-1].Set
		w.mu.Unlock()
		if rec := w.record(t, "checkout"); rec.Last() == nil || rec.Last().Result != events.ResultRolledBack {
			t.Fatalf("%+v", rec)
		}
		if text(head["NEW"]) != "x" || text(head["SMTP"]) != "other.example" || text(head["PASSWORD"]) != canary+"-checkout-first" {
			t.Errorf("the newest version has %v", head)
		}
	})
}

// unreadable are secrets of which one path is forbidden.
type unreadable struct {
	*ports
	path string
}

func (d unreadable) Read(ctx context.Context, path string, version int) (Snapshot, error) {
	if path == d.path {
		return Snapshot{}, fmt.Errorf("403: %w", ErrPermanent)
	}
	return d.ports.Read(ctx, path, version)
}

// TestABundleThatCannotBeReadHidesNoOther when a leaked value is looked for.
func TestABundleThatCannotBeReadHidesNoOther(t *testing.T) {
	_, r := shops(t)
	r.secrets = unreadable{r.secrets.(*ports), "secret/one"}
	for value, want := range map[string]int{canary + "-two-first": 1, canary + "-one-first": 0} {
		hits, err := r.resolve(t.Context(), leaked(events.Credential{Fingerprints: []events.Fingerprint{{Alg: "sha256", Value: hashOf(value)}}}))
		_, unmatched := errors.AsType[*UnmatchedError](err)
		if len(hits) != want || unmatched != (want == 0) {
			t.Errorf("%v, %v", hits, err)
		}
	}
}

// TestALeakDoesNotWaitForHousekeeping: the live version is being written again to a target that does not take it, when a leak comes; and
// without a leak that is given up, told, and not held.
func TestALeakDoesNotWaitForHousekeeping(t *testing.T) {
	for _, leaks := range []bool{true, false} {
		t.Run(fmt.Sprint("a leak comes: ", leaks), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.shop("checkout", 2)
				b.Policy = Policy{events.KindLeak: {ContainWithin: 5 * time.Minute, AfterFailure: Contain}}
				w.contain = true
				p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
				defer p.end()
				if err := p.Accept(t.Context(), departure("e1"), time.Now()); err != nil || !w.settled(time.Hour) {
					t.Fatal(err)
				}
				w.mu.Lock()
				w.overwrite(b.Targets[0].Ref, b.Secret, "0.0.9", true)
				w.targets[b.Targets[0].Ref].fail = func(int) error { return fmt.Errorf("503: %w", ErrUnavailable) }
				stored := w.journal["checkout"][len(w.journal["checkout"])-1]
				w.mu.Unlock()
				if err := p.reapply(t.Context(), "checkout", stored, "drifted"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if rec := w.record(t, "checkout"); rec.State != Applying || !rec.Rotation.Reapply {
					t.Fatalf("%s", rec.State)
				}
				if leaks {
					if err := p.Accept(t.Context(), leak("e2", "checkout"), time.Now()); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				rec := w.record(t, "checkout")
				switch {
				case leaks && (rec.Rotation == nil || !rec.Rotation.Contained):
					t.Errorf("the leak is not contained: %s", rec.State)
				case !leaks && (rec.State != Idle || w.outcomesOf(events.ResultDrifted) != 1 || w.outcomesOf(events.ResultQuarantined) != 0):
					t.Errorf("%s, %d alarms", rec.State, w.outcomesOf(events.ResultDrifted))
				}
			})
		})
	}
}

// TestALeakBehindAnotherRotation that cannot go on: its own deadline and policy count.
func TestALeakBehindAnotherRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.contain = true
		b := w.shop("checkout", 2)
		b.Policy = Policy{events.KindOffboarding: {ContainWithin: 10 * time.Hour, AfterFailure: Hold}, events.KindLeak: {ContainWithin: 10 * time.Minute, AfterFailure: Contain}}
		w.targets[b.Targets[1].Ref].fail = func(int) error { return fmt.Errorf("503: %w", ErrUnavailable) }
		p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
		defer p.end()
		for _, ev := range []events.Event{departure("e1"), leak("e2", "checkout")} {
			if err := p.Accept(t.Context(), ev, time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if rec := w.record(t, "checkout"); w.lives(canary+"-checkout-first") || !rec.Rotation.Contained {
			t.Errorf("%s, contained %v", rec.State, rec.Rotation.Contained)
		}
	})
}
