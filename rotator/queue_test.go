package rotator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// TestNobodyCanCrowdALeakOut: however many events of any sort wait for a bundle, one that may rotate now is taken and rotates; and what
// is not taken comes back as an error, never as silence.
func TestNobodyCanCrowdALeakOut(t *testing.T) {
	for name, flood := range map[string]struct {
		ev   func(i int) events.Event
		gate Gate
	}{
		"departures in twenty years": {func(i int) events.Event {
			ev := departure(fmt.Sprint("flood", i))
			ev.Offboarding.EffectiveAt = time.Now().AddDate(20, 0, 0)
			return ev
		}, Gate{}},
		"events that wait for approval": {func(i int) events.Event {
			ev := leak(fmt.Sprint("flood", i), "checkout")
			ev.Publisher = "ci"
			return ev
		}, Gate{Rules: []GateRule{{Publisher: "ci", Do: Ask}}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				p := w.start("r1", map[string]Bundle{"checkout": w.shop("checkout", 1)}, io.Discard)
				defer p.end()
				p.Gate = flood.gate
				refused := 0
				for i := range 1000 {
					err := p.Accept(t.Context(), flood.ev(i), time.Now())
					unmatched, ok := errors.AsType[*UnmatchedError](err)
					switch {
					case ok:
						if reason, _ := unmatched.DeadLetter(); reason != "crowded" {
							t.Fatalf("refused as %s", reason)
						}
						refused++
					case err != nil:
						t.Fatal(err)
					}
				}
				if rec := w.record(t, "checkout"); len(rec.Queue)+refused != 1000 || len(rec.Queue) != maxParked {
					t.Errorf("%d wait and %d were refused, of 1000", len(rec.Queue), refused)
				}
				if err := p.Accept(t.Context(), leak("real", "checkout"), time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if rec := w.record(t, "checkout"); len(rec.History) != 1 || w.lives(canary+"-checkout-first") {
					t.Errorf("a leak was not rotated behind a flood: %+v", rec.History)
				}
				w.check(t)
			})
		})
	}
}

// TestEventsThatAskForTheSameAreCounted: what rotates is never refused, and the record stays small.
func TestEventsThatAskForTheSameAreCounted(t *testing.T) {
	var r Record
	now := time.Now()
	for i := range 5000 {
		kind := []events.Kind{events.KindLeak, events.KindManual}[i%2]
		w := Waiting{Event: fmt.Sprint(i), Kind: kind, Stored: now, Proven: i == 4000}
		if took, err := r.Take(w, now); !took || err != nil {
			t.Fatalf("event %d: %v %v", i, took, err)
		}
	}
	n, proven := 0, false
	for _, w := range r.Queue {
		n += 1 + w.Like
		proven = proven || w.Proven && w.Kind == events.KindLeak
	}
	if n != 5000 || len(r.Queue) != 2*maxAlike || !proven {
		t.Errorf("%d events in %d places, proven %v", n, len(r.Queue), proven)
	}
}

// TestALeakShortensTheDrainBeforeIt: a leak that comes while an offboarding drains away does not wait for the whole drain, whether it
// says which value has leaked or not.
func TestALeakShortensTheDrainBeforeIt(t *testing.T) {
	old := txt(canary + "-checkout-first")
	key := must((&ports{}).Key(t.Context()))
	for name, tc := range map[string]struct {
		leak      events.Credential
		rotations int
	}{
		"of the bundle":         {events.Credential{Name: "checkout"}, 2},
		"of the value in drain": {events.Credential{Fingerprints: []events.Fingerprint{{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(old)}}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				b := w.shop("checkout", 1)
				p := w.start("r1", map[string]Bundle{"checkout": b}, io.Discard)
				defer p.end()
				if err := p.Accept(t.Context(), departure("1"), time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if rec := w.record(t, "checkout"); rec.State != Draining || !w.lives(text(old)) {
					t.Fatalf("%s, and the old one lives: %v; want a drain", rec.State, w.lives(text(old)))
				}
				if err := p.Accept(t.Context(), leaked(tc.leak), time.Now()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				rec := w.record(t, "checkout")
				if w.lives(text(old)) || len(rec.History) != tc.rotations || rec.State != Idle {
					t.Errorf("%s after %d rotations, the old one lives: %v", rec.State, len(rec.History), w.lives(text(old)))
				}
				w.check(t)
			})
		})
	}
}

