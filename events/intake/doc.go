// Package intake is the HTTP edge: it takes the messages of detectors and identity systems, checks that they are authentic,
// and hands canonical events on.
//
//	POST /v1/<name>           a message of the configured source <name>
//	GET  /v1/<name>           Okta's verification challenge
//	/v1/<name>/Users          SCIM 2.0, for sources of kind scim
//	/v1/<name>/v1/...         GitLab's token revocation API, for sources of kind gitlab-revocation
//	GET  /healthz             200 when messages can be taken, otherwise 503
//
// Answers: 2xx after the events are durably published (202 for Security Event Tokens, 204 for GitLab); 202 too for an authentic message that
// is not understood, whole or in part: it is kept as a dead letter, and the answer names the field. Whoever reads the answer - SCIM, SSF,
// GitLab, a report, a canonical event - is told with 400, beside the dead letter, that nothing of it was understood. 400 for what is no
// JSON, 401 for a wrong signature (authentication_failed for SSF), 404 for an unknown source, 405, 408 for a body that does not come within
// 5 seconds, 413 beyond 1 MiB. 429 is the sender's own excess; 503 with Retry-After is ours: NATS or a key cannot be reached, a key may be
// newer than the key set that was read, or there is too much in hand.
//
// Guarantees: nothing is parsed before it is authenticated over its raw bytes, in constant time, against every configured secret, so
// that secrets can be changed without a gap. Nothing is answered with success before Config.Publish has returned. A raw value in a
// message becomes a keyed fingerprint and is dropped; no body is logged or stored, with one exception: an authentic message that is not
// understood is kept as a dead letter, without its body if it carries what looks like a secret. The same bytes again are answered and not
// published again. What is authentic ends as an event, as ignored with a reason, or as a dead letter.
//
// One sender does not hold up another: bodies are read outside of a source's slots, a few of one address at a time; each source has
// slots of its own; key sets are read outside of any lock, at most once in 20 seconds. A GitHub alert whose value or fingerprint is not to
// be had within 2.5 seconds becomes an event without: GitHub does not send it again.
//
// Failure modes: sources that authenticate by a static token only (Okta, Graph, Google, AWS, SCIM) are as safe as the token and TLS
// are. The sources retry less than one would wish (GitGuardian never, Okta once): a rotator that is down loses their messages; run
// two replicas. Deliveries are remembered for 30 days. Whoever has some twenty addresses can keep the edge busy with bodies that never end:
// put a proxy in front that reads them first.
package intake
