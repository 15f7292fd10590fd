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
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

func TestJudge(t *testing.T) {
	low := leak("1", "shop")
	low.Publisher, low.Leak.Severity, low.Leak.Upstream.System = "ci", "low", "gitleaks"
	high := low
	high.Leak = &events.Leak{Severity: "high", Upstream: events.Upstream{System: "github"}}
	g := Gate{PerEvent: 3, PerHour: 10, Rules: []GateRule{
		{Source: "gitleaks", Severity: []string{"low", "info"}, Do: Report},
		{Publisher: "C*", Kinds: []events.Kind{events.KindOffboarding}, Do: Report},
		{Publisher: "c?", Do: Ask},
	}}
	for name, c := range map[string]struct {
		g        Gate
		ev       events.Event
		n, hour  int
		want     Verdict
		mentions string
	}{
		"nothing configured":           {Gate{}, low, 1000, 1000, Allow, ""},
		"only reported":                {g, low, 1, 0, Report, "rule 1"},
		"reported, however many":       {g, low, 99, 99, Report, "rule 1"},
		"another rule":                 {g, high, 1, 0, Ask, "rule 3"},
		"too many at once":             {Gate{PerEvent: 3}, low, 4, 0, Ask, "touches 4 bundles"},
		"as many as allowed":           {g, departure("1"), 3, 7, Allow, ""},
		"too many within an hour":      {g, departure("1"), 3, 8, Ask, "within an hour"},
		"an allowance beats no bound":  {Gate{PerEvent: 1, Rules: []GateRule{{Do: Allow}}}, low, 2, 0, Ask, "bundles"},
		"the first rule that fits":     {Gate{Rules: []GateRule{{Do: Allow}, {Do: Report}}}, low, 1, 0, Allow, ""},
		"a severity nobody stated":     {Gate{Rules: []GateRule{{Severity: []string{"medium"}, Do: Ask}}}, events.Event{Kind: events.KindManual, Manual: &events.Manual{}}, 1, 0, Ask, "rule 1"},
		"a rule for another publisher": {Gate{Rules: []GateRule{{Publisher: "okta", Do: Ask}}}, low, 1, 0, Allow, ""},
	} {
		if v, why := c.g.Judge(c.ev, c.n, c.hour); v != c.want || !strings.Contains(why, c.mentions) || (why == "") != (c.want == Allow) {
			t.Errorf("%s: %s, %q", name, v, why)
		}
	}
}

// change writes a record the way rotator approve does.
func (w *world) change(t *testing.T, p *process, bundle string, do func(Record) (Record, error)) {
	t.Helper()
	raw, rev, err := p.Journal.Get(context.Background(), bundle)
	if err != nil {
		t.Fatal(err)
	}
	next, err := do(must(DecodeRecord(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Journal.Put(context.Background(), bundle, must(next.Encode()), rev); err != nil {
		t.Fatal(err)
	}
}

// TestApproval: an event that touches too much waits, told aloud; approved it runs that plan; with another plan it waits again;
// denied it is gone.
func TestApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		bundles := map[string]Bundle{"a": w.shop("a", 2), "b": w.shop("b", 1)}
		p := w.start("one", bundles, io.Discard)
		defer p.end()
		p.Gate = Gate{PerEvent: 1}
		ev := departure("1")
		id := ApprovalID(ev.Key())
		for range 3 { // delivered again and again
			if err := p.Accept(t.Context(), ev, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, name := range []string{"a", "b"} {
			rec := w.record(t, name)
			if len(rec.Held()) != 1 || rec.State != Idle || !strings.Contains(rec.Held()[0].Held, "touches 2 bundles") {
				t.Fatalf("%s: %+v", name, rec)
			}
		}
		if n := w.outcomesOf(events.ResultHeld); n != 2 {
			t.Errorf("%d alarms", n)
		}
		yes := func(plan string) func(Record) (Record, error) {
			return func(r Record) (Record, error) {
				return r.Approve(id, Approval{By: "bob", At: time.Now(), Plan: plan})
			}
		}
		plan := must(Preview{Bundles: bundles, Secrets: p.Secrets, Platform: p.Platform}.Plan(t.Context(), "a", events.KindOffboarding))
		w.mu.Lock() // somebody deploys between the approval and the rotation
		target := w.targets[bundles["a"].Targets[0].Ref]
		target.obs.Version = "0.0.9"
		target.obs.Parameters = append(target.obs.Parameters, param.Entry{Key: "DEPLOYED", Value: secret.FromText("new")})
		w.mu.Unlock()
		w.change(t, p, "a", yes(plan.Digest()))
		time.Sleep(time.Minute)
		synctest.Wait()
		if rec := w.record(t, "a"); len(rec.Held()) != 1 || rec.State != Idle || rec.Owner != "" || !strings.Contains(rec.Held()[0].Held, "changed since") || len(rec.History) != 0 {
			t.Fatalf("another plan than the approved one: %+v", rec)
		}
		if n := w.outcomesOf(events.ResultHeld); n != 3 {
			t.Errorf("%d alarms", n)
		}
		plan = must(Preview{Bundles: bundles, Secrets: p.Secrets, Platform: p.Platform}.Plan(t.Context(), "a", events.KindOffboarding))
		w.mu.Lock() // a neighbour's rotation: another version, and nothing else
		target.obs.Version = "0.0.10"
		w.mu.Unlock()
		w.change(t, p, "a", yes(plan.Digest()))
		w.change(t, p, "b", func(r Record) (Record, error) { return r.Deny(id) })
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		a, b := w.record(t, "a"), w.record(t, "b")
		if a.Generation != 1 || a.Last().Events[0].Approval.By != "bob" || b.Generation != 0 || len(b.Queue) != 0 {
			t.Errorf("a %+v\nb %+v", a, b)
		}
		if _, err := b.Approve(id, Approval{}); !errors.Is(err, ErrNotPossible) {
			t.Error(err)
		}
		if err := p.Accept(t.Context(), ev, time.Now()); err != nil || len(w.record(t, "b").Queue) != 0 {
			t.Error("a denied event came back", err)
		}
		w.check(t)
	})
}

// TestHeldEventsTakeNobodysPlace: any number of them may wait, and the next event is worked off.
func TestHeldEventsTakeNobodysPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		other := w.shop("other", 1)
		other.Holders = nil
		bundles := map[string]Bundle{"other": other}
		for i := range 20 {
			name := fmt.Sprint("held-", i)
			bundles[name] = w.shop(name, 1)
		}
		p := w.start("one", bundles, io.Discard)
		defer p.end()
		p.Gate = Gate{PerEvent: 1}
		ev := events.Event{ID: "2", Source: "urn:test", Kind: events.KindManual, Manual: &events.Manual{Credential: events.Credential{Name: "other"}}}
		if err := errors.Join(p.Accept(t.Context(), departure("1"), time.Now()), p.Accept(t.Context(), ev, time.Now())); err != nil {
			t.Fatal(err)
		}
		after(time.Hour)
		if w.record(t, "other").Generation != 1 {
			t.Errorf("%+v", w.record(t, "other"))
		}
	})
}