// TestAValueThatWasReplacedIsNotRotatedAgain: its death is looked at, and told; a resurrection is an alarm.
func TestAValueThatWasReplacedIsNotRotatedAgain(t *testing.T) {
	old := txt(canary + "-checkout-first")
	key := must((&ports{}).Key(t.Context()))
	prints := []events.Fingerprint{{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(old)}}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.start("r1", map[string]Bundle{"checkout": w.shop("checkout", 1)}, io.Discard)
		defer p.end()
		accept := func(id string, c events.Credential) {
			t.Helper()
			ev := leaked(c)
			ev.ID = id
			if err := p.Accept(t.Context(), ev, time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		accept("1", events.Credential{Name: "checkout"})
		accept("2", events.Credential{Fingerprints: prints})
		accept("3", events.Credential{Fingerprints: prints, Vault: &events.VaultPath{Path: "secret/checkout"}})
		accept("4", events.Credential{Vault: &events.VaultPath{Path: "secret/checkout", Version: 1}})
		w.mu.Lock()
		w.creds[text(old)].alive = true // somebody has restored a backup
		w.mu.Unlock()
		accept("5", events.Credential{Fingerprints: prints})
		if rec := w.record(t, "checkout"); len(rec.History) != 1 {
			t.Errorf("%d rotations, want 1", len(rec.History))
		}
		told := make(map[string]int)
		w.mu.Lock()
		for _, o := range w.outcomes {
			told[o.Result]++
			if strings.Contains(o.Reason, canary) {
				t.Errorf("P7: %s", o.Reason)
			}
		}
		w.mu.Unlock()
		if told[events.ResultReported] != 3 || told[events.ResultOrphaned] != 1 {
			t.Errorf("told %v", told)
		}
		accept("6", events.Credential{Vault: &events.VaultPath{Path: "secret/checkout", Version: 2}})
		if rec := w.record(t, "checkout"); len(rec.History) != 2 {
			t.Error("the newest version, named by its number, was not rotated")
		}
	})
}

// TestALeakOfWhatNobodyMints: a rotation would change nothing about it, so it is refused with what to do instead.
func TestALeakOfWhatNobodyMints(t *testing.T) {
	w, r := shops(t)
	w.secrets["secret/one"][0].Set["REGION"] = txt("eu")
	key := must((&ports{}).Key(t.Context()))
	_, err := r.resolve(t.Context(), leaked(events.Credential{Fingerprints: []events.Fingerprint{{Alg: "hmac-sha256", KeyID: "test", Value: key.Fingerprint(txt("mail.example"))}}}))
	unmatched, ok := errors.AsType[*UnmatchedError](err)
	if !ok || !strings.Contains(unmatched.Text, "SMTP in secret/one") || !strings.Contains(unmatched.Remedy, "by hand") {
		t.Errorf("%v", err)
	}
	if hits, err := r.resolve(t.Context(), leaked(events.Credential{PublicID: "eu"})); err == nil {
		t.Errorf("a text that is no id leads to %v", hits)
	}
}

// TestThePathOfAnotherVault: the same path on another server, or in another namespace, is another secret.
func TestThePathOfAnotherVault(t *testing.T) {
	_, r := shops(t)
	r.vault = Home{Address: "https://vault.example:8200", Namespace: "admin/team"}
	for _, tc := range []struct {
		path events.VaultPath
		want bool
	}{
		{events.VaultPath{Mount: "secret", Path: "one"}, true},
		{events.VaultPath{Addr: "https://VAULT.example", Mount: "secret", Path: "one"}, true},
		{events.VaultPath{Addr: "vault.example:8200", Namespace: "admin/team/", Mount: "secret", Path: "one"}, true},
		{events.VaultPath{Addr: "https://vault.example", Mount: "admin", Path: "team/secret/one"}, true},
		{events.VaultPath{Addr: "https://other.example:8200", Mount: "secret", Path: "one"}, false},
		{events.VaultPath{Namespace: "admin", Mount: "secret", Path: "one"}, false},
		{events.VaultPath{Mount: "admin", Path: "secret/one"}, false},
	} {
		hits, err := r.resolve(t.Context(), leaked(events.Credential{Vault: &tc.path}))
		if (err == nil && len(hits) == 1) != tc.want {
			t.Errorf("%+v: %v %v", tc.path, hits, err)
		}
	}
}

// broken is a platform with a defect that one target meets.
type broken struct{ *ports }

func (b broken) Observe(ctx context.Context, r Ref, seen *Seen) (Observed, error) {
	if strings.HasPrefix(r.Name, "bad-") {
		return Observed{At: make([]time.Time, 1)[len(r.Name)]}, nil
	}
	return b.ports.Observe(ctx, r, seen)
}

// TestADefectHoldsUpItsOwnBundleOnly: the program lives on, and so do the others.
func TestADefectHoldsUpItsOwnBundleOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var logs bytes.Buffer
		p := w.start("r1", map[string]Bundle{"bad": w.shop("bad", 1), "good": w.shop("good", 1)}, &syncWriter{w: &logs})
		defer p.end()
		p.Platform = broken{p.ports}
		for _, bundle := range []string{"bad", "good"} {
			if err := p.Accept(t.Context(), leak("e-"+bundle, bundle), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if rec := w.record(t, "good"); len(rec.History) != 1 {
			t.Error("the other bundle was not rotated")
		}
		rec := w.record(t, "bad")
		if rec.State != Claimed || rec.Owner != "" || rec.Rotation.Attempts < 3 || rec.Rotation.Attempts > 6 || !strings.Contains(rec.Rotation.LastError, "out of range") {
			t.Errorf("%s, %d attempts: %s", rec.State, rec.Rotation.Attempts, rec.Rotation.LastError)
		}
		if !strings.Contains(logs.String(), "queue_test.go") {
			t.Error("the log does not tell where it happened")
		}
		p.Platform = p.ports
		if !w.settled(5 * time.Minute) {
			t.Error("not settled after the defect was mended")
		}
	})
}
