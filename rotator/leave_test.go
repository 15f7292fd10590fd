package rotator

import (
	"context"
	"errors"
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
)

// registry is Vault's people: who could read what, and who may not log in any more. Of somebody whose login was ended it tells
// nothing any more: that is the worst that may happen between two deliveries of an event. Everybody with an address has an account
// unless accounts say otherwise.
type registry struct {
	mu       sync.Mutex
	reads    map[string]string    // secret -> name
	mints    map[string]string    // path -> name
	accounts map[string][]Account // by name
	refused  []string
	answers  []error // the next ones to Reach without rights, or to Disable
	applied  bool    // although the answer is an error
	slow     time.Duration
	disabled []string
	when     time.Time // of the last one
}

func (r *registry) Reach(_ context.Context, names []Name, rights []Right) (out Reach, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out.May, out.Refused = make(map[Right]string), r.refused
	for _, n := range names {
		mine := r.accounts[n.Text]
		if r.accounts == nil && strings.Contains(n.Text, "@") && strings.ToLower(n.Text) == n.Text {
			mine = []Account{{Mount: "up", Name: n.Text, ID: "id-" + n.Text, Entity: "entity of " + n.Text}}
		}
		out.Accounts = append(out.Accounts, mine...)
		for _, right := range rights {
			secret := strings.Replace(right.Path, "/data/", "/", 1)
			if len(r.disabled) == 0 && (right.Capability == "read" && r.reads[secret] == n.Text || r.mints[right.Path] == n.Text) {
				out.May[right] = "Vault says so"
			}
		}
	}
	return out, nil
}

func (r *registry) Disable(_ context.Context, a Account) (string, error) {
	time.Sleep(r.slow)
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if len(r.answers) > 0 {
		err, r.answers = r.answers[0], r.answers[1:]
	}
	if err == nil || r.applied {
		r.disabled, r.when = append(r.disabled, a.Name), time.Now()
	}
	if err != nil {
		return "", err
	}
	return a.Entity + " is disabled", nil
}

// ended lists whose logins were ended, once each.
func (r *registry) ended() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(r.disabled)))
}

// calls tells how often a login was ended, and when last; and forgets it.
func (r *registry) calls() (n int, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, r.disabled = len(r.disabled), nil
	return n, r.when
}

// with gives a process these people.
func (r *registry) with(more ...func(*Config)) func(*Config) {
	return func(c *Config) {
		c.People, c.Disable = r, true
		for _, change := range more {
			change(c)
		}
	}
}

// leaving is the departure of an event, as the journal has it.
func (w *world) leaving(t *testing.T, ev events.Event) (Departure, bool) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.journal[DepartureKey(ev.Key())]
	if len(h) == 0 {
		return Departure{}, false
	}
	return must(DecodeDeparture(h[len(h)-1].Value)), true
}

// rewrite changes a departure the way rotator approve does.
func (w *world) rewrite(t *testing.T, p *process, ev events.Event, do func(Departure) (Departure, error)) {
	t.Helper()
	raw, rev, err := p.Journal.Get(context.Background(), DepartureKey(ev.Key()))
	if err != nil {
		t.Fatal(err)
	}
	next, err := do(must(DecodeDeparture(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Journal.Put(context.Background(), DepartureKey(ev.Key()), must(next.Encode()), rev); err != nil {
		t.Fatal(err)
	}
}

// keys lists what the journal has.
func (w *world) keys() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.journal))
}

// said finds the outcomes of a result that belong to no bundle.
func (w *world) said(result string) (out []events.Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.outcomes {
		if o.Result == result && o.Bundle == "" {
			out = append(out, o)
		}
	}
	return out
}

// after lets virtual time pass.
func after(d time.Duration) { time.Sleep(d); synctest.Wait() }

