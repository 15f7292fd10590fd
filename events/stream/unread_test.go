package stream

import (
	"strings"
	"testing"
)

// TestOneBrokenPart: what can be read of a message is handled, the message becomes a dead letter, and a feed that goes silent is an error.
func TestOneBrokenPart(t *testing.T) {
	b := newBench(t)
	var got heard
	b.run(got.take, "ci")
	b.raw("rotator.events.v1.ci.raw.okta", `{"data":{"events":[{"uuid":"1","eventType":"user.lifecycle.deactivate","outcome":{"result":"SUCCESS"},"target":[{"id":"1","type":"User"}]},
		{"eventType":"user.lifecycle.deactivate","outcome":{"result":"SUCCESS"},"target":7}]}}`, nil)
	d := b.letters(1)[0]
	if d.Reason != "malformed" || !strings.Contains(d.Problem, "data.events[1].target: has another type") || d.Remedy == "" {
		t.Errorf("%+v", d)
	}
	b.raw("rotator.events.v1.ci.raw.entra", `{"value":[{"lifecycleEvent":"missed"}]}`, nil)
	b.drained()
	if all := got.events(); len(all) != 1 || all[0].ID != "1" || all[0].Publisher != "ci" {
		t.Errorf("%+v", all)
	}
	b.halt()
	if !strings.Contains(b.log.String(), `"level":"error"`) {
		t.Error("nobody will see that notifications are missing")
	}
}
