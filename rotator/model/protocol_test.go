package model

// protocol is what the replicas run: its safety rules, each of which can be taken out.
type protocol struct {
	fence         bool // a taker fences the bundle before it undoes a minting
	confirmFirst  bool // an anchor is made to last before its generation is committed
	stragglers    bool // late PUTs of other values are waited for before anything is revoked
	inherit       bool // a taker counts its predecessor's PUTs among them
	verify        bool // every target is read again before the old generation is revoked
	compare       bool // the journal is moved by compare-and-swap
	journalAnchor bool // the anchor is journalled before anything is minted under it
	lease         bool // a PUT leaves only while the lease is held
	attempts      bool // what an attempt minted is told from what the next attempt of the same rotation mints
	lookAgain     bool // whoever takes up a revocation reads every target first
	decideFirst   bool // that the old generation is cut off is journalled before it is done
	noReturn      bool // a rotation whose old generation is cut off is not turned around
}

func allRules() protocol {
	return protocol{true, true, true, true, true, true, true, true, true, true, true, true}
}

// step is one possible next state.
type step struct {
	text string
	to   state
}

// act returns what replica i may do next.
func (p protocol) act(s state, i int) []step {
	r := &s.replicas[i]
	switch {
	case r.at == off:
		return p.claim(s, i)
	case r.rec.asked, r.at == cutting, r.at == cut:
		return p.contain(s, i)
	case r.rec.phase == claimed:
		return p.begin(s, i)
	case r.rec.phase == minting:
		return p.mint(s, i)
	case r.rec.phase == applying, r.rec.phase == rollingBack:
		return p.apply(s, i)
	case r.rec.phase == draining:
		return p.drain(s, i)
	case r.rec.phase == revoking:
		return p.revoke(s, i)
	}
	return nil
}

func me(i int) uint8 { return uint8(i + 1) }

// held is what a process knows from its clock: nobody can have taken over yet.
func (s *state) held(i int) bool { return s.rec.epoch == s.replicas[i].rec.epoch }

// claim takes the record up when nobody has it. Taking it from somebody is in world_test.go.
func (p protocol) claim(s state, i int) []step {
	if s.rec.owner != 0 || s.rec.phase == idle && s.rec.waiting == 0 {
		return nil
	}
	if s.rec.phase == draining && p.stragglers && s.rec.strays() && !s.rec.asked {
		return nil // not due
	}
	return []step{{"claims", s.take(i)}}
}

func (s state) take(i int) state {
	s.rec.epoch++
	s.rec.owner = me(i)
	if s.rec.phase == idle {
		s.rec.phase = claimed
		s.rec.waiting--
		s.rec.rotation++
	}
	s.replicas[i] = replica{at: ready, rec: s.rec}
	return s
}

// move changes the record by compare-and-swap. A replica that has lost its claim stops.
func (p protocol) move(s state, i int, text string, change func(*record)) []step {
	r := &s.replicas[i]
	if p.compare && (s.rec.epoch != r.rec.epoch || s.rec.owner != me(i)) {
		s.replicas[i] = replica{}
		return []step{{"finds that it was taken over", s}}
	}
	next := r.rec
	if p.compare {
		next = s.rec
	}
	change(&next)
	s.rec = next
	if next.owner != me(i) || next.phase == idle {
		s.replicas[i] = replica{}
	} else {
		r.rec = next
	}
	return []step{{text, s}}
}

// with is one step that changes nothing but the state given.
func with(text string, s state) []step { return []step{{text, s}} }

// begin plans: it reads the bundle, creates an anchor, and journals both.
func (p protocol) begin(s state, i int) []step {
	r := &s.replicas[i]
	switch r.at {
	case ready:
		if int(s.minted)+1 == maxGens {
			return nil
		}
		s.minted++
		s.gens[s.minted], s.named[s.minted] = anchored, r.rec.rotation
		r.gen, r.head, r.at = s.minted, s.head, haveAnchor
		return with("creates an anchor", s)
	case haveAnchor:
		gen, head := r.gen, r.head
		r.at = haveToken
		return p.move(s, i, "journals the anchor: minting", func(n *record) {
			n.phase, n.base, n.old = minting, head, s.kv[head].gen
			n.newV, n.desired, n.back = 0, 0, false
			if p.journalAnchor {
				n.anchor = gen
			}
		})
	}
	return nil
}

