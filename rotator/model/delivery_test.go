package model

// apply brings one target after the other to the desired version, and commits.
func (p protocol) apply(s state, i int) []step {
	r := &s.replicas[i]
	switch r.at {
	case ready:
		if r.rec.phase == rollingBack && r.rec.desired == r.rec.newV {
			r.head, r.at = s.head, stagingBack
			return with("reads the bundle", s)
		}
		r.at, r.target = looking, 0
		return with("looks at the targets", s)
	case stagingBack:
		return p.stageBack(s, i)
	case looking:
		if r.target == targets {
			return p.commit(s, i)
		}
		if p.holds(s, i) {
			r.target++
			return with("finds a target as desired", s)
		}
		return p.send(s, i)
	case putSent:
		return p.answer(s, i)
	}
	return nil
}

// holds looks at the target. On the way back the values count, not the version.
func (p protocol) holds(s state, i int) bool {
	r := s.replicas[i]
	v := s.bound[r.target]
	return v == r.rec.desired || r.rec.back && s.kv[v].gen == s.kv[r.rec.desired].gen
}

func (p protocol) send(s state, i int) []step {
	r := &s.replicas[i]
	if p.lease && !s.held(i) {
		s.replicas[i] = replica{}
		return with("finds its lease over", s)
	}
	var out []step
	if s.left.refusals > 0 && r.rec.phase == applying && r.rec.rotation == 1 && !(p.noReturn && r.rec.contained) {
		back := s
		back.left.refusals--
		strayed := r.strayed
		back.replicas[i].at, back.replicas[i].strayed = ready, false
		out = p.move(back, i, "is refused by a target: rolling back", func(n *record) {
			n.phase, n.back = rollingBack, true
			n.stray(strayed)
		})
	}
	r.at = putSent
	return append(out, step{"sends a PUT", s})
}

// stray notes that a PUT of the version being applied may still arrive.
func (n *record) stray(really bool) {
	if really {
		n.loose |= 1 << n.desired
	}
}

// answer: the host applies the PUT and answers; or the answer is lost, before or after it was applied.
func (p protocol) answer(s state, i int) []step {
	r := s.replicas[i]
	ok := s
	ok.bound[r.target] = r.rec.desired
	ok.replicas[i].at = looking
	out := with("has its PUT answered", ok)
	if s.left.losses > 0 {
		lost := s
		lost.left.losses--
		lost.flight[r.target] |= 1 << r.rec.desired
		lost.replicas[i].at, lost.replicas[i].strayed = looking, true
		out = append(out, step{"loses the answer to its PUT", lost})
	}
	return out
}

// commit journals that every target is as desired. With an overlap, or while a late PUT may arrive, it gives the record back; otherwise it
// goes straight on.
func (p protocol) commit(s state, i int) []step {
	strayed := s.replicas[i].strayed
	s.replicas[i].at, s.replicas[i].strayed = ready, false
	committed := func(n *record) {
		n.stray(strayed)
		n.phase = draining
	}
	out := p.move(s, i, "journals: every target is verified, and waits", func(n *record) {
		committed(n)
		n.owner = 0
	})
	if !p.stragglers || !s.rec.strays() {
		out = append(out, p.move(s, i, "journals: every target is verified", committed)...)
	}
	return out
}

// stageBack writes the previous values as a new version.
func (p protocol) stageBack(s state, i int) []step {
	r := &s.replicas[i]
	head := s.kv[s.head]
	v := s.head
	if !head.back || head.rotation != r.rec.rotation {
		if r.head != s.head || int(s.head)+1 == maxVersions || !s.held(i) {
			r.at = ready
			return with("cannot write the previous values now", s)
		}
		base := s.kv[r.rec.base]
		s.write(version{gen: base.gen, rotation: r.rec.rotation, epoch: r.rec.epoch, back: true})
		return with("writes the previous values", s)
	}
	r.at = ready
	return p.move(s, i, "journals the way back", func(n *record) { n.desired = v })
}