// TestLeaver: the login is ended as a step of the rotation, whatever becomes of the calls; who may come back keeps it.
func TestLeaver(t *testing.T) {
	away := fmt.Errorf("away: %w", ErrUnavailable)
	for name, c := range map[string]struct {
		answers  []error
		applied  bool
		change   string
		disabled bool
		note     string
	}{
		"at once":                        {nil, false, "terminated", true, "is disabled"},
		"not applied, twice":             {[]error{away, away}, false, "deleted", true, "is disabled"},
		"applied, and the answer lost":   {[]error{fmt.Errorf("lost: %w", ErrUnknown)}, true, "deactivated", true, "is disabled"},
		"its leases cannot be revoked":   {[]error{fmt.Errorf("given up: %w, %w", ErrNotGone, ErrIrrevocable)}, true, "terminated", true, "CAREFUL"},
		"Vault does not allow it":        {[]error{fmt.Errorf("403: %w", ErrPermanent)}, false, "terminated", false, "CAREFUL"},
		"who is suspended may come back": {nil, false, "suspended", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				vault := &registry{answers: c.answers, applied: c.applied}
				p := w.start("one", map[string]Bundle{"a": w.shop("a", 1)}, io.Discard, vault.with())
				defer p.end()
				ev := departure("1")
				ev.Offboarding.Change = c.change
				if err := p.Accept(t.Context(), ev, time.Now()); err != nil {
					t.Fatal(err)
				}
				if !w.settled(time.Hour) {
					t.Fatal("not settled")
				}
				last := w.record(t, "a").Last()
				_, step := last.Steps["leaver-disabled"]
				if last.Result != events.ResultRotated || step != (c.note != "") || !strings.Contains(strings.Join(last.Warnings, "\n"), c.note) || (len(vault.ended()) > 0) != c.disabled {
					t.Errorf("disabled %v: %+v", vault.ended(), last)
				}
				if alarms := len(w.said(events.ResultReported)); (alarms > 0) != strings.Contains(c.note, "CAREFUL") {
					t.Errorf("%d alarms", alarms)
				}
				w.check(t)
			})
		})
	}
}

// TestVaultKnowsWhoCouldRead: besides the holders; what it does not tell is said, and the holders have to do. What somebody could only
// mint for themselves rotates nothing, and is said as well.
func TestVaultKnowsWhoCouldRead(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.shop("a", 1), w.shop("b", 1), w.shop("c", 1)
	b.Holders, c.Holders = nil, nil
	vault := &registry{reads: map[string]string{"secret/a": "alice@example.com", "secret/b": "Alice@Example.com"},
		mints: map[string]string{"database/creds/c": "alice@example.com", "database/creds/b": "alice@example.com"}}
	p := Preview{Bundles: map[string]Bundle{"a": a, "b": b, "c": c}, Secrets: &ports{world: w}, People: vault}
	find := func(ev events.Event) (out []string) {
		hits, err := p.Resolve(t.Context(), ev)
		for _, h := range hits {
			out = append(out, h.Bundle+": "+h.Why)
		}
		if err != nil {
			out = append(out, err.Error())
		}
		return out
	}
	if got := find(departure("1")); !slices.Equal(got, []string{"a: holder alice@example.com; could read secret/a: Vault says so",
		"b: could read secret/b: Vault says so; could mint from database/creds/b: Vault says so"}) {
		t.Error(got)
	}
	if got := must(p.Touched(t.Context(), departure("1"))); len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "bundle c: could mint from database/creds/c") {
		t.Errorf("%+v", got)
	}
	team := departure("2")
	team.Offboarding.Change = "membership_removed"
	if got := find(team); len(got) != 0 {
		t.Error("who only leaves a team:", got)
	}
	vault.refused, vault.reads, vault.mints = []string{"403"}, nil, nil
	if got := find(departure("3")); !slices.Equal(got, []string{"a: holder alice@example.com", "Vault does not tell all that the person could read: 403"}) {
		t.Error(got)
	}
}

// TestEveryWritePointOfADeparture: whatever write fails, in whatever way, the bundles that the event touched when it came are rotated once,
// and the login is ended; although Vault tells nothing of the person any more as soon as it is.
func TestEveryWritePointOfADeparture(t *testing.T) {
	run := func(t *testing.T, w *world) {
		bundles := map[string]Bundle{"a": w.shop("a", 1), "b": w.shop("b", 1)}
		for name, b := range bundles {
			b.Holders, b.Policy = nil, Policy{events.KindOffboarding: {Overlap: time.Minute, AfterFailure: Rollback}}
			bundles[name] = b
		}
		vault := &registry{reads: map[string]string{"secret/a": "alice@example.com", "secret/b": "alice@example.com"}}
		procs := []*process{w.start("r1", bundles, io.Discard, vault.with()), w.start("r2", bundles, io.Discard, vault.with())}
		stored := time.Now()
		for accepted := false; !accepted; time.Sleep(time.Second) {
			for _, p := range procs {
				if accepted = p.Accept(t.Context(), departure("e1"), stored) == nil; accepted {
					break
				}
			}
		}
		if !w.settled(2 * time.Hour) {
			t.Errorf("not settled: %v", w.writes)
		}
		w.check(t)
		for name := range bundles {
			if rec := w.record(t, name); rec.Generation != 1 || !strings.Contains(strings.Join(rec.Last().Warnings, " "), "is disabled") {
				t.Errorf("%s: generation %d, %+v", name, rec.Generation, rec.Last())
			}
		}
		if got := vault.ended(); !slices.Equal(got, []string{"alice@example.com"}) {
			t.Errorf("ended: %v", got)
		}
		for _, p := range procs {
			p.end()
		}
	}
	var points []string
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		run(t, w)
		points = slices.Clone(w.writes)
	})
	for n, point := range points {
		if point != "journal put" && point != "outcome" {
			continue // TestEveryWritePoint has the others
		}
		for _, f := range []fault{lostIt, dieBefore, dieAfter} {
			t.Run(fmt.Sprintf("%02d %s/%d", n, point, f), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.fault = func(at int, _ string) fault {
						if at == n {
							return f
						}
						return none
					}
					run(t, w)
				})
			})
		}
	}
}

