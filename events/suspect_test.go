package events

import (
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// Reports of scanners as they are, and broken ones: what is refused is kept as
// a dead letter, unless the reason says that it carries a secret.
func TestASecretIsRecognisedInAnyShape(t *testing.T) {
	const event = `{"specversion":"1.0","id":"i","source":"s","type":"rotator.credential.leaked.v1","time":"2026-01-01T00:00:00Z","data":`
	for name, body := range map[string]string{
		"github partner":      `[{"token":"x","type":"t","url":"","source":"commit"}]`,
		"gitlab revocation":   `[{"type":"t","token":"x","location":"l"}]`,
		"gitleaks":            `[{"RuleID":"r","Match":"x","Secret":"x"}]`,
		"trufflehog lines":    `{"Raw":"x","DetectorName":"AWS"}` + "\n" + `{"RawV2":"x"}`,
		"data is an array":    event + `[{"token":"x"}]}`,
		"in place of a text":  event + `{"credential":{"name":{"token":"x"}}}}`,
		"in place of a list":  event + `{"credential":{"fingerprints":{"token":"x"}}}}`,
		"beside fingerprints": event + `{"x":{"fingerprints":[{"alg":"sha1","value":"y","secret":"x"}]}}}`,
		"trailing comma":      event + `{"token":"x",}}`,
		"cut off":             event + `{"token" : "x`,
		"twice":               `{"a":1,"a":2,"Token":"x"}`,
		"a form":              "payload=" + url.QueryEscape(`{"alert":{"secret":"x"}}`),
		"a broken form":       "a=%zz&payload=" + url.QueryEscape(`{"alert":{"secret":"x"`),
		"a field of a form":   "team=t&token=x",
		"a push":              `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"alert":[{"password":"x"}]}`)) + `"}}`,
		"a push, unpadded":    `{"message":{"data":"` + base64.RawURLEncoding.EncodeToString([]byte(`{"a":"???>","token":"x"}`)) + `"}}`,
		"a push in a push":    `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"message":{"data":"eyJyYXciOiJ4In0="}}`)) + `"}}`,
		"too large":           `{"token":"x","pad":"` + strings.Repeat("x", maxBody) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(Message{Subject: "rotator.events.v1.gh.leak", Body: []byte(body)})
			if bad, ok := errors.AsType[*InvalidError](err); !ok || bad.Reason() != ReasonRawSecret {
				t.Errorf("Decode = %v", err)
			}
			if _, found := RawSecret([]byte(body)); !found {
				t.Error("RawSecret does not find it")
			}
		})
	}
}

// A fingerprint is no secret, so an event with another mistake is kept whole.
func TestAFingerprintIsNotTakenForASecret(t *testing.T) {
	whole := string(encoded(t, full()[0]))
	if !strings.Contains(whole, `"fingerprints"`) {
		t.Fatal("the sample has no fingerprint")
	}
	for name, body := range map[string]string{
		"wrong severity": strings.Replace(whole, `"severity":"`, `"severity":"x`, 1),
		"cut off":        whole[:len(whole)-1],
		"other version":  strings.Replace(whole, `"specversion":"1.0"`, `"specversion":"0.3"`, 1),
		"in a form":      "payload=" + url.QueryEscape(whole),
		"in a push":      `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(whole)) + `"}}`,
	} {
		_, err := DecodeFile([]byte(body), time.Time{})
		bad, ok := errors.AsType[*InvalidError](err)
		if !ok || slices.ContainsFunc(bad.Problems, func(p Problem) bool { return p.Reason == ReasonRawSecret }) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHalfASurrogatePairIsRefused(t *testing.T) {
	for text, fine := range map[string]bool{
		`\ud83d\ude00`: true, `\u00e9`: true, `\\ud800`: true, `\uD83D\uDE00\n`: true,
		`\ud800`: false, `\udc00`: false, `\ud800\ud800`: false, `\ud800x`: false, `\ud800\n`: false, `\\\ud800`: false,
	} {
		if _, problem := parseJSON([]byte(`["` + text + `"]`)); (problem == nil) != fine {
			t.Errorf("%s: %v", text, problem)
		}
	}
}
