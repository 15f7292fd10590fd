package stream

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openwhisk-rotator/rotator/events"
)

const canary = "hunter2-canary-5fb1"

func TestMalformedIsADeadLetterAndTheServiceGoesOn(t *testing.T) {
	b := newBench(t)
	spy, err := b.nc.SubscribeSync("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
	if err != nil {
		t.Fatal(err)
	}
	var got taken
	b.run(got.take)
	for _, subject := range []string{"rotator.events.v1.gh.leak", "rotator.events.v1.gh.manual", "rotator.events.v1.gh.unheard-of", "rotator.events.v1.gh.leak.too.deep"} {
		b.raw(subject, "{not json "+canary, nats.Header{"X-Mine": {"kept"}, "Nats-Msg-Id": {subject}, "Nats-Expected-Stream": {Events}})
	}
	for _, d := range b.letters(4) {
		if d.Reason == "" || d.Problem == "" || d.Bytes != len("{not json "+canary) || d.OriginalSeq == 0 || !strings.HasPrefix(d.OriginalSubject, "rotator.events.v1.gh.") {
			t.Errorf("incomplete dead letter: %+v", d)
		}
		m := b.stored(Dead, d.Seq)
		if string(m.Data) != "{not json "+canary || m.Header.Get("X-Mine") != "kept" || m.Header.Get("Rotator-Original-Nats-Msg-Id") != d.OriginalSubject {
			t.Errorf("a dead letter lost something: %v", m.Header)
		}
	}
	for range 4 {
		if adv, err := spy.NextMsg(maxDelay); err != nil || strings.Contains(string(adv.Data), canary) || !strings.Contains(string(adv.Data), `"reason":`) {
			t.Errorf("the advisory: %v, %v", adv, err)
		}
	}
	b.publish(leak("good"))
	b.publish(manual("also good"))
	b.drained()
	b.eventually("both good events", func() bool { return got.count() == 2 })
	b.halt()
	if strings.Contains(b.log.String(), canary) {
		t.Errorf("the log contains bytes of a message:\n%s", b.log)
	}
}

func (b *bench) stored(stream string, seq uint64) *jetstream.RawStreamMsg {
	b.Helper()
	s, err := b.js.Stream(b.Context(), stream)
	if err != nil {
		b.Fatal(err)
	}
	m, err := s.GetMsg(b.Context(), seq)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

type refusing struct{}

func (refusing) Error() string                { return "no bundle has this credential" }
func (refusing) DeadLetter() (string, string) { return "unmatched", "name the bundle" }

func TestAHandlerCanRefuse(t *testing.T) {
	b := newBench(t)
	b.run(func(context.Context, events.Event, Meta) error { return errors.Join(errLater, refusing{}) })
	seq := b.publish(leak("1"))
	d := b.letters(1)[0]
	if d.Reason != "unmatched" || d.Remedy != "name the bundle" || d.Problem == "" || d.OriginalSeq != seq || d.Subject != "rotator.dead.v1.unmatched" {
		t.Fatalf("%+v", d)
	}
	b.drained()
}

func TestAPublisherThatIsNotListed(t *testing.T) {
	b := newBench(t)
	var got taken
	b.run(got.take, "ops")
	b.publish(leak("1"))
	b.publish(manual("2"))
	if d := b.letters(1)[0]; d.Reason != "publisher-mismatch" || d.OriginalSubject != "rotator.events.v1.gh.leak" {
		t.Fatalf("%+v", d)
	}
	b.drained()
	if got.count() != 1 {
		t.Fatalf("%d events were handled", got.count())
	}
}

// The terminations that the server announces must not carry bytes of the message either.
func TestASecretInTheClearIsNotKeptAnywhere(t *testing.T) {
	b := newBench(t)
	spy, err := b.nc.SubscribeSync("$JS.EVENT.ADVISORY.>")
	if err != nil {
		t.Fatal(err)
	}
	in := &intake{js: b.js, log: b.logger()}
	b.raw("rotator.events.v1.gh.leak", `{"token":"`+canary+`"}`, nats.Header{"Ce-Token": {canary}})
	c, err := b.js.Consumer(t.Context(), Events, LeakConsumer)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	md, err := m.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if !b.onDisk(canary) {
		t.Error("the search would not find the secret")
	}
	r := refusalOf(&events.InvalidError{Problems: []events.Problem{{Reason: events.ReasonRawSecret, Field: "token", Text: "carries a value", Remedy: "send a fingerprint"}}})
	in.bury(t.Context(), m, Meta{Seq: md.Sequence.Stream, Deliveries: 1}, origin{stream: Events}, r, b.logger())
	d := b.letters(1)[0]
	if d.Reason != "raw-secret" || d.Remedy != "send a fingerprint" || d.Bytes != 0 || d.OriginalSeq != md.Sequence.Stream {
		t.Fatalf("%+v", d)
	}
	b.drained()
	if letter := b.stored(Dead, d.Seq); len(letter.Data) != 0 || !strings.HasPrefix(letter.Header.Get("Rotator-Body"), "dropped:") {
		t.Errorf("the dead letter has a body, or does not say why it has none: %v", letter.Header)
	}
	s, err := b.js.Stream(t.Context(), Events)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetMsg(t.Context(), md.Sequence.Stream); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("the message is still in the stream: %v", err)
	}
	b.absent(canary)
	adv, err := spy.NextMsg(maxDelay)
	for err == nil && !strings.Contains(adv.Subject, "TERMINATED") {
		adv, err = spy.NextMsg(maxDelay)
	}
	if err != nil || strings.Contains(string(adv.Data), canary) {
		t.Errorf("the advisory: %s, %v", adv.Data, err)
	}
}

func TestASecretFromAPublisherIsErasedByTheService(t *testing.T) {
	b := newBench(t)
	var got taken
	b.run(got.take)
	body, err := events.Encode(leak("1"))
	if err != nil {
		t.Fatal(err)
	}
	b.raw("rotator.events.v1.gh.leak", strings.Replace(string(body), `"data":{`, `"data":{"token":"`+canary+`",`, 1), nats.Header{"Content-Type": {contentType}})
	if d := b.letters(1)[0]; d.Reason != "raw-secret" || d.Bytes != 0 || d.Field == "" {
		t.Fatalf("%+v", d)
	}
	b.drained()
	b.publish(leak("2"))
	b.eventually("the next event", func() bool { return got.count() == 1 })
	b.halt()
	b.absent(canary)
}
