package stream

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
)

// Times around one message.
const (
	confirmTime = 5 * time.Second // for an acknowledgement or a dead letter to be confirmed
	maxDelay    = 30 * time.Second
)

// An intake turns one message into an event for the handler, and the handler's answer into one for the server.
type intake struct {
	js         jetstream.JetStream
	handle     Handler
	publishers []string
	scopes     Scopes
	signers    Signers
	log        zerolog.Logger
}

// A refuser is an error after which a message is never tried again.
type refuser interface {
	error
	DeadLetter() (reason, remedy string)
}

// take handles one message of a lane.
func (in *intake) take(ctx context.Context, m jetstream.Msg, from origin) {
	md, err := m.Metadata()
	if err != nil {
		in.log.Error().Msg("a message without JetStream metadata was ignored")
		return
	}
	meta := Meta{Stored: md.Timestamp, Seq: md.Sequence.Stream, Deliveries: int(md.NumDelivered)}
	log := in.log.With().Uint64("sequence", meta.Seq).Str("subject", published(m.Subject())).Logger()
	stop := keepAlive(m)
	err = in.offer(ctx, m, meta, from, log)
	stop()
	var r refusal
	switch {
	case err == nil:
		in.confirm(ctx, m, log)
	case errors.As(err, &r):
		in.bury(ctx, m, meta, from, r, log)
	default:
		delay := backoff(meta.Deliveries)
		log.Warn().Err(err).Int("delivery", meta.Deliveries).Dur("again_in", delay).Msg("an event could not be taken yet")
		if err := m.NakWithDelay(delay); err != nil {
			log.Debug().AnErr("reason", err).Msg("the event comes back by itself after the acknowledgement time")
		}
	}
}

// offer decodes and checks a message and gives what it says to the handler, everything before the message is
// acknowledged. A refusal is final; of several the first is told. A part that cannot be read does not keep back the rest.
func (in *intake) offer(ctx context.Context, m jetstream.Msg, meta Meta, from origin, log zerolog.Logger) error {
	list, final := in.read(m, meta, from, log)
	for _, e := range list {
		err := in.handle(ctx, e, meta)
		if r, ok := errors.AsType[refuser](err); ok {
			reason, remedy := r.DeadLetter()
			final = cmp.Or(final, error(refusal{reason: reason, problem: r.Error(), remedy: remedy}))
			continue
		}
		if err != nil {
			return err
		}
	}
	return final
}

// read turns a message into events: one of the canonical form, or any number of a source's own form. A failure is a refusal, of the
// message or of what of it is not among the events.
func (in *intake) read(m jetstream.Msg, meta Meta, from origin, log zerolog.Logger) (list []events.Event, final error) {
	subject := published(m.Subject())
	publisher, source, native := from.native(subject)
	if err := in.signers.verify(publisher, subject, m.Headers(), m.Data()); err != nil {
		return nil, err
	}
	if native {
		if err := in.listed(publisher); err != nil {
			return nil, err
		}
		list, final = in.native(m, meta, publisher, source, log)
	} else {
		e, err := events.Decode(events.Message{Subject: subject, Header: m.Headers(), Body: m.Data(), Now: time.Now()})
		if err != nil {
			return nil, refusalOf(err)
		}
		if err := in.listed(e.Publisher); err != nil {
			return nil, err
		}
		list = []events.Event{e}
	}
	return slices.DeleteFunc(list, func(e events.Event) bool {
		err := in.scopes.Permit(e)
		final = cmp.Or(final, err)
		return err != nil
	}), final
}

func (in *intake) listed(publisher string) error {
	if len(in.publishers) == 0 || slices.Contains(in.publishers, publisher) {
		return nil
	}
	return refusal{reason: string(events.ReasonPublisherMismatch), field: "subject", problem: "this publisher is not listed in events.publishers",
		remedy: "add it to events.publishers, or take its permission to publish away"}
}

// confirm acknowledges and waits for the answer. Without one the event is delivered again, and the handler sees that
// it knows it.
func (in *intake) confirm(ctx context.Context, m jetstream.Msg, log zerolog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, confirmTime)
	defer cancel()
	if err := m.DoubleAck(ctx); err != nil {
		log.Warn().AnErr("reason", err).Msg("the acknowledgement of an event was not confirmed; it may be delivered again")
	}
}

// keepAlive tells the server that the message is in work, for handlers that take long.
func keepAlive(m jetstream.Msg) (stop func()) {
	t := time.NewTicker(ackWait / 3)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			select {
			case <-t.C:
				_ = m.InProgress() // lost: then it is delivered again
			case <-done:
				return
			}
		}
	}()
	return func() {
		t.Stop()
		close(done)
		<-gone
	}
}

// backoff grows from a quarter of a second to maxDelay.
func backoff(deliveries int) time.Duration {
	return min(250*time.Millisecond<<min(max(deliveries-1, 0), 16), maxDelay)
}
