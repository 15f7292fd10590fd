package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/adapt"
	"github.com/openwhisk-rotator/rotator/events/stream/ensure"
)

// Intake is the stream of mapped subjects that no other stream stores.
const Intake = "ROTATOR_INTAKE"

// strip takes out what a source puts at the top of each of its messages under the name of a secret, and which is none of ours: Slack's
// token is the same in all of them. The rest is as it was.
func strip(source string, body []byte) []byte {
	name := map[string]string{"slack": "token"}[source]
	var m map[string]json.RawMessage
	if name == "" || json.Unmarshal(body, &m) != nil || m[name] == nil {
		return body
	}
	delete(m, name)
	out, err := json.Marshal(m)
	if err != nil {
		return body
	}
	return out
}

// native reads a message in its source's own form. What is authentic and rotates nothing is no event, and no error. Beside a part that
// cannot be read there may be events.
func (in *intake) native(m jetstream.Msg, meta Meta, publisher, source string, log zerolog.Logger) ([]events.Event, error) {
	body, header := strip(source, m.Data()), m.Headers()
	if field, found := events.RawSecret(body); found {
		return nil, refusal{reason: string(events.ReasonRawSecret), field: field, problem: "looks like a raw secret and is not accepted", secret: true,
			remedy: "send this source to the HTTP edge (rotator intake), or use rotator report; then rotate this secret, the stream has seen it"}
	}
	if _, signed := in.signers[publisher]; signed { // no signature covers them, and some sources have the id of an event there
		header = nil
	}
	got, err := adapt.Message(source, adapt.Native{Header: header, Body: body, Received: meta.Stored.UTC()})
	switch {
	case errors.Is(err, adapt.ErrRaw):
		return nil, refusal{reason: string(events.ReasonRawSecret), field: "subject", problem: err.Error(), secret: true,
			remedy: "send this source to the HTTP edge (rotator intake), or use rotator report; then rotate what it has sent, the stream has seen it"}
	case errors.Is(err, adapt.ErrSource):
		return nil, refusal{reason: "unknown-source", field: "subject", problem: err.Error(), remedy: "publish on " + eventPrefix + "<publisher>.raw.<source> with the name of a source"}
	case err != nil:
		return nil, refusal{reason: string(events.ReasonMalformed), problem: err.Error(), remedy: "send the message as the source wrote it, headers included"}
	}
	for _, one := range got.Ignored {
		level := zerolog.InfoLevel
		if one.Alarm {
			level = zerolog.ErrorLevel
		}
		log.WithLevel(level).Str("source", source).Str("because", clean(one.Why)).Msg("a message rotates nothing")
	}
	for i := range got.Events {
		got.Events[i].Publisher = publisher
	}
	if unread := got.Err(); unread != nil {
		return got.Events, refusal{reason: string(events.ReasonMalformed), problem: unread.Error(), remedy: "what could be read was taken; look at the rest by hand"}
	}
	return got.Events, nil
}

// A tap is a subject of somebody else's that is read as it is.
type tap struct {
	origin
	consumer jetstream.ConsumerConfig
}

// taps finds the streams that store the mapped subjects.
func (s Subscriber) taps(ctx context.Context, js jetstream.JetStream) (out []tap, err error) {
	var homeless []string
	for _, subject := range slices.Sorted(maps.Keys(s.Taps)) {
		names, err := holders(ctx, js, subject)
		if err != nil {
			return nil, fmt.Errorf("finding the stream of %s: %w", subject, err)
		}
		for _, name := range names {
			out = append(out, newTap(name, subject, s.Taps[subject]))
		}
		if len(names) == 0 || slices.Contains(names, Intake) {
			homeless = append(homeless, subject)
		}
		if len(names) == 0 {
			out = append(out, newTap(Intake, subject, s.Taps[subject]))
		}
	}
	if len(homeless) == 0 {
		return out, nil
	}
	own := jetstream.StreamConfig{Name: Intake, Subjects: homeless, Description: "rotator: messages of sources, as they are", Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		Replicas: max(s.Replicas, 1), Duplicates: day, MaxAge: 30 * day, MaxBytes: 512 << 20, MaxMsgSize: maxMessage, Discard: jetstream.DiscardNew}
	return out, ensure.Stream(ctx, js, own, s.Log)
}

// holders names the streams that store a subject, waiting for JetStream until ctx ends.
func holders(ctx context.Context, js jetstream.JetStream, subject string) (names []string, err error) {
	for {
		names = nil
		list := js.StreamNames(ctx, jetstream.WithStreamListSubject(subject))
		for name := range list.Name() {
			names = append(names, name)
		}
		err = list.Err()
		if err == nil || ctx.Err() != nil || errors.Is(err, nats.ErrConnectionClosed) {
			return names, err
		}
		pauseFor(ctx, 300*time.Millisecond)
	}
}

// newTap starts at the next message of a stream that is not ours: its history is not news.
func newTap(stream, subject, source string) tap {
	sum := sha256.Sum256([]byte(subject))
	c := consumer(OtherConsumer)
	c.Durable, c.FilterSubject = "rotator-"+source+"-"+hex.EncodeToString(sum[:4]), subject
	if stream != Intake {
		c.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	return tap{origin: origin{stream: stream, source: source}, consumer: c}
}
