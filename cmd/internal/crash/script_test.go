package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A point is one write of a rotation: the n-th of its name.
type point struct {
	name string
	nth  int
}

func (p point) String() string { return fmt.Sprintf("%s #%d", p.name, p.nth) }

// verdict is what becomes of one write.
type verdict int

const (
	pass    verdict = iota
	drop            // not applied
	lose            // applied, but the answer is lost
	disturb         // something happens around it first
	freeze          // applied while the process is stopped; it has the answer when it is continued
)

func (v verdict) String() string {
	return [...]string{"passes", "is not applied", "is applied and its answer lost", "comes in the middle of it", "finds its sender stopped"}[v]
}

var whole = flag.Bool("whole", false, "every fault, not a random sample of them")

// some keeps about one of n cases, which ones is random, unless the whole is asked for.
func some[T any](n int, cases []T) []T {
	if *whole {
		return cases
	}
	kept := slices.Clone(cases)
	rand.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] })
	return kept[:(len(kept)+n-1)/n]
}

// A script sees every write of a run, and lets one of them fail.
type script struct {
	mu    sync.Mutex
	seen  map[string]int
	order []point

	target point
	fault  verdict
	struck chan struct{} // closed when the fault has happened
	thawed chan struct{} // closed when a stopped process is continued
}

func newScript(target point, fault verdict) *script {
	return &script{seen: make(map[string]int), target: target, fault: fault, struck: make(chan struct{}), thawed: make(chan struct{})}
}

// judge counts one write and says what becomes of it.
func (s *script) judge(name string) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[name]++
	p := point{name, s.seen[name]}
	s.order = append(s.order, p)
	if s.fault == pass || p != s.target {
		return pass
	}
	close(s.struck)
	return s.fault
}

func (s *script) points() []point {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order
}

// came reports whether the fault has happened.
func (s *script) came() bool {
	select {
	case <-s.struck:
		return true
	default:
		return false
	}
}

// wait gives a rotation that is over the time to come to its fault: some writes follow the last record.
func (s *script) wait() {
	if s.fault == pass {
		return
	}
	select {
	case <-s.struck:
	case <-time.After(5 * time.Second):
	}
}

// reach runs until the fault has happened, three times at most: a renewal, for instance, is only due in a slow run.
func (p point) reach(t *testing.T, fault verdict, run func(*script)) bool {
	for range 3 {
		s := newScript(p, fault)
		if run(s); s.came() || t.Failed() {
			return true
		}
	}
	t.Logf("no run came to %s", p)
	return false
}

// tally counts the points that no run came to.
type tally struct{ missed, all atomic.Int64 }

func (c *tally) count(reached bool) {
	c.all.Add(1)
	if !reached {
		c.missed.Add(1)
	}
}

// few fails when more than a renewal was missed: then the rig no longer tests what it says.
func (c *tally) few(t *testing.T) {
	t.Helper()
	if missed, all := c.missed.Load(), c.all.Load(); 20*missed > all {
		t.Errorf("%d of %d faults never happened", missed, all)
	}
}

// wire is what a process's proxies need to know.
type wire struct {
	script *script
	fatal  bool         // the process dies at the fault
	kill   func()       // ends the process at once
	stop   func()       // SIGSTOP
	upset  func()       // what a disturbance does
	after  func(string) // runs after every write that was answered
}

// judge says what becomes of a write, after a disturbance if there is one.
func (w *wire) judge(name string) verdict {
	v := w.script.judge(name)
	if v == disturb {
		w.upset()
		return pass
	}
	return v
}

// doom kills the process when that is what the fault is for.
func (w *wire) doom() {
	if w.fatal {
		w.kill()
	}
}