// TestAHeldEventGoesAlong: when another event rotates the bundle anyway, nobody needs to be asked any more.
func TestAHeldEventGoesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.start("one", map[string]Bundle{"a": w.shop("a", 1)}, io.Discard)
		defer p.end()
		p.Gate = Gate{Rules: []GateRule{{Kinds: []events.Kind{events.KindLeak}, Do: Ask}}}
		if err := errors.Join(p.Accept(t.Context(), leak("1", "a"), time.Now()), p.Accept(t.Context(), departure("2"), time.Now())); err != nil {
			t.Fatal(err)
		}
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		rec := w.record(t, "a")
		if last := rec.Last(); rec.Generation != 1 || len(last.Events) != 2 || last.Kind != events.KindOffboarding || last.Events[0].ID == last.Events[1].ID {
			t.Errorf("%+v", rec)
		}
		w.check(t)
	})
}

// TestReportOnly: what is only reported changes nothing, not even the journal.
func TestReportOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.start("one", map[string]Bundle{"a": w.shop("a", 1)}, io.Discard)
		defer p.end()
		p.Gate = Gate{Rules: []GateRule{{Do: Report}}}
		for range 2 {
			if err := p.Accept(t.Context(), leak("1", "a"), time.Unix(1e9, 0)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(w.journal["a"]) != 0 || w.outcomesOf(events.ResultReported) != 1 {
			t.Errorf("%d records, %d outcomes", len(w.journal["a"]), w.outcomesOf(events.ResultReported))
		}
	})
}

// TestCooldown: a flood of events that prove nothing rotates once per cool-down; one that proves what has leaked does not wait.
func TestCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.shop("a", 1)
		b.Cooldown = 10 * time.Minute
		p := w.start("one", map[string]Bundle{"a": b}, io.Discard)
		defer p.end()
		start := time.Now()
		for i := range 60 { // an hour of forged leaks
			if err := p.Accept(t.Context(), leak(fmt.Sprint(i), "a"), time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if !w.settled(time.Hour) {
			t.Fatal("not settled")
		}
		rec := w.record(t, "a")
		if n := rec.Generation; n < 5 || n > 8 {
			t.Errorf("%d rotations in %s", n, time.Since(start))
		}
		key := must(p.Secrets.Key(t.Context()))
		now := must(p.Secrets.Read(t.Context(), b.Secret, 0))
		proven := leak("proven", "")
		proven.Leak.Credential = events.Credential{Fingerprints: []events.Fingerprint{{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(now.Set["PASSWORD"])}}}
		if err := p.Accept(t.Context(), proven, time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := w.record(t, "a"); got.Generation != rec.Generation+1 {
			t.Errorf("a leak that is proven waits: %+v", got)
		}
		w.check(t)
	})
}

