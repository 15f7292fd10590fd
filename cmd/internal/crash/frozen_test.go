package crash

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// TestFrozenReplica stops a process in the middle of every write of a rotation for longer than its lease. Another replica
// takes over, finishes, and does a second rotation; then the first goes on with all that it believes. Nothing may be
// overwritten with old values, nothing that lives may be revoked.
func TestFrozenReplica(t *testing.T) {
	p := newParts(t, vaulttest.Run(t))
	var missed tally
	for _, way := range []string{events.ResultRotated, events.ResultRolledBack} {
		points := p.recorded(t, way)
		for points[0].name != "nats journal _" { // before that it has no work that anybody could take over
			points = points[1:]
		}
		around(t, some(6, points), 14, func(t *testing.T, at point) {
			missed.count(at.reach(t, freeze, func(s *script) { p.frozen(t, way, s) }))
		})
	}
	missed.few(t)
}

func (p *parts) frozen(t *testing.T, way string, script *script) {
	s := p.newShop(t)
	defer s.report()
	if way == events.ResultRolledBack {
		s.whisk.Inject(whisktest.Fault{Method: "PUT", Collection: "actions", Name: "refund", Times: -1, Status: 400, Text: whisktest.TextFinal})
	}
	first := s.start("r1", script, itself)
	var once sync.Once
	thaw := func() { once.Do(func() { first.signal(syscall.SIGCONT); close(script.thawed) }) }
	defer thaw()
	if err := s.publish(departure("e1", s.name)); err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- s.finished(30*time.Second, 1) }()
	select {
	case <-script.struck:
	case err := <-over:
		if err != nil {
			s.fail("P6, P8: %v", err)
			return
		}
		if script.wait(); !script.came() {
			return
		}
	}
	s.spawn(t, s.dir, s.replica("r2", nil))
	if err := s.finished(90*time.Second, 1); err != nil {
		s.fail("P6, P8: %v", err)
		return
	}
	s.whisk.ClearFaults()
	if err := s.publish(leak(s.name)); err != nil {
		t.Fatal(err)
	}
	if err := s.finished(90*time.Second, 2); err != nil {
		s.fail("P6, P8: the second: %v", err)
		return
	}
	before := s.newest()
	thaw()
	pause := time.Now().Add(1500 * time.Millisecond) // time to do harm
	for time.Now().Before(pause) {
		s.look("the first process goes on")
		time.Sleep(50 * time.Millisecond)
	}
	if s.newest() != before {
		s.fail("P3: the bundle was overwritten")
	}
	s.check("", 2)
}

func leak(bundle string) events.Event {
	return events.Event{ID: "leak of " + bundle, Kind: events.KindLeak, Leak: &events.Leak{Credential: events.Credential{Name: bundle},
		Severity: "high", Reason: "manual_report", Upstream: events.Upstream{System: "test"}}}
}
