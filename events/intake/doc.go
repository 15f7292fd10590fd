// Package intake is the HTTP edge: it takes the messages of detectors and identity systems, checks that they are authentic,
// and hands canonical events on.
//
//	POST /v1/<name>           a message of the configured source <name>
//	GET  /v1/<name>           Okta's verification challenge
//	/v1/<name>/Users          SCIM 2.0, for sources of kind scim
//	/v1/<name>/v1/...         GitLab's token revocation API, for sources of kind gitlab-revocation
//	GET  /healthz             200 when messages can be taken, otherwise 503
//
// Answers: 2xx after the events are durably published (202 for Security Event Tokens, 204 for GitLab), 400 with the field that is
// wrong, 401 for a wrong signature, 404 for an unknown source, 405, 413 beyond 1 MiB, 429 when it is too much, 503 with Retry-After when
// NATS or a key cannot be reached: then the sender should try again.
//
// Guarantees: nothing is parsed before it is authenticated over its raw bytes, in constant time, against every configured secret, so
// that secrets can be changed without a gap. Nothing is answered with success before Config.Publish has returned. A raw value in a
// message becomes a keyed fingerprint and is dropped; no body is logged or stored, with one exception: an authentic message of a kind
// that is not known is kept as a dead letter, without its body if it carries what looks like a secret. The same bytes again are
// answered and not published again.
//
// Failure modes: sources that authenticate by a static token only (Okta, Graph, Google, AWS, SCIM) are as safe as the token and TLS
// are. The sources retry less than one would wish (GitGuardian never, Okta once): a rotator that is down loses their messages; run
// two replicas. Deliveries are remembered for 30 days.
package intake
