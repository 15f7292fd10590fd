package rotatortest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// An Outcome is what became of an event for one bundle.
type Outcome struct {
	Bundle        string   `json:"bundle"`
	Rotation      string   `json:"rotation"`
	Result        string   `json:"result"` // rotated, rolled-back, contained, refused or quarantined
	Events        []string `json:"events"`
	KVVersionFrom int      `json:"kv_version_from"`
	KVVersionTo   int      `json:"kv_version_to"`
	Reason        string   `json:"reason"`
}

// Publish stores an event - a CloudEvent in structured JSON - in the rotator's stream. The subject is
// rotator.events.v1.<publisher>.{leak,offboarding,expiring,manual}.
func (s *Stack) Publish(ctx context.Context, subject string, event []byte) error {
	js, err := jetstream.New(s.conn)
	if err != nil {
		return fmt.Errorf("publishing an event: %w", err)
	}
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: event})
	if err != nil {
		return fmt.Errorf("publishing an event on %s: %w", subject, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places == nil {
		s.places = make(map[string]string)
	}
	s.places[nameOf(event)] = strconv.FormatUint(ack.Sequence, 10)
	return nil
}

// nameOf is "SOURCE ID" of an event.
func nameOf(event []byte) string {
	var e struct{ Source, ID string }
	_ = json.Unmarshal(event, &e) // no event has no name
	return e.Source + " " + e.ID
}

// Leak publishes that the credentials of a bundle have leaked, and waits for the outcome.
func (s *Stack) Leak(ctx context.Context, bundle string) (Outcome, error) {
	id := fmt.Sprintf("%s-%d", bundle, time.Now().UnixNano())
	event, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "urn:rotatortest", "type": "rotator.credential.leaked.v1", "time": time.Now().UTC().Format(time.RFC3339),
		"data": map[string]any{"credential": map[string]any{"name": bundle}, "severity": "high", "reason": "manual_report", "upstream": map[string]any{"system": "rotatortest"}},
	})
	if err != nil {
		return Outcome{}, err
	}
	if err := s.Publish(ctx, "rotator.events.v1.rotatortest.leak", event); err != nil {
		return Outcome{}, err
	}
	return s.Await(ctx, bundle, "urn:rotatortest "+id)
}

// Await waits for the outcome that ends the rotation of a bundle for an event, which is named by its source and id: "SOURCE ID".
// The outcome may be older than the call. An event that the rotator does not take becomes a dead letter, and will have no outcome:
// that is an error with the rotator's reason, at once.
func (s *Stack) Await(ctx context.Context, bundle, event string) (Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		outcome Outcome
		err     error
	}
	ends := make(chan end, 2)
	go func() {
		o, err := s.outcome(ctx, bundle, event)
		ends <- end{o, err}
	}()
	go func() { ends <- end{err: s.refused(ctx, event)} }()
	first := <-ends
	if first.err != nil {
		return Outcome{}, fmt.Errorf("waiting for the outcome of %s for bundle %s: %w", event, bundle, first.err)
	}
	return first.outcome, nil
}

// outcome waits for one that ends a rotation.
func (s *Stack) outcome(ctx context.Context, bundle, event string) (o Outcome, err error) {
	err = s.read(ctx, "ROTATOR_OUTCOMES", func(m jetstream.Msg) (bool, error) {
		var cloud struct{ Data Outcome }
		err := json.Unmarshal(m.Data(), &cloud)
		o = cloud.Data
		return o.Bundle == bundle && o.ends() && o.names(event), err
	})
	return o, err
}

// refused waits for the dead letter of an event; it returns nothing but errors. A letter may have lost its body, but not the place
// that the event had in its stream.
func (s *Stack) refused(ctx context.Context, event string) error {
	s.mu.Lock()
	place := s.places[event]
	s.mu.Unlock()
	var h nats.Header
	err := s.read(ctx, "ROTATOR_DEAD", func(m jetstream.Msg) (bool, error) {
		h = m.Headers()
		return nameOf(m.Data()) == event || place != "" && h.Get("Rotator-Stream-Seq") == place, nil
	})
	if err != nil {
		return err
	}
	return fmt.Errorf("the rotator does not take the event: %s: %s %s (%s)", h.Get("Rotator-Reason"), h.Get("Rotator-Field"), h.Get("Rotator-Problem"), h.Get("Rotator-Remedy"))
}

// read goes through a stream until found says so.
func (s *Stack) read(ctx context.Context, stream string, found func(jetstream.Msg) (bool, error)) error {
	js, err := jetstream.New(s.conn)
	if err != nil {
		return err
	}
	c, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return err
	}
	messages, err := c.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		if ok, err := found(m); ok || err != nil {
			return err
		}
	}
}

func (o Outcome) ends() bool {
	switch o.Result {
	case "rotated", "rolled-back", "contained", "refused", "quarantined":
		return true
	}
	return false
}

func (o Outcome) names(event string) bool {
	for _, e := range o.Events {
		if e == event {
			return true
		}
	}
	return false
}

// VaultAPI makes one call to Vault as root: seed secrets, look at them. body and out may be nil.
func (s *Stack) VaultAPI(ctx context.Context, method, path string, body, out any) error {
	return request(ctx, method, s.Vault+"/v1/"+path, body, out, func(r *http.Request) { r.Header.Set("X-Vault-Token", s.VaultToken) })
}

// OpenWhiskAPI makes one call to the OpenWhisk host in the namespace guest, for example PUT "actions/shop/checkout".
func (s *Stack) OpenWhiskAPI(ctx context.Context, method, path string, body, out any) error {
	user, password, _ := strings.Cut(OpenWhiskKey, ":")
	return request(ctx, method, s.OpenWhisk+"/api/v1/namespaces/guest/"+path, body, out, func(r *http.Request) { r.SetBasicAuth(user, password) })
}

// Stop ends a replica of the rotator as an orchestrator does: SIGTERM, and SIGKILL after grace. It fails when the replica had
// to be killed or ended with an error.
func (s *Stack) Stop(ctx context.Context, replica int, grace time.Duration) error {
	c := s.rotators[replica]
	if err := c.Stop(ctx, &grace); err != nil {
		return fmt.Errorf("stopping replica %d: %w", replica, err)
	}
	state, err := c.State(ctx)
	if err != nil {
		return fmt.Errorf("stopping replica %d: %w", replica, err)
	}
	if state.ExitCode != 0 {
		return fmt.Errorf("stopping replica %d: it ended with code %d%s", replica, state.ExitCode, said(c))
	}
	return nil
}

// Restart starts a stopped replica again. It does not wait until it is ready.
func (s *Stack) Restart(ctx context.Context, replica int) error {
	if err := s.rotators[replica].Start(ctx); err != nil {
		return fmt.Errorf("starting replica %d: %w", replica, err)
	}
	return nil
}

// Logs returns what a replica has logged so far.
func (s *Stack) Logs(replica int) string { return said(s.rotators[replica]) }

func request(ctx context.Context, method, url string, body, out any, sign func(*http.Request)) error {
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, payload)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	sign(r)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return errors.New(method + " " + url + ": " + resp.Status)
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	return json.Unmarshal(answer, out)
}
