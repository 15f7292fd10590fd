package events

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEveryFieldSurvivesEncodeAndDecode(t *testing.T) {
	for _, want := range full() {
		want.Publisher = "gh"
		got, err := Decode(Message{Subject: Subject("gh", want.Kind), Body: encoded(t, want)})
		if err != nil {
			t.Fatalf("%s: %v", want.Kind, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s changed:\n%s", want.Kind, diff)
		}
	}
}

func TestCanonicalPayloadsAreAccepted(t *testing.T) {
	for name, body := range canonical(t) {
		e, err := DecodeFile(body, at("2026-11-23T00:00:00Z"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := DecodeFile(encoded(t, e), time.Time{})
		if diff := cmp.Diff(e, again); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

type jsonObject = map[string]any

func TestRefusals(t *testing.T) {
	first := func(d jsonObject, list string) jsonObject { return d[list].([]any)[0].(jsonObject) }
	cred := func(d jsonObject) jsonObject { return d["credential"].(jsonObject) }
	tests := []struct {
		name   string
		change func(e, d jsonObject)
		reason Reason
		field  string
	}{
		{"old specversion", func(e, d jsonObject) { e["specversion"] = "0.3" }, ReasonNotCloudEvent, "specversion"},
		{"number as specversion", func(e, d jsonObject) { e["specversion"] = 1.0 }, ReasonNotCloudEvent, "specversion"},
		{"no id", func(e, d jsonObject) { delete(e, "id") }, ReasonMissingField, "id"},
		{"empty id", func(e, d jsonObject) { e["id"] = "" }, ReasonInvalidField, "id"},
		{"control in id", func(e, d jsonObject) { e["id"] = "a\nb" }, ReasonInvalidField, "id"},
		{"no time", func(e, d jsonObject) { delete(e, "time") }, ReasonMissingField, "time"},
		{"no zone", func(e, d jsonObject) { e["time"] = "2026-01-02T03:04:05" }, ReasonInvalidField, "time"},
		{"small letters in time", func(e, d jsonObject) { e["time"] = "2026-01-02t03:04:05z" }, ReasonInvalidField, "time"},
		{"leap second", func(e, d jsonObject) { e["time"] = "2016-12-31T23:59:60Z" }, ReasonInvalidField, "time"},
		{"capital content type", func(e, d jsonObject) { e["datacontenttype"] = "Application/json" }, ReasonInvalidField, "datacontenttype"},
		{"future", func(e, d jsonObject) { e["time"] = "2026-11-23T00:10:01Z" }, ReasonFuture, "time"},
		{"space in source", func(e, d jsonObject) { e["source"] = "a b" }, ReasonInvalidField, "source"},
		{"other type", func(e, d jsonObject) { e["type"] = "com.example" }, ReasonUnknownType, "type"},
		{"other schema", func(e, d jsonObject) { e["dataschema"] = KindManual.dataSchema() }, ReasonInvalidField, "dataschema"},
		{"xml", func(e, d jsonObject) { e["datacontenttype"] = "text/xml" }, ReasonInvalidField, "datacontenttype"},
		{"base64", func(e, d jsonObject) { e["data_base64"] = "AAAA" }, ReasonInvalidField, "data_base64"},
		{"no data", func(e, d jsonObject) { delete(e, "data") }, ReasonMissingField, "data"},
		{"data as text", func(e, d jsonObject) { e["data"] = "{}" }, ReasonInvalidField, "data"},
		{"wrong case attribute", func(e, d jsonObject) { e["Subject"] = "x" }, ReasonUnknownField, ""},
		{"object extension", func(e, d jsonObject) { e["ext"] = jsonObject{} }, ReasonUnknownField, ""},
		{"big integer extension", func(e, d jsonObject) { e["ext"] = 1 << 40 }, ReasonUnknownField, ""},
		{"null attribute", func(e, d jsonObject) { e["subject"] = nil }, ReasonInvalidField, "subject"},
		{"wrong case member", func(e, d jsonObject) { d["Severity"] = "high" }, ReasonUnknownField, "data"},
		{"bad fingerprint", func(e, d jsonObject) { first(cred(d), "fingerprints")["value"] = "XYZ" }, ReasonInvalidField, "data.credential.fingerprints[0].value"},
		{"hmac without key", func(e, d jsonObject) { delete(first(cred(d), "fingerprints"), "key_id") }, ReasonMissingField, "data.credential.fingerprints[0].key_id"},
		{"empty credential", func(e, d jsonObject) { d["credential"] = jsonObject{} }, ReasonMissingField, "data.credential"},
		{"raw token", func(e, d jsonObject) { d["token"] = "x" }, ReasonRawSecret, "data.token"},
		{"raw value", func(e, d jsonObject) { cred(d)["value"] = "x" }, ReasonRawSecret, "data.credential.value"},
		{"trufflehog raw", func(e, d jsonObject) { d["RawV2"] = "x" }, ReasonRawSecret, "data.rawv2"},
		{"raw deep inside", func(e, d jsonObject) { d["finding"] = []any{jsonObject{"Secret": "x"}} }, ReasonRawSecret, "data.secret"},
		{"raw extension", func(e, d jsonObject) { e["password"] = "x" }, ReasonRawSecret, "password"},
		{"raw in no cloudevent", func(e, d jsonObject) { delete(e, "specversion"); d["Raw"] = "x" }, ReasonRawSecret, "raw"},
		{"raw under another type", func(e, d jsonObject) { e["type"] = "x"; d["token"] = "x" }, ReasonRawSecret, "data.token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := DecodeFile(with(t, tt.change), at("2026-11-23T00:00:00Z"))
			bad, ok := errors.AsType[*InvalidError](err)
			if !ok {
				t.Fatalf("err = %v, want an InvalidError", err)
			}
			if bad.Reason() != tt.reason || bad.Problems[0].Field != tt.field {
				t.Errorf("got %s at %q, want %s at %q: %v", bad.Reason(), bad.Problems[0].Field, tt.reason, tt.field, err)
			}
		})
	}
}

func TestToleratedFreedoms(t *testing.T) {
	tests := map[string]func(e, d map[string]any){
		"scalar extensions":    func(e, d map[string]any) { e["ext1"], e["ext2"], e["ext3"] = "x", true, 7 },
		"broken traceparent":   func(e, d map[string]any) { e["traceparent"] = "zz" },
		"charset":              func(e, d map[string]any) { e["datacontenttype"] = "application/json; charset=utf-8" },
		"ten minutes ahead":    func(e, d map[string]any) { e["time"] = "2026-11-23T00:10:00Z" },
		"whole number as 3.0":  func(e, d map[string]any) { d["credential"].(map[string]any)["vault"].(map[string]any)["version"] = 3.0 },
		"no optional envelope": func(e, d map[string]any) { delete(e, "dataschema"); delete(e, "datacontenttype"); delete(e, "subject") },
	}
	for name, change := range tests {
		body := with(t, change)
		e, err := DecodeFile(body, at("2026-11-23T00:00:00Z"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sameInSDK(t, body, e)
	}
}

func TestAmbiguousJSONIsMalformed(t *testing.T) {
	good := string(encoded(t, full()[0]))
	tests := map[string]string{
		"empty":           "",
		"null":            "null",
		"array":           "[" + good + "]",
		"trailing text":   good + "x",
		"second document": good + good,
		"byte order mark": "\ufeff" + good,
		"bad UTF-8":       strings.Replace(good, "id-1", "\xff", 1),
		"duplicate":       strings.Replace(good, `"id":`, `"id":"other","id":`, 1),
		"duplicate deep":  strings.Replace(good, `"alg":`, `"alg":"sha1","alg":`, 1),
		"escaped twin":    strings.Replace(good, `"id":`, `"\u0069d":"other","id":`, 1),
		"empty name":      strings.Replace(good, `"id":`, `"":1,"id":`, 1),
		"deep":            strings.Replace(good, `"id":`, `"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,"id":`, 1),
	}
	for name, body := range tests {
		_, err := DecodeFile([]byte(body), time.Time{})
		if bad, ok := errors.AsType[*InvalidError](err); !ok || bad.Reason() != ReasonMalformed {
			t.Errorf("%s: %v, want malformed", name, err)
		}
	}
	_, err := DecodeFile([]byte(good+strings.Repeat(" ", maxBody)), time.Time{})
	if bad, ok := errors.AsType[*InvalidError](err); !ok || bad.Reason() != ReasonTooLarge {
		t.Errorf("large: %v, want too-large", err)
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	body := with(t, func(e, d map[string]any) {
		delete(e, "time")
		d["severity"] = "awful"
		d["canary-member"] = 1
		d["secret"] = "canary"
	})
	_, err := DecodeFile(body, time.Time{})
	bad, ok := errors.AsType[*InvalidError](err)
	if !ok || len(bad.Problems) != 4 || bad.Reason() != ReasonRawSecret {
		t.Fatalf("got %v, want four problems", err)
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the error repeats the payload: %v", err)
	}
}

func TestReasonsAreSubjectTokens(t *testing.T) {
	token := regexp.MustCompile(`^[a-z-]+$`)
	for _, r := range []Reason{ReasonRawSecret, ReasonTooLarge, ReasonMalformed, ReasonNotCloudEvent, ReasonPublisherMismatch,
		ReasonUnknownType, ReasonUnknownField, ReasonMissingField, ReasonInvalidField, ReasonFuture} {
		if !token.MatchString(string(r)) || r.rank() < 0 {
			t.Errorf("reason %q is no token or has no rank", r)
		}
	}
}

func TestEncodeRefusesWhatDecodeWouldRefuse(t *testing.T) {
	e := full()[0]
	e.Leak.Severity = "awful"
	if _, err := Encode(e); err == nil {
		t.Error("a bad severity was encoded")
	}
	two := full()[0]
	two.Manual = full()[3].Manual
	if _, err := Encode(two); err == nil {
		t.Error("two payloads were encoded")
	}
	if _, err := Encode(Event{ID: "i", Source: "s", Kind: KindLeak}); err == nil {
		t.Error("no payload was encoded")
	}
}
