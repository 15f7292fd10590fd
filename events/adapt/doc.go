// Package adapt turns what secret scanners write, and what detectors and identity systems send, into canonical events.
//
// Report reads the reports of TruffleHog (JSON lines), Gitleaks (versions 7 and 8), detect-secrets, ggshield, GitLab's secret
// detection and SARIF, and tells by itself which one it has before it. Message reads one message of a source (Sources names them)
// in that source's own format: alerts of GitHub, GitGuardian, Vault Radar, AWS Health, GitLab, Google and the people's side of
// GitHub, Okta and OpenID Shared Signals.
//
// Guarantees: no event holds a raw value. A finding's value is handed to the Fingerprint function of the caller and dropped;
// values that a scanner has redacted are not fingerprinted, because they would match nothing or the wrong thing. Ids are made
// from what stays the same between two runs of a scanner or two deliveries of a message, so that the same finding is the same
// event. Unknown members are ignored: a newer version of a source does not break it. A message of the wrong kind (a resolved
// alert, a re-activation, a membership added) gives no event and says why in Result.Ignored.
//
// Failure modes: a report that is recognised by none is ErrUnknown; one that breaks off is an error that names the finding by
// its number, and nothing of its content. A source that is not one is ErrSource; a message that may carry a raw value on a way
// where it would be stored is ErrRaw. A single finding that cannot be used is listed in Result.Ignored with the reason.
//
// The package authenticates nothing: who may hand it what is the business of the caller.
package adapt
