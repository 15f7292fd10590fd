package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// TestWhoLeaves: what the flags make of a person, and which of them are mistakes that nothing would match.
func TestWhoLeaves(t *testing.T) {
	emails := []string{"alice@example.com"}
	for name, c := range map[string]struct {
		d    departed
		wait bool
		want string // of the error
	}{
		"an address":            {departed{names: emails, change: "terminated"}, false, ""},
		"three names":           {departed{names: []string{"a@b.c", "acct:alice@github.com", "https://o.okta.com/#00u"}, change: "deleted"}, false, ""},
		"a bare name":           {departed{names: []string{"alice"}, change: "terminated"}, false, "--person"},
		"a name and address":    {departed{names: []string{"Alice <alice@example.com>"}, change: "terminated"}, false, "--person"},
		"a team":                {departed{names: emails, change: "membership_removed", team: "payments"}, false, ""},
		"a team without name":   {departed{names: emails, change: "membership_removed"}, false, "--team"},
		"later":                 {departed{names: emails, change: "terminated", effectiveAt: "2126-01-01T00:00:00+02:00"}, false, ""},
		"later, and waited for": {departed{names: emails, change: "terminated", effectiveAt: "2126-01-01T00:00:00Z"}, true, "--wait"},
		"long ago":              {departed{names: emails, change: "terminated", effectiveAt: "2020-01-01T00:00:00Z"}, true, ""},
		"no time":               {departed{names: emails, change: "terminated", effectiveAt: "tomorrow"}, false, "2026-12-31T18:00:00Z"},
	} {
		o, err := c.d.event(&emission{severity: "high", wait: c.wait})
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := events.Encode(events.Event{ID: "1", Source: "urn:x", Time: time.Now(), Kind: events.KindOffboarding, Publisher: "cli", Offboarding: o})
		if err != nil {
			t.Errorf("%s: no valid event: %v", name, err)
			continue
		}
		e, err := events.Decode(events.Message{Subject: events.Subject("cli", events.KindOffboarding), Body: body, Now: time.Now()})
		if err != nil || !slices.Equal(e.Offboarding.Person.Identifiers, o.Person.Identifiers) || !e.Offboarding.EffectiveAt.Equal(o.EffectiveAt) {
			t.Errorf("%s: %+v %v", name, e.Offboarding, err)
		}
	}
}

// TestALeftTeam rotates what has that group among its holders, at once; what is put off waits, and status says until when.
func TestALeftTeam(t *testing.T) {
	path, _ := site(t)
	change(t, path, "holders: [alice@example.com]", "holders: [\"group:payments\", \"bob@github.com\"]")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var logs output
	go func() { done <- run(ctx, []string{"run", "-c", path}, nil, &logs, &logs) }()
	emit := func(args ...string) string {
		code, out, errs := call(t, append([]string{"emit", "offboarding", "-c", path}, args...)...)
		if code != exitOK {
			t.Errorf("%v: %d %s%s", args, code, out, errs)
		}
		return out
	}
	if out := emit("--person", "x@example.com", "--change", "membership_removed", "--team", "Payments", "--wait", "--timeout", "60s"); !strings.Contains(out, "rotated") {
		t.Errorf("a team: %s", out)
	}
	if out := emit("--person", "x@example.com", "--change", "membership_removed", "--organization", "other", "--wait", "--timeout", "60s"); !strings.Contains(out, "touches no bundle") {
		t.Errorf("another team: %s", out)
	}
	emit("--person", "x@example.com", "--person", "acct:bob@github.com", "--effective-at", "2126-05-01T00:00:00Z")
	at := time.Date(2126, 5, 1, 0, 0, 0, 0, time.UTC).Local().Format(time.DateTime)
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, out, errs := call(t, "status", "-c", path, "app")
		if strings.Contains(out, "from "+at) && strings.Contains(out, "waits   urn:rotator:cli") && strings.Contains(out, "why     holder bob@github.com") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("status: %s%s", out, errs)
		}
	}
	stop()
	<-done
}
