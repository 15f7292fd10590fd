package events

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sampleOutcome() Outcome {
	return Outcome{
		Rotation: "r1", Bundle: "billing", Result: ResultRotated, Kind: KindLeak, Events: []string{"a", "b"},
		KVVersionFrom: 3, KVVersionTo: 4, Started: at("2026-01-01T00:00:00Z"), Finished: at("2026-01-01T00:01:00Z"),
		Revoked: at("2026-01-01T00:00:50Z"), ProvenDead: at("2026-01-01T00:00:55Z"),
		Targets: []OutcomeTarget{{Host: "h", Kind: "action", Name: "/a/b", VersionBefore: "0.0.1", VersionAfter: "0.0.2", Failure: "f"}},
		Reason:  "x", Remedy: "y", Warnings: []string{"w"},
	}
}

func TestOutcomeSurvives(t *testing.T) {
	for _, want := range []Outcome{sampleOutcome(), {Rotation: "r", Result: ResultRefused}} {
		body, err := EncodeOutcome(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeOutcome(body)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	if key := sampleOutcome().Key(); key != "r1.rotated" {
		t.Errorf("key %q", key)
	}
}

func TestOutcomeRefusals(t *testing.T) {
	body, err := EncodeOutcome(sampleOutcome())
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{{`"id":"r1.rotated"`, `"id":"r2.rotated"`}, {`"result"`, `"Result"`}, {outcomeType, "x"},
		{`"1.0"`, `"0.3"`}, {`"kind":"leak"`, `"kind":"x"`}, {`"bundle":`, `"bundle":"a","bundle":`}, {outcomeSource, "urn:other"}} {
		bad := bytes.Replace(body, []byte(change[0]), []byte(change[1]), 1)
		if _, err := DecodeOutcome(bad); err == nil || bytes.Equal(bad, body) {
			t.Errorf("accepted %s", change[1])
		}
	}
	for _, o := range []Outcome{{Result: ResultRotated}, {Rotation: "r", Result: "x"}, {Rotation: "r", Result: ResultRotated, Kind: "x"}} {
		if _, err := EncodeOutcome(o); err == nil {
			t.Errorf("encoded %+v", o)
		}
	}
}

func FuzzDecodeOutcome(f *testing.F) {
	body, err := EncodeOutcome(sampleOutcome())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := DecodeOutcome(body)
		if err != nil {
			return
		}
		again, err := EncodeOutcome(o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeOutcome(again)
		if diff := cmp.Diff(o, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}

func TestKeyAndSeverity(t *testing.T) {
	a, b := Event{Source: "s", ID: "1"}, Event{Source: "s1", ID: ""}
	if a.Key() == b.Key() || len(a.Key()) != 64 || a.Key() != (Event{Source: "s", ID: "1", Time: time.Unix(1, 0)}).Key() {
		t.Error("the key must depend on publisher, source and id alone")
	}
	if c := (Event{Publisher: "evil", Source: "s", ID: "1"}); c.Key() == a.Key() {
		t.Error("a publisher can use up the key of another's event")
	}
	want := []string{"high", "high", "low", "info"}
	for i, e := range full() {
		if e.Severity() != want[i] {
			t.Errorf("%s: severity %s", e.Kind, e.Severity())
		}
	}
	if s := (Event{Manual: &Manual{}}).Severity(); s != "medium" {
		t.Errorf("severity of nothing said: %s", s)
	}
}
