package crash

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// goesOn is who goes on after the fault.
type goesOn int

const (
	itself goesOn = iota
	restarted
	another
)

func (g goesOn) String() string {
	return [...]string{"the process goes on", "killed and restarted", "killed and another takes over"}[g]
}

// A fault is one run of the matrix.
type fault struct {
	at point
	verdict
	then goesOn
}

func (f fault) String() string { return fmt.Sprintf("%s %s, %s", f.at, f.verdict, f.then) }

func faults(points []point) (all []fault) {
	for _, at := range points {
		for _, v := range []verdict{drop, lose} {
			for _, then := range []goesOn{itself, restarted, another} {
				all = append(all, fault{at, v, then})
			}
		}
	}
	return all
}

// TestEveryWriteFails: each write of a rotation x not applied or answer lost x who goes on; forward and rolled back.
func TestEveryWriteFails(t *testing.T) {
	p := newParts(t, vaulttest.Run(t))
	var missed tally
	var known []point
	for _, way := range []string{events.ResultRotated, events.ResultRolledBack} {
		points := p.recorded(t, way)
		fork := 0 // up to here the way back is the way forward
		for fork < min(len(known), len(points)) && known[fork] == points[fork] {
			fork++
		}
		known, points = points, points[fork:]
		t.Logf("%s: %d write points: %v", way, len(points), points)
		around(t, some(9, faults(points)), 14, func(t *testing.T, f fault) {
			missed.count(f.at.reach(t, f.verdict, func(s *script) { p.run(t, way, s, f.then) }))
		})
	}
	missed.few(t)
}

// recorded runs once without a fault and returns the writes in their order.
func (p *parts) recorded(t *testing.T, way string) (points []point) {
	t.Run(way+"/without a fault", func(t *testing.T) {
		s := newScript(point{}, pass)
		p.run(t, way, s, itself)
		points = s.points()
	})
	if len(points) < 15 {
		t.Fatalf("only %d writes were recorded: %v", len(points), points)
	}
	return points
}

// run takes one event through one or two processes, of which one meets the fault.
func (p *parts) run(t *testing.T, way string, script *script, g goesOn) {
	s := p.newShop(t)
	defer s.report()
	if way == events.ResultRolledBack { // one target says no for good
		s.whisk.Inject(whisktest.Fault{Method: "PUT", Collection: "actions", Name: "refund", Times: -1, Status: 400, Text: whisktest.TextFinal})
	}
	first := s.start("r1", script, g)
	if g == another {
		s.start("r2", script, g)
	}
	if g == restarted {
		go func() {
			select {
			case <-script.struck:
			case <-t.Context().Done():
				return
			}
			<-first.gone
			s.spawn(t, s.dir, s.replica("r1", nil))
		}()
	}
	if err := s.publish(departure("e1", s.name)); err != nil {
		t.Fatal(err)
	}
	if err := s.finished(60*time.Second, 1); err != nil {
		s.fail("P6, P8: %v", err)
	}
	script.wait()
	s.whisk.ClearFaults()
	s.look("the end")
	s.check(way, 1)
}

// start runs a process whose every write goes past the script.
func (s *shop) start(name string, script *script, g goesOn) *process {
	return s.startUpset(name, script, g, nil)
}

func (s *shop) startUpset(name string, script *script, g goesOn, upset func()) *process {
	var pr *process
	ready := make(chan struct{})
	w := &wire{script: script, fatal: g != itself, after: s.look, kill: func() { <-ready; pr.kill() }, stop: func() { <-ready; pr.signal(syscall.SIGSTOP) }, upset: upset}
	pr = s.spawn(s.t, s.dir, s.replica(name, w))
	close(ready)
	return pr
}
