package crash

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream/natstest"
	"github.com/openwhisk-rotator/rotator/rotator/journal"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// around runs one rotation for every case, so many at a time.
func around[T fmt.Stringer](t *testing.T, cases []T, width int, run func(*testing.T, T)) {
	var group sync.WaitGroup
	gate := make(chan struct{}, width)
	for _, at := range cases {
		group.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			t.Run(at.String(), func(t *testing.T) { run(t, at) })
		})
	}
	group.Wait()
}

// disturbed runs one rotation for every point, in which something happens around that write.
func disturbed(t *testing.T, points []point, width int, run func(*testing.T, *script)) {
	var missed tally
	around(t, some(6, points), width, func(t *testing.T, at point) {
		missed.count(at.reach(t, disturb, func(s *script) { run(t, s) }))
	})
	missed.few(t)
}

// only keeps the points of some systems.
func only(points []point, systems ...string) (out []point) {
	for _, p := range points {
		for _, s := range systems {
			if strings.HasPrefix(p.name, s) {
				out = append(out, p)
			}
		}
	}
	return out
}

// upset runs one rotation that is disturbed once, and checks it.
func (s *shop) upset(t *testing.T, script *script, happens func(first *process)) {
	t.Helper()
	defer s.report()
	var first *process
	started := make(chan struct{})
	first = s.startUpset("r1", script, itself, func() { <-started; happens(first) })
	close(started)
	if err := s.publish(departure("e1", s.name)); err != nil {
		t.Fatal(err)
	}
	if err := s.finished(90*time.Second, 1); err != nil {
		s.fail("P6, P8: %v", err)
		return
	}
	script.wait()
	s.look("the end")
	s.check(events.ResultRotated, 1)
}

// TestLeaderOfTheClusterDies: three nats-servers; the one that leads the journal dies in the middle of each step and comes
// back a little later.
func TestLeaderOfTheClusterDies(t *testing.T) {
	p := newParts(t, vaulttest.Run(t))
	points := only(p.recorded(t, events.ResultRotated), "vault", "openwhisk")
	disturbed(t, points, 3, func(t *testing.T, script *script) {
		c := natstest.Run(t)
		s := p.shopOn(t, c.URL(), t.TempDir())
		var back sync.WaitGroup
		defer back.Wait()
		s.upset(t, script, func(*process) {
			leader := c.Leads(journal.Stream)
			if leader < 0 {
				s.fail("nobody leads the journal")
				return
			}
			c.Stop(leader)
			back.Go(func() {
				time.Sleep(2 * time.Second) // how long the server is away
				c.Start(leader)
			})
		})
	})
}

// TestVaultIsSealed in the middle of each of its writes, and unsealed a little later.
func TestVaultIsSealed(t *testing.T) {
	p := newParts(t, vaulttest.RunPersistent(t))
	points := only(p.recorded(t, events.ResultRotated), "vault")
	disturbed(t, points, 1, func(t *testing.T, script *script) {
		s := p.newShop(t)
		var open sync.WaitGroup
		defer open.Wait()
		s.upset(t, script, func(*process) {
			if err := p.vault.Seal(t.Context()); err != nil {
				s.fail("sealing: %v", err)
			}
			open.Go(func() {
				time.Sleep(2 * time.Second) // how long it stays sealed
				if err := p.vault.Unseal(t.Context()); err != nil {
					s.fail("unsealing: %v", err)
				}
			})
		})
	})
}

// TestStopped: SIGTERM in the middle of each write. The process ends by itself within its grace time; another one finishes.
func TestStopped(t *testing.T) {
	p := newParts(t, vaulttest.Run(t))
	points := p.recorded(t, events.ResultRotated)
	for points[0].name != "nats journal _" {
		points = points[1:]
	}
	disturbed(t, points, 8, func(t *testing.T, script *script) {
		s := p.newShop(t)
		var next sync.WaitGroup
		defer next.Wait()
		s.upset(t, script, func(first *process) {
			first.signal(syscall.SIGTERM)
			next.Go(func() {
				select {
				case <-first.gone:
				case <-time.After(20 * time.Second):
					s.fail("the process did not end within 20 seconds after SIGTERM")
				}
				if code := first.cmd.ProcessState.ExitCode(); code != 0 {
					s.fail("the process ended with %d", code)
				}
				s.spawn(t, s.dir, s.replica("r2", nil))
			})
		})
	})
}
