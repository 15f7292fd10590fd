package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events/stream/ensure"
	"github.com/openwhisk-rotator/rotator/rotator"
)

// Stream is the name of the stream that holds the bucket.
const Stream = "KV_rotator"

const (
	history  = 16        // old values kept per bundle
	maxBytes = 256 << 20 // of all records together
)

// Config says how the bucket is kept.
type Config struct {
	Replicas int  // of a bucket that does not exist yet, and at least as many of one that does; 0 is 1
	ReadOnly bool // neither create nor check the bucket, only require that it is there
	Log      zerolog.Logger
}

// A Store is the bucket of records. It is safe for concurrent use.
type Store struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	log zerolog.Logger
}

var _ rotator.Journal = (*Store)(nil)

// Open binds to the bucket, which it creates when it does not exist. While JetStream is not available it waits until
// ctx ends; a bucket that is configured so that records could be lost is an error that says what to change.
func Open(ctx context.Context, nc *nats.Conn, c Config) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("preparing JetStream: %w", err)
	}
	s := &Store{nc: nc, js: js, log: c.Log}
	if c.ReadOnly {
		return s, s.exists(ctx)
	}
	if err := ensure.Stream(ctx, js, bucket(c.Replicas), c.Log); err != nil {
		return nil, err
	}
	s.roomy()
	return s, nil
}

// wantPayload is what one message has to take: a record has up to 700 KiB, an outcome up to this.
const wantPayload = 1 << 20

// roomy warns of servers on which the records of large bundles would not fit.
func (s *Store) roomy() {
	if limit := s.nc.MaxPayload(); limit > 0 && limit < wantPayload {
		s.log.Warn().Int64("max_payload", limit).Msg("NATS takes no message of 1 MiB: what a bundle with hundreds of targets needs may not fit; set max_payload of the servers to 1MB")
	}
}

func (s *Store) exists(ctx context.Context) error {
	_, err := s.js.Stream(ctx, Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("there is no journal (stream %s) on this NATS; has the rotator ever run with it?: %w", Stream, err)
	}
	if err != nil {
		return fmt.Errorf("looking up stream %s: %w", Stream, err)
	}
	return nil
}

// bucket is the whole configuration of the stream. Direct reads are off because followers answer them, with values
// older than what was acknowledged; a full bucket refuses writes instead of forgetting a bundle.
func bucket(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: Stream, Description: "rotator: one record per bundle", Subjects: []string{prefix + ">"},
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Replicas: max(replicas, 1),
		MaxMsgsPerSubject: history, MaxBytes: maxBytes, Discard: jetstream.DiscardNew,
		DenyDelete: true, AllowRollup: true, AllowDirect: false, Duplicates: 2 * time.Minute,
	}
}
