package whisk_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// TestPutIsKeptBack: whenever the caller says no - before the request, at its first byte, or in the middle of a body that
// takes several reads - the host applies nothing.
func TestPutIsKeptBack(t *testing.T) {
	big := param.List{{Key: "K", Value: secret.FromText(strings.Repeat("x", 200<<10))}}
	notMine := errors.New("another replica has taken over")
	for stopAt := range 5 {
		s, c := serve(t, whisktest.Options{})
		s.Action("a", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"K","value":"old"}]`)})
		asked := 0
		_, err := c.PutAction(t.Context(), "a", whisk.Update{Parameters: &big, Still: func() error {
			if asked++; asked > stopAt {
				return notMine
			}
			return nil
		}})
		if err == nil {
			t.Fatalf("stopped at question %d: the PUT succeeded", stopAt)
		}
		if stopAt == 0 && (!errors.Is(err, notMine) || whisk.Classify(err) == whisk.Unknown) {
			t.Errorf("kept back before anything was sent: %v (%v)", err, whisk.Classify(err))
		}
		a, err := c.GetAction(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if e, _ := a.Parameters.Get("K"); string(e.Value.Reveal()) != `"old"` {
			t.Errorf("stopped at question %d: the host applied it", stopAt)
		}
	}
}
