package rotatortest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/events/stream/embedded"
)

type unmatched struct{}

func (unmatched) Error() string                { return "no bundle matches" }
func (unmatched) DeadLetter() (string, string) { return "unmatched", "name the bundle" }

// TestADeadLetterEndsTheWaiting: an event that is refused has no outcome; whoever waits for it hears why, at once, and nobody else does.
func TestADeadLetterEndsTheWaiting(t *testing.T) {
	server, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	nc, err := stream.Connect(t.Context(), stream.Config{InProcess: server, Name: "test", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if err := stream.Setup(t.Context(), nc, stream.SetupConfig{Replicas: 1, Log: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sub := stream.Subscriber{Conn: nc, Workers: 2, Replicas: 1, Log: zerolog.Nop()}
	ended := make(chan error, 1)
	go func() {
		ended <- sub.Run(ctx, func(ctx context.Context, e events.Event, _ stream.Meta) error {
			if e.ID == "good" {
				return stream.NewPublisher(nc).Outcome(ctx, events.Outcome{Bundle: "shop", Rotation: "r1", Result: events.ResultRotated, Events: []string{e.Source + " " + e.ID}, Started: time.Now(), Finished: time.Now()})
			}
			return unmatched{}
		})
	}()
	s := &Stack{t: t, conn: nc}
	leak := func(id, bundle string, more map[string]any) []byte {
		data := map[string]any{"credential": map[string]any{"name": bundle}, "severity": "high", "reason": "manual_report", "upstream": map[string]any{"system": "test"}}
		for k, v := range more {
			data[k] = v
		}
		event, _ := json.Marshal(map[string]any{"specversion": "1.0", "id": id, "source": "urn:test", "type": "rotator.credential.leaked.v1", "time": time.Now().UTC().Format(time.RFC3339), "data": data})
		return event
	}
	for id, tc := range map[string]struct {
		event []byte
		want  string
	}{
		"nobody":  {leak("nobody", "nobody", nil), "unmatched: "},
		"invalid": {leak("invalid", "shop", map[string]any{"severity": "sever"}), "severity"},
		"secret":  {leak("secret", "shop", map[string]any{"credential": map[string]any{"name": "shop", "value": "hunter2-canary"}}), "value"}, // its letter has no body
	} {
		if err := s.Publish(ctx, "rotator.events.v1.test.leak", tc.event); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Await(ctx, "shop", "urn:test "+id); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "does not take the event") || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "canary") {
			t.Fatalf("%s: %v", id, err)
		}
	}
	if err := s.Publish(ctx, "rotator.events.v1.test.leak", leak("good", "shop", nil)); err != nil {
		t.Fatal(err)
	}
	if o, err := s.Await(ctx, "shop", "urn:test good"); err != nil || o.Result != "rotated" {
		t.Errorf("after three dead letters of others: %+v, %v", o, err)
	}
	cancel()
	<-ended
}
