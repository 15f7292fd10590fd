package journal

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestClock: a server on the same machine agrees; one that is two hours behind is found out.
func TestClock(t *testing.T) {
	s := open(t, single(t), 1)
	if offset, err := s.Clock(t.Context()); err != nil || offset != 0 {
		t.Errorf("the same clock is %v ahead, %v", offset, err)
	}
	nc := single(t)
	answer, err := json.Marshal(jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: Stream}, TimeStamp: time.Now().Add(-2 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Subscribe("other.API.STREAM.INFO."+Stream, func(m *nats.Msg) { _ = m.Respond(answer) }); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.NewWithAPIPrefix(nc, "other.API")
	if err != nil {
		t.Fatal(err)
	}
	offset, err := (&Store{nc: nc, js: js}).Clock(t.Context())
	if err != nil || (offset-2*time.Hour).Abs() > time.Minute {
		t.Errorf("%v ahead, %v, want two hours", offset, err)
	}
}