func TestBegun(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) map[string]time.Time { return map[string]time.Time{"claimed": now.Add(-d)} }
	n := begun(map[string]Record{
		"old":     {History: []Receipt{{Steps: at(2 * time.Hour)}}},
		"twice":   {History: []Receipt{{Steps: at(30 * time.Minute)}, {Steps: at(time.Minute)}}},
		"running": {Rotation: &Rotation{Started: now}},
		"waiting": {Queue: []Waiting{{}, {}}},
		"held":    {Queue: []Waiting{{Held: "x"}}},
	}, now)
	if n != 4 {
		t.Error(n)
	}
}

// TestAliases: what detectors say leads to the bundle whose configuration knows it, and to no other.
func TestAliases(t *testing.T) {
	w := newWorld(t)
	shop, stock := w.shop("shop", 1), w.shop("stock", 1)
	shop.DetectedAs = []Alias{{Source: "github", Repository: "acme/shop*", SecretType: "acme_*"}, {PublicID: "KEY-1"}}
	p := Preview{Bundles: map[string]Bundle{"shop": shop, "stock": stock}, Secrets: &ports{world: w}}
	of := func(system, repository, kind, id string) events.Event {
		l := &events.Leak{Severity: "high", Credential: events.Credential{SecretType: kind, PublicID: id}, Upstream: events.Upstream{System: system}}
		if repository != "" {
			l.Evidence = []events.Evidence{{Repository: "x/y"}, {Repository: repository}}
		}
		return events.Event{ID: "1", Source: "urn:x", Kind: events.KindLeak, Leak: l}
	}
	for name, c := range map[string]struct {
		ev   events.Event
		want string
	}{
		"by place and type": {of("GitHub", "Acme/Shop-web", "acme_token", ""), "shop"},
		"another place":     {of("github", "acme/other", "acme_token", ""), ""},
		"no place":          {of("github", "", "acme_token", ""), ""},
		"another type":      {of("github", "acme/shop", "aws", ""), ""},
		"another system":    {of("gitlab", "acme/shop", "acme_token", ""), ""},
		"by its id":         {of("aws-health", "", "", "key-1"), "shop"},
		"an id in a bundle": {of("aws-health", "", "", "mail.example"), "shop stock"},
		"an id of nobody":   {of("aws-health", "", "", "AKIA"), ""},
		"a person's login":  {withPerson(of("ssf", "", "risc:password", ""), "alice@example.com"), "shop stock"},
		"somebody unknown":  {withPerson(of("ssf", "", "risc:password", ""), "bob@example.com"), "nobody"},
	} {
		hits, err := p.Resolve(t.Context(), c.ev)
		var got []string
		for _, h := range hits {
			got = append(got, h.Bundle)
			if h.Why == "" {
				t.Errorf("%s: found without a reason", name)
			}
		}
		_, unmatched := errors.AsType[*UnmatchedError](err)
		switch {
		case c.want == "nobody":
			if err != nil || len(got) != 0 {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		case c.want == "":
			if !unmatched {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		case err != nil || strings.Join(got, " ") != c.want:
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func withPerson(ev events.Event, email string) events.Event {
	ev.Leak.Person = &events.Person{Identifiers: []events.Identifier{{Format: "email", Email: email}}}
	return ev
}

// hostOf is what a Search reads in these tests.
type hostOf struct{ *world }

func (h hostOf) Rows(_ context.Context, _ string, kind Kind) (out []Row, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ref := range h.targets {
		if ref.Kind == kind {
			out = append(out, Row{Name: ref.Name})
		}
	}
	return out, nil
}

func (h hostOf) Bindings(_ context.Context, r Ref) (param.List, []Annotation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.targets[r].obs.Parameters, nil, nil
}

// TestAValueThatNoBundleHolds is looked for on the hosts, and told where it is; a flood of them does not keep the hosts busy.
func TestAValueThatNoBundleHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.shop("a", 2)
		ctx, cancel := context.WithCancel(t.Context())
		p := w.start("one", map[string]Bundle{}, io.Discard)
		p.end()
		p.Engine.Search = &Search{Entities: hostOf{w}, Hosts: []string{"prod"}} // and once more, with a search
		done := make(chan error, 1)
		go func() { done <- p.Engine.Run(ctx) }()
		key := must(p.Secrets.Key(ctx))
		for i := range 5 {
			ev := leak(fmt.Sprint(i), "")
			ev.Leak.Credential = events.Credential{Fingerprints: []events.Fingerprint{{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(secret.FromText("kept"))}}}
			if _, unmatched := errors.AsType[*UnmatchedError](p.Accept(ctx, ev, time.Unix(int64(1e9+i), 0))); !unmatched {
				t.Error("it matched")
			}
			synctest.Wait()
		}
		if n := w.outcomesOf(events.ResultReported); n != 1 {
			t.Errorf("%d reports", n)
		}
		for _, o := range w.outcomes {
			if !strings.Contains(o.Reason, "bound on prod action a-0 as parameter MINE (init)") || strings.Contains(o.Reason, "kept") {
				t.Error(o.Reason)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
