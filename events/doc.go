// Package events is the wire contract of the rotator: what a leak, an
// offboarding, an expiry or a request looks like on NATS, and how a rotation
// reports its outcome. An event is a CloudEvent 1.0 in structured or binary
// form, with data that follows one of the JSON Schemas in Schemas.
//
// Guarantees: nothing is accepted that two parsers could read differently
// (repeated or empty member names, trailing data, wrong case, bad UTF-8). Data
// is accepted exactly when its JSON Schema accepts it, but for numbers beyond
// 2^53 and years outside 0 to 9999, which are refused. Whatever is accepted can
// be encoded and decoded again without a change. A member that could hold a
// secret is refused. The publisher comes from the NATS subject alone, because
// that is the only thing the server vouches for.
//
// Failure: Decode returns an InvalidError that lists every problem with its
// field and a remedy. It repeats nothing of the payload, so it is safe in a
// log, a dead-letter subject or a TermWithReason. A message that is refused
// once is refused always, except for ReasonFuture: never retry the others.
package events
