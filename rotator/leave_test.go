package rotator

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// registry is Vault's people: who could read what, and who may not log in any more. answers are the next ones to Disable.
type registry struct {
	mu       sync.Mutex
	reads    map[string]string
	readErr  error
	disabled []string
	answers  []error
	applied  bool // although the answer is an error
}

func (r *registry) Readable(_ context.Context, names, secrets []string) (map[string]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]string)
	for _, s := range secrets {
		if slices.Contains(names, r.reads[s]) {
			out[s] = "could read " + s
		}
	}
	return out, r.readErr
}

func (r *registry) Disable(_ context.Context, names []string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if len(r.answers) > 0 {
		err, r.answers = r.answers[0], r.answers[1:]
	}
	if err == nil || r.applied {
		r.disabled = append(r.disabled, names[0])
	}
	if err != nil {
		return nil, err
	}
	return []string{"entity of " + names[0] + " is disabled"}, nil
}

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
		"Vault does not allow it":        {[]error{fmt.Errorf("403: %w", ErrPermanent)}, false, "terminated", false, "CAREFUL"},
		"who is suspended may come back": {nil, false, "suspended", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				p := w.start("one", map[string]Bundle{"a": w.shop("a", 1)}, io.Discard)
				defer p.end()
				vault := &registry{answers: c.answers, applied: c.applied}
				p.People, p.Engine.Config.Disable = vault, true
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
				if last.Result != events.ResultRotated || step != (c.note != "") || !strings.Contains(strings.Join(last.Warnings, "\n"), c.note) || (len(vault.disabled) > 0) != c.disabled {
					t.Errorf("disabled %v: %+v", vault.disabled, last)
				}
				w.check(t)
			})
		})
	}
}

// TestVaultKnowsWhoCouldRead: besides the holders; if Vault does not allow to ask, the holders have to do.
func TestVaultKnowsWhoCouldRead(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.shop("a", 1), w.shop("b", 1), w.shop("c", 1)
	b.Holders, c.Holders = nil, nil
	vault := &registry{reads: map[string]string{"secret/a": "alice@example.com", "secret/b": "Alice@Example.com"}}
	p := Preview{Bundles: map[string]Bundle{"a": a, "b": b, "c": c}, Secrets: &ports{world: w}, People: vault}
	find := func(ev events.Event) (out []string) {
		hits, err := p.Resolve(t.Context(), ev)
		if err != nil {
			return []string{err.Error()}
		}
		for _, h := range hits {
			out = append(out, h.Bundle+": "+h.Why)
		}
		return out
	}
	if got := find(departure("1")); !slices.Equal(got, []string{"a: holder alice@example.com; could read secret/a", "b: could read secret/b"}) {
		t.Error(got)
	}
	team := departure("2")
	team.Offboarding.Change = "membership_removed"
	if got := find(team); len(got) != 0 {
		t.Error("who only leaves a team:", got)
	}
	vault.readErr = fmt.Errorf("403: %w", ErrPermanent)
	if got := find(departure("3")); !slices.Equal(got, []string{"a: holder alice@example.com"}) {
		t.Error(got)
	}
	vault.readErr = fmt.Errorf("sealed: %w", ErrUnavailable)
	if got := find(departure("4")); len(got) != 1 || !strings.Contains(got[0], "sealed") {
		t.Error(got)
	}
}
