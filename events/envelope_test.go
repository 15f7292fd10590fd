package events

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// binaryForm returns an event as headers with the given prefix, and its data.
func binaryForm(t *testing.T, e Event, prefix string) (map[string][]string, []byte) {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(encoded(t, e), &all); err != nil {
		t.Fatal(err)
	}
	header := map[string][]string{"Nats-Msg-Id": {"x"}}
	for name, raw := range all {
		var s string
		if name != "data" && json.Unmarshal(raw, &s) == nil {
			header[prefix+name] = []string{s}
		}
	}
	return header, all["data"]
}

func TestBinaryFormInAnyCase(t *testing.T) {
	want := full()[0]
	want.Publisher, want.Subject = "gh", "Euro €"
	for _, prefix := range []string{"ce-", "Ce-", "CE-"} {
		header, data := binaryForm(t, want, prefix)
		header[prefix+"subject"] = []string{"Euro%20%E2%82%ac"}
		got, err := Decode(Message{Subject: Subject("gh", KindLeak), Header: header, Body: data})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", prefix, err, diff)
		}
	}
}

func TestHeadersThatAreRefused(t *testing.T) {
	tests := map[string]struct {
		change func(h map[string][]string)
		want   Reason
	}{
		"twice in two cases": {func(h map[string][]string) { h["CE-Id"] = []string{"x"} }, ReasonMalformed},
		"two values":         {func(h map[string][]string) { h["ce-id"] = []string{"a", "b"} }, ReasonMalformed},
		"no value":           {func(h map[string][]string) { h["ce-id"] = nil }, ReasonMalformed},
		"bad percent":        {func(h map[string][]string) { h["ce-id"] = []string{"%zz"} }, ReasonMalformed},
		"cut percent":        {func(h map[string][]string) { h["ce-id"] = []string{"a%2"} }, ReasonMalformed},
		"percent bad UTF-8":  {func(h map[string][]string) { h["ce-id"] = []string{"%ff"} }, ReasonMalformed},
		"bad name":           {func(h map[string][]string) { h["ce-a-b"] = []string{"x"} }, ReasonMalformed},
		"data in a header":   {func(h map[string][]string) { h["ce-data"] = []string{"x"} }, ReasonMalformed},
		"both forms":         {func(h map[string][]string) { h["content-type"] = []string{"application/cloudevents+json"} }, ReasonNotCloudEvent},
		"batch":              {func(h map[string][]string) { h["Content-Type"] = []string{"application/cloudevents-batch+json"} }, ReasonNotCloudEvent},
		"no specversion":     {func(h map[string][]string) { delete(h, "ce-specversion") }, ReasonNotCloudEvent},
		"secret header":      {func(h map[string][]string) { h["Ce-Token"] = []string{"x"} }, ReasonRawSecret},
		"large header":       {func(h map[string][]string) { h["ce-ext"] = []string{string(make([]byte, maxBody))} }, ReasonTooLarge},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			header, data := binaryForm(t, full()[0], "ce-")
			tt.change(header)
			_, err := Decode(Message{Subject: Subject("gh", KindLeak), Header: header, Body: data})
			if bad, ok := errors.AsType[*InvalidError](err); !ok || bad.Reason() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestStructuredFormWithAndWithoutHeader(t *testing.T) {
	body := encoded(t, full()[3])
	for _, h := range []map[string][]string{nil, {"content-TYPE": {"application/cloudevents+json; charset=utf-8"}}, {"Content-Type": {"application/json"}}} {
		if _, err := Decode(Message{Subject: Subject("a", KindManual), Header: h, Body: body}); err != nil {
			t.Errorf("%v: %v", h, err)
		}
	}
}

func TestSubjectDecidesThePublisher(t *testing.T) {
	body := encoded(t, full()[0])
	for _, subject := range []string{"", "rotator.events.v1.gh", "rotator.events.v1.gh.manual", "rotator.events.v1.gh.leak.x",
		"rotator.events.v1.GH.leak", "rotator.events.v1..leak", "rotator.events.v2.gh.leak", "rotator.events.v1.gh.*", "x.rotator.events.v1.gh.leak"} {
		_, err := Decode(Message{Subject: subject, Body: body})
		if bad, ok := errors.AsType[*InvalidError](err); !ok || bad.Reason() != ReasonPublisherMismatch {
			t.Errorf("%q: %v, want publisher-mismatch", subject, err)
		}
	}
	e, err := Decode(Message{Subject: "rotator.events.v1.git_hub-1.leak", Body: body})
	if err != nil || e.Publisher != "git_hub-1" {
		t.Errorf("publisher %q, %v", e.Publisher, err)
	}
}
