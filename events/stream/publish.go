package stream

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openwhisk-rotator/rotator/events"
)

// ownPublisher is the identity under which the rotator raises events itself.
const ownPublisher = "rotator"

const contentType = "application/cloudevents+json"

// lookTime is how long a look at the stream may take; without the right to read no answer comes.
const lookTime = 2 * time.Second

// A Publisher stores events and outcomes. Publishing the same one again, within a day, is harmless.
type Publisher struct {
	nc        *nats.Conn
	sign      func(subject string, body []byte) (string, error) // nil: events are not signed
	writeOnly bool
}

// NewPublisher publishes over nc.
func NewPublisher(nc *nats.Conn) *Publisher { return &Publisher{nc: nc} }

// WriteOnly makes the publisher do without the right to read ROTATOR_EVENTS, for machines that should not know what others publish.
// It leaves it to the service to notice that an event was there already.
func (p *Publisher) WriteOnly() *Publisher {
	return &Publisher{nc: p.nc, sign: p.sign, writeOnly: true}
}

// Event publishes e under its publisher's subject and returns its place in the stream; duplicate says that it was
// there already.
func (p *Publisher) Event(ctx context.Context, e events.Event) (seq uint64, duplicate bool, err error) {
	body, err := events.Encode(e)
	if err != nil {
		return 0, false, fmt.Errorf("encoding event %q: %w", e.ID, err)
	}
	e.Publisher = cmp.Or(e.Publisher, ownPublisher)
	subject, header := events.Subject(e.Publisher, e.Kind), nats.Header{}
	if p.sign != nil {
		sig, err := p.sign(subject, body)
		if err != nil {
			return 0, false, fmt.Errorf("signing event %q: %w", e.ID, err)
		}
		header.Set(SignatureHeader, sig)
	}
	id := e.Key()
	if p.writeOnly {
		id = rand.Text()
	}
	ack, err := p.send(ctx, Events, subject, id, body, header)
	if err == nil && ack.Duplicate && !holds(ctx, p.nc, Events, ack.Sequence, &nats.Msg{Subject: subject, Data: body, Header: header}) {
		ack, err = p.send(ctx, Events, subject, rand.Text(), body, header)
	}
	if err != nil {
		return 0, false, fmt.Errorf("publishing event %q: %w", e.ID, err)
	}
	return ack.Sequence, ack.Duplicate, nil
}

// holds reports whether the stream has exactly this message at seq. That the server knows its id does not say so: whoever may publish
// into the stream at all may choose any id, and what had it may be gone. When in doubt it is not there: twice is harmless, never is not.
func holds(ctx context.Context, nc *nats.Conn, stream string, seq uint64, want *nats.Msg) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	js, err := jetstream.New(nc)
	if err != nil {
		return false
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return false
	}
	m, err := s.GetMsg(ctx, seq)
	return err == nil && published(m.Subject) == want.Subject && bytes.Equal(m.Data, want.Data) && m.Header.Get(SignatureHeader) == want.Header.Get(SignatureHeader)
}

// Raise publishes an event of the rotator's own.
func (p *Publisher) Raise(ctx context.Context, e events.Event) error {
	_, _, err := p.Event(ctx, e)
	return err
}

// Outcome publishes what became of a rotation; one that was refused is also stored as a dead letter.
func (p *Publisher) Outcome(ctx context.Context, o events.Outcome) error {
	body, err := events.EncodeOutcome(o)
	if err != nil {
		return fmt.Errorf("encoding the outcome of %q: %w", o.Rotation, err)
	}
	if _, err := p.send(ctx, Outcomes, outcomePrefix+token(o.Bundle), o.Key(), body, nil); err != nil {
		return fmt.Errorf("publishing the outcome of %q: %w", o.Rotation, err)
	}
	if o.Result != events.ResultRefused {
		return nil
	}
	h := nats.Header{headerReason: {events.ResultRefused}}
	for name, text := range map[string]string{headerProblem: clean(o.Reason), headerRemedy: clean(o.Remedy), headerSubject: outcomePrefix + token(o.Bundle)} {
		if text != "" {
			h.Set(name, text)
		}
	}
	if _, err := p.send(ctx, Dead, deadPrefix+events.ResultRefused, "refused-"+o.Key(), body, h); err != nil {
		return fmt.Errorf("publishing the refusal of %q: %w", o.Rotation, err)
	}
	return nil
}

// Bury stores a message of a source, which no event could be made of, as a dead letter. Without a body the letter tells its size.
func (p *Publisher) Bury(ctx context.Context, source, problem string, body []byte, size int) error {
	sum := sha256.Sum256(body)
	id := fmt.Sprintf("intake-%s-%x-%d", token(source), sum[:12], size)
	h := nats.Header{headerReason: {"not-understood"}, headerProblem: {clean(problem)}, headerSubject: {"intake " + token(source)},
		headerRemedy: {"if it should rotate something, publish that by hand (rotator emit), and report the new kind of message"}}
	switch {
	case body == nil:
		h.Set(headerBody, fmt.Sprintf("dropped: %d bytes with what looks like a secret in the clear", size))
		id += time.Now().UTC().Format("-20060102T1504")
	case len(body) > maxLetter:
		h.Set(headerBody, fmt.Sprintf("dropped: %d bytes are too large for a dead letter", size))
		body = nil
	}
	if _, err := p.send(ctx, Dead, deadPrefix+"not-understood", id, body, h); err != nil {
		return fmt.Errorf("storing a dead letter of %s: %w", source, err)
	}
	return nil
}

func (p *Publisher) send(ctx context.Context, stream, subject, id string, body []byte, h nats.Header) (*jetstream.PubAck, error) {
	js, err := jetstream.New(p.nc)
	if err != nil {
		return nil, err
	}
	if h == nil {
		h = nats.Header{}
	}
	h.Set("Content-Type", contentType)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: body, Header: h}, jetstream.WithMsgID(id),
		jetstream.WithExpectStream(stream), jetstream.WithRetryAttempts(10))
}
