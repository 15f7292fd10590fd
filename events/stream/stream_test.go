package stream

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
)

func TestTheSameEventTwiceIsHandledOnce(t *testing.T) {
	b := newBench(t)
	var got taken
	b.run(got.take)
	for _, e := range []events.Event{leak("1"), manual("2")} {
		first := b.publish(e)
		seq, duplicate, err := b.pub.Event(t.Context(), e)
		if err != nil || !duplicate || seq != first {
			t.Fatalf("second publication: %d, %v, %v", seq, duplicate, err)
		}
	}
	b.drained()
	if n := got.count(); n != 2 {
		t.Fatalf("2 events were handled %d times", n)
	}
	if info, err := b.js.Stream(t.Context(), Events); err != nil || info.CachedInfo().State.Msgs != 2 {
		t.Fatalf("the stream does not hold 2 messages: %v", err)
	}
}

func TestAFailedHandlerGetsTheEventAgain(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	var keys []string
	var metas []Meta
	b.run(func(_ context.Context, e events.Event, m Meta) error {
		mu.Lock()
		defer mu.Unlock()
		keys, metas = append(keys, e.Key()), append(metas, m)
		if len(keys) < 3 {
			return errLater
		}
		return nil
	})
	seq := b.publish(leak("1"))
	b.eventually("a third delivery", func() bool { mu.Lock(); defer mu.Unlock(); return len(keys) == 3 })
	b.drained()
	for i, m := range metas {
		if keys[i] != leak("1").Key() || m.Seq != seq || m.Deliveries != i+1 || m.Stored.IsZero() {
			t.Errorf("delivery %d: %q %+v", i, keys[i], m)
		}
	}
}

// A replica dies between taking an event and acknowledging it: the next one gets the same event.
func TestACrashBeforeTheAckLosesNothing(t *testing.T) {
	b := newBench(t)
	b.publish(manual("1"))
	c, err := b.js.Consumer(t.Context(), Events, OtherConsumer)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next() // the replica that dies
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Nak(); err != nil { // stands for the acknowledgement time running out
		t.Fatal(err)
	}
	var again atomic.Int64
	b.run(func(_ context.Context, e events.Event, m Meta) error {
		if e.Key() != manual("1").Key() {
			t.Errorf("redelivered as %q", e.Key())
		}
		again.Store(int64(m.Deliveries))
		return nil
	})
	b.drained()
	b.eventually("a second delivery", func() bool { return again.Load() == 2 })
}

func TestShutdownFinishesTheHandlerInHand(t *testing.T) {
	b := newBench(t)
	in, release := make(chan struct{}), make(chan struct{})
	var cancelled atomic.Bool
	b.run(func(ctx context.Context, _ events.Event, _ Meta) error {
		close(in)
		<-release
		cancelled.Store(ctx.Err() != nil)
		return nil
	})
	b.publish(leak("1"))
	<-in
	b.stop()
	close(release)
	b.halt()
	w, err := Backlog(t.Context(), b.nc)
	if err != nil || w.Leak.Pending != 0 || w.Leak.InHand != 0 || cancelled.Load() {
		t.Fatalf("after the shutdown: %+v, %v, cancelled %v", w, err, cancelled.Load())
	}
}

func TestADeletedConsumerIsMadeAgain(t *testing.T) {
	b := newBench(t)
	var got taken
	b.run(got.take)
	b.publish(leak("1"))
	b.drained()
	for _, name := range []string{LeakConsumer, OtherConsumer} {
		if err := b.js.DeleteConsumer(t.Context(), Events, name); err != nil {
			t.Fatal(err)
		}
	}
	b.publish(leak("2"))
	b.publish(manual("3"))
	b.eventually("all three events", func() bool { return got.count() >= 3 })
}

