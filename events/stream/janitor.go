package stream

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// A stream that is fuller than high is emptied until it is below low. Full it would refuse everybody's events, because of one publisher.
const (
	high, low = 0.75, 0.5
	tidyEvery = 10 * time.Second
	rest      = 6  // of that, when there was nothing to delete
	infoEvery = 20 // deletions
)

// A janitor makes room in the streams of ours that refuse new messages when they are full: it deletes the oldest ones that every
// consumer has acknowledged, and never any other. Every replica may have one.
type janitor struct {
	js    jetstream.JetStream
	rooms map[string][]string // stream -> the consumers that read it
	log   zerolog.Logger
	idle  map[string]time.Time // when there was nothing to delete
}

// run looks every so often until ctx ends.
func (j *janitor) run(ctx context.Context, every time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		for stream, consumers := range j.rooms {
			if time.Since(j.idle[stream]) < rest*every {
				continue
			}
			if err := j.tidy(ctx, stream, consumers); err != nil && ctx.Err() == nil {
				j.log.Debug().AnErr("reason", err).Str("stream", stream).Msg("making room in a stream; trying again")
			}
		}
	}
}

// tidy makes room in one stream if there is need.
func (j *janitor) tidy(ctx context.Context, stream string, consumers []string) error {
	s, err := j.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("looking up stream %s: %w", stream, err)
	}
	before := fill(s.CachedInfo())
	if before <= high {
		return nil
	}
	marks, err := j.marks(ctx, stream, consumers)
	if err != nil {
		return err
	}
	n, err := j.empty(ctx, s, marks)
	after := before
	if info, ierr := s.Info(ctx); ierr == nil {
		after = fill(info)
	}
	log := j.log.With().Str("stream", stream).Str("full", percent(before)).Str("now", percent(after)).Int("deleted", n).Logger()
	switch {
	case n > 0:
		log.Warn().Msg("a stream was filling up; its oldest handled messages were deleted. Who publishes so much?")
	case after > high:
		j.idle[stream] = time.Now()
		log.Error().AnErr("reason", err).Msg("a stream is filling up, and nothing in it is handled yet; a full one refuses new messages. See: rotator status")
	}
	return nil
}

func percent(f float64) string { return fmt.Sprintf("%.0f%%", 100*f) }

// fill is how much of what it may hold a stream holds, from 0 to 1.
func fill(i *jetstream.StreamInfo) (f float64) {
	if i.Config.MaxBytes > 0 {
		f = float64(i.State.Bytes) / float64(i.Config.MaxBytes)
	}
	if i.Config.MaxMsgs > 0 {
		f = max(f, float64(i.State.Msgs)/float64(i.Config.MaxMsgs))
	}
	return f
}

// A mark is up to where one consumer has acknowledged everything that it reads.
type mark struct {
	filters []string
	floor   uint64
}

// handled reports whether a message has readers, and all of them have acknowledged it.
func handled(marks []mark, subject string, seq uint64) (read bool) {
	for _, m := range marks {
		for _, filter := range m.filters {
			if !covers(filter, subject) {
				continue
			}
			if seq > m.floor {
				return false
			}
			read = true
		}
	}
	return read
}

// covers reports whether a subject with wildcards has a subject in it.
func covers(filter, subject string) bool {
	have := strings.Split(subject, ".")
	want := strings.Split(filter, ".")
	for i, w := range want {
		if w == ">" {
			return len(have) > i
		}
		if i >= len(have) || w != "*" && w != have[i] {
			return false
		}
	}
	return len(have) == len(want)
}

// marks asks every consumer how far it is.
func (j *janitor) marks(ctx context.Context, stream string, consumers []string) (marks []mark, err error) {
	for _, name := range consumers {
		c, err := j.js.Consumer(ctx, stream, name)
		if err != nil {
			return nil, fmt.Errorf("looking up consumer %s: %w", name, err)
		}
		i := c.CachedInfo()
		m := mark{filters: i.Config.FilterSubjects, floor: i.AckFloor.Stream}
		if i.Config.FilterSubject != "" {
			m.filters = append(m.filters, i.Config.FilterSubject)
		}
		marks = append(marks, m)
	}
	return marks, nil
}

// empty takes the oldest handled messages out until there is room, and returns how many.
func (j *janitor) empty(ctx context.Context, s jetstream.Stream, marks []mark) (n int, err error) {
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{HeadersOnly: true, InactiveThreshold: leftBehind})
	if err != nil {
		return 0, err
	}
	it, err := c.Messages()
	if err != nil {
		return 0, err
	}
	defer it.Stop()
	var last uint64
	for _, m := range marks {
		last = max(last, m.floor)
	}
	for {
		m, err := next(ctx, it)
		if err != nil {
			return n, err
		}
		md, err := m.Metadata()
		if err != nil {
			return n, err
		}
		if md.Sequence.Stream > last {
			return n, nil
		}
		if handled(marks, m.Subject(), md.Sequence.Stream) {
			if err := s.DeleteMsg(ctx, md.Sequence.Stream); err != nil { // gone already? Then another replica is at work: let it
				return n, err
			}
			if n++; n%infoEvery == 0 {
				if info, err := s.Info(ctx); err != nil || fill(info) < low {
					return n, err
				}
			}
		}
		if md.NumPending == 0 {
			return n, nil
		}
	}
}

func next(ctx context.Context, it jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, confirmTime)
	defer cancel()
	return it.Next(jetstream.NextContext(ctx))
}
