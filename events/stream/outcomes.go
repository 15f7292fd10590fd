package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream/ensure"
)

// OutcomesOf gives every outcome of one bundle that is still kept to each, once and oldest first, and stops at its first
// error. A message that is no outcome is an error: nobody but the rotator may publish there. While JetStream is not
// available, say between two leaders, it waits until ctx ends. It costs two round trips and one for each outcome, and
// leaves nothing at the server: a consumer would stay for a while, and a stream may have 1,000 of them.
func OutcomesOf(ctx context.Context, nc *nats.Conn, bundle string, each func(events.Outcome) error) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("preparing JetStream: %w", err)
	}
	var s jetstream.Stream
	err = patient(ctx, func(ctx context.Context) (err error) {
		s, err = js.Stream(ctx, Outcomes)
		return err
	})
	var m *jetstream.RawStreamMsg
	for seq := uint64(1); err == nil; seq = m.Sequence + 1 {
		err = patient(ctx, func(ctx context.Context) (err error) {
			m, err = s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(outcomePrefix+token(bundle)))
			return err
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		o, err := events.DecodeOutcome(m.Data)
		if err != nil {
			return fmt.Errorf("message %d of stream %s: %w", m.Sequence, Outcomes, err)
		}
		if err := each(o); err != nil {
			return err
		}
	}
	return err
}

// patient asks again when no answer came: the one who was asked may have died.
func patient(ctx context.Context, ask func(context.Context) error) error {
	return ensure.Until(ctx, zerolog.Nop(), "reading stream "+Outcomes, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return ask(ctx)
	})
}
