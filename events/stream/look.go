package stream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openwhisk-rotator/rotator/events"
)

// leftBehind is how long the consumer of a reader stays after it: a stream may have 1,000 of them.
const leftBehind = 30 * time.Second

// A DeadLetter is one refused event or rotation. OriginalSubject and OriginalSeq say where the event was published;
// Bytes is the size of what was kept of it.
type DeadLetter struct {
	Seq             uint64    `json:"seq"`
	Subject         string    `json:"subject"`
	Reason          string    `json:"reason"`
	Field           string    `json:"field,omitempty"`
	Problem         string    `json:"problem,omitempty"`
	Remedy          string    `json:"remedy,omitempty"`
	Stored          time.Time `json:"stored"`
	Bytes           int       `json:"bytes"`
	OriginalSubject string    `json:"original_subject,omitempty"`
	OriginalSeq     uint64    `json:"original_seq,omitempty"`
}

// DeadLetters returns up to limit dead letters, newest first. Their bodies are not fetched.
func DeadLetters(ctx context.Context, nc *nats.Conn, limit int) ([]DeadLetter, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("preparing JetStream: %w", err)
	}
	s, err := js.Stream(ctx, Dead)
	if err != nil {
		return nil, fmt.Errorf("looking up stream %s: %w", Dead, err)
	}
	state := s.CachedInfo().State
	if state.Msgs == 0 || limit <= 0 {
		return []DeadLetter{}, nil
	}
	n := min(uint64(limit), state.LastSeq-state.FirstSeq+1)
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: state.LastSeq - n + 1, HeadersOnly: true, InactiveThreshold: leftBehind})
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", Dead, err)
	}
	it, err := c.Messages(jetstream.PullMaxMessages(int(n)))
	if err != nil {
		return nil, fmt.Errorf("reading stream %s: %w", Dead, err)
	}
	defer it.Stop()
	all := make([]DeadLetter, n)
	for i := len(all) - 1; i >= 0; i-- {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("reading stream %s: %w", Dead, err)
		}
		if all[i], err = deadLetter(m); err != nil {
			return nil, err
		}
		if all[i].Seq >= state.LastSeq { // expired ones leave the front empty
			return all[i:], nil
		}
	}
	return all, nil
}

func deadLetter(m jetstream.Msg) (DeadLetter, error) {
	md, err := m.Metadata()
	if err != nil {
		return DeadLetter{}, fmt.Errorf("reading stream %s: %w", Dead, err)
	}
	h := m.Headers()
	d := DeadLetter{Seq: md.Sequence.Stream, Subject: m.Subject(), Reason: h.Get(headerReason), Field: h.Get(headerField), Problem: h.Get(headerProblem),
		Remedy: h.Get(headerRemedy), Stored: md.Timestamp, OriginalSubject: h.Get(headerSubject)}
	d.Bytes, _ = strconv.Atoi(h.Get("Nats-Msg-Size")) // absent: nothing is known
	d.OriginalSeq, _ = strconv.ParseUint(h.Get(headerSeq), 10, 64)
	return d, nil
}

// A Lane is the state of one consumer.
type Lane struct {
	Pending     uint64 `json:"pending"`     // not delivered yet
	InHand      int    `json:"in_hand"`     // delivered, and not taken yet
	Redelivered int    `json:"redelivered"` // of those in hand
	floor       uint64
}

// A Waiting is what the service has not taken yet.
type Waiting struct {
	Leak  Lane `json:"leak"`
	Other Lane `json:"other"`
}

// Done reports whether the event of this kind at this place of the stream was taken, or refused.
func (w Waiting) Done(k events.Kind, seq uint64) bool {
	l := w.Other
	if k == events.KindLeak {
		l = w.Leak
	}
	return l.floor >= seq // an empty lane proves nothing: the consumer may not have noticed the event yet
}

// Backlog asks how much waits in each lane.
func Backlog(ctx context.Context, nc *nats.Conn) (Waiting, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return Waiting{}, fmt.Errorf("preparing JetStream: %w", err)
	}
	var w Waiting
	for name, l := range map[string]*Lane{LeakConsumer: &w.Leak, OtherConsumer: &w.Other} {
		c, err := js.Consumer(ctx, Events, name)
		if err != nil {
			return Waiting{}, fmt.Errorf("looking up consumer %s: %w", name, err)
		}
		i := c.CachedInfo()
		*l = Lane{Pending: i.NumPending, InHand: i.NumAckPending, Redelivered: i.NumRedelivered, floor: i.AckFloor.Stream}
	}
	return w, nil
}

// FollowOutcomes sends the outcomes stored since from, and then every new one, until ctx ends; then it closes the
// channel. An interruption is waited out.
func FollowOutcomes(ctx context.Context, nc *nats.Conn, from time.Time) (<-chan events.Outcome, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("preparing JetStream: %w", err)
	}
	it, err := outcomes(ctx, js, from, 0)
	if err != nil {
		return nil, err
	}
	out := make(chan events.Outcome)
	go func() {
		defer close(out)
		var last uint64
		for ctx.Err() == nil {
			if it == nil {
				if it, err = outcomes(ctx, js, from, last); err != nil {
					pauseFor(ctx, time.Second)
					continue
				}
			}
			last = max(last, forward(ctx, it, out))
			it.Stop()
			it = nil
		}
	}()
	return out, nil
}

func outcomes(ctx context.Context, js jetstream.JetStream, from time.Time, after uint64) (jetstream.MessagesContext, error) {
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from}
	if after > 0 {
		cfg = jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1}
	}
	cfg.InactiveThreshold = leftBehind
	c, err := js.OrderedConsumer(ctx, Outcomes, cfg)
	if err != nil {
		return nil, fmt.Errorf("following stream %s: %w", Outcomes, err)
	}
	it, err := c.Messages(jetstream.PullExpiry(10*time.Second), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return nil, fmt.Errorf("following stream %s: %w", Outcomes, err)
	}
	return it, nil
}

// forward passes outcomes on until the iterator or ctx ends, and returns the place of the last one.
func forward(ctx context.Context, it jetstream.MessagesContext, out chan<- events.Outcome) (last uint64) {
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			if !errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				pauseFor(ctx, 200*time.Millisecond)
			}
			return last
		}
		o, err := events.DecodeOutcome(m.Data())
		if err != nil || !strings.HasPrefix(m.Subject(), outcomePrefix) { // of a later version: not for this reader
			continue
		}
		select {
		case out <- o:
		case <-ctx.Done():
			return last
		}
		if md, err := m.Metadata(); err == nil {
			last = md.Sequence.Stream
		}
	}
}
