package stream

import (
	"context"
	"encoding/base64"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
)

func sample(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile("../adapt/testdata/messages/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// heard keeps whole events.
type heard struct {
	mu  sync.Mutex
	all []events.Event
}

func (h *heard) take(_ context.Context, e events.Event, _ Meta) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, e)
	return nil
}

func (h *heard) events() []events.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

func TestASourcesOwnMessage(t *testing.T) {
	b := newBench(t)
	var got heard
	b.run(got.take)
	b.raw("rotator.events.v1.ci.raw.github", sample(t, "github-secret_scanning_alert-reopened-1"), nats.Header{"X-GitHub-Event": {"secret_scanning_alert"}, "X-GitHub-Delivery": {"d-1"}})
	b.drained()
	all := got.events()
	if len(all) != 1 || all[0].Publisher != "ci" || all[0].ID != "d-1" || all[0].Kind != events.KindLeak {
		t.Fatalf("%+v", all)
	}
	b.raw("rotator.events.v1.okta.raw.okta", sample(t, "okta-eventhook-envelope-2"), nil) // somebody is activated
	b.drained()
	if n := len(got.events()); n != 1 {
		t.Fatalf("%d events", n)
	}
	if !strings.Contains(b.log.String(), "rotates nothing") {
		t.Error("the log does not say why nothing is rotated")
	}
}

// Slack puts its verification token into every message.
func TestSlacksToken(t *testing.T) {
	b := newBench(t)
	var got heard
	b.run(got.take)
	b.raw("rotator.events.v1.hr.raw.slack", `{"token":"xyzz0WbapA4vBCDEFasx0q6G","team_id":"T","event_id":"Ev1","event_time":1700000000,"type":"event_callback",
		"event":{"type":"user_change","user":{"id":"U1","deleted":true,"profile":{"email":"ann@example.com"}}}}`, nil)
	b.drained()
	all := got.events()
	if len(all) != 1 || all[0].ID != "Ev1" || all[0].Offboarding == nil {
		t.Fatalf("%+v\n%s", all, b.log)
	}
}

// Every event of a message is taken before the message is acknowledged; one that can never be taken does not stop the others.
func TestSeveralEventsInOneMessage(t *testing.T) {
	b := newBench(t)
	var got heard
	failed := false
	b.run(func(ctx context.Context, e events.Event, m Meta) error {
		switch {
		case strings.HasSuffix(e.ID, ":AKIAFIRST"):
			return unwanted{}
		case strings.HasSuffix(e.ID, ":AKIASECOND") && !failed:
			failed = true
			return errLater
		}
		return got.take(ctx, e, m)
	})
	b.raw("rotator.events.v1.aws.raw.aws", `{"id":"e-1","source":"aws.health","account":"1","detail":{"service":"RISK","eventTypeCode":"AWS_RISK_CREDENTIALS_EXPOSED","startTime":"Sat, 05 Jun 2016 15:10:09 GMT",
		"affectedEntities":[{"entityValue":"AKIAFIRST"},{"entityValue":"AKIASECOND"},{"entityValue":"AKIATHIRD"}]}}`, nil)
	d := b.letters(1)[0]
	if d.Reason != "unwanted" || d.OriginalSubject != "rotator.events.v1.aws.raw.aws" {
		t.Fatalf("%+v", d)
	}
	b.drained()
	var ids []string
	for _, e := range got.events() {
		ids = append(ids, e.ID)
	}
	if !slices.Equal(ids, []string{"e-1:AKIASECOND", "e-1:AKIATHIRD"}) {
		t.Fatal(ids)
	}
}

type unwanted struct{}

func (unwanted) Error() string                       { return "nobody wants it" }
func (unwanted) DeadLetter() (reason, remedy string) { return "unwanted", "do not send it" }

func TestNativeMessagesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ subject, body, reason string }{
		"a source with raw values":    {"rotator.events.v1.ci.raw.trufflehog", `{"Raw":"` + canary + `"}`, "raw-secret"},
		"the same without any":        {"rotator.events.v1.ci.raw.github-partner", `[]`, "raw-secret"},
		"a raw value where none was":  {"rotator.events.v1.ci.raw.github", `{"action":"created","alert":{"secret":"` + canary + `"}}`, "raw-secret"},
		"a console's test message":    {"rotator.events.v1.ci.raw.gitguardian", `{"author":"x","matches":[{"match":"` + canary + `"}]}`, "raw-secret"},
		"inside a form":               {"rotator.events.v1.ci.raw.github", "payload=" + url.QueryEscape(`{"alert":{"secret":"`+canary+`"}}`), "raw-secret"},
		"inside a push":               {"rotator.events.v1.ci.raw.google", `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"type":"x","password":"`+canary+`"}`)) + `"}}`, "raw-secret"},
		"of a publisher not listed":   {"rotator.events.v1.else.raw.github", `{"alert":{"secret":"` + canary + `"}}`, "publisher-mismatch"},
		"of Slack, and deeper":        {"rotator.events.v1.ci.raw.slack", `{"token":"x","event":{"token":"` + canary + `"}}`, "raw-secret"},
		"Slack's own token":           {"rotator.events.v1.ci.raw.slack", `{"token":"x","what":1}`, "malformed"},
		"an unknown source":           {"rotator.events.v1.ci.raw.nobody", `{}`, "unknown-source"},
		"another shape":               {"rotator.events.v1.ci.raw.github", `{}`, "malformed"},
		"no JSON":                     {"rotator.events.v1.ci.raw.github", `payload=%7B%7D`, "malformed"},
		"a publisher that is not one": {"rotator.events.v1.else.raw.github", `{}`, "publisher-mismatch"},
		"too many tokens":             {"rotator.events.v1.ci.raw.github.x", `{}`, "not-cloudevent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			var got heard
			b.run(got.take, "ci")
			b.raw(c.subject, c.body, nil)
			if d := b.letters(1)[0]; d.Reason != c.reason || d.OriginalSubject != c.subject || d.Remedy == "" || d.Problem == "" {
				t.Fatalf("%+v", d)
			}
			b.drained()
			b.halt()
			b.absent(canary)
			if c.reason == "raw-secret" && len(c.body) > len("[]") {
				b.absent(c.body) // however it is encoded
			}
			if len(got.events()) > 0 {
				t.Error("it was handled")
			}
			if m := b.stored(Dead, 1); c.body == `{"token":"x","what":1}` && string(m.Data) != `{"what":1}` {
				t.Errorf("not all of it but the token is kept: %s", m.Data)
			}
		})
	}
}

func TestMappedSubjects(t *testing.T) {
	b := newBench(t)
	_, err := b.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SECURITY", Subjects: []string{"security.>"}})
	if err != nil {
		t.Fatal(err)
	}
	alert, risk := sample(t, "github-secret_scanning_alert-reopened-1"), sample(t, "aws-health-risk-1")
	b.raw("security.github.old", alert, nats.Header{"X-GitHub-Delivery": {"history"}})
	var got heard
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	start := func() {
		go func() {
			ended <- Subscriber{Conn: b.nc, Workers: 1, Taps: map[string]string{"security.github.>": "github", "aws.health": "aws"}, Log: zerolog.New(b.log)}.Run(ctx, got.take)
		}()
		b.eventually("the consumers", func() bool {
			for stream, subject := range map[string]tap{"SECURITY": newTap("SECURITY", "security.github.>", "github"), Intake: newTap(Intake, "aws.health", "aws")} {
				if _, err := b.js.Consumer(t.Context(), stream, subject.consumer.Durable); err != nil {
					return false
				}
			}
			return true
		})
	}
	start()
	b.raw("security.github.org.repo", alert, nats.Header{"X-GitHub-Delivery": {"d-1"}})
	b.raw("security.other", "not for us", nil)
	b.raw("aws.health", risk, nil)
	b.eventually("both events", func() bool { return len(got.events()) == 2 })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	b.raw("aws.health", strings.Replace(risk, `"id"`, `"other":1,"id"`, 1), nil) // while nobody listens
	b.raw("security.github.x", alert, nats.Header{"X-GitHub-Delivery": {"d-2"}})
	b.raw("security.github.x", `{"what":1}`, nil)
	b.raw("aws.health", `{"password":"`+canary+`"}`, nil)
	ctx, cancel = context.WithCancel(t.Context())
	start()
	b.eventually("what came in between", func() bool { return len(got.events()) == 4 })
	for _, d := range b.letters(2) {
		if want := map[string]string{"security.github.x": "malformed", "aws.health": "raw-secret"}[d.OriginalSubject]; d.Reason != want {
			t.Errorf("%+v", d)
		}
	}
	b.eventually("the secret erased from our own stream", func() bool { return !b.onDisk(canary) })
	var from []string
	for _, e := range got.events() {
		from = append(from, e.Publisher)
		if e.ID == "history" || time.Since(e.Time) < 0 {
			t.Errorf("%+v", e)
		}
	}
	if slices.Sort(from); !slices.Equal(from, []string{"aws", "aws", "github", "github"}) {
		t.Error(from)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
