// Package stream carries events and outcomes over NATS JetStream.
//
// Four streams' worth of rules live here: ROTATOR_EVENTS holds what publishers send, ROTATOR_OUTCOMES what became
// of it, ROTATOR_DEAD what was refused, and the two durable consumers rotator-leak and rotator-other hand events to
// the service, leaks in a lane of their own so that nothing else delays them.
//
// Besides events of the canonical form it takes a source's own messages: on rotator.events.v1.<publisher>.raw.<source>, and on
// subjects that Subscriber.Taps maps, each through a consumer of its own. All events of a message are handled before it is
// acknowledged.
//
// Guarantees: an event of a publisher in Subscriber.Signers is handled only if a key of that publisher has signed its bytes and
// its subject; what a mapped subject brings is of the publisher that is called like its source. What no signature covers, the
// headers, is not read of such messages. An event is acknowledged, and the acknowledgement confirmed, only after the handler took
// it; until then it is delivered again, to this replica or another. An event that can never be taken is stored as a dead
// letter with a reason and a remedy before it is taken off. A message is fetched only when a worker is free for it. Nobody
// suppresses a message of a Publisher by using its id up: what the server calls a duplicate is looked at, or the id is random.
// Those who publish otherwise and choose ids that can be foreseen have no such protection.
// A message in which a secret in the clear is recognised is not kept: its bytes are overwritten in ROTATOR_EVENTS and
// ROTATOR_INTAKE, and its dead letter has no body. With more than one replica the servers' Raft logs still hold it until they are
// compacted, so such a secret counts as leaked. No log line, header or termination reason of this package contains
// bytes of a message; what a handler puts into its errors is logged, and kept in the dead letter, as it is.
//
// Failure modes: a lost connection, a change of leader or a deleted consumer are waited out and repaired. A full
// ROTATOR_EVENTS refuses new events, so that the publisher learns of it, instead of dropping old ones; before it is full the oldest
// events are deleted that were handled, and no other.
package stream
