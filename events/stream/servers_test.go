package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream/embedded"
)

// A bench is one server with the streams, and a connection to it.
type bench struct {
	*testing.T
	nc   *nats.Conn
	js   jetstream.JetStream
	log  *safeBuffer
	pub  *Publisher
	stop context.CancelFunc
	done chan error
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	b := &bench{T: t, log: &safeBuffer{}}
	b.nc = b.dial(Config{InProcess: s})
	if err := Setup(t.Context(), b.nc, SetupConfig{}); err != nil {
		t.Fatal(err)
	}
	if b.js, err = jetstream.New(b.nc); err != nil {
		t.Fatal(err)
	}
	b.pub = NewPublisher(b.nc)
	return b
}

func (b *bench) dial(c Config) *nats.Conn {
	b.Helper()
	c.Log = zerolog.New(b.log)
	nc, err := Connect(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	return nc
}

// run starts a subscriber that is stopped at the end of the test.
func (b *bench) run(h Handler, publishers ...string) {
	b.Helper()
	b.subscribe(Subscriber{Publishers: publishers}, h)
}

func (b *bench) subscribe(s Subscriber, h Handler) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b.stop, b.done = cancel, make(chan error, 1)
	s.Conn, s.Workers, s.Log = b.nc, 2, zerolog.New(b.log)
	go func() { b.done <- s.Run(ctx, h) }()
	b.Cleanup(func() { cancel(); b.halt() })
}

// halt ends the subscriber; it may be called again.
func (b *bench) halt() {
	b.Helper()
	b.stop()
	select {
	case err := <-b.done:
		if err != nil {
			b.Errorf("Run: %v", err)
		}
		b.done <- nil
	case <-time.After(30 * time.Second):
		b.Fatal("Run does not end")
	}
}

func (b *bench) publish(e events.Event) uint64 {
	b.Helper()
	seq, _, err := b.pub.Event(b.Context(), e)
	if err != nil {
		b.Fatal(err)
	}
	return seq
}

// raw publishes bytes as a foreign publisher would.
func (b *bench) raw(subject, body string, header nats.Header) {
	b.Helper()
	if _, err := b.js.PublishMsg(b.Context(), &nats.Msg{Subject: subject, Data: []byte(body), Header: header}); err != nil {
		b.Fatal(err)
	}
}

// letters waits for n dead letters.
func (b *bench) letters(n int) (all []DeadLetter) {
	b.Helper()
	b.eventually(fmt.Sprintf("%d dead letters", n), func() bool {
		var err error
		if all, err = DeadLetters(b.Context(), b.nc, n+10); err != nil {
			b.Fatal(err)
		}
		return len(all) >= n
	})
	if len(all) != n {
		b.Fatalf("%d dead letters, want %d", len(all), n)
	}
	return all
}

func (b *bench) drained() {
	b.Helper()
	b.eventually("an empty backlog", func() bool {
		w, err := Backlog(b.Context(), b.nc)
		if err != nil {
			b.Fatal(err)
		}
		return w.Leak.Pending == 0 && w.Leak.InHand == 0 && w.Other.Pending == 0 && w.Other.InHand == 0
	})
}

func (b *bench) eventually(what string, ok func() bool) {
	b.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			b.Fatalf("there was never %s; log:\n%s", what, b.log)
		}
	}
}

func manual(id string) events.Event {
	return events.Event{ID: id, Source: "urn:test:bench", Kind: events.KindManual, Time: time.Now().UTC(), Publisher: "ops",
		Manual: &events.Manual{Credential: events.Credential{Name: "checkout"}, Reason: "requested", Severity: "high", RequestedBy: person()}}
}

func leak(id string) events.Event {
	return events.Event{ID: id, Source: "urn:test:bench", Kind: events.KindLeak, Time: time.Now().UTC(), Publisher: "gh",
		Leak: &events.Leak{Credential: events.Credential{Name: "checkout"}, Severity: "critical", Reason: "committed", Upstream: events.Upstream{System: "test", ID: id}}}
}

func person() events.Person {
	return events.Person{Identifiers: []events.Identifier{{Format: "email", Email: "ann@example.com"}}}
}

var errLater = errors.New("not yet")

// A taken is a handler that remembers what it took.
type taken struct {
	mu   sync.Mutex
	keys []string
}

func (t *taken) take(_ context.Context, e events.Event, _ Meta) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = append(t.keys, e.Key())
	return nil
}

func (t *taken) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.keys)
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
