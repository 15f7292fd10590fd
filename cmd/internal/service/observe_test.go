package service

import (
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// TestMissingIsBelievedOnlyWhenTheListAgrees: a GET that says 404 may come from a cache.
func TestMissingIsBelievedOnlyWhenTheListAgrees(t *testing.T) {
	s := whisktest.New(whisktest.Options{})
	s.Package("shop", whisktest.Seed{})
	for _, name := range []string{"plain", "shop/packaged"} {
		s.Action(name, whisktest.Seed{})
	}
	front := httptest.NewServer(s)
	t.Cleanup(front.Close)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(whisktest.GuestKey), 0o600); err != nil {
		t.Fatal(err)
	}
	hs, err := openHosts(map[string]config.Host{"lab": {APIHost: front.URL, Namespace: "guest", AuthFile: key}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain", "shop/packaged"} {
		ref := rotator.Ref{Host: "lab", Kind: rotator.Action, Name: name}
		s.Inject(whisktest.Fault{Method: "GET", Collection: "actions", Name: name, Status: 404, Text: whisktest.TextNotFound})
		if _, err := hs.Observe(t.Context(), ref, new(rotator.Seen)); !errors.Is(err, rotator.ErrUnavailable) {
			t.Errorf("%s: a 404 that the list contradicts: %v, want unavailable", name, err)
		}
		s.Delete("actions", name)
		if _, err := hs.Observe(t.Context(), ref, new(rotator.Seen)); !errors.Is(err, rotator.ErrNotFound) {
			t.Errorf("%s: deleted: %v, want not found", name, err)
		}
	}
}