// TestALoginEndsWhateverBecomesOfTheRotation, also when there is none.
func TestALoginEndsWhateverBecomesOfTheRotation(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*testing.T, *world, *process, Bundle)
		bundle func(*Bundle)
		told   bool
	}{
		"no bundle is touched": {bundle: func(b *Bundle) { b.Holders = nil }, told: true},
		"the plan is refused":  {before: func(_ *testing.T, w *world, _ *process, b Bundle) { delete(w.targets, b.Targets[0].Ref) }},
		"OpenWhisk is away": {before: func(_ *testing.T, w *world, _ *process, _ Bundle) {
			w.outage = map[string]error{"get": fmt.Errorf("503: %w", ErrUnavailable)}
		}},
		"the bundle cools down": {
			bundle: func(b *Bundle) { b.Cooldown = time.Hour },
			before: func(t *testing.T, w *world, p *process, _ Bundle) {
				if err := p.Accept(t.Context(), leak("0", "a"), time.Now()); err != nil || !w.settled(time.Minute) {
					t.Fatal(err)
				}
			},
		},
		"the bundle is in quarantine": {before: func(t *testing.T, w *world, p *process, b Bundle) {
			w.targets[b.Targets[0].Ref].fail = func(int) error { return fmt.Errorf("413: %w", ErrPermanent) }
			if err := p.Accept(t.Context(), leak("0", "a"), time.Now()); err != nil || !w.settled(time.Hour) || w.record(t, "a").State != Quarantined {
				t.Fatal(err, w.record(t, "a").State)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.shop("a", 1)
				if c.bundle != nil {
					c.bundle(&b)
				}
				vault := new(registry)
				p := w.start("one", map[string]Bundle{"a": b}, io.Discard, vault.with())
				defer p.end()
				if c.before != nil {
					c.before(t, w, p, b)
				}
				began := time.Now()
				for range 2 {
					if err := p.Accept(t.Context(), departure("1"), began); err != nil {
						t.Fatal(err)
					}
				}
				after(10 * time.Second)
				if n, last := vault.calls(); n != 1 || last.Sub(began) > time.Second {
					t.Errorf("ended %d times", n)
				}
				told := w.said(events.ResultReported)
				if (len(told) == 1 && strings.Contains(told[0].Reason, "no bundle is touched; entity of alice@example.com is disabled")) != c.told {
					t.Errorf("told: %+v", told)
				}
				if name == "the plan is refused" && !strings.Contains(strings.Join(w.record(t, "a").Last().Warnings, " "), "is disabled") {
					t.Error("the receipt of the refusal does not tell")
				}
			})
		})
	}
}

