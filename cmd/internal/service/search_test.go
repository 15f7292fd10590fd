package service

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// TestSearchOfFiveThousand: every entity is read once and every page listed once, a bounded number at a time, and the value is found
// wherever it can be: nested, as environment, in a package and what inherits it, through a binding, in an annotation.
func TestSearchOfFiveThousand(t *testing.T) {
	const canary, page = "canary-8f2e-leaked", 200
	host := whisktest.New(whisktest.Options{MaxPage: page})
	host.Referee(t)
	value := whisktest.Params
	for i := range 4_900 {
		host.Action(fmt.Sprintf("a%04d", i), whisktest.Seed{Parameters: value(`[{"key":"K","value":"something else"},{"key":"N","value":{"a":[1,"x"]}}]`)})
	}
	for i := range 60 {
		host.Trigger(fmt.Sprintf("t%02d", i), whisktest.Seed{Parameters: value(`[{"key":"K","value":7}]`)})
	}
	host.Package("shop", whisktest.Seed{Parameters: value(`[{"key":"PKG","value":"` + canary + `"}]`)})
	host.Binding("bound", "shop", whisktest.Seed{})
	host.Action("shop/inherits", whisktest.Seed{})
	host.Action("shop/own", whisktest.Seed{Parameters: value(`[{"key":"OTHER","value":{"db":{"passwords":["x","` + canary + `"]}}}]`)})
	host.Action("env", whisktest.Seed{Parameters: value(`[{"key":"ENV","value":"` + canary + `","init":true}]`)})
	host.Action("web", whisktest.Seed{Annotations: map[string]any{"require-whisk-auth": canary}})
	host.Trigger("cron", whisktest.Seed{Parameters: value(`[{"key":"trigger_payload","value":{"key":"` + canary + `"}}]`)})
	srv := httptest.NewServer(host)
	defer srv.Close()
	t.Setenv("SEARCH_KEY", whisktest.GuestKey)
	cfg := &config.Config{Hosts: map[string]config.Host{"prod": {Name: "prod", APIHost: srv.URL, Namespace: "_", AuthEnv: "SEARCH_KEY", Parallel: 8}},
		Bundles: map[string]rotator.Bundle{"checkout": {Targets: []rotator.Target{{Ref: rotator.Ref{Host: "prod", Kind: rotator.Action, Name: "env"}}}}}}
	var last atomic.Int64
	s, err := NewSearch(cfg, nil, func(done, total int) {
		if total < 4_900 || done > total {
			t.Errorf("%d of %d", done, total)
		}
		last.Store(max(last.Load(), int64(done)))
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := secret.NewKey("k", []byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	host.ResetRequests()
	found := s.Run(t.Context(), rotator.Prints(key, []events.Fingerprint{{Alg: "hmac-sha256", KeyID: "k", Value: key.Fingerprint(secret.FromText(canary))}}))
	var got []string
	for _, p := range found.Places {
		got = append(got, p.String()+" "+strings.Join(p.Bundles, ","))
	}
	want := []string{
		"bound on prod package bound as parameter PKG (from package shop) ",
		"bound on prod package shop as parameter PKG ",
		"bound on prod action env as parameter ENV (init) checkout",
		"bound on prod action shop/inherits as parameter PKG (from package shop) ",
		"bound on prod action shop/own as parameter OTHER, inside at db.passwords[1] ",
		"bound on prod action shop/own as parameter PKG (from package shop) ",
		"bound on prod action web as annotation require-whisk-auth ",
		"bound on prod trigger cron as parameter trigger_payload, inside at key ",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	entities := 4_900 + 60 + 2 + 4 + 1
	pages := entities/page + 1
	if n := host.Count("GET", ""); n > entities+pages+8 || found.Searched != entities || int(last.Load()) != entities || len(found.Unread) > 0 { // lists overlap, and look at their front once more
		t.Errorf("%d requests for %d entities and %d pages; searched %d, told %d, unread %v", n, entities, pages, found.Searched, last.Load(), found.Unread)
	}
	raw, err := json.Marshal(found)
	if err != nil || strings.Contains(string(raw)+fmt.Sprintf("%+v", found), canary) {
		t.Errorf("the value is in the answer: %v", err)
	}
	t.Logf("%d requests for %d entities", host.Count("GET", ""), entities)
}

// TestSearchOfAHostThatHides: whether a host is known to hide values, or marks them as encrypted, what it hides is counted, and what it
// shows is found.
func TestSearchOfAHostThatHides(t *testing.T) {
	const canary = "canary-77aa-leaked"
	t.Setenv("SEARCH_KEY", whisktest.GuestKey)
	cfg := &config.Config{Hosts: make(map[string]config.Host)}
	for name, mode := range map[string]whisktest.Encryption{"hidden": whisktest.Hidden, "marked": whisktest.Marked} {
		host := whisktest.New(whisktest.Options{Encryption: mode})
		host.Action("a", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"K","value":"` + canary + `"}]`)})
		host.Action("empty", whisktest.Seed{Annotations: map[string]any{"require-whisk-auth": canary}})
		srv := httptest.NewServer(host)
		defer srv.Close()
		cfg.Hosts[name] = config.Host{Name: name, APIHost: srv.URL, Namespace: "_", AuthEnv: "SEARCH_KEY", Parallel: 2, HidesValues: mode == whisktest.Hidden}
	}
	s, err := NewSearch(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := s.Run(t.Context(), rotator.Known(secret.FromText(canary)))
	if len(found.Places) != 2 || found.Places[0].Annotation == "" || len(found.Hidden) != 2 || found.Hidden[0].Entities != 1 || len(found.Unread) > 0 {
		t.Errorf("%+v", found)
	}
}
