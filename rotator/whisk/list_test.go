package whisk_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/whisk"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

func crowd(s *whisktest.Server, n int) {
	for i := range n {
		s.Action(fmt.Sprintf("a%02d", i), whisktest.Seed{Parameters: whisktest.Params(`[{"key":"K","value":"v"}]`)})
	}
}

func rowNames(rows []whisk.Row) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r.Name)
	}
	slices.Sort(out)
	return out
}

func TestListsAreComplete(t *testing.T) {
	s, c := serve(t, whisktest.Options{MaxPage: 10})
	example(s)
	crowd(s, 25)
	rows, err := c.ListActions(t.Context())
	if err != nil || len(rows) != 26 {
		t.Fatalf("%d actions, %v; want 26", len(rows), err)
	}
	packaged := rows[slices.IndexFunc(rows, func(r whisk.Row) bool { return r.Name == "a" })]
	if packaged.Namespace != "guest/p" || packaged.Kind != "nodejs:20" || packaged.Timeout.Seconds() != 60 || packaged.Version != "0.0.1" {
		t.Errorf("row of p/a: %+v", packaged)
	}
	packages, err := c.ListPackages(t.Context())
	if err != nil || !slices.Equal(rowNames(packages), []string{"p", "q"}) {
		t.Fatalf("packages %v, %v", rowNames(packages), err)
	}
	for _, p := range packages {
		if (p.Binding == "guest/p") != (p.Name == "q") {
			t.Errorf("package %s: binding %q", p.Name, p.Binding)
		}
	}
	if triggers, err := c.ListTriggers(t.Context()); err != nil || !slices.Equal(rowNames(triggers), []string{"t"}) {
		t.Errorf("triggers %v, %v", rowNames(triggers), err)
	}
}

// A write between two pages moves the oldest entity to the front, where a client that pages once never looks.
func TestListSurvivesReordering(t *testing.T) {
	s, c := serve(t, whisktest.Options{MaxPage: 10})
	crowd(s, 25)
	same := whisktest.Params(`[{"key":"K","value":"v"}]`)
	s.Inject(whisktest.Fault{Collection: "actions", Skip: 1, Hook: func() { s.Write("actions", "a00", same) }})
	rows, err := c.ListActions(t.Context())
	got := rowNames(rows)
	if err != nil || len(got) != 25 || !slices.Contains(got, "a00") {
		t.Errorf("%d actions %v, %v; want all 25 once", len(got), got, err)
	}
}

// Deleting a listed entity between two pages shifts the rest up, and one of them between the pages.
func TestListSurvivesDeletion(t *testing.T) {
	s, c := serve(t, whisktest.Options{MaxPage: 10})
	crowd(s, 25)
	s.Inject(whisktest.Fault{Collection: "actions", Skip: 1, Hook: func() { s.Delete("actions", "a24") }})
	rows, err := c.ListActions(t.Context())
	got := rowNames(rows)
	if err != nil || len(got) != 24 || slices.Contains(got, "a24") {
		t.Errorf("%d actions %v, %v; want the 24 that are left", len(got), got, err)
	}
}

func TestListThatNeverSettles(t *testing.T) {
	s, c := serve(t, whisktest.Options{MaxPage: 10})
	crowd(s, 25)
	same, i := whisktest.Params(`[{"key":"K","value":"v"}]`), 0
	s.Inject(whisktest.Fault{Collection: "actions", Times: -1, Hook: func() {
		s.Write("actions", fmt.Sprintf("a%02d", i*7%25), same)
		i++
	}})
	rows, err := c.ListActions(t.Context())
	if !errors.Is(err, whisk.ErrUnstable) || len(rows) < 24 || s.Count("GET", "actions") > 30 {
		t.Errorf("%d rows after %d requests, %v; want what was seen, and the warning", len(rows), s.Count("GET", "actions"), err)
	}
}

func TestHost(t *testing.T) {
	_, c := serve(t, whisktest.Options{MaxBytes: 1000, Deprecated: []string{"nodejs:18"}})
	if l, err := c.Limits(t.Context()); err != nil || l.ParameterBytes != 1000 {
		t.Errorf("limits %+v, %v", l, err)
	}
	if kinds, err := c.DeprecatedKinds(t.Context()); err != nil || !slices.Equal(kinds, []string{"nodejs:18", "nodejs:6"}) {
		t.Errorf("deprecated %v, %v", kinds, err)
	}
}

// The emulator refuses at exactly the size that param.List measures.
func TestSizeLimit(t *testing.T) {
	list := whisktest.Params(`[{"key":"ключ","value":"\u00e9\n\u0001 <&>"},{"key":"B","value":{"a" : [1, 2]}}]`)
	for limit, class := range map[int]whisk.Class{list.Size(): whisk.OK, list.Size() - 1: whisk.Permanent} {
		s, c := serve(t, whisktest.Options{MaxBytes: limit}, whisktest.Stale)
		s.Action("a", whisktest.Seed{})
		_, err := c.PutAction(t.Context(), "a", whisk.Update{Parameters: &list})
		if whisk.Classify(err) != class {
			t.Errorf("limit %d for %d bytes: %v", limit, list.Size(), err)
		}
	}
}

func TestDeprecatedKindIsRefused(t *testing.T) {
	s, c := serve(t, whisktest.Options{}, whisktest.Stale)
	s.Action("a", whisktest.Seed{Kind: "nodejs:6"})
	_, err := c.Touch(t.Context(), "a")
	if whisk.Classify(err) != whisk.Permanent {
		t.Errorf("PUT on a deprecated kind: %v", err)
	}
	if a, err := c.GetAction(t.Context(), "a"); err != nil || a.Kind != "nodejs:6" {
		t.Errorf("GET must still work: %q, %v", a.Kind, err)
	}
}

func TestFollows(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"0.0.1", "0.0.2"}: true, {"1.2.9", "1.2.10"}: true, {"0.0.1", "0.0.3"}: false, {"0.0.1", "0.0.1"}: false,
		{"0.0.1", "0.1.2"}: false, {"0.0.2", "0.0.1"}: false, {"", ""}: false, {"1", "2"}: false, {"0.0.x", "0.0.1"}: false, {"0.0.-1", "0.0.0"}: false,
	} {
		if got := whisk.Follows(pair[0], pair[1]); got != want {
			t.Errorf("%s -> %s: %t", pair[0], pair[1], got)
		}
	}
}
