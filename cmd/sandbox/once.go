package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
)

// once lets a credential leak and a person leave, and checks every promise that can be seen from outside. When it
// cannot be finished, what was seen until then is checked nevertheless.
func (s *sandbox) once(ctx context.Context) (bool, error) {
	probes := s.startProber(ctx)
	rounds, again, stuck := s.rounds(ctx)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	s.watch.hush()
	s.out.head("What was promised")
	checks := []check{s.nothingLost(rounds), s.allOrNothing(rounds), neverInvalid(probes), s.revokedLast(rounds)}
	if stuck != nil {
		checks = append(checks, check{promise: "--", text: "every rotation comes to its end", against: []string{stuck.Error()}})
	} else {
		checks = append(checks, again)
	}
	quiet, err := s.nothingTold(ctx)
	if err != nil {
		return false, err
	}
	kept := true
	for _, c := range append(checks, quiet) {
		kept = s.report(c) && kept
	}
	return kept, stuck
}

// rounds plays the events, and returns those that came to an end.
func (s *sandbox) rounds(ctx context.Context) (done []*round, again check, err error) {
	s.out.head("A scanner finds a credential of the bundle checkout")
	leak, err := s.playRound(ctx, leakEvent("checkout"), 0, s.shop.bundle("checkout"))
	if err != nil {
		return nil, again, err
	}
	done = append(done, leak)
	s.out.head("The same event again, twice")
	if again, err = s.deliverAgain(ctx, leak); err != nil {
		return done, again, err
	}
	s.out.head(leaver + " leaves; she is a holder of both bundles")
	departure, err := s.playRound(ctx, offboardingEvent(leaver), offboardingOverlap, s.shop.bundles...)
	if err != nil {
		return done, again, err
	}
	return append(done, departure), again, nil
}

// A count is what a second rotation could not leave as it was.
type count struct {
	record    rotator.Record
	version   int // of the bundle in KV
	secretIDs []string
}

func (s *sandbox) count(ctx context.Context, b *bundle) (c count, err error) {
	if c.record, err = s.watch.record(ctx, b.name); err != nil {
		return c, err
	}
	all, err := s.vault.versions(ctx, b.name)
	if err != nil {
		return c, err
	}
	c.version = len(all)
	c.secretIDs, err = s.secretIDs(ctx, b.name)
	return c, err
}

// deliverAgain is P6: once through the publisher, whose copy the stream recognises, and once past the stream's own
// de-duplication, so that the service itself sees the event a second time.
func (s *sandbox) deliverAgain(ctx context.Context, r *round) (check, error) {
	b := r.bundles[0]
	c := check{promise: "P6", text: "the same event three times, one rotation"}
	before, err := s.count(ctx, b)
	if err != nil {
		return c, err
	}
	_, recognised, err := stream.NewPublisher(s.svc.Conn).Event(ctx, r.event)
	if err != nil {
		return c, err
	}
	if !recognised {
		c.against = append(c.against, "the stream took the second copy for a new event")
	}
	seq, err := s.publishRaw(ctx, r.event)
	if err != nil {
		return c, err
	}
	if err := s.settled(ctx, seq); err != nil {
		return c, err
	}
	after, err := s.count(ctx, b)
	if err != nil {
		return c, err
	}
	c.against = append(c.against, rotatedAgain(before, after)...)
	if len(c.against) == 0 {
		s.out.line("  taken as sequence %d; still generation %d, KV version %d, %d live secret-id", seq, after.record.Generation, after.version, len(after.secretIDs))
	}
	return c, nil
}

// rotatedAgain says what shows a second rotation, begun or done.
func rotatedAgain(before, after count) []string {
	var faults []string
	a, b := before.record, after.record
	if b.State != rotator.Idle || len(b.Queue) > 0 || a.Generation != b.Generation || len(a.History) != len(b.History) {
		faults = append(faults, fmt.Sprintf("the journal went from generation %d to %d, and is %s with %d events waiting", a.Generation, b.Generation, b.State, len(b.Queue)))
	}
	if before.version != after.version {
		faults = append(faults, fmt.Sprintf("the bundle went from KV version %d to %d", before.version, after.version))
	}
	if !slices.Equal(before.secretIDs, after.secretIDs) || len(after.secretIDs) != 1 {
		faults = append(faults, fmt.Sprintf("Vault holds %d secret-ids", len(after.secretIDs)))
	}
	return faults
}

// publishRaw publishes without a message id.
func (s *sandbox) publishRaw(ctx context.Context, ev events.Event) (uint64, error) {
	body, err := events.Encode(ev)
	if err != nil {
		return 0, err
	}
	js, err := jetstream.New(s.svc.Conn)
	if err != nil {
		return 0, err
	}
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: events.Subject(publisher, ev.Kind), Data: body, Header: nats.Header{"Content-Type": {"application/cloudevents+json"}}})
	if err != nil {
		return 0, fmt.Errorf("publishing the event again: %w", err)
	}
	return ack.Sequence, nil
}

// settled waits until the service has acknowledged a message. It asks for the acknowledgement itself: right after
// publishing, a consumer may not have noticed yet that there is something to do.
func (s *sandbox) settled(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	js, err := jetstream.New(s.svc.Conn)
	if err != nil {
		return err
	}
	for {
		c, err := js.Consumer(ctx, stream.Events, stream.LeakConsumer)
		if err != nil {
			return fmt.Errorf("asking whether the event was acknowledged: %w", err)
		}
		if c.CachedInfo().AckFloor.Stream >= seq {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the event to be acknowledged: %w", context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// secretIDs lists the accessors of the live secret-ids of a role.
func (s *sandbox) secretIDs(ctx context.Context, role string) ([]string, error) {
	var out struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	err := s.vault.API(ctx, "LIST", "auth/"+s.vault.approle+"/role/"+role+"/secret-id", nil, &out)
	slices.Sort(out.Data.Keys)
	return out.Data.Keys, err
}
