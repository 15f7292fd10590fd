package stream

import (
	"testing"

	"github.com/openwhisk-rotator/rotator/events"
)

// A publisher says what events.publishers allows it, and nothing else; of a message in a source's own form every event is looked at.
func TestScopes(t *testing.T) {
	b := newBench(t)
	var got heard
	b.subscribe(Subscriber{Scopes: Scopes{
		"gh": {Sources: []string{"https://api.github.com/repos/acme/*", "urn:github"}, Kinds: []events.Kind{events.KindLeak}},
		"ci": {Sources: []string{"https://api.github.com/repos/acme/*"}},
	}}, got.take)
	letters := 0
	for _, c := range []struct{ publisher, source, field string }{
		{"gh", "https://api.github.com/repos/acme/shop", ""}, {"gh", "https://api.github.com/repos/acme/shop/deep", ""}, {"gh", "urn:github", ""}, {"else", "urn:anything", ""},
		{"gh", "https://api.github.com/repos/other/shop", "source"}, {"gh", "urn:github:x", "source"}, {"gh", "https://evil/?https://api.github.com/repos/acme/x", "source"},
	} {
		e := leak(c.source)
		e.Publisher, e.Source = c.publisher, c.source
		b.publish(e)
		if c.field == "" {
			continue
		}
		letters++
		if d := b.letters(letters)[0]; d.Reason != "publisher-mismatch" || d.Field != c.field || d.Remedy == "" {
			t.Errorf("%s: %+v", c.source, d)
		}
	}
	request := manual("1")
	request.Publisher, request.Source = "gh", "urn:github"
	b.publish(request)
	if d := b.letters(letters + 1)[0]; d.Reason != "publisher-mismatch" || d.Field != "type" {
		t.Errorf("another kind: %+v", d)
	}
	b.raw("rotator.events.v1.ci.raw.github", sample(t, "github-secret_scanning_alert-reopened-1"), nil) // of Codertocat
	if d := b.letters(letters + 2)[0]; d.Reason != "publisher-mismatch" || d.Field != "source" {
		t.Errorf("a source's own form: %+v", d)
	}
	b.drained()
	if n := len(got.events()); n != 4 {
		t.Errorf("%d events were handled", n)
	}
}