// mint makes, tests, confirms and stages the new generation; a process without the token settles what became of it.
func (p protocol) mint(s state, i int) []step {
	r := &s.replicas[i]
	switch r.at {
	case haveToken:
		if s.gens[r.gen] != anchored {
			r.at = ready
			return with("cannot mint: the anchor is gone", s)
		}
		s.gens[r.gen] = minted
		r.at = haveCred
		return with("mints", s)
	case haveCred:
		out := p.giveUp(s, i, "finds the credential refused")
		if !p.confirmFirst {
			r.at = tested
			return append(out, step{"tests", s})
		}
		return append(out, p.confirm(s, i, tested)...)
	case tested:
		if !s.held(i) {
			s.replicas[i] = replica{}
			return with("finds its lease over", s)
		}
		r.at = staging
		return with("is about to write the bundle", s)
	case staging:
		return append(p.giveUp(s, i, "finds its write refused"), p.stage(s, i)...)
	case staged:
		if !p.confirmFirst && s.gens[r.gen] == minted {
			return p.confirm(s, i, staged)
		}
		v, g := r.head, r.gen
		r.at, r.target = looking, 0
		return p.move(s, i, "journals: applying", func(n *record) { n.phase, n.newV, n.newG, n.desired = applying, v, g, v })
	}
	return p.settle(s, i)
}

// giveUp: what was minted is of no use, and certainly not committed. No fence is needed to undo it.
func (p protocol) giveUp(s state, i int, text string) []step {
	if s.left.outages == 0 || !s.held(i) {
		return nil
	}
	s.left.outages--
	s.replicas[i].at = fenced
	return with(text, s)
}

func (p protocol) confirm(s state, i int, next at) []step {
	r := &s.replicas[i]
	if s.gens[r.gen] != minted {
		r.at = ready
		return with("cannot confirm: the anchor is gone", s)
	}
	s.gens[r.gen] = confirmed
	r.at = next
	return with("confirms the anchor", s)
}

// stage writes the bundle if it is still as read; otherwise it looks what is there.
func (p protocol) stage(s state, i int) []step {
	r := &s.replicas[i]
	if r.head == s.head {
		s.write(version{gen: r.gen, rotation: r.rec.rotation, epoch: r.rec.epoch})
		r.head, r.at = s.head, staged
		return with("writes the bundle", s)
	}
	head := s.kv[s.head]
	switch {
	case head.rotation == r.rec.rotation && head.epoch == r.rec.epoch && head.fence == 0:
		r.head, r.at = s.head, staged
		return with("finds its own version", s)
	case head.fence > r.rec.epoch:
		s.replicas[i] = replica{}
		return with("finds a fence", s)
	}
	r.head, r.at = s.head, tested
	return with("merges into a newer version", s)
}

func (s *state) write(v version) {
	s.head++
	s.kv[s.head] = v
}

// settle adopts what was committed, or fences the bundle and undoes the rest.
func (p protocol) settle(s state, i int) []step {
	r := &s.replicas[i]
	switch r.at {
	case ready:
		head := s.kv[s.head]
		if head.rotation == r.rec.rotation && head.fence == 0 && !head.back {
			r.head, r.gen, r.at = s.head, head.gen, staged
			return with("adopts the committed version", s)
		}
		r.head, r.at = s.head, fencing
		return with("sees no commit", s)
	case fencing:
		if !p.fence {
			r.at = fenced
			return with("does not fence", s)
		}
		if !s.held(i) {
			s.replicas[i] = replica{}
			return with("finds its lease over", s)
		}
		r.at = fencingHeld
		return with("is about to fence the bundle", s)
	case fencingHeld:
		if r.head != s.head || int(s.head)+1 == maxVersions {
			r.at = ready
			return with("cannot fence: the bundle has moved", s)
		}
		fence := s.kv[s.head]
		fence.fence = r.rec.epoch
		s.write(fence)
		r.at = fenced
		return with("fences the bundle", s)
	case fenced:
		for g := uint8(1); g <= s.minted; g++ {
			if g == r.rec.anchor || !p.attempts && s.named[g] == r.rec.rotation {
				s.gens[g] = dead
			}
		}
		r.at = aborted
		return with("aborts the minting", s)
	case aborted:
		r.at = ready
		return p.move(s, i, "journals: claimed", func(n *record) { n.phase, n.anchor, n.base = claimed, 0, 0 })
	}
	return nil
}
