package ensure

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events/stream/embedded"
)

func wanted() jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Storage: jetstream.FileStorage, Replicas: 1, Discard: jetstream.DiscardNew,
		Duplicates: time.Hour, DenyPurge: true, DenyDelete: true}
}

func TestEveryDifferenceThatMattersIsNamed(t *testing.T) {
	if err := compareStream(wanted(), wanted()); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*jetstream.StreamConfig){
		"storage":          func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"retention":        func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy },
		"subjects":         func(c *jetstream.StreamConfig) { c.Subjects = []string{"s.*"} },
		"replicas":         func(c *jetstream.StreamConfig) { c.Replicas = 0 },
		"discard policy":   func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"duplicate window": func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute },
		"direct get":       func(c *jetstream.StreamConfig) { c.AllowDirect = true },
		"deny purge":       func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"deny delete":      func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"subject transform": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "a", Destination: "b"}
		},
		"sealed":           func(c *jetstream.StreamConfig) { c.Sealed = true },
		"acknowledgements": func(c *jetstream.StreamConfig) { c.NoAck = true },
	} {
		have := wanted()
		change(&have)
		bad, ok := errors.AsType[*MismatchError](compareStream(wanted(), have))
		if !ok || bad.Field != field || bad.Remedy == "" || bad.Have == bad.Want {
			t.Errorf("%s: %v", field, bad)
		}
	}
	tuned := wanted()
	tuned.MaxAge, tuned.MaxBytes, tuned.Replicas, tuned.Duplicates = time.Hour, 1, 5, 2*time.Hour
	if err := compareStream(wanted(), tuned); err != nil {
		t.Errorf("an operator may not tune: %v", err)
	}
}

func TestConsumersAreComparedToo(t *testing.T) {
	want := jetstream.ConsumerConfig{Durable: "c", FilterSubject: "s.>", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: -1}
	if err := compareConsumer("S", want, want); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	for field, change := range map[string]func(*jetstream.ConsumerConfig){
		"filter":         func(c *jetstream.ConsumerConfig) { c.FilterSubject = "s.a" },
		"ack policy":     func(c *jetstream.ConsumerConfig) { c.AckPolicy = jetstream.AckNonePolicy },
		"delivery":       func(c *jetstream.ConsumerConfig) { c.DeliverSubject = "d" },
		"max deliver":    func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 3 },
		"deliver policy": func(c *jetstream.ConsumerConfig) { c.DeliverPolicy = jetstream.DeliverNewPolicy },
		"backoff":        func(c *jetstream.ConsumerConfig) { c.BackOff = []time.Duration{time.Second} },
		"headers only":   func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true },
		"pause until":    func(c *jetstream.ConsumerConfig) { c.PauseUntil = &later },
	} {
		have := want
		change(&have)
		if bad, ok := errors.AsType[*MismatchError](compareConsumer("S", want, have)); !ok || bad.Field != field {
			t.Errorf("%s: %v", field, bad)
		}
	}
}

// What waiting cannot cure must be said at once.
func TestHopelessIsNotWaitedFor(t *testing.T) {
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), MaxStore: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	three, large := wanted(), wanted()
	three.Replicas, large.MaxBytes = 3, 1<<30
	for _, c := range []jetstream.StreamConfig{three, large} {
		if err := Stream(t.Context(), js, c, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "preparing stream S") {
			t.Errorf("Stream = %v", err)
		}
	}
	if !transient(fmt.Errorf("x: %w", jetstream.ErrConsumerDoesNotExist)) || !transient(fmt.Errorf("x: %w", nats.ErrNoResponders)) || transient(errors.New("x")) {
		t.Error("transient does not tell errors apart")
	}
}
