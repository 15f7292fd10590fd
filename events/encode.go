package events

import (
	"encoding/json"
	"fmt"
	"time"
)

// wire is a structured CloudEvent as we write it.
type wire struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Time            time.Time `json:"time"`
	Subject         string    `json:"subject,omitempty"`
	DataContentType string    `json:"datacontenttype,omitempty"`
	DataSchema      string    `json:"dataschema,omitempty"`
	TraceParent     string    `json:"traceparent,omitempty"`
	RecordedTime    time.Time `json:"recordedtime,omitzero"`
	Data            any       `json:"data"`
}

// Encode writes a structured CloudEvent, and refuses an event that Decode would refuse.
func Encode(e Event) ([]byte, error) {
	data, err := e.payload()
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(wire{
		SpecVersion: "1.0", ID: e.ID, Source: e.Source, Type: e.Kind.Type(), Time: e.Time.UTC(),
		Subject: e.Subject, DataContentType: "application/json", DataSchema: e.DataSchema,
		TraceParent: e.TraceParent, RecordedTime: e.RecordedTime.UTC(), Data: data,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding %s event: %w", e.Kind, err)
	}
	if _, err := DecodeFile(body, time.Time{}); err != nil {
		return nil, fmt.Errorf("encoding %s event: %w", e.Kind, err)
	}
	return body, nil
}

// payload returns the one payload the kind names, and refuses any other.
func (e Event) payload() (any, error) {
	set := 0
	for _, given := range []bool{e.Leak != nil, e.Offboarding != nil, e.Expiring != nil, e.Manual != nil} {
		if given {
			set++
		}
	}
	var data any
	switch {
	case e.Kind == KindLeak && e.Leak != nil:
		data = e.Leak
	case e.Kind == KindOffboarding && e.Offboarding != nil:
		data = e.Offboarding
	case e.Kind == KindExpiring && e.Expiring != nil:
		data = e.Expiring
	case e.Kind == KindManual && e.Manual != nil:
		data = e.Manual
	}
	if data == nil || set != 1 {
		return nil, fmt.Errorf("encoding event: exactly the payload of its kind %q must be set", e.Kind)
	}
	return data, nil
}
