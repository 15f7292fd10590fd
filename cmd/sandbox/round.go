package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
)

// A round is one event with everything that could be seen of it.
type round struct {
	event         events.Event
	bundles       []*bundle
	overlap       time.Duration // that the policy asks for
	before, after snapshot
	receipts      map[string]rotator.Receipt // by bundle
	puts          map[string]int             // by "collection name"; nil on a host of the user's
	alive, dead   []string                   // bundles whose proofs failed
}

// Who publishes here.
const (
	publisher   = "sandbox"
	eventSource = "urn:rotator:sandbox"
)

func leakEvent(bundle string) events.Event {
	return events.Event{ID: "leak-" + rand.Text()[:12], Source: eventSource, Kind: events.KindLeak, Time: time.Now().UTC(), Publisher: publisher,
		Leak: &events.Leak{Credential: events.Credential{Name: bundle}, Severity: "critical", Reason: "scanner_finding", Upstream: events.Upstream{System: "sandbox"}}}
}

func offboardingEvent(person string) events.Event {
	who := events.Person{Identifiers: []events.Identifier{{Format: "email", Email: person}}}
	return events.Event{ID: "departure-" + rand.Text()[:12], Source: eventSource, Kind: events.KindOffboarding, Time: time.Now().UTC(), Publisher: publisher,
		Offboarding: &events.Offboarding{Person: who, Change: "terminated", Severity: "medium", Reason: "left the company", Upstream: events.Upstream{System: "sandbox"}}}
}

// playRound publishes the event over NATS and follows it to the end of all its rotations.
func (s *sandbox) playRound(ctx context.Context, ev events.Event, overlap time.Duration, bundles ...*bundle) (*round, error) {
	r := &round{event: ev, bundles: bundles, overlap: overlap}
	var err error
	if r.before, err = s.snapshot(ctx); err != nil {
		return nil, err
	}
	for _, b := range bundles {
		if !s.prove(ctx, b, "present", r.before.values[b.name], true) {
			r.alive = append(r.alive, b.name+" before")
		}
	}
	if s.ow.emulator != nil {
		s.ow.emulator.ResetRequests()
	}
	s.watch.start()
	seq, _, err := stream.NewPublisher(s.svc.Conn).Event(ctx, ev)
	if err != nil {
		return nil, fmt.Errorf("publishing the event: %w", err)
	}
	s.out.line("  %+8.3fs  event     published    %s (stream sequence %d)", 0.0, events.Subject(publisher, ev.Kind), seq)
	if r.receipts, err = s.watch.receipts(ctx, ev, names(bundles), s.quit); err != nil {
		return nil, err
	}
	r.puts = s.countPuts()
	if r.after, err = s.snapshot(ctx); err != nil {
		return nil, err
	}
	s.table(r.before, r.after)
	for _, b := range bundles {
		if !s.prove(ctx, b, "new", r.after.values[b.name], true) {
			r.alive = append(r.alive, b.name+" after")
		}
		if !s.prove(ctx, b, "old", r.before.values[b.name], false) {
			r.dead = append(r.dead, b.name)
		}
	}
	return r, nil
}

func names(bundles []*bundle) []string {
	out := make([]string, len(bundles))
	for i, b := range bundles {
		out[i] = b.name
	}
	return out
}

// countPuts counts the emulator's writes; a user's host does not tell.
func (s *sandbox) countPuts() map[string]int {
	if s.ow.emulator == nil {
		return nil
	}
	out := make(map[string]int)
	for _, q := range s.ow.emulator.Requests() {
		if q.Method == "PUT" {
			out[q.Collection+" "+strings.TrimPrefix(q.Name, "guest/")]++
		}
	}
	return out
}

// show is the play without checks: one leak, then it stays up.
func (s *sandbox) show(ctx context.Context) (bool, error) {
	s.out.head("A scanner finds a credential of the bundle checkout")
	r, err := s.playRound(ctx, leakEvent("checkout"), 0, s.shop.bundle("checkout"))
	if err != nil {
		return false, err
	}
	if err := s.hints(); err != nil {
		return false, err
	}
	s.watch.stay()
	select {
	case <-ctx.Done():
	case err := <-s.quit:
		return false, err
	}
	s.out.head("Stopping everything")
	return len(r.alive)+len(r.dead) == 0, nil
}

// hints prints commands to copy. They read keys from files: what is printed is kept in scrollbacks, what is typed in histories.
func (s *sandbox) hints() error {
	rotate := "go run ./cmd/rotator -c " + s.cfg.Path
	s.out.head("Everything stays up until Ctrl-C. In another terminal, from the root of this repository:")
	lines := [][2]string{
		{"another leak", rotate + " emit leak --bundle orders --wait"},
		{"a person leaves", rotate + " emit offboarding --person " + leaver + " --wait"},
		{"somebody asks", rotate + " emit manual --bundle checkout --wait"},
		{"what would happen", rotate + " plan --bundle checkout"},
		{"state and history", rotate + " status checkout"},
		{"refused events", rotate + " dead"},
		{"rights and reach", rotate + " check"},
		{"the configuration", "less " + s.cfg.Path},
		{"the rotator's rights", "less " + strings.TrimSuffix(s.cfg.Path, "rotator.yaml") + "rotator-policy.hcl"},
	}
	if s.vault.own {
		file := filepath.Join(s.dir, "vault-root.token")
		if err := os.WriteFile(file, []byte(s.vault.RootToken), 0o600); err != nil {
			return err
		}
		lines = append(lines, [2]string{"look into this Vault", fmt.Sprintf("VAULT_ADDR=%s VAULT_TOKEN=$(cat %s) vault kv get %s/checkout", s.vault.Address, file, s.vault.kv)},
			[2]string{"the same without vault", fmt.Sprintf(`printf 'header = "X-Vault-Token: %%s"' "$(cat %s)" | curl -s -K - %s/v1/%s/data/checkout`, file, s.vault.Address, s.vault.kv)})
	}
	if s.ow.emulator != nil {
		file := filepath.Join(s.dir, "openwhisk.auth")
		lines = append(lines, [2]string{"look at an action", fmt.Sprintf(`printf 'user = "%%s"' "$(cat %s)" | curl -s -K - %s/api/v1/namespaces/_/actions/shop/checkout`, file, s.ow.url)})
	}
	for _, l := range lines {
		s.out.line("  %s\n    %s", s.out.paint(dim, l[0]), l[1])
	}
	s.out.line("\n  What happens is shown here as well:")
	return nil
}
