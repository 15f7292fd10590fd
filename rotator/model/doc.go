// Package model proves the rotation protocol on paper, by machine: its tests explore every order of events of a small
// copy of it, breadth first, and look for a state that breaks a promise.
//
// The copy has one bundle with two targets, two rotations one after the other (the first may be turned around, one of them may be
// contained), and two replicas that run the steps of package rotator one external effect at a time. Around them anything may happen at any
// moment: a process dies, or is frozen and goes on after another has taken over; an answer is lost; a PUT arrives late; an
// unconfirmed anchor expires; a candidate or a write is refused; Vault does not revoke for a while; an operator or the deadline of a leak has
// the old generation cut off; a deploy writes the values it took earlier.
//
// In every state each target's credential and the newest KV version's must be alive, but for a generation that was cut off. In every end state
// both rotations are over, every target holds the live generation, which is alive, and no other confirmed generation is left. A state
// from which nothing leads on is an error as well.
//
// Every rule of the protocol can be taken out; the search then has to find a violation. A rule that can be taken out
// without one would be superfluous, or the model blind.
//
// What it assumes: a PUT leaves only while the lease is held (rotator.Write.Still), a host gives a PUT up within the bound
// on stragglers, and no deploy comes between the last look at the targets of the process that then revokes and its request to do so: moments,
// in which nobody could notice. Until then a deploy may come at any time, with and without an overlap, also while Vault does not revoke
// and one replica after the other takes that up. What the model leaves out: several bundles on one target.
package model