// TestALoginWaitsForApproval as the rotation does, whether a bundle is touched or not; another event that rotates the bundle does not end
// it. Approved it ends; denied it stays.
func TestALoginWaitsForApproval(t *testing.T) {
	for _, touched := range []bool{true, false} {
		for _, deny := range []bool{false, true} {
			t.Run(fmt.Sprintf("touched=%v deny=%v", touched, deny), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					b := w.shop("a", 1)
					if !touched {
						b.Holders = nil
					}
					vault := new(registry)
					gate := Gate{Rules: []GateRule{{Kinds: []events.Kind{events.KindOffboarding}, Do: Ask}}}
					p := w.start("one", map[string]Bundle{"a": b}, io.Discard, vault.with(func(c *Config) { c.Gate = gate }))
					defer p.end()
					ev := departure("1")
					if err := errors.Join(p.Accept(t.Context(), ev, time.Now()), p.Accept(t.Context(), ev, time.Now()), p.Accept(t.Context(), leak("2", "a"), time.Now())); err != nil {
						t.Fatal(err)
					}
					if !w.settled(time.Hour) {
						t.Fatal("not settled")
					}
					after(time.Hour)
					last := w.record(t, "a").Last()
					d, _ := w.leaving(t, ev)
					if len(vault.ended()) != 0 || !d.Waits() || d.Ends() != "alice@example.com on up (Vault entity entity of alice@example.com)" {
						t.Fatalf("ended %v, %+v", vault.ended(), d)
					}
					if note := strings.Join(last.Warnings, " "); strings.Contains(note, "waits for approval (rotator approve "+ApprovalID(ev.Key())) != touched {
						t.Errorf("went along: %q", note)
					}
					if told := w.said(events.ResultHeld); len(told) != 1 || !strings.Contains(told[0].Reason, "would end the login of alice@example.com on up") || !strings.Contains(told[0].Remedy, ApprovalID(ev.Key())) {
						t.Errorf("told: %+v", told)
					}
					w.rewrite(t, p, ev, func(d Departure) (Departure, error) {
						if deny {
							return d.Deny("bob", time.Now())
						}
						return d.Approve(Approval{By: "bob", At: time.Now()})
					})
					after(10 * time.Second)
					if got := len(vault.ended()); got != map[bool]int{true: 0, false: 1}[deny] {
						t.Errorf("ended %d", got)
					}
					d, _ = w.leaving(t, ev)
					if _, err := d.Approve(Approval{}); !errors.Is(err, ErrNotPossible) {
						t.Error(err)
					}
					if err := p.Accept(t.Context(), ev, time.Now()); err != nil {
						t.Error(err)
					}
					after(time.Hour)
					if got := len(vault.ended()); (got == 0) != deny {
						t.Errorf("delivered again: ended %d", got)
					}
				})
			})
		}
	}
}

// TestABundleThatTakesALateEventNeedsApprovalToo: the delivery died between two bundles, and somebody has approved what was there.
func TestABundleThatTakesALateEventNeedsApprovalToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		bundles := map[string]Bundle{"a": w.shop("a", 1), "b": w.shop("b", 1)}
		vault := new(registry)
		puts := 0
		w.fault = func(_ int, point string) fault {
			if point == "journal put" {
				if puts++; puts == 3 { // departure, a, b
					return dieBefore
				}
			}
			return none
		}
		gate := func(c *Config) { c.Gate = Gate{PerEvent: 1} }
		p := w.start("one", bundles, io.Discard, vault.with(gate))
		ev := departure("1")
		if err := p.Accept(t.Context(), ev, time.Now()); err == nil {
			t.Fatal("it was to die")
		}
		p.end()
		p = w.start("two", bundles, io.Discard, vault.with(gate))
		defer p.end()
		w.rewrite(t, p, ev, func(d Departure) (Departure, error) { return d.Approve(Approval{By: "bob", At: time.Now()}) })
		if err := p.Accept(t.Context(), ev, time.Now()); err != nil {
			t.Fatal(err)
		}
		after(time.Hour)
		for name := range bundles {
			if rec := w.record(t, name); len(rec.Held()) != 1 || rec.Generation != 0 {
				t.Errorf("%s: %+v", name, rec)
			}
		}
		if len(vault.ended()) != 1 {
			t.Error("what was approved did not happen")
		}
	})
}

// TestAReportEndsNoLogin, and says whose it is.
func TestAReportEndsNoLogin(t *testing.T) {
	for name, holders := range map[string][]string{"a bundle": {"alice@example.com"}, "none": nil} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			b := w.shop("a", 1)
			b.Holders = holders
			vault := new(registry)
			p := w.start("one", map[string]Bundle{"a": b}, io.Discard, vault.with(func(c *Config) { c.Gate = Gate{Rules: []GateRule{{Do: Report}}} }))
			defer p.end()
			stored := time.Now()
			if err := errors.Join(p.Accept(t.Context(), departure("1"), stored), p.Accept(t.Context(), departure("1"), stored)); err != nil {
				t.Fatal(err)
			}
			after(time.Hour)
			if told := w.said(events.ResultReported); len(told) != 1 || !strings.Contains(told[0].Reason, "the login of alice@example.com on up (Vault entity entity of alice@example.com) is not ended") {
				t.Errorf("%s: %+v", name, told)
			}
			if len(vault.ended()) != 0 || len(w.keys()) != 0 || w.outcomesOf(events.ResultReported) != 1+len(holders) {
				t.Errorf("%s: ended %v, journal %v", name, vault.ended(), w.keys())
			}
		})
	}
}

