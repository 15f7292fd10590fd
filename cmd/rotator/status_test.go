package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator"
)

// TestWhatWaits: since when, why, held by what, and from when.
func TestWhatWaits(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	later, latest := time.Now().Add(48*time.Hour), time.Now().Add(72*time.Hour)
	waiting := []rotator.Waiting{
		{Event: strings.Repeat("a", 64), ID: "urn:hr 1", Kind: events.KindOffboarding, Stored: now, Why: "holder alice@example.com", NotBefore: latest},
		{Event: strings.Repeat("b", 64), ID: "urn:hr 2", Kind: events.KindOffboarding, Stored: now, Why: "holder bob@example.com", NotBefore: later},
	}
	held := rotator.Waiting{Event: strings.Repeat("c", 64), ID: "urn:x 3", Kind: events.KindLeak, Stored: now, Why: "named in the event", Held: "rule 1 for events says approve"}
	show := func(ws ...rotator.Waiting) (table, list string) {
		value, err := json.Marshal(rotator.Record{V: 1, Bundle: "app", State: rotator.Idle, Queue: ws})
		if err != nil {
			t.Fatal(err)
		}
		b := statusOf("app", rotator.Stored{Value: value})
		var one, two strings.Builder
		writeStatus(&one, []bundleStatus{b})
		writeWaiting(&two, b)
		return one.String(), two.String()
	}
	at := func(t time.Time) string { return t.Local().Format(time.DateTime) }
	if table, list := show(waiting...); !strings.Contains(table, "from "+at(later)) || !strings.Contains(list, "from    "+at(latest)) || !strings.Contains(list, "urn:hr 2, offboarding, since "+at(now)) ||
		!strings.Contains(list, "why     holder bob@example.com") {
		t.Errorf("%s%s", table, list)
	}
	if table, list := show(append(waiting, held)...); !strings.Contains(table, "rotator approve cccccccccccc") || !strings.Contains(list, "held    rule 1 for events says approve: rotator approve cccccccccccc") {
		t.Errorf("%s%s", table, list)
	}
	due := waiting[0]
	due.NotBefore = time.Time{}
	if table, _ := show(due, waiting[1]); strings.Contains(table, "from ") {
		t.Errorf("one of them is due now: %s", table)
	}
}

// TestStatusOfADamagedRecord names the commands that mend it, with the key as the tools show it.
func TestStatusOfADamagedRecord(t *testing.T) {
	b := statusOf("shop.payments", rotator.Stored{Value: []byte("\x00"), Revision: 3})
	if b.State != rotator.Quarantined || !strings.Contains(b.Problem, "nats kv del rotator shop=2Epayments") {
		t.Errorf("%+v", b)
	}
	if b := statusOf("a", rotator.Stored{Value: []byte(`{"v":99}`)}); strings.Contains(b.Problem, "kv del") || !strings.Contains(b.Problem, "newer program") {
		t.Errorf("a newer program's record: %+v", b)
	}
}
