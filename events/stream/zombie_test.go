package stream

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/openwhisk-rotator/rotator/events"
)

// A replica that was believed dead acknowledges a message that another one has in hand. The server takes that; so
// the event must be safe before anybody acknowledges, and the handler in hand must come to its end undisturbed.
func TestAZombiesAcknowledgementDisturbsNobody(t *testing.T) {
	b := newBench(t)
	b.publish(leak("1"))
	c, err := b.js.Consumer(t.Context(), Events, LeakConsumer)
	if err != nil {
		t.Fatal(err)
	}
	zombie, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.nc.Publish(zombie.Reply(), []byte("-NAK")); err != nil { // stands for the acknowledgement time running out
		t.Fatal(err)
	}
	in, release := make(chan events.Event, 1), make(chan struct{})
	var handled atomic.Int64
	b.run(func(_ context.Context, e events.Event, _ Meta) error {
		in <- e
		<-release
		handled.Add(1)
		return nil
	})
	if e := <-in; e.Key() != leak("1").Key() {
		t.Errorf("redelivered as %q", e.Key())
	}
	if err := zombie.DoubleAck(t.Context()); err != nil {
		t.Fatalf("the server refuses a zombie: %v; then the journal need not be the only truth", err)
	}
	close(release)
	b.eventually("the end of the handler", func() bool { return handled.Load() == 1 })
	b.drained()
	b.publish(leak("2"))
	b.eventually("the next event", func() bool { return handled.Load() == 2 })
	b.drained()
}
