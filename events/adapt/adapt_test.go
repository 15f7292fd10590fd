package adapt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

func input(body string) Input {
	return Input{Body: []byte(body), Received: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Hash: hash}
}

func hash(v string) events.Fingerprint {
	sum := sha256.Sum256([]byte("key " + v))
	return events.Fingerprint{Alg: "hmac-sha256", KeyID: "test", Value: hex.EncodeToString(sum[:])}
}

// canonical is an event as JSON, without what depends on a key.
func canonical(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	delete(e, "id")
	delete(e, "dataschema")
	delete(e, "datacontenttype")
	if at, err := time.Parse(time.RFC3339Nano, e["time"].(string)); err == nil {
		if e["time"] = at.UTC().Format(time.RFC3339Nano); at.Unix() == 0 || at.Year() == 2026 {
			delete(e, "time") // when it was received
		}
	}
	data := e["data"].(map[string]any)
	credential := data["credential"].(map[string]any)
	fps, _ := credential["fingerprints"].([]any)
	for _, fp := range fps {
		if fp := fp.(map[string]any); fp["alg"] == "hmac-sha256" {
			delete(credential, "fingerprints")
		}
	}
	return e
}

// TestSamples: real reports become exactly the canonical events that stand beside them, but for ids and keyed fingerprints.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob("testdata/*.canonical.json")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			sample := strings.TrimSuffix(file, ".canonical.json") + ".json"
			if _, err := os.Stat(sample); err != nil {
				sample += "l"
			}
			body, err := os.ReadFile(sample)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []json.RawMessage
			if err := json.Unmarshal(raw, &want); err != nil {
				t.Fatal(err)
			}
			got, err := Report("", input(string(body)))
			if err != nil || len(got.Events) != len(want) {
				t.Fatalf("%v: %d events, want %d; ignored: %v", err, len(got.Events), len(want), got.Ignored)
			}
			expected := make(map[string]bool)
			for _, w := range want {
				text, _ := json.Marshal(canonical(t, w))
				expected[string(text)] = true
			}
			for _, e := range got.Events {
				raw, err := events.Encode(e)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := json.Marshal(canonical(t, raw))
				if !expected[string(text)] {
					t.Errorf("not expected: %s", text)
				}
			}
			again, _ := Report(got.Format, input(string(body)))
			if !reflect.DeepEqual(got, again) {
				t.Error("the same report twice gives different events")
			}
		})
	}
}

// A formatted is a small report.
type formatted struct {
	body, format string
	events       int
	ignored      string // part of the reason
	fingerprints []string
}