// TestNobodyLeavesEarly: before the time that the event names nothing is done, however it comes to the bundle; and what another event has
// rotated before does not do for it, because the leaver could read that as well.
func TestNobodyLeavesEarly(t *testing.T) {
	ask := Gate{Rules: []GateRule{{Kinds: []events.Kind{events.KindOffboarding}, Do: Ask}}}
	for name, c := range map[string]struct {
		gate    Gate
		holders []string
		other   bool // an event for the same bundle is being worked on, and another one comes before the time
		rotates int
	}{
		"no bundle is touched":       {Gate{}, nil, false, 0},
		"alone":                      {Gate{}, []string{"alice@example.com"}, false, 1},
		"joined to a rotation":       {Gate{}, []string{"alice@example.com"}, true, 3},
		"held, and not taken along":  {ask, []string{"alice@example.com"}, true, 3},
		"held, and no bundle at all": {ask, nil, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.shop("a", 1)
				b.Holders, b.Policy = c.holders, Policy{events.KindLeak: {Overlap: time.Hour}, events.KindOffboarding: {}}
				vault := new(registry)
				p := w.start("one", map[string]Bundle{"a": b}, io.Discard, vault.with(func(cfg *Config) { cfg.Gate = c.gate }))
				defer p.end()
				stored := time.Now()
				ev := departure("1")
				ev.Offboarding.EffectiveAt = stored.Add(48 * time.Hour)
				if c.other {
					if err := p.Accept(t.Context(), leak("0", "a"), stored); err != nil {
						t.Fatal(err)
					}
					after(time.Minute) // it drains
				}
				if err := p.Accept(t.Context(), ev, stored.Add(-time.Second)); err != nil {
					t.Fatal(err)
				}
				after(12 * time.Hour)
				if c.other {
					if err := p.Accept(t.Context(), leak("2", "a"), time.Now()); err != nil {
						t.Fatal(err)
					}
				}
				after(12 * time.Hour)
				if len(c.gate.Rules) > 0 {
					w.rewrite(t, p, ev, func(d Departure) (Departure, error) { return d.Approve(Approval{By: "bob", At: time.Now()}) })
				}
				if len(c.gate.Rules) > 0 && c.holders != nil {
					plan := must(Preview{Bundles: p.Bundles, Secrets: p.Secrets, Platform: p.Platform}.Plan(t.Context(), "a", events.KindOffboarding))
					w.change(t, p, "a", func(r Record) (Record, error) {
						return r.Approve(ApprovalID(ev.Key()), Approval{By: "bob", At: time.Now(), Plan: plan.Digest()})
					})
				}
				after(23 * time.Hour)
				if d, err := p.depart(t.Context(), ev.Key()); err != nil || !d.open() {
					t.Errorf("carried out early: %+v, %v", d, err)
				}
				if got := vault.ended(); len(got) != 0 {
					t.Fatal("ended before the time:", got)
				}
				after(2 * time.Hour)
				n, last := vault.calls()
				if at := last.Sub(ev.Offboarding.EffectiveAt); n != 1 || at < 0 || at > 2*time.Minute {
					t.Errorf("ended %d times, %s after the time", n, at)
				}
				if c.rotates > 0 || slices.Contains(w.keys(), "a") {
					if rec := w.record(t, "a"); rec.Generation != c.rotates {
						t.Errorf("rotated %d times: %+v", rec.Generation, rec)
					}
				}
				w.check(t)
			})
		})
	}
}

// slowJournal takes its time to write, so that many decide at once.
type slowJournal struct{ Journal }

func (s slowJournal) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	time.Sleep(10 * time.Millisecond)
	return s.Journal.Put(ctx, key, value, revision)
}