// drain looks at every target again.
func (p protocol) drain(s state, i int) []step {
	r := &s.replicas[i]
	if p.stragglers && r.rec.strays() { // taken over before it was due
		r.at = ready
		return p.move(s, i, "waits", func(n *record) { n.owner = 0 })
	}
	r.at = ready
	if p.verify && s.overwritten(r.rec) {
		return p.again(s, i)
	}
	r.seen = true
	return p.move(s, i, "journals: revoking", func(n *record) { n.phase = revoking })
}

// again goes back to writing targets.
func (p protocol) again(s state, i int) []step {
	return p.move(s, i, "finds a target overwritten", func(n *record) {
		n.phase = applying
		if n.back {
			n.phase = rollingBack
		}
	})
}

// revoke kills the generation that lost, and ends the rotation.
func (p protocol) revoke(s state, i int) []step {
	r := &s.replicas[i]
	victim, survivor := r.rec.old, r.rec.newG
	if r.rec.back {
		victim, survivor = survivor, victim
	}
	switch r.at {
	case ready:
		if p.lookAgain && !r.seen && !r.rec.contained { // somebody else has looked, and nobody knows what happened since
			if s.overwritten(r.rec) {
				return p.again(s, i)
			}
			r.seen = true
			return with("looks at the targets again", s)
		}
		if !s.held(i) {
			s.replicas[i] = replica{}
			return with("finds its lease over", s)
		}
		r.at = revokes
		return with("is about to revoke", s)
	case revokes:
		out := p.away(s, i)
		s.gens[victim] = dead
		r.at = revoked
		return append(out, step{"revokes", s})
	case revoked:
		return p.move(s, i, "journals: idle", func(n *record) {
			n.phase, n.owner, n.live = idle, 0, survivor
			n.anchor, n.base, n.newV, n.newG, n.old, n.desired, n.back = 0, 0, 0, 0, 0, 0, false
			n.asked, n.contained = false, false
		})
	}
	return nil
}

// away: Vault does not revoke now. Somebody takes the record up later.
func (p protocol) away(s state, i int) []step {
	if s.left.outages == 0 {
		return nil
	}
	s.left.outages--
	s.replicas[i].at = ready
	return p.move(s, i, "finds that Vault does not revoke, and waits", func(n *record) { n.owner = 0 })
}

// late: the deadline of a leak has passed while something failed. The old generation is to be cut off.
func (p protocol) late(s state, i int) []step {
	r := &s.replicas[i]
	if s.left.contains == 0 || r.at != ready && r.at != looking || !r.rec.containable() {
		return nil
	}
	s.left.contains--
	strayed := r.strayed
	r.at, r.strayed = ready, false
	if !p.decideFirst {
		return p.cutOff(s, i)
	}
	return p.move(s, i, "journals that the old generation is cut off", func(n *record) {
		n.asked = true
		n.stray(strayed)
	})
}

// contain cuts the old generation off although targets may hold it.
func (p protocol) contain(s state, i int) []step {
	r := &s.replicas[i]
	switch r.at {
	case cutting:
		out := p.away(s, i)
		s.gens[r.gen], s.cut = dead, r.gen
		r.at = cut
		return append(out, step{"cuts the old generation off", s})
	case cut:
		r.at = ready
		return p.move(s, i, "journals: contained", func(n *record) { n.asked, n.contained = false, true })
	}
	return p.cutOff(s, i)
}

// cutOff finds out whom to revoke: before anything was planned that is what the bundle holds.
func (p protocol) cutOff(s state, i int) []step {
	r := &s.replicas[i]
	if !s.held(i) {
		s.replicas[i] = replica{}
		return with("finds its lease over", s)
	}
	if r.gen = r.rec.old; r.rec.base == 0 {
		r.gen = s.kv[s.head].gen
	}
	r.at = cutting
	return with("is about to cut the old generation off", s)
}
