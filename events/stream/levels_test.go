package stream

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openwhisk-rotator/rotator/events"
)

func (b *bench) levels() Levels {
	b.Helper()
	l, err := ReadLevels(b.Context(), b.nc)
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// The levels are what is there: the oldest message that waits counts, also behind and before ones that are handled.
func TestLevels(t *testing.T) {
	b := newBench(t)
	l := b.levels()
	if len(l.Fill) != 3 || l.Waiting[LeakConsumer] != 0 || l.Oldest[LeakConsumer] != 0 || l.Dead["unmatched"] != 0 || len(l.Dead) != len(Reasons())+1 {
		t.Errorf("of nothing: %+v", l)
	}
	var got heard
	b.subscribe(Subscriber{Taps: map[string]string{"security.aws": "aws"}}, func(ctx context.Context, e events.Event, m Meta) error {
		switch e.ID {
		case "waits":
			return errLater
		case "unmatched":
			return refusing{}
		}
		return got.take(ctx, e, m)
	})
	b.publish(leak("before"))
	waits := b.publish(leak("waits"))
	b.publish(leak("after"))
	b.publish(leak("unmatched"))
	b.publish(manual("other lane"))
	b.raw("rotator.events.v1.gh.manual", "{", nil)
	if _, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: deadPrefix + "of-a-later-version"}); err != nil {
		t.Fatal(err)
	}
	b.letters(3)
	b.eventually("the rest handled", func() bool {
		l = b.levels()
		return len(got.events()) == 3 && l.Waiting[LeakConsumer] == 1 && l.Waiting[OtherConsumer] == 0
	})
	age := time.Since(b.stored(Events, waits).Time)
	if d := age - l.Oldest[LeakConsumer]; l.Oldest[LeakConsumer] <= 0 || d < 0 || d > 10*time.Second || l.Oldest[OtherConsumer] != 0 {
		t.Errorf("the oldest waits for %v, want about %v: %+v", l.Oldest[LeakConsumer], age, l)
	}
	if l.Dead["unmatched"] != 1 || l.Dead["malformed"] != 1 || l.Dead["other"] != 1 || l.Dead["raw-secret"] != 0 {
		t.Errorf("dead letters: %v", l.Dead)
	}
	b.eventually("the mapped subject", func() bool {
		_, ok := b.levels().Waiting[newTap(Intake, "security.aws", "aws").consumer.Durable]
		return ok
	})
	if l = b.levels(); l.Fill[Events] <= 0 || l.Fill[Events] > 0.01 || len(l.Fill) != 4 {
		t.Errorf("fill: %v", l.Fill)
	}
}