// TestAFloodOfDepartures ends as many logins as the bound allows, and the rest waits, although not one of them touches a bundle.
func TestAFloodOfDepartures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		vault := new(registry)
		bound := vault.with(func(c *Config) {
			c.LoginsPerHour, c.Gate, c.Journal = 20, Gate{PerEvent: 1, PerHour: 1}, slowJournal{c.Journal}
		})
		p := w.start("one", nil, io.Discard, bound)
		defer p.end()
		var all sync.WaitGroup
		for i := range 500 {
			all.Go(func() {
				ev := departure(fmt.Sprint(i))
				ev.Offboarding.Person.Identifiers[0].Email = fmt.Sprintf("p%d@example.com", i)
				if err := p.Accept(t.Context(), ev, time.Now()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		after(10 * time.Minute)
		if n := len(vault.ended()); n != 20 {
			t.Errorf("%d logins were ended", n)
		}
		if n := len(w.said(events.ResultHeld)); n != 480 {
			t.Errorf("%d wait", n)
		}
		after(time.Hour)
		if err := p.Accept(t.Context(), departure("x"), time.Now()); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if n := len(vault.ended()); n != 21 {
			t.Errorf("an hour later: %d logins were ended", n)
		}
	})
}

// TestTwoPeopleInOneEvent: nothing is rotated and nobody disabled before somebody has looked; one person with accounts on two mounts is
// no such case.
func TestTwoPeopleInOneEvent(t *testing.T) {
	alice, bob := Account{Mount: "up", Name: "alice", ID: "1", Entity: "alice"}, Account{Mount: "up", Name: "bob", ID: "2", Entity: "bob"}
	for name, c := range map[string]struct {
		accounts []Account
		doubt    bool
	}{
		"two entities of a mount":            {[]Account{alice, bob}, true},
		"one with another never used":        {[]Account{alice, {Mount: "up", Name: "bob"}}, true},
		"one entity by two names":            {[]Account{alice, {Mount: "up", Name: "al", ID: "1"}}, false},
		"two mounts":                         {[]Account{alice, {Mount: "oidc", Name: "alice", ID: "3", Entity: "alice-2"}}, false},
		"two mounts, and two of one of them": {[]Account{alice, {Mount: "oidc", Name: "alice", ID: "3"}, {Mount: "oidc", Name: "b", ID: "2"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				vault := &registry{accounts: map[string][]Account{"alice@example.com": c.accounts}}
				p := w.start("one", map[string]Bundle{"a": w.shop("a", 1), "b": w.shop("b", 1)}, io.Discard, vault.with())
				defer p.end()
				taken := leak("2", "")
				taken.Leak.Credential = events.Credential{SecretType: "risc:password"}
				if err := errors.Join(p.Accept(t.Context(), departure("1"), time.Now()), p.Accept(t.Context(), withPerson(taken, "alice@example.com"), time.Now())); err != nil {
					t.Fatal(err)
				}
				after(10 * time.Minute)
				for _, bundle := range []string{"a", "b"} {
					rec := w.record(t, bundle)
					if c.doubt != (len(rec.Held()) == 2 && rec.Generation == 0 && strings.Contains(rec.Held()[0].Held, "lead to different people: alice on ")) && (c.doubt || rec.Generation > 0) {
						t.Errorf("%s: %+v", bundle, rec)
					}
				}
				if (len(vault.ended()) == 0) != c.doubt {
					t.Errorf("ended: %v", vault.ended())
				}
			})
		})
	}
}

// TestSomebodyElseCameToTheName: between event and departure another entity has come to a name on the same mount. It was not meant, as
// far as anybody knows.
func TestSomebodyElseCameToTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		never := Account{Mount: "up", Name: "Alice"}
		vault := &registry{accounts: map[string][]Account{"alice@example.com": {never}}}
		p := w.start("one", nil, io.Discard, vault.with())
		defer p.end()
		ev, other := departure("1"), departure("2")
		ev.Offboarding.EffectiveAt = time.Now().Add(24 * time.Hour)
		other.Offboarding.EffectiveAt = time.Now().Add(48 * time.Hour)
		if err := errors.Join(p.Accept(t.Context(), ev, time.Now()), p.Accept(t.Context(), other, time.Now())); err != nil {
			t.Fatal(err)
		}
		first := Account{Mount: "up", Name: "alice", ID: "1", Entity: "alice"} // she has logged in meanwhile
		vault.mu.Lock()
		vault.accounts["alice@example.com"] = []Account{first}
		vault.mu.Unlock()
		after(25 * time.Hour)
		if got := vault.ended(); !slices.Equal(got, []string{"alice"}) {
			t.Error("who logged in meanwhile:", got)
		}
		vault.mu.Lock()
		vault.accounts["alice@example.com"] = []Account{first, {Mount: "up", Name: "alicia", ID: "2", Entity: "alicia"}}
		vault.mu.Unlock()
		after(25 * time.Hour)
		if d, _ := w.leaving(t, other); !d.Waits() || len(vault.ended()) != 1 || len(w.said(events.ResultHeld)) != 1 {
			t.Errorf("ended %v, %+v", vault.ended(), d)
		}
		w.rewrite(t, p, other, func(d Departure) (Departure, error) { return d.Approve(Approval{By: "bob", At: time.Now()}) })
		after(time.Minute)
		if got := vault.ended(); !slices.Equal(got, []string{"alice", "alicia"}) {
			t.Error("approved:", got)
		}
	})
}

