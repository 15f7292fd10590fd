package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openwhisk-rotator/rotator/events"
)

// Levels are how full the streams are and how much waits in them, for metrics.
type Levels struct {
	Fill    map[string]float64 // by stream: of what it may hold, from 0 to 1
	Waiting map[string]int     // by consumer: messages that are not handled yet
	Oldest  map[string]time.Duration
	Dead    map[string]int // dead letters that are kept, by reason; of unknown reasons under "other"
}

// Reasons are why there are dead letters.
func Reasons() []string {
	return []string{
		string(events.ReasonRawSecret), string(events.ReasonTooLarge), string(events.ReasonMalformed), string(events.ReasonNotCloudEvent), string(events.ReasonPublisherMismatch),
		string(events.ReasonUnknownType), string(events.ReasonUnknownField), string(events.ReasonMissingField), string(events.ReasonInvalidField), string(events.ReasonFuture),
		"unmatched", events.ResultRefused, "not-understood", "unknown-source", "unsigned", "bad-signature", "invalid",
	}
}

// ReadLevels asks for the levels of the streams that exist, and of the consumers of those that are handled.
func ReadLevels(ctx context.Context, nc *nats.Conn) (Levels, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return Levels{}, fmt.Errorf("preparing JetStream: %w", err)
	}
	l := Levels{Fill: make(map[string]float64), Waiting: make(map[string]int), Oldest: make(map[string]time.Duration), Dead: make(map[string]int)}
	for _, name := range []string{Events, Intake, Outcomes, Dead} {
		s, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return Levels{}, fmt.Errorf("looking up stream %s: %w", name, err)
		}
		l.Fill[name] = fill(s.CachedInfo())
		switch name {
		case Events, Intake:
			err = l.consumers(ctx, s)
		case Dead:
			err = l.letters(ctx, s)
		}
		if err != nil {
			return Levels{}, fmt.Errorf("reading stream %s: %w", name, err)
		}
	}
	return l, nil
}

// consumers adds the ones of ours; what reads without acknowledging has no name of ours.
func (l Levels) consumers(ctx context.Context, s jetstream.Stream) error {
	list := s.ListConsumers(ctx)
	var all []*jetstream.ConsumerInfo
	for c := range list.Info() {
		if strings.HasPrefix(c.Config.Durable, "rotator-") {
			all = append(all, c)
		}
	}
	if err := list.Err(); err != nil {
		return err
	}
	for _, c := range all {
		l.Waiting[c.Name], l.Oldest[c.Name] = int(c.NumPending)+c.NumAckPending, 0
		if l.Waiting[c.Name] == 0 {
			continue
		}
		m, err := s.GetMsg(ctx, c.AckFloor.Stream+1, jetstream.WithGetMsgSubject(c.Config.FilterSubject))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound): // taken in the meantime
		case err != nil:
			return err
		default:
			l.Oldest[c.Name] = max(time.Since(m.Time), 0)
		}
	}
	return nil
}

// letters counts dead letters, with a zero for every reason of which there are none.
func (l Levels) letters(ctx context.Context, s jetstream.Stream) error {
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(deadPrefix+">"))
	if err != nil {
		return err
	}
	known := Reasons()
	for _, reason := range append(known, "other") {
		l.Dead[reason] = 0
	}
	for subject, n := range info.State.Subjects {
		reason := strings.TrimPrefix(subject, deadPrefix)
		if !slices.Contains(known, reason) {
			reason = "other"
		}
		l.Dead[reason] += int(n)
	}
	return nil
}
