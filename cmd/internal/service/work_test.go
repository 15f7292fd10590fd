package service

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// TestADrainCoversWhatAHostMayBeRunning: the limits that count are those of the actions behind packages, bindings and triggers, and the
// sum of a sequence's. Asking costs the list, and one GET for each sequence that is new.
func TestADrainCoversWhatAHostMayBeRunning(t *testing.T) {
	s := whisktest.New(whisktest.Options{})
	s.Package("shop", whisktest.Seed{})
	s.Action("shop/pay", whisktest.Seed{Timeout: 3 * time.Minute})
	s.Action("mail", whisktest.Seed{})
	s.Action("slow", whisktest.Seed{Timeout: 5 * time.Minute})
	s.Binding("mine", "shop", whisktest.Seed{})
	s.Trigger("nightly", whisktest.Seed{})
	s.Rule("r", "nightly", "shop/pay")
	s.Sequence("flow", "mail", "slow")
	front := httptest.NewServer(s)
	t.Cleanup(front.Close)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(whisktest.GuestKey), 0o600); err != nil {
		t.Fatal(err)
	}
	hs, err := openHosts(map[string]config.Host{"lab": {APIHost: front.URL, AuthFile: key, Parallel: 2}})
	if err != nil {
		t.Fatal(err)
	}
	work, err := hs.Work(t.Context(), "lab")
	if err != nil {
		t.Fatal(err)
	}
	want := []rotator.Work{{Name: "flow", Timeout: time.Minute, Components: []string{"mail", "slow"}}, {Name: "mail", Timeout: time.Minute},
		{Name: "shop/pay", Timeout: 3 * time.Minute}, {Name: "slow", Timeout: 5 * time.Minute}}
	if d := cmp.Diff(want, work, cmpopts.SortSlices(func(a, b rotator.Work) bool { return a.Name < b.Name })); d != "" {
		t.Error(d)
	}
	for _, tc := range []struct {
		target rotator.Ref
		want   string
	}{
		{rotator.Ref{Kind: rotator.Package, Name: "shop"}, "action shop/pay may go on for 6m0s"},
		{rotator.Ref{Kind: rotator.Package, Name: "mine"}, "action shop/pay may go on for 6m0s"},
		{rotator.Ref{Kind: rotator.Trigger, Name: "nightly"}, "action shop/pay may go on for 6m0s"},
		{rotator.Ref{Kind: rotator.Action, Name: "mail"}, "sequence flow may go on for 14m0s"},
	} {
		tc.target.Host = "lab"
		f := rotator.Facts{Rule: rotator.Rule{Drain: true}, Base: rotator.Snapshot{Version: 1, Set: secret.Set{}}, Work: map[string][]rotator.Work{"lab": work}}
		o, err := hs.Observe(t.Context(), tc.target, new(rotator.Seen))
		if err != nil {
			t.Fatal(err)
		}
		f.Sights = []rotator.Sight{{Target: rotator.Target{Ref: tc.target}, Observed: o}}
		if got := rotator.Planned(f).OverlapText; !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.target, got, tc.want)
		}
	}
	s.ResetRequests()
	if _, err := hs.Work(t.Context(), "lab"); err != nil || s.Count("", "") != 0 {
		t.Errorf("asked again at once: %d requests, %v; want none", s.Count("", ""), err)
	}
	hs["lab"].running.at = time.Time{}
	if _, err := hs.Work(t.Context(), "lab"); err != nil || s.Count("", "") != 2 { // the one page, and whether there is another
		t.Errorf("asked again later: %d requests, %v; want the list only: the sequence is known in this version", s.Count("", ""), err)
	}
}
