// Package rotator decides and drives: it takes leak and offboarding events into a journal and rotates the bundles
// they touch, so that every parameter of every target is written in one PUT, all targets or none.
//
// # States
//
// One journal record per bundle, moved only by compare-and-swap (the rotator's own begin with "_"). The record is the lock (owner, epoch, lease), the
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
//   - In Revoking: every target is looked at again, because nobody knows what happened meanwhile; what was overwritten is applied again.
//     Revoking is idempotent; it is repeated until Vault says the generation is gone and the probe fails.
//
// The code that resumes is the code that runs every time: each step works from the record alone, and what the
// process happens to know beyond it only saves round trips.
//
// # Guarantees
//
// The promises P1 to P9 of the README. Planning ([Planned]) is pure: it turns observed facts into writes, by name,
// or into refusals with a reason out of a closed set. A refused rotation has had no effect; that of a leak is tried again until its deadline.
//
// # What an event may do
//
// A [Gate] stands in front: rules and bounds hold an event in its record's queue until somebody approves a plan ([Record.Approve]); the
// rotation that follows has that plan or does not begin. What only reports does not touch the journal.
//
// # Who leaves
//
// Persons are found by holders and, if [People] is there, by what Vault says they could read; what Vault refuses to tell is raised. That
// answer changes as soon as the login is ended, by us or by the identity system, so that it is asked for once and journalled as a
// [Departure] before anything follows from it; the event delivered again goes by what stands there. Ending the login is that record's
// own business, carried out by any replica when the event says so: no refusal, outage, cool-down or quarantine of a bundle holds it
// up, rules and bounds hold it until it is approved ([Departure.Approve]), and a rotation that takes the event along does not end it.
// A rotation that begins first waits until the logins of its events have ended, if that is due, so that nobody reads what it writes.
// One event that leads to two entities on one auth mount is about two persons, as far as anybody knows, and waits as a whole. What
// Vault refuses for good to end is noted, raised, and holds up nothing.
//
// # Copies
//
// A leaked value of which the fingerprint is known is looked for on all hosts ([Search]): copies that no rotation replaces die unannounced
// with the old credential, so they are told in an outcome. Values are compared in memory: whole ones, nested ones, and what JSON in texts,
// URLs and encodings are made of; what is inside of a longer text can only be found when the value itself is at hand ([Known]). What could
// not be read, or is hidden by its host, is told, too: nothing found is only a no when everything was looked at.
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
