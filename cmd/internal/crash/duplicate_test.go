package crash

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// three starts three replicas and waits until the streams are there.
func (s *shop) three() jetstream.JetStream {
	for i := range 3 {
		s.spawn(s.t, s.dir, s.replica(fmt.Sprint("r", i), nil))
	}
	js, err := jetstream.New(s.conn)
	if err != nil {
		s.t.Fatal(err)
	}
	err = until(20*time.Second, "the consumers are there", func() bool {
		ctx, cancel := ask(5 * time.Second)
		defer cancel()
		_, err := js.Consumer(ctx, stream.Events, stream.OtherConsumer)
		return err == nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return js
}

// drained waits until every stored event was acknowledged, and returns how many there were.
func (s *shop) drained(js jetstream.JetStream) (stored uint64) {
	err := until(60*time.Second, "every event is acknowledged", func() bool {
		ctx, cancel := ask(5 * time.Second)
		defer cancel()
		left := 0
		for _, name := range []string{stream.LeakConsumer, stream.OtherConsumer} {
			c, err := js.Consumer(ctx, stream.Events, name)
			if err != nil {
				return false
			}
			i := c.CachedInfo()
			left += int(i.NumPending) + i.NumAckPending
		}
		st, err := js.Stream(ctx, stream.Events)
		if err != nil {
			return false
		}
		stored = st.CachedInfo().State.LastSeq
		return left == 0 && stored > 0
	})
	if err != nil {
		s.fail("P6: %v", err)
	}
	return stored
}

// TestThousandDeliveriesRotateOnce: one event is stored a thousand times - without the id by which the stream would
// recognise it - and three replicas share the deliveries.
func TestThousandDeliveriesRotateOnce(t *testing.T) {
	s := newParts(t, vaulttest.Run(t)).newShop(t)
	defer s.report()
	js := s.three()
	e := departure("e1", s.name)
	e.Source, e.Publisher, e.Time = "urn:crash", "test", time.Now().UTC()
	body, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 1000 {
		if _, err := js.PublishAsync(events.Subject("test", e.Kind), body); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	if err := s.finished(60*time.Second, 1); err != nil {
		s.fail("P6: %v", err)
	}
	if n := s.drained(js); n != 1000 {
		t.Errorf("%d events were stored, want 1000", n)
	}
	t.Logf("1000 deliveries worked off in %s", time.Since(began).Round(time.Millisecond))
	s.check(events.ResultRotated, 1)
}

// TestBurstRotatesTwiceAtMost: fifty different events for one bundle within a second. Those that come before the first
// rotation begins to mint are its causes; the others together are the causes of a second one.
func TestBurstRotatesTwiceAtMost(t *testing.T) {
	s := newParts(t, vaulttest.Run(t)).newShop(t)
	defer s.report()
	js := s.three()
	for i := range 50 {
		if err := s.publish(departure(fmt.Sprint("e", i), s.name)); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.drained(js); n != 50 {
		t.Errorf("%d events were stored, want 50", n)
	}
	if err := s.finished(60*time.Second, 1); err != nil {
		s.fail("P6: %v", err)
	}
	finals, err := s.finals()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, o := range finals {
		seen += len(o.Events)
	}
	if len(finals) > 2 || seen != 50 {
		t.Errorf("P6: %d rotations for 50 events, of which they name %d", len(finals), seen)
	}
	t.Logf("50 events, %d rotations", len(finals))
	s.check(events.ResultRotated, len(finals))
}
