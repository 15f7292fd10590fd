package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
)

// small makes a stream hold one MiB, so that it is full soon.
func (b *bench) small(stream string) {
	b.Helper()
	s, err := b.js.Stream(b.Context(), stream)
	if err != nil {
		b.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxBytes = 1 << 20
	if _, err := b.js.UpdateStream(b.Context(), cfg); err != nil {
		b.Fatal(err)
	}
}

// flood publishes until the stream is full.
func (b *bench) flood(subject string) {
	b.Helper()
	for {
		_, err := b.js.Publish(b.Context(), subject, []byte("{"+strings.Repeat("x", 20<<10)))
		if e, ok := errors.AsType[jetstream.JetStreamError](err); ok && e.APIError() != nil && strings.Contains(err.Error(), "maximum bytes") {
			return
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func (b *bench) fill(stream string) float64 {
	b.Helper()
	s, err := b.js.Stream(b.Context(), stream)
	if err != nil {
		b.Fatal(err)
	}
	return fill(s.CachedInfo())
}

// One publisher's flood stops the others for as long as it takes to handle it, and no longer: also where the other lane, or the other
// tap, has nothing to do.
func TestAFloodStopsNobodyForLong(t *testing.T) {
	for _, c := range []struct{ stream, flood, event string }{
		{Events, "rotator.events.v1.evil.leak", ""}, {Events, "rotator.events.v1.evil.manual", ""}, {Intake, "security.github", "security.aws"},
	} {
		t.Run(c.flood, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var got heard
			b.subscribe(Subscriber{Taps: map[string]string{"security.github": "github", "security.aws": "aws"}, tidy: 20 * time.Millisecond}, got.take)
			b.eventually("the mapped subjects", func() bool { _, err := b.js.Stream(t.Context(), Intake); return err == nil })
			b.publish(manual("both lanes have had work"))
			b.publish(leak("both lanes have had work"))
			b.drained()
			b.small(c.stream)
			b.flood(c.flood)
			b.eventually("room", func() bool { return b.fill(c.stream) < high })
			if c.event == "" {
				b.publish(leak("2"))
			} else {
				b.raw(c.event, sample(t, "aws-health-risk-1"), nil)
			}
			b.eventually("the other's event", func() bool { return len(got.events()) == 3 })
			b.eventually("a line in the log", func() bool { return strings.Contains(b.log.String(), "oldest handled messages were deleted") })
		})
	}
}

// What waits to be handled is never deleted, however full the stream is: here the oldest message, and every second one of the rest.
func TestWhatWaitsIsNotDeleted(t *testing.T) {
	b := newBench(t)
	b.run(func(_ context.Context, e events.Event, _ Meta) error {
		if strings.HasPrefix(e.ID, "wait") {
			return errLater
		}
		return nil
	})
	b.small(Events)
	var waiting []uint64
	for i := 0; b.fill(Events) < 0.9; i++ {
		e := leak(fmt.Sprint("wait-", i))
		if i%2 == 1 {
			e = leak(fmt.Sprint("done-", i))
		}
		e.Leak.Detail = strings.Repeat("x", 1000)
		for range 4 {
			e.Leak.Evidence = append(e.Leak.Evidence, events.Evidence{Kind: "commit", Path: strings.Repeat("y", 900)})
		}
		if seq := b.publish(e); i%2 == 0 {
			waiting = append(waiting, seq)
		}
	}
	older := manual("handled, and in the other lane")
	b.publish(older)
	b.eventually("all the others handled", func() bool {
		w, err := Backlog(t.Context(), b.nc)
		return err == nil && w.Leak.Pending == 0 && w.Leak.InHand == len(waiting) && w.Other.InHand == 0 && w.Other.Pending == 0
	})
	j := &janitor{js: b.js, log: b.logger(), idle: make(map[string]time.Time)}
	for range 3 {
		if err := j.tidy(t.Context(), Events, []string{LeakConsumer, OtherConsumer}); err != nil {
			t.Fatal(err)
		}
	}
	for _, seq := range waiting {
		b.stored(Events, seq)
	}
	s, err := b.js.Stream(t.Context(), Events)
	if err != nil {
		t.Fatal(err)
	}
	if state := s.CachedInfo().State; state.FirstSeq != waiting[0] || state.Msgs != state.LastSeq-1 {
		t.Errorf("deleted is not the one of the other lane alone: %+v", state)
	}
	if _, found := j.idle[Events]; !found || !strings.Contains(b.log.String(), "nothing in it is handled yet") {
		t.Error("it is not said that the stream fills up")
	}
}

func TestHandled(t *testing.T) {
	marks := []mark{{[]string{"a.>"}, 10}, {[]string{"b.*.c", "d"}, 20}, {[]string{"a.x"}, 5}}
	for subject, until := range map[string]uint64{"a.b": 10, "a.b.c": 10, "a.x": 5, "b.x.c": 20, "d": 20, "a": 0, "b.c": 0, "b.x.c.d": 0, "d.e": 0, "e": 0} {
		for _, seq := range []uint64{1, 5, 6, 10, 11, 20, 21} {
			if got := handled(marks, subject, seq); got != (seq <= until) {
				t.Errorf("%s at %d: %v", subject, seq, got)
			}
		}
	}
}

// Larger messages are refused, in streams of before this bound as well; but a stream whose bound somebody has set keeps it.
func TestLargeMessagesAreRefused(t *testing.T) {
	b := newBench(t)
	large := make([]byte, maxMessage+1)
	if _, err := b.js.Publish(t.Context(), "rotator.events.v1.gh.raw.github", large); err == nil {
		t.Error("a new stream takes large messages")
	}
	for had, want := range map[int32]int32{-1: maxMessage, 1000: 1000, 1 << 20: 1 << 20} {
		s, err := b.js.Stream(t.Context(), Events)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		cfg.MaxMsgSize = had
		if _, err := b.js.UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if err := Setup(t.Context(), b.nc, SetupConfig{Log: zerolog.New(b.log)}); err != nil {
			t.Fatal(err)
		}
		if s, err = b.js.Stream(t.Context(), Events); err != nil || s.CachedInfo().Config.MaxMsgSize != want {
			t.Errorf("a bound of %d became %d, %v", had, s.CachedInfo().Config.MaxMsgSize, err)
		}
	}
}

// Large messages that are refused leave a letter that says where they are.
func TestDeadLettersAreSmall(t *testing.T) {
	b := newBench(t)
	b.run(func(context.Context, events.Event, Meta) error { return nil })
	for i, c := range []struct {
		body, header int
		kept         bool
	}{{60 << 10, 0, true}, {100 << 10, 0, false}, {20 << 10, 60 << 10, false}} {
		b.raw("rotator.events.v1.gh.raw.github", strings.Repeat("x", c.body), nats.Header{"X-Pad": {strings.Repeat("y", c.header)}})
		d := b.letters(i + 1)[0]
		m := b.stored(Dead, d.Seq)
		says := m.Header.Get(headerBody)
		if c.kept != (d.Bytes == c.body) || c.kept != (says == "") || len(m.Data)+len(says) > maxLetter {
			t.Errorf("%d and %d bytes: %d kept, %q", c.body, c.header, d.Bytes, says)
		}
		if !c.kept && !strings.Contains(says, fmt.Sprintf("message %d of stream %s", d.OriginalSeq, Events)) {
			t.Errorf("it does not say where the message is: %q", says)
		}
	}
	if err := b.pub.Bury(t.Context(), "slack", "not known", make([]byte, maxLetter+1), maxLetter+1); err != nil {
		t.Fatal(err)
	}
	if d := b.letters(4)[0]; d.Bytes != 0 || d.Reason != "not-understood" {
		t.Errorf("%+v", d)
	}
}

// A flood of one reason does not push the letters of another out.
func TestAFloodOfDeadLetters(t *testing.T) {
	b := newBench(t)
	b.small(Dead)
	s, err := b.js.Stream(t.Context(), Dead)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().Config.MaxMsgsPerSubject; n != maxLetters {
		t.Fatalf("%d letters of one reason are kept", n)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxMsgsPerSubject = 10
	if _, err := b.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	b.run(func(context.Context, events.Event, Meta) error { return refusing{} })
	b.publish(leak("the genuine one"))
	b.letters(1)
	for range 60 {
		b.raw("rotator.events.v1.evil.leak", strings.Repeat("x", 60<<10), nil)
	}
	b.drained()
	all, err := DeadLetters(t.Context(), b.nc, 100)
	if err != nil || len(all) != 11 || all[10].Reason != "unmatched" {
		t.Fatalf("%d letters, %v", len(all), err)
	}
}
