package events

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const canary = "CaNaRy7h3s3cr3t"

// FuzzDecode asks three things of any input: no panic; what is accepted
// survives encoding and is read the same by the SDK; what is refused is not repeated.
func FuzzDecode(f *testing.F) {
	for _, e := range full() {
		f.Add(encoded(f, e), "id-1")
	}
	for _, body := range canonical(f) {
		f.Add([]byte(body), "data")
	}
	f.Add([]byte(`{"specversion":"1.0","time":"0000-01-01T00:00:00+23:00"}`), "time")
	f.Fuzz(func(t *testing.T, body []byte, spot string) {
		if e, err := DecodeFile(body, time.Time{}); err == nil {
			again, err := DecodeFile(encoded(t, e), time.Time{})
			if diff := cmp.Diff(e, again); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
			sameInSDK(t, body, e)
		}
		if spot == "" || len(body) > maxBody {
			return
		}
		marked := strings.ReplaceAll(string(body), spot, canary)
		if _, err := Decode(Message{Subject: "rotator.events.v1.gh.leak", Body: []byte(marked)}); err != nil {
			if _, ok := errors.AsType[*InvalidError](err); !ok || strings.Contains(err.Error(), canary) {
				t.Errorf("the error is of another type or repeats the payload: %v", err)
			}
		}
	})
}

// TestErrorsNeverRepeatThePayload puts a canary in every place of every event.
func TestErrorsNeverRepeatThePayload(t *testing.T) {
	refused := 0
	for _, e := range full() {
		body := string(encoded(t, e))
		for _, piece := range strings.Split(body, `"`) {
			if len(piece) < 2 {
				continue
			}
			marked := strings.ReplaceAll(body, `"`+piece+`"`, `"`+canary+`\n"`)
			_, err := Decode(Message{Subject: Subject("gh", e.Kind), Body: []byte(marked)})
			if err == nil {
				continue
			}
			refused++
			if strings.Contains(err.Error(), canary) {
				t.Errorf("repeated: %v", err)
			}
		}
	}
	if refused < 50 {
		t.Errorf("only %d of the marked events were refused", refused)
	}
}
