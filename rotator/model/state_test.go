package model

import "fmt"

const (
	targets     = 2
	maxVersions = 10
	maxGens     = 8
)

// phase is the journal's state of the bundle.
type phase uint8

const (
	idle phase = iota
	claimed
	minting
	applying
	draining
	revoking
	rollingBack
)

func (p phase) String() string {
	return [...]string{"idle", "claimed", "minting", "applying", "draining", "revoking", "rolling back"}[p]
}

// life is what Vault knows of a generation: its anchor and the credential under it.
type life uint8

const (
	unborn    life = iota
	anchored       // short-lived, nothing minted
	minted         // short-lived
	confirmed      // long-lived
	dead
)

// version is one KV version: whose values, and the marker beside them.
type version struct {
	gen      uint8
	rotation uint8
	epoch    uint8
	fence    uint8
	back     bool
}

// record is the journal's record.
type record struct {
	phase    phase
	epoch    uint8
	owner    uint8 // 0: nobody
	rotation uint8
	waiting  uint8 // events in the queue
	anchor   uint8 // journalled; 0: none
	base     uint8
	newV     uint8
	newG     uint8
	old      uint8
	desired  uint8
	back     bool
	live     uint8
	loose    uint16 // KV versions of which a PUT may still arrive

	asked     bool // the old generation is to be cut off
	contained bool // it was
}

// strays reports whether a PUT of another version than the desired one may still arrive.
func (r record) strays() bool { return r.loose&^(1<<r.desired) != 0 }

// containable reports a rotation that may still cut off its old generation.
func (r record) containable() bool {
	return r.phase != idle && r.phase != rollingBack && !r.asked && !r.contained && !r.back
}

// at is where a replica stands within a phase.
type at uint8

const (
	off        at = iota
	ready         // at the beginning of what the phase asks for
	haveAnchor    // an anchor that only this process knows
	haveToken     // the anchor is journalled
	haveCred
	tested
	staging // has seen that it holds the lease, and is about to write the bundle
	staged
	fencing
	fencingHeld // has seen that it holds the lease, and is about to write the fence
	fenced
	aborted
	stagingBack
	looking // at target i
	putSent
	revokes // has seen that it holds the lease, and is about to revoke
	revoked
	cutting // the same, to cut off the old generation
	cut
)

// replica is one process: what it believes the record to be, and what only it knows.
type replica struct {
	at      at
	rec     record
	head    uint8 // KV version it has read
	gen     uint8
	target  uint8
	strayed bool // the answer to a PUT was lost
	seen    bool // it has seen every target hold what it should, and goes straight on to revoke
}

// budget bounds what may happen.
type budget struct{ crashes, freezes, losses, deploys, expiries, refusals, outages, contains uint8 }

// state is everything. It is comparable, so that a visited one is recognised.
type state struct {
	rec      record
	kv       [maxVersions]version // from 1
	head     uint8
	gens     [maxGens]life  // from 1
	named    [maxGens]uint8 // the rotation by whose name Vault knows it
	minted   uint8          // generations so far
	cut      uint8          // the generation that died on purpose; 0: none
	bound    [targets]uint8
	flight   [targets]uint16 // KV versions in PUTs that nobody waits for
	replicas [2]replica
	left     budget
}

func first(b budget) state {
	s := state{left: b, head: 1, minted: 1}
	s.kv[1] = version{gen: 1}
	s.gens[1] = confirmed
	s.rec = record{waiting: 2, live: 1}
	for i := range s.bound {
		s.bound[i] = 1
	}
	return s
}

// alike is one of a state and its mirror image: which of the two replicas is the first does not matter.
func (s state) alike() (one state, swapped bool) {
	a, b := s.replicas[0], s.replicas[1]
	if a.at > b.at || a.at == b.at && a.rec.epoch >= b.rec.epoch {
		return s, false
	}
	s.replicas = [2]replica{b, a}
	for _, r := range []*record{&s.rec, &s.replicas[0].rec, &s.replicas[1].rec} {
		if r.owner != 0 {
			r.owner = 3 - r.owner
		}
	}
	return s, true
}

// inFlight reports whether a PUT of this version can still arrive.
func (s *state) inFlight(v uint8) bool {
	for i := range s.flight {
		if s.flight[i]&(1<<v) != 0 {
			return true
		}
	}
	for _, r := range s.replicas {
		if r.at == putSent && r.rec.desired == v {
			return true
		}
	}
	return false
}

// broken names the promise that this state breaks, or "".
func (s *state) broken() string {
	for i, v := range s.bound {
		if g := s.kv[v].gen; s.gens[g] == dead && g != s.cut {
			return fmt.Sprintf("P3: target %d holds generation %d, which is dead", i, g)
		}
	}
	if g := s.kv[s.head].gen; s.gens[g] == dead && g != s.cut {
		return fmt.Sprintf("P3: the newest KV version holds generation %d, which is dead", g)
	}
	if s.rec.phase == idle && s.gens[s.rec.live] == dead {
		return fmt.Sprintf("P2: a rotation is over, and its live generation %d is dead", s.rec.live)
	}
	return ""
}

// overwritten reports whether a target does not hold the desired values.
func (s *state) overwritten(r record) bool {
	for _, v := range s.bound {
		if s.kv[v].gen != s.kv[r.desired].gen {
			return true
		}
	}
	return false
}

// closing reports whether a process has looked at the targets for the last time and is about to revoke.
func (s *state) closing() bool {
	for i, r := range s.replicas {
		if r.at == revokes || r.seen && s.held(i) {
			return true
		}
	}
	return false
}

// over reports an end state: nothing is left to do.
func (s *state) over() bool {
	return s.rec.phase == idle && s.rec.waiting == 0 && s.rec.owner == 0 && s.replicas[0].at == off && s.replicas[1].at == off
}

// unfinished names the promise that an end state breaks, or "". PUTs that are still under way carry the live version.
func (s *state) unfinished() string {
	if s.rec.rotation != 2 {
		return fmt.Sprintf("P6: %d rotations for two events", s.rec.rotation)
	}
	for i, v := range s.bound {
		if s.kv[v].gen != s.rec.live {
			return fmt.Sprintf("P2: target %d holds generation %d, live is %d", i, s.kv[v].gen, s.rec.live)
		}
	}
	if s.kv[s.head].gen != s.rec.live {
		return fmt.Sprintf("P2: the newest KV version holds generation %d, live is %d", s.kv[s.head].gen, s.rec.live)
	}
	for g := uint8(1); g <= s.minted; g++ {
		if g != s.rec.live && s.gens[g] == confirmed {
			return fmt.Sprintf("P5: generation %d is an orphan", g)
		}
	}
	return ""
}
