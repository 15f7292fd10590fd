package main

import (
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator"
)

// TestStatusOfADamagedRecord names the commands that mend it, with the key as the tools show it.
func TestStatusOfADamagedRecord(t *testing.T) {
	b := statusOf("shop.payments", rotator.Stored{Value: []byte("\x00"), Revision: 3})
	if b.State != rotator.Quarantined || !strings.Contains(b.Problem, "nats kv del rotator shop=2Epayments") {
		t.Errorf("%+v", b)
	}
	if b := statusOf("a", rotator.Stored{Value: []byte(`{"v":99}`)}); strings.Contains(b.Problem, "kv del") || !strings.Contains(b.Problem, "newer program") {
		t.Errorf("a newer program's record: %+v", b)
	}
}
