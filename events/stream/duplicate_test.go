package stream

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openwhisk-rotator/rotator/events"
)

// An event arrives, whatever somebody else has stored before under the id that can be foreseen.
func TestNobodyCanTakeThePlaceOfAnEvent(t *testing.T) {
	file, _ := seedFile(t)
	for name, before := range map[string]func(b *bench, e events.Event){
		"another publisher's message": func(b *bench, e events.Event) {
			b.raw("rotator.events.v1.evil.leak", "{}", nats.Header{"Nats-Msg-Id": {e.Key()}})
		},
		"its own bytes under another subject": func(b *bench, e events.Event) {
			body, err := events.Encode(e)
			if err != nil {
				b.Fatal(err)
			}
			b.raw("rotator.events.v1.evil.leak", string(body), nats.Header{"Nats-Msg-Id": {e.Key()}})
		},
		"other bytes under its own subject": func(b *bench, e events.Event) {
			b.raw("rotator.events.v1.gh.leak", "{}", nats.Header{"Nats-Msg-Id": {e.Key()}})
		},
		"the same without its signature": func(b *bench, e events.Event) { b.publish(e) },
		"the same, and it was erased": func(b *bench, e events.Event) {
			seq := b.new(b.pub.SignWith(file), e)
			s, err := b.js.Stream(b.Context(), Events)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.SecureDeleteMsg(b.Context(), seq); err != nil {
				b.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			e := leak("1")
			publish := func() uint64 { return b.new(b.pub, e) }
			if strings.HasPrefix(name, "the same") {
				publish = func() uint64 { return b.new(b.pub.SignWith(file), e) }
			}
			before(b, e)
			m := b.stored(Events, publish())
			if got, err := events.Decode(events.Message{Subject: published(m.Subject), Header: m.Header, Body: m.Data}); err != nil || got.Key() != e.Key() {
				t.Errorf("it is not there: %s %v", m.Subject, err)
			}
		})
	}
}

// new publishes an event and fails when it is said to be there already.
func (b *bench) new(p *Publisher, e events.Event) uint64 {
	b.Helper()
	seq, duplicate, err := p.Event(b.Context(), e)
	if err != nil || duplicate {
		b.Fatalf("duplicate %v, %v", duplicate, err)
	}
	return seq
}

// The same source and id by another publisher is another event.
func TestTwoPublishersWithOneID(t *testing.T) {
	b := newBench(t)
	var got taken
	b.run(got.take)
	mine, theirs := leak("1"), leak("1")
	theirs.Publisher = "evil"
	for _, e := range []events.Event{theirs, mine, theirs, mine} {
		b.publish(e)
	}
	b.drained()
	if got.count() != 2 || got.keys[0] == got.keys[1] {
		t.Fatal(got.keys)
	}
}

// Without the right to read the stream nothing is lost, and a publisher that is told so does not ask.
func TestAPublisherThatOnlyWrites(t *testing.T) {
	b := newBench(t)
	spy, err := b.nc.SubscribeSync("$JS.API.>")
	if err != nil {
		t.Fatal(err)
	}
	e := leak("1")
	for range 2 {
		if _, duplicate, err := b.pub.WriteOnly().Event(t.Context(), e); err != nil || duplicate {
			t.Fatal(duplicate, err)
		}
	}
	if err := b.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := spy.Pending(); err != nil || n > 0 {
		t.Errorf("%d questions were asked, %v", n, err)
	}
	var got taken
	b.run(got.take)
	b.eventually("both", func() bool { return got.count() == 2 && got.keys[0] == got.keys[1] })
}

// The ids of dead letters can be foreseen too.
func TestNobodyCanTakeThePlaceOfADeadLetter(t *testing.T) {
	b := newBench(t)
	if _, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: deadPrefix + "not-understood"}, jetstream.WithMsgID(origin{stream: Events}.letterID(1))); err != nil {
		t.Fatal(err)
	}
	b.run(func(context.Context, events.Event, Meta) error { return refusing{} })
	b.publish(leak("1"))
	if d := b.letters(2)[0]; d.Reason != "unmatched" || d.OriginalSeq != 1 {
		t.Fatalf("%+v", d)
	}
	b.drained()
}
