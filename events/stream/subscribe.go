package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream/ensure"
)

const (
	defaultWorkers = 4
	pullTime       = 6 * time.Second
)

// Meta is what the stream knows about an event.
type Meta struct {
	Stored     time.Time // when the stream took it
	Seq        uint64    // its place in the stream
	Deliveries int       // 1 for the first
}

// A Handler takes an event. nil means that it is safe somewhere else and must not be delivered again. An error with
// a method DeadLetter() (reason, remedy string) refuses it for good; every other error brings it back later.
type Handler func(context.Context, events.Event, Meta) error

// A Subscriber hands the events of ROTATOR_EVENTS to a handler. Several of them share the work.
type Subscriber struct {
	Conn       *nats.Conn
	Publishers []string // whose events are taken; empty: everybody's whom NATS lets publish
	Scopes     Scopes   // what they may say
	Signers    Signers  // whose events have to be signed
	Workers    int      // per lane; 0 is 4
	// Taps are subjects on which a source's own messages arrive, each with the name of the source, which is their publisher. An existing
	// stream is read through a consumer of ours, from its next message on; a subject that none stores is stored in ROTATOR_INTAKE.
	Taps     map[string]string
	Replicas int // of ROTATOR_INTAKE; 0 is 1
	Log      zerolog.Logger

	tidy time.Duration // how often the janitor looks; 0 is often enough
}

// Run works until ctx ends, then lets the handlers in hand finish and returns nil. The context that handlers get
// is not cancelled by that. Any other end is an error that no waiting can repair.
func (s Subscriber) Run(ctx context.Context, handle Handler) error {
	js, err := jetstream.New(s.Conn)
	if err != nil {
		return fmt.Errorf("preparing JetStream: %w", err)
	}
	in := &intake{js: js, handle: handle, publishers: s.Publishers, scopes: s.Scopes, signers: s.Signers, log: s.Log}
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range []string{LeakConsumer, OtherConsumer} {
		l := &lane{intake: in, conn: s.Conn, origin: origin{stream: Events}, consumer: consumer(name)}
		for range cmpWorkers(s.Workers) {
			g.Go(func() error { return l.work(ctx) })
		}
	}
	taps, err := s.taps(ctx, js)
	if err != nil {
		return fmt.Errorf("preparing the mapped subjects: %w", err)
	}
	rooms := map[string][]string{Events: {LeakConsumer, OtherConsumer}}
	for _, t := range taps {
		if t.stream == Intake {
			rooms[Intake] = append(rooms[Intake], t.consumer.Durable)
		}
		l := &lane{intake: in, conn: s.Conn, origin: t.origin, consumer: t.consumer}
		g.Go(func() error { return l.work(ctx) })
	}
	g.Go(func() error {
		return (&janitor{js: js, rooms: rooms, log: s.Log, idle: make(map[string]time.Time)}).run(ctx, cmp.Or(s.tidy, tidyEvery))
	})
	return g.Wait()
}

func cmpWorkers(n int) int {
	if n <= 0 {
		return defaultWorkers
	}
	return n
}

// An origin is where a message comes from. A source says that it is in that source's own form.
type origin struct{ stream, source string }

// ours reports whether the rotator made the stream, and so may erase from it.
func (o origin) ours() bool { return o.stream == Events || o.stream == Intake }

// native reads from the subject who has published a message, and whether it is in the form of a source, and of which. Whose a subject
// is that somebody else stores, the configuration has said.
func (o origin) native(subject string) (publisher, source string, native bool) {
	if o.source != "" {
		return o.source, o.source, true
	}
	parts := strings.Split(strings.TrimPrefix(subject, eventPrefix), ".")
	if len(parts) == 3 && parts[1] == "raw" {
		return parts[0], parts[2], true
	}
	return parts[0], "", false
}

// letterID is the same for every attempt to bury one message.
func (o origin) letterID(seq uint64) string {
	if o.stream == Events {
		return fmt.Sprintf("dead-%d", seq)
	}
	return fmt.Sprintf("dead-%s-%d", o.stream, seq)
}

// A lane is one durable consumer. Each of its workers asks for one message at a time, so that no message waits in a
// buffer while its acknowledgement time runs out.
type lane struct {
	*intake
	origin
	conn     *nats.Conn
	consumer jetstream.ConsumerConfig
}

func (l *lane) work(ctx context.Context) error {
	var c jetstream.Consumer
	var err error
	for ctx.Err() == nil {
		if c == nil {
			if c, err = l.open(ctx); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
		if !l.conn.IsConnected() { // a pull would fail, and leave its inbox behind in the client
			if l.conn.IsClosed() {
				return nats.ErrConnectionClosed
			}
			pauseFor(ctx, 100*time.Millisecond)
			continue
		}
		m, err := l.next(ctx, c)
		switch {
		case err == nil:
			l.take(context.WithoutCancel(ctx), m, l.origin)
		case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages):
		case gone(err):
			l.log.Warn().Str("consumer", l.consumer.Durable).Msg("the consumer was deleted; creating it again")
			c = nil
		default:
			l.log.Debug().AnErr("reason", err).Str("consumer", l.consumer.Durable).Msg("fetching an event; trying again")
			pauseFor(ctx, 300*time.Millisecond)
			if !errors.Is(err, jetstream.ErrNoHeartbeat) && !errors.Is(err, nats.ErrNoResponders) {
				continue
			}
			c = nil // it may be gone without a word: look it up
		}
	}
	return nil
}

// next waits for one message. It asks for a short time only: what a process asked for before it was frozen or cut off is
// handed to nobody, and would keep events from the others for as long.
func (l *lane) next(ctx context.Context, c jetstream.Consumer) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, pullTime)
	defer cancel()
	return c.Next(jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(pullTime/3))
}

// gone reports an answer after which this consumer will never deliver again.
func gone(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrBadRequest)
}

func (l *lane) open(ctx context.Context) (jetstream.Consumer, error) {
	for {
		if err := ensure.Consumer(ctx, l.js, l.stream, l.consumer, l.log); err != nil {
			return nil, err
		}
		c, err := l.js.Consumer(ctx, l.stream, l.consumer.Durable)
		if err == nil {
			return c, nil
		}
		pauseFor(ctx, 300*time.Millisecond)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