// formatteds are what the descriptions of the formats say beyond the samples.
func formatteds() map[string]formatted {
	secret := hash("s3cret-value").Value
	return map[string]formatted{
		"gitleaks 7":         {`[{"line":"x","lineNumber":3,"offender":"s3cret-value","commit":"c","repo":"r","rule":"AWS","tags":"key","file":"f","email":"a@example.com"}]`, "gitleaks", 1, "", []string{secret}},
		"gitleaks, redacted": {`[{"RuleID":"r","File":"f","Secret":"REDACTED"}]`, "gitleaks", 0, "redacted", nil},
		"gitleaks, twice":    {`[{"RuleID":"r","File":"f","Secret":"s3cret-value"},{"RuleID":"r","File":"f","Secret":"s3cret-value"}]`, "gitleaks", 1, "the same", []string{secret}},
		"gitleaks, nothing":  {`[]`, "gitleaks", 0, "", nil},
		"trufflehog, parts": {`{"SourceMetadata":{"Data":{"Github":{"repository":"r","file":"f","line":1}}},"DetectorName":"AWS","Verified":false,"Raw":"AKIA12345","RawV2":"AKIA12345:s3cret-value","SecretParts":{"secret":"s3cret-value"},"New":1}`,
			"trufflehog", 1, "", []string{secret, hash("AKIA12345:s3cret-value").Value, hash("AKIA12345").Value}},
		"trufflehog, old RawV2":  {`{"SourceMetadata":{"Data":{"Filesystem":{"file":"f"}}},"DetectorName":"AWS","Raw":"AKIA12345","RawV2":"AKIA12345:s3cret-value"}` + "\n\n", "trufflehog", 1, "", []string{secret, hash("AKIA12345:s3cret-value").Value, hash("AKIA12345").Value}},
		"detect-secrets, marked": {`{"version":"1","plugins_used":[],"results":{"f":[{"type":"t","hashed_secret":"bd564db5d5cc358eb0e3523d3e03041739f230d5","is_secret":false}]}}`, "detect-secrets", 0, "no secret", nil},
		"ggshield, shown":        {`{"id":"x","type":"path","entities_with_incidents":[{"filename":"f","incidents":[{"type":"t","ignore_sha":"a","validity":"valid","occurrences":[{"match":"s3cret-value","line_start":4}]}]}]}`, "ggshield", 1, "", []string{secret}},
		"gitlab 15":              {`{"version":"15.0.4","schema":"x","vulnerabilities":[{"id":"1","severity":"High","raw_source_code_extract":"s3cret-value","location":{"file":"f","start_line":1},"identifiers":[{"type":"gitleaks_rule_id","value":"AWS"}]}],"scan":{"type":"secret_detection","end_time":"2026-01-01T00:00:00"}}`, "gitlab", 1, "", []string{secret}},
		"trufflehog, a key id":   {`{"SourceMetadata":{"Data":{"Git":{"file":"f"}}},"DetectorName":"AWS","Raw":"AKIAIOSFODNN7EXAMPLE","RawV2":"AKIAIOSFODNN7EXAMPLE:s3cret-value"}`, "trufflehog", 1, "", []string{secret, hash("AKIAIOSFODNN7EXAMPLE:s3cret-value").Value, hash("AKIAIOSFODNN7EXAMPLE").Value}},
		"sarif, gone":            {`{"version":"2.1.0","runs":[{"results":[{"ruleId":"aws","baselineState":"absent","locations":[{"physicalLocation":{"region":{"snippet":{"text":"s3cret-value"}}}}]}]}]}`, "sarif", 0, "gone since", nil},
		"sarif, suppressed":      {`{"version":"2.1.0","runs":[{"results":[{"ruleId":"aws","suppressions":[{"kind":"external","status":"accepted"},{"kind":"inSource"}],"locations":[{"physicalLocation":{"region":{"snippet":{"text":"s3cret-value"}}}}]}]}]}`, "sarif", 0, "suppressed", nil},
		"sarif, talked about":    {`{"version":"2.1.0","runs":[{"results":[{"ruleId":"aws","suppressions":[{"kind":"external","status":"underReview"}],"locations":[{"physicalLocation":{"region":{"snippet":{"text":"s3cret-value"}}}}]}]}]}`, "sarif", 1, "", []string{secret}},
		"sarif, passed":          {`{"version":"2.1.0","runs":[{"results":[{"ruleId":"aws","kind":"pass","locations":[]}]}]}`, "sarif", 0, "no finding", nil},
		"sarif":                  {`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"gitleaks"}},"results":[{"ruleId":"aws","message":{"text":"x"},"partialFingerprints":{"commitSha":"abc"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"f"},"region":{"startLine":2,"snippet":{"text":"s3cret-value"}}}}]}]}]}`, "sarif", 1, "", []string{secret}},
	}
}

// TestFormats: what is told apart.
func TestFormats(t *testing.T) {
	for name, tc := range formatteds() {
		t.Run(name, func(t *testing.T) {
			got, err := Report("", input(tc.body))
			if err != nil || got.Format != tc.format || len(got.Events) != tc.events {
				t.Fatalf("%v: %s, %d events, ignored %v", err, got.Format, len(got.Events), got.Ignored)
			}
			if tc.ignored != "" && (len(got.Ignored) != 1 || !strings.Contains(got.Ignored[0].Why, tc.ignored)) {
				t.Errorf("ignored: %v", got.Ignored)
			}
			if len(got.Events) == 0 {
				return
			}
			var prints []string
			for _, fp := range got.Events[0].Leak.Credential.Fingerprints {
				prints = append(prints, fp.Value)
			}
			if !reflect.DeepEqual(prints, tc.fingerprints) {
				t.Errorf("fingerprints %v, want %v", prints, tc.fingerprints)
			}
			if raw, _ := json.Marshal(got); strings.Contains(string(raw), "s3cret") {
				t.Error("P7: the result holds the value")
			}
		})
	}
}