// TestWhoseLoginNeverEnds: the rotation goes on, the login stays, and that is said aloud.
func TestWhoseLoginNeverEnds(t *testing.T) {
	for name, pattern := range map[string]string{"the event's name": "ALICE@example.com", "the account's name": "break*", "the entity's name": "emergency"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			vault := &registry{accounts: map[string][]Account{"alice@example.com": {{Mount: "up", Name: "breakglass", ID: "1", Entity: "Emergency"}}}}
			p := w.start("one", map[string]Bundle{"a": w.shop("a", 1)}, io.Discard, vault.with(func(c *Config) { c.Never = []string{"nobody", pattern} }))
			defer p.end()
			if err := p.Accept(t.Context(), departure("1"), time.Now()); err != nil || !w.settled(time.Hour) {
				t.Fatal(err)
			}
			if told := w.said(events.ResultReported); len(vault.ended()) != 0 || len(told) != 1 || !strings.Contains(told[0].Reason, "in people.never") || w.record(t, "a").Generation != 1 {
				t.Errorf("%s: ended %v, told %+v", name, vault.ended(), told)
			}
		})
	}
}

// TestWhatVaultDoesNotTellIsAnAlarm, once per event; the holders are rotated, and the login is ended as far as it is known.
func TestWhatVaultDoesNotTellIsAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		vault := &registry{refused: []string{"403"}}
		p := w.start("one", map[string]Bundle{"a": w.shop("a", 1)}, io.Discard, vault.with())
		defer p.end()
		stored := time.Now()
		if err := errors.Join(p.Accept(t.Context(), departure("1"), stored), p.Accept(t.Context(), departure("1"), stored)); err != nil || !w.settled(time.Hour) {
			t.Fatal(err)
		}
		alarms := 0
		for _, o := range w.said(events.ResultReported) {
			if strings.Contains(o.Reason, "Vault does not tell all that the person could read, so that bundles may be missing: 403") && strings.Contains(o.Remedy, "rotator check") {
				alarms++
			}
		}
		if alarms != 1 || w.record(t, "a").Generation != 1 || len(vault.ended()) != 1 {
			t.Errorf("%d alarms, ended %v", alarms, vault.ended())
		}
	})
}

// TestALoginThatCannotBeEndedForLongIsAnAlarm: Vault is away; it is told once, and ended when Vault is back.
func TestALoginThatCannotBeEndedForLongIsAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		vault := new(registry)
		for range 200 {
			vault.answers = append(vault.answers, fmt.Errorf("sealed: %w", ErrUnavailable))
		}
		p := w.start("one", nil, io.Discard, vault.with())
		defer p.end()
		if err := p.Accept(t.Context(), departure("1"), time.Now()); err != nil {
			t.Fatal(err)
		}
		after(10 * time.Minute)
		if n := len(w.said(events.ResultDelayed)); n != 0 {
			t.Errorf("%d alarms too early", n)
		}
		after(time.Hour)
		if told := w.said(events.ResultDelayed); len(told) != 1 || !strings.Contains(told[0].Reason, "sealed") {
			t.Errorf("%+v", told)
		}
		vault.mu.Lock()
		left := len(vault.answers)
		vault.answers = nil
		vault.mu.Unlock()
		if left < 100 {
			t.Errorf("it was tried %d times within an hour", 200-left)
		}
		after(2 * time.Minute)
		if len(vault.ended()) != 1 {
			t.Error("not ended when Vault was back")
		}
	})
}

// TestARotationDoesNotWaitForEver for a login to end, and a leak does not wait at all; it says so.
func TestARotationDoesNotWaitForEver(t *testing.T) {
	for kind, most := range map[events.Kind]time.Duration{events.KindOffboarding: 17 * time.Minute, events.KindLeak: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			vault := new(registry)
			for range 1000 {
				vault.answers = append(vault.answers, fmt.Errorf("not yet: %w", ErrNotGone))
			}
			ask := Gate{Rules: []GateRule{{Kinds: []events.Kind{events.KindOffboarding}, Do: Ask}}}
			p := w.start("one", map[string]Bundle{"a": w.shop("a", 1)}, io.Discard, vault.with(func(c *Config) {
				if kind == events.KindLeak {
					c.Gate = ask // the leak takes the departure along, whose login was approved
				}
			}))
			defer p.end()
			ev := departure("1")
			if err := p.Accept(t.Context(), ev, time.Now()); err != nil {
				t.Fatal(err)
			}
			if kind == events.KindLeak {
				w.rewrite(t, p, ev, func(d Departure) (Departure, error) { return d.Approve(Approval{By: "bob", At: time.Now()}) })
				if err := p.Accept(t.Context(), leak("2", "a"), time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			after(time.Hour)
			last := w.record(t, "a").Last()
			if last == nil || last.Steps["planned"].Sub(began) > most || !strings.Contains(strings.Join(last.Warnings, " "), "CAREFUL: the login of who leaves is not ended yet") {
				t.Errorf("%s: %+v", kind, last)
			}
			if d, _ := w.leaving(t, ev); !d.open() {
				t.Errorf("given up: %+v", d)
			}
		})
	}
}

