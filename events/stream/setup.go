package stream

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events/stream/ensure"
)

// Names of what Setup makes.
const (
	Events        = "ROTATOR_EVENTS"
	Outcomes      = "ROTATOR_OUTCOMES"
	Dead          = "ROTATOR_DEAD"
	LeakConsumer  = "rotator-leak"
	OtherConsumer = "rotator-other"
)

const (
	eventPrefix   = "rotator.events.v1."
	urgentPrefix  = "rotator.urgent.v1."
	outcomePrefix = "rotator.outcomes.v1."
	deadPrefix    = "rotator.dead.v1."
	ackWait       = 10 * time.Second // an event that a dead replica had been given is another one's after this time
	day           = 24 * time.Hour

	// maxMessage is far above every event, and every message of a source that is worth sending here: a flood of larger ones would fill a
	// stream within seconds. Larger ones go over HTTP.
	maxMessage = 256 << 10
	// maxLetters of one reason are kept, so that a flood of one kind does not push the others out.
	maxLetters = 1000
)

// SetupConfig says how the streams are kept.
type SetupConfig struct {
	Replicas int // 0 is 1
	Log      zerolog.Logger
}

// Setup creates the streams, consumers and buckets, or checks those that exist: a difference under which an event could be
// lost, missed or handled twice is an error that names the field and the remedy. It waits for JetStream until ctx ends.
func Setup(ctx context.Context, nc *nats.Conn, c SetupConfig) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("preparing JetStream: %w", err)
	}
	for _, s := range streams(max(c.Replicas, 1)) {
		if err := ensure.Stream(ctx, js, s, c.Log); err != nil {
			return err
		}
	}
	for _, name := range []string{LeakConsumer, OtherConsumer} {
		if err := ensure.Consumer(ctx, js, Events, consumer(name), c.Log); err != nil {
			return err
		}
	}
	// The buckets of the HTTP edge: on a machine of its own it has no right to make anything.
	for bucket, age := range map[string]time.Duration{SeenBucket: 30 * day, PeopleBucket: 0} {
		if _, err := OpenStore(ctx, nc, bucket, age, c.Replicas, c.Log); err != nil {
			return err
		}
	}
	return nil
}

// streams returns the three configurations. ROTATOR_EVENTS stores leaks under a subject of their own, because a
// consumer's filter cannot say "everything but leaks": so the other lane gets all the rest, unknown kinds included,
// and nothing is ignored. Its messages can be deleted, one by one, because a secret in the clear must not stay.
func streams(replicas int) []jetstream.StreamConfig {
	base := jetstream.StreamConfig{Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Replicas: replicas, Duplicates: day, DenyPurge: true}
	ev, out, dead := base, base, base
	ev.Name, ev.Subjects, ev.Description = Events, []string{eventPrefix + ">"}, "rotator: events from publishers"
	ev.MaxAge, ev.MaxBytes, ev.MaxMsgSize, ev.Discard = 30*day, 512<<20, maxMessage, jetstream.DiscardNew
	ev.SubjectTransform = &jetstream.SubjectTransformConfig{Source: eventPrefix + "*.leak", Destination: urgentPrefix + "{{wildcard(1)}}.leak"}
	// Outcomes and dead letters drop their oldest when full: a full archive must not stop the work.
	out.Name, out.Subjects, out.Description = Outcomes, []string{outcomePrefix + ">"}, "rotator: what became of events"
	out.MaxAge, out.MaxBytes, out.Discard, out.DenyDelete = 90*day, 256<<20, jetstream.DiscardOld, true
	dead.Name, dead.Subjects, dead.Description = Dead, []string{deadPrefix + ">"}, "rotator: refused events"
	dead.MaxAge, dead.MaxBytes, dead.MaxMsgsPerSubject, dead.Discard, dead.DenyDelete = 90*day, 256<<20, maxLetters, jetstream.DiscardOld, true
	return []jetstream.StreamConfig{ev, out, dead}
}

func consumer(name string) jetstream.ConsumerConfig {
	filter := urgentPrefix + ">"
	if name == OtherConsumer {
		filter = eventPrefix + ">"
	}
	return jetstream.ConsumerConfig{
		Durable: name, FilterSubject: filter, DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: ackWait, MaxDeliver: -1, MaxAckPending: 10_000,
	}
}

// published returns the subject under which a publisher sent a message that is stored under subject.
func published(subject string) string {
	if rest, ok := strings.CutPrefix(subject, urgentPrefix); ok {
		return eventPrefix + rest
	}
	return subject
}
