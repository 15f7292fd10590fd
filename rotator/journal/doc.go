// Package journal keeps the rotator's records in NATS JetStream: one value per bundle, in the bucket "rotator"
// (stream KV_rotator, readable with any key-value tool).
//
// Guarantees: Put is a compare-and-swap that the stream's leader decides, so of any number of replicas exactly one
// wins a revision. Get and List read from the leader, never from a follower, and so see every write that was
// acknowledged before. A changed value keeps its last 16 predecessors for people to look at.
//
// Failure modes: a write whose answer was lost is ErrUnknown, and the caller finds out by reading; a write that
// provably was not sent, or that the server could not take, is ErrUnavailable; one that is larger than the servers take
// in a message is ErrTooLarge, and stays so. A leader that was just cut off from its peers may answer a read with an
// older value; decisions must therefore rest on Put, which it cannot answer. Watch gives hints: values may arrive late
// or twice, never as proof of anything. A key that a person deletes is gone for all of these, and may be made anew.
package journal