// TestAnotherReplicaTakesADepartureOver within the lease time, and a departure that is long over is forgotten.
func TestAnotherReplicaTakesADepartureOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		vault := &registry{slow: time.Second}
		one, two := w.start("one", nil, io.Discard, vault.with()), w.start("two", nil, io.Discard, vault.with())
		defer two.end()
		if err := one.Accept(t.Context(), departure("0"), time.Now()); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if n, _ := vault.calls(); n != 1 {
			t.Errorf("ended %d times", n)
		}
		vault.mu.Lock()
		vault.answers = []error{fmt.Errorf("away: %w", ErrUnavailable)}
		vault.mu.Unlock()
		ev := departure("1")
		if err := one.Accept(t.Context(), ev, time.Now()); err != nil {
			t.Fatal(err)
		}
		after(1100 * time.Millisecond)
		one.end()
		after(two.Lease + time.Second)
		if n, _ := vault.calls(); n != 1 {
			t.Errorf("ended %d times", n)
		}
		if _, _, err := two.Journal.Get(t.Context(), DepartureKey(ev.Key())); err != nil {
			t.Error(err)
		}
		if _, shown := two.Records()[DepartureKey(ev.Key())]; shown || !Housekeeping(DepartureKey(ev.Key())) {
			t.Error("a departure is taken for a bundle")
		}
		after(departureKept + time.Hour)
		if _, known := w.leaving(t, ev); known || len(two.view.leaving()) != 0 {
			t.Error("it is not forgotten")
		}
	})
}

// TestWhomVaultDoesNotKnow leaves nothing in the journal; but one who leaves later may log in for the first time until then.
func TestWhomVaultDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		vault := &registry{accounts: map[string][]Account{}}
		p := w.start("one", nil, io.Discard, vault.with())
		defer p.end()
		future := departure("2")
		future.Offboarding.EffectiveAt = time.Now().Add(time.Hour)
		if err := errors.Join(p.Accept(t.Context(), departure("1"), time.Now()), p.Accept(t.Context(), future, time.Now())); err != nil {
			t.Fatal(err)
		}
		if _, known := w.leaving(t, departure("1")); known || len(w.keys()) != 1 {
			t.Errorf("journal: %v", w.keys())
		}
		after(2 * time.Hour)
		if d, _ := w.leaving(t, future); d.open() || len(d.Notes)+len(w.said(events.ResultReported)) != 0 {
			t.Errorf("%+v, %v", d, w.said(events.ResultReported))
		}
	})
}

// TestADepartureOfThousandsOfBundlesFits into one message, and names every one.
func TestADepartureOfThousandsOfBundlesFits(t *testing.T) {
	d := Departure{Event: "x"}
	for i := range 4000 {
		d.Hits = append(d.Hits, Hit{Bundle: fmt.Sprint("bundle-", i), Why: strings.Repeat("why ", 100)})
	}
	raw := must(d.fit().Encode())
	if back := must(DecodeDeparture(raw)); len(raw) > maxRecord || len(back.Hits) != 4000 || back.Hits[3999].Why == "" || len(d.Hits[0].Why) != 400 {
		t.Errorf("%d bytes, %d bundles, %q", len(raw), len(back.Hits), back.Hits[3999].Why)
	}
}

// TestOldJournalsAreRead: what an earlier program noted of leavers is passed over.
func TestOldJournalsAreRead(t *testing.T) {
	rec, err := DecodeRecord([]byte(`{"v":1,"bundle":"a","state":"claimed","epoch":1,"generation":0,
		"queue":[{"event":"x","id":"y","kind":"offboarding","stored":"2026-01-01T00:00:00Z","why":"z","leaver":["alice"]}],"rotation":{"id":"r","kind":"offboarding","left":["alice"]}}`))
	if err != nil || rec.Queue[0].Departs || rec.Queue[0].Event != "x" {
		t.Errorf("%+v, %v", rec, err)
	}
	for _, bad := range []string{`[]`, `{"v":1}`, `{"v":0,"event":"x"}`, `{"v":1,"event":"x","hits":7}`} {
		if _, err := DecodeDeparture([]byte(bad)); !errors.Is(err, ErrBadRecord) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := DecodeDeparture([]byte(`{"v":99,"event":"x"}`)); !errors.Is(err, ErrNewerRecord) {
		t.Error(err)
	}
}
