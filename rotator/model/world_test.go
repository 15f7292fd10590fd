package model

import "fmt"

// befalls returns what may happen to replica i.
func (p protocol) befalls(s state, i int) []step {
	return append(append(p.crash(s, i), p.takeOver(s, i)...), p.late(s, i)...)
}

// around returns what may happen around the replicas.
func (p protocol) around(s state) []step {
	out := append(operator(s), expiries(s)...)
	out = append(out, arrivals(s)...)
	return append(out, deploys(s)...)
}

// crash: a process dies. A PUT that it had under way goes on.
func (p protocol) crash(s state, i int) []step {
	r := s.replicas[i]
	if r.at == off || s.left.crashes == 0 {
		return nil
	}
	s.left.crashes--
	if r.at == putSent {
		s.flight[r.target] |= 1 << r.rec.desired
	}
	s.replicas[i] = replica{}
	return with("dies", s)
}

// takeOver: the lease of the owner has passed, because it is dead or frozen. A frozen one goes on later.
func (p protocol) takeOver(s state, i int) []step {
	if s.replicas[i].at != off || s.rec.owner == 0 || s.rec.phase == idle {
		return nil
	}
	owner := s.replicas[s.rec.owner-1]
	alive := owner.at != off && owner.rec.epoch == s.rec.epoch
	if alive {
		if s.left.freezes == 0 {
			return nil
		}
		s.left.freezes--
	}
	if p.inherit && (s.rec.phase == applying || s.rec.phase == rollingBack) {
		s.rec.loose |= 1 << s.rec.desired
	}
	return with("takes over", s.take(i))
}

// expiries: an anchor that was not confirmed dies with what hangs on it.
func expiries(s state) []step {
	if s.left.expiries == 0 {
		return nil
	}
	var out []step
	for g := uint8(1); g <= s.minted; g++ {
		if s.gens[g] == anchored || s.gens[g] == minted {
			n := s
			n.left.expiries--
			n.gens[g] = dead
			out = append(out, step{fmt.Sprintf("the anchor of generation %d expires", g), n})
		}
	}
	return out
}

// arrivals: PUTs that nobody waits for are applied, or given up by the host; and the journal's time for them passes.
func arrivals(s state) []step {
	var out []step
	for t := range s.flight {
		for v := uint8(1); v <= s.head; v++ {
			if s.flight[t]&(1<<v) == 0 {
				continue
			}
			gone := s
			gone.flight[t] &^= 1 << v
			out = append(out, step{"a late PUT is given up", gone})
			gone.bound[t] = v
			out = append(out, step{fmt.Sprintf("a late PUT of version %d reaches target %d", v, t), gone})
		}
	}
	for v := uint8(1); v <= s.head; v++ {
		if s.rec.loose&(1<<v) != 0 && !s.inFlight(v) {
			n := s
			n.rec.loose &^= 1 << v
			out = append(out, step{fmt.Sprintf("the time for late PUTs of version %d passes", v), n})
		}
	}
	return out
}

// operator has the old generation cut off while nobody works on the rotation.
func operator(s state) []step {
	if s.left.contains == 0 || s.rec.owner != 0 || !s.rec.containable() {
		return nil
	}
	s.left.contains--
	s.rec.epoch++
	s.rec.asked = true
	return with("an operator decides to contain", s)
}

// deploys write the values that they took from a target earlier, at any time until the process that revokes them looks for the last time.
func deploys(s state) []step {
	if s.left.deploys == 0 || s.rec.desired == 0 {
		return nil
	}
	taken := s.rec.base
	if s.rec.back {
		taken = s.rec.newV
	}
	if s.gens[s.kv[taken].gen] == dead || s.closing() {
		return nil
	}
	var out []step
	for t := range s.bound {
		n := s
		n.left.deploys--
		n.bound[t] = taken
		out = append(out, step{fmt.Sprintf("a deploy writes version %d to target %d", taken, t), n})
	}
	return out
}
