package events

import (
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// sameInSDK says how the CloudEvents SDK differs from us about an accepted event.
func sameInSDK(t *testing.T, body []byte, e Event) {
	t.Helper()
	var theirs event.Event
	if err := json.Unmarshal(body, &theirs); err != nil {
		t.Fatalf("the SDK does not read what we accept: %v\n%q", err, body)
	}
	if err := theirs.Validate(); err != nil {
		t.Fatalf("the SDK refuses what we accept: %v\n%q", err, body)
	}
	source, err := url.Parse(e.Source)
	if err != nil {
		t.Fatal(err)
	}
	if theirs.ID() != e.ID || theirs.Source() != source.String() || theirs.Type() != e.Kind.Type() ||
		theirs.Subject() != e.Subject || theirs.DataSchema() != e.DataSchema || !theirs.Time().Equal(e.Time) {
		t.Fatalf("the SDK reads other attributes: %v\nours: %+v", theirs, e)
	}
}

func TestSDKReadsWhatWeAccept(t *testing.T) {
	for _, e := range full() {
		sameInSDK(t, encoded(t, e), e)
	}
	for name, body := range canonical(t) {
		e, err := DecodeFile(body, time.Time{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sameInSDK(t, body, e)
	}
}

func TestWeReadWhatTheSDKWrites(t *testing.T) {
	for _, want := range full() {
		theirs := event.New()
		theirs.SetID(want.ID)
		theirs.SetSource(want.Source)
		theirs.SetType(want.Kind.Type())
		theirs.SetTime(want.Time)
		theirs.SetExtension("partitionkey", "p")
		data, err := want.payload()
		if err != nil {
			t.Fatal(err)
		}
		if err := theirs.SetData("application/json", data); err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeFile(body, time.Time{})
		if err != nil || got.Key() != want.Key() || got.Severity() != want.Severity() {
			t.Errorf("%s: %v", want.Kind, err)
		}
	}
}
