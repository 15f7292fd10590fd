// Package rotator decides and drives: it takes leak and offboarding events into a journal and rotates the bundles
// they touch, so that every parameter of every target is written in one PUT, all targets or none.
//
// # States
//
// One journal record per bundle, moved only by compare-and-swap. The record is the lock (owner, epoch, lease), the
// queue of events, and the memory of the live generation.
//
//	Idle -> Claimed -> Minting -> Applying -> Draining -> Revoking -> Idle (generation + 1)
//	                     |           |            |
//	                     |           +------------+--> RollingBack -> Draining -> Revoking (the new generation) -> Idle
//	                     +--> Claimed (undone), Idle (refused)
//	any state with a rotation -> Quarantined (an operator decides: resume, abandon a target, roll back, contain)
//	Idle -> Applying -> Idle when a drifted target gets the live version again
//
// Two moments of the design are marked as steps rather than states: staged is the move into Applying, committed is
// the move out of it.
//
// # What a crash means
//
//   - In Claimed: nothing happened. An anchor token may exist; it owns nothing and dies within minutes.
//   - In Minting: the anchor's accessor is journalled. Whoever takes over looks at the newest version in Vault. Does
//     its marker name this rotation, the write was the commit: adopt it. Does it not, the taker writes a fence (so a
//     predecessor that is merely slow can no longer commit), revokes the anchor and with it everything under it, and
//     mints afresh.
//   - In Applying: the whole pass is made again from exactly the journalled version; targets that hold it already
//     get no PUT.
//   - In Draining: the end of the drain is in the journal; nobody sleeps for it.
//   - In Revoking: revoking is idempotent; it is repeated until Vault says the generation is gone and the probe fails.
//
// The code that resumes is the code that runs every time: each step works from the record alone, and what the
// process happens to know beyond it only saves round trips.
//
// # Guarantees
//
// The promises P1 to P9 of the README. Planning ([Planned]) is pure: it turns observed facts into writes, by name,
// or into refusals with a reason out of a closed set. A refused rotation has had no effect.
//
// # What an event may do
//
// A [Gate] stands in front: rules and bounds hold an event in its record's queue until somebody approves a plan ([Record.Approve]); the
// rotation that follows has that plan or does not begin. What only reports does not touch the journal. Persons are found by
// holders and, if [People] is there, by what Vault says they could read; an error there that waiting does not cure leaves the
// holders. A leaver's login is ended as a step of the rotation, before anything is minted; that Vault refuses it stops nothing.
//
// # What is looked at beside the rotations
//
// A watchdog reads the journal once a minute, whatever the steps report: a leak whose old generation should be revoked by now, one
// that waits behind a rotation which is held, and a record that is due and whose bundle nobody configures are raised, hourly; where
// the policy says contain, a held rotation is contained at the deadline of the leak. The end of a live generation is raised
// daily in the last third of its life and hourly, as an alarm, in the last tenth, until it is replaced. [Engine.Reconcile]
// compares Vault and the hosts with the journal; what is away, or a record that cannot be read, holds up nothing else.
//
// A person may delete a record: it is forgotten everywhere, and the next event makes a new one. A rotation in it is given up.
//
// # Failure modes
//
// Ends of drains and claims are moments of the replicas' own clocks. A replica whose clock is more than five seconds off the
// journal's begins nothing ([Engine.ClockError]): it is compared every half minute and whenever there is something to do.
//
// A record and an outcome fit into one message of NATS (1 MiB): texts and lists are cut, old receipts forgotten, before a receipt
// is sealed. What does not fit all the same is [ErrTooLarge], raised and tried again every ten minutes.
//
// OpenWhisk has no client-side compare-and-swap: a deploy between our GET and our PUT is noticed by the version
// number, not prevented. A PUT of a frozen or dead process can arrive after its successor's: such stragglers are in
// the record, and nothing that one of them would bring back is revoked before Config.Zombie has passed. A bundle
// whose old credential has no handle in Vault cannot be revoked by Vault; if the probe shows it alive, the record is
// quarantined.
package rotator