func TestNoReport(t *testing.T) {
	for _, body := range []string{"{}", "hello", `{"canary": 1}`, `[1]`, `{"action":"created","alert":{}}`} {
		if _, err := Report("", input(body)); !errors.Is(err, ErrUnknown) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", body, err)
		}
	}
	for name, body := range map[string]string{"gitleaks": `[{"RuleID": canary`, "gitlab": `{"vulnerabilities": "canary"}`, "sarif": `{"runs": "canary"}`} {
		if _, err := Report(name, input(body)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReport: whatever comes in, every event is valid, ids are unique, and no raw value of a finding is in the result.
func FuzzReport(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json*")
	for _, file := range files {
		if body, err := os.ReadFile(file); err == nil {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, name := range append(Formats(), "") {
			var values []string
			in := Input{Body: body, Received: time.Now(), Hash: func(v string) events.Fingerprint { values = append(values, v); return hash(v) }}
			got, err := Report(name, in)
			if err != nil {
				continue
			}
			seen := make(map[string]bool)
			for _, e := range got.Events {
				raw, err := events.Encode(e)
				if err != nil || seen[e.ID] {
					t.Fatalf("%s: %v, id %s", name, err, e.ID)
				}
				seen[e.ID] = true
				if back, err := events.DecodeFile(raw, time.Now()); err != nil || back.ID != e.ID {
					t.Fatalf("%s: the service would refuse it: %v", name, err)
				}
			}
		}
	})
}

// TestNoValueToCompare: a finding whose value is not in the report says so, and how to get it.
func TestNoValueToCompare(t *testing.T) {
	for name, tc := range map[string]struct{ body, why string }{
		"ggshield":         {`{"id":"x","type":"path","entities_with_incidents":[{"filename":"f","incidents":[{"type":"t","occurrences":[{"match":"ab***********yz"}]}]}]}`, "--show-secrets"},
		"sarif":            {`{"version":"2.1.0","runs":[{"results":[{"ruleId":"aws","locations":[{"physicalLocation":{"artifactLocation":{"uri":"f"}}}]}]}]}`, "no snippet"},
		"sarif, a line":    {`{"version":"2.1.0","runs":[{"results":[{"ruleId":"aws","locations":[{"physicalLocation":{"region":{"snippet":{"text":"password = \"x\""}}}}]}]}]}`, "more than the value"},
		"gitlab":           {`{"version":"15","vulnerabilities":[{"id":"1","name":"AWS"}]}`, "no value to compare"},
		"trufflehog":       {`{"SourceMetadata":{},"DetectorName":"X"}`, "no value to compare"},
		"gitleaks":         {`[{"RuleID":"r","File":"f","Secret":"REDACTED"}]`, "--redact"},
		"a public id":      {`{"SourceMetadata":{},"DetectorName":"AWS","Redacted":"AKIAIOSFODNN7EXAMPLE"}`, ""},
		"there is a value": {`{"SourceMetadata":{},"DetectorName":"X","Raw":"s3cret-value"}`, ""},
	} {
		got, err := Report("", input(tc.body))
		if err != nil || len(got.Events)+len(got.Ignored) != 1 {
			t.Fatalf("%s: %v, %+v", name, err, got)
		}
		var why []string
		for _, one := range got.Ignored {
			if one.Blind {
				why = append(why, one.Why)
			}
		}
		for _, e := range got.Events {
			if one, ok := got.Blind[e.ID]; ok && one.Number == 1 && one.Blind {
				why = append(why, one.Why)
			}
		}
		if (len(why) == 1) != (tc.why != "") || len(why) == 1 && !strings.Contains(why[0], tc.why) {
			t.Errorf("%s: %q", name, why)
		}
	}
}

// TestMoreValuesThanAnEventHolds: none of them is left out.
func TestMoreValuesThanAnEventHolds(t *testing.T) {
	var matches []string
	for i := range 20 {
		matches = append(matches, fmt.Sprintf(`{"match":"s3cret-%d"}`, i))
	}
	got, err := Report("", input(`{"id":"x","type":"path","entities_with_incidents":[{"filename":"f","incidents":[{"type":"t","occurrences":[`+strings.Join(matches, ",")+`]}]}]}`))
	seen := make(map[string]bool)
	for _, e := range got.Events {
		for _, fp := range e.Leak.Credential.Fingerprints {
			seen[fp.Value] = true
		}
	}
	if err != nil || len(got.Events) != 3 || len(seen) != 20 {
		t.Errorf("%v: %d events, %d fingerprints", err, len(got.Events), len(seen))
	}
}

// TestNothingOfTheKeylessHash: the id of a finding of detect-secrets cannot be computed from a guess at its value.
func TestNothingOfTheKeylessHash(t *testing.T) {
	body := `{"plugins_used":[],"results":{"f":[{"type":"t","hashed_secret":"bd564db5d5cc358eb0e3523d3e03041739f230d5"}]}}`
	one, two := input(body), input(body)
	two.Hash = func(v string) events.Fingerprint { return hash("another key " + v) }
	a, err := Report("", one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Report("", two)
	if err != nil || a.Events[0].ID == b.Events[0].ID {
		t.Error("the id is made of the hash alone", err)
	}
}