// One event costs: the pull, the delivery and the confirmed acknowledgement; nothing else.
func TestRoundTripsOfOneEvent(t *testing.T) {
	b := newBench(t)
	var got taken
	b.run(got.take)
	b.publish(manual("warm too"))
	b.publish(leak("warm"))
	b.drained()
	worker := b.dial(Config{InProcess: b.provider()})
	b.halt()
	b.eventually("no pull of the first subscriber", func() bool { return b.waiting() == 0 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Subscriber{Conn: worker, Workers: 1, Log: zerolog.New(b.log)}.Run(ctx, got.take)
	}()
	b.eventually("two waiting pulls", func() bool { return b.waiting() == 2 })
	before := worker.Stats().OutMsgs
	const n = 5
	for i := range n {
		b.publish(leak(fmt.Sprint(i)))
	}
	b.eventually("all events", func() bool { return got.count() == 2+n })
	b.drained()
	b.eventually("two waiting pulls", func() bool { return b.waiting() == 2 })
	if sent := worker.Stats().OutMsgs - before; sent != 2*n {
		t.Errorf("%d events took %d messages to the server, want a pull and an acknowledgement each", n, sent)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func (b *bench) waiting() (n int) {
	b.Helper()
	for _, name := range []string{LeakConsumer, OtherConsumer} {
		c, err := b.js.Consumer(b.Context(), Events, name)
		if err != nil {
			b.Fatal(err)
		}
		n += c.CachedInfo().NumWaiting
	}
	return n
}

func TestOutcomes(t *testing.T) {
	b := newBench(t)
	start := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	follow, err := FollowOutcomes(ctx, b.nc, start)
	if err != nil {
		t.Fatal(err)
	}
	ok := events.Outcome{Rotation: "r1", Bundle: "shop.payments", Result: events.ResultRotated, Kind: events.KindLeak, Started: start.UTC(), Finished: start.UTC()}
	no := ok
	no.Rotation, no.Result, no.Reason, no.Remedy = "r2", events.ResultRefused, "sequence", "name an action"
	for _, o := range []events.Outcome{ok, ok, no, no} {
		before := b.nc.Stats().OutMsgs
		if err := b.pub.Outcome(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if n := b.nc.Stats().OutMsgs - before; o.Result == events.ResultRotated && n > 2 { // the follower may pull meanwhile
			t.Errorf("an outcome took %d messages", n)
		}
	}
	for _, want := range []string{"r1", "r2"} {
		select {
		case o := <-follow:
			if o.Rotation != want || o.Bundle != "shop.payments" {
				t.Fatalf("followed %+v, want %s", o, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("no outcome %s", want)
		}
	}
	cancel()
	for range follow { // must end
	}
	d := b.letters(1)[0]
	if d.Subject != "rotator.dead.v1.refused" || d.Reason != "refused" || d.Problem != "sequence" || d.Remedy != "name an action" || d.Bytes == 0 {
		t.Fatalf("the dead letter of a refusal: %+v", d)
	}
	info, err := b.js.Stream(t.Context(), Outcomes)
	if err != nil || info.CachedInfo().State.Msgs != 2 {
		t.Fatalf("outcomes were stored twice: %v", err)
	}
}

func TestSetupAgainIsQuietAndNamesWhatIsWrong(t *testing.T) {
	b := newBench(t)
	if err := Setup(t.Context(), b.nc, SetupConfig{}); err != nil {
		t.Fatalf("second Setup: %v", err)
	}
	s, err := b.js.Stream(t.Context(), Events)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Duplicates = time.Minute
	if _, err := b.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	err = Setup(t.Context(), b.nc, SetupConfig{})
	if err == nil || !strings.Contains(err.Error(), "duplicate window 1m0s") || !strings.Contains(err.Error(), "nats stream edit ROTATOR_EVENTS --dupe-window 24h") {
		t.Fatalf("Setup = %v", err)
	}
	if err := Setup(t.Context(), b.nc, SetupConfig{Replicas: 3}); err == nil || !strings.Contains(err.Error(), "replicas") {
		t.Fatalf("Setup with 3 replicas = %v", err)
	}
}

var _ nats.InProcessConnProvider = (*provider)(nil)
