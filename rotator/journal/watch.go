package journal

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openwhisk-rotator/rotator/rotator"
)

// Watch sends the newest value of every key, and then every change, deletions included, until ctx ends; then it closes the channel.
// While NATS is away, before the first value as well, it tries again; after that it may repeat values.
func (s *Store) Watch(ctx context.Context) <-chan rotator.Change {
	changes := make(chan rotator.Change)
	go func() {
		defer close(changes)
		for ctx.Err() == nil {
			messages, err := s.follow(ctx)
			if err != nil {
				if ctx.Err() == nil {
					s.log.Warn().Err(err).Msg("the journal cannot be watched; trying again")
					wait(ctx, time.Second)
				}
				continue
			}
			s.forward(ctx, messages, changes)
			messages.Stop()
		}
	}()
	return changes
}

func (s *Store) follow(ctx context.Context) (jetstream.MessagesContext, error) {
	c, err := s.js.OrderedConsumer(ctx, Stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rotator.ErrUnavailable, err)
	}
	m, err := c.Messages(jetstream.PullExpiry(10*time.Second), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rotator.ErrUnavailable, err)
	}
	return m, nil
}

// forward passes messages on until they end for whatever reason; the caller then starts over.
func (s *Store) forward(ctx context.Context, messages jetstream.MessagesContext, changes chan<- rotator.Change) {
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() == nil {
				s.log.Debug().Err(err).Msg("the watch of the journal starts over")
				wait(ctx, pause)
			}
			return
		}
		meta, err := m.Metadata()
		if err != nil {
			continue
		}
		deleted := m.Headers().Get("KV-Operation") != "" || m.Headers().Get("Nats-Marker-Reason") != ""
		key, err := decode(strings.TrimPrefix(m.Subject(), prefix))
		if err != nil {
			continue
		}
		c := rotator.Change{Key: key, Stored: rotator.Stored{Value: m.Data(), Revision: meta.Sequence.Stream}, Deleted: deleted}
		select {
		case changes <- c:
		case <-ctx.Done():
			return
		}
	}
}
