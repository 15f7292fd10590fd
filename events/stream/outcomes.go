package stream

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openwhisk-rotator/rotator/events"
)

// OutcomesOf gives every outcome of one bundle that is still kept to each, oldest first, and stops at its first error. A
// message that is no outcome is an error: nobody but the rotator may publish there.
func OutcomesOf(ctx context.Context, nc *nats.Conn, bundle string, each func(events.Outcome) error) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("preparing JetStream: %w", err)
	}
	s, err := js.Stream(ctx, Outcomes)
	if err != nil {
		return fmt.Errorf("looking up stream %s: %w", Outcomes, err)
	}
	subject := outcomePrefix + token(bundle)
	left, err := s.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", Outcomes, err)
	}
	if left.State.Subjects[subject] == 0 {
		return nil
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", Outcomes, err)
	}
	it, err := c.Messages(jetstream.PullMaxMessages(64))
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", Outcomes, err)
	}
	defer it.Stop()
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("reading stream %s: %w", Outcomes, err)
		}
		md, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("reading stream %s: %w", Outcomes, err)
		}
		o, err := events.DecodeOutcome(m.Data())
		if err != nil {
			return fmt.Errorf("message %d of stream %s: %w", md.Sequence.Stream, Outcomes, err)
		}
		if err := each(o); err != nil || md.NumPending == 0 {
			return err
		}
	}
}
