package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events/stream/ensure"
)

// Buckets of the HTTP edge.
const (
	SeenBucket   = "ROTATOR_SEEN"   // deliveries of the last 30 days
	PeopleBucket = "ROTATOR_PEOPLE" // whom a SCIM id stands for
)

// A Store keeps small values in one bucket.
type Store struct{ kv jetstream.KeyValue }

// OpenStore makes the bucket, or takes the one that is there. It waits for JetStream until ctx ends. age 0 keeps values for ever.
func OpenStore(ctx context.Context, nc *nats.Conn, bucket string, age time.Duration, replicas int, log zerolog.Logger) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("preparing JetStream: %w", err)
	}
	var s Store
	err = ensure.Until(ctx, log, "preparing bucket "+bucket, func(ctx context.Context) error {
		s.kv, err = js.KeyValue(ctx, bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			s.kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket, TTL: age, Replicas: max(replicas, 1), MaxBytes: 128 << 20, Storage: jetstream.FileStorage})
		}
		return err
	})
	return &s, err
}

// Get returns nil for a key that is not there.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	e, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading bucket %s: %w", s.kv.Bucket(), err)
	}
	return e.Value(), nil
}

// Put stores a value.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	if _, err := s.kv.Put(ctx, key, value); err != nil {
		return fmt.Errorf("writing bucket %s: %w", s.kv.Bucket(), err)
	}
	return nil
}

// Delete forgets a value and what it was before. A key that is not there is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.kv.Purge(ctx, key); err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return fmt.Errorf("deleting from bucket %s: %w", s.kv.Bucket(), err)
	}
	return nil
}
