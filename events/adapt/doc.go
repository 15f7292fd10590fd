// Package adapt turns what secret scanners write into canonical leak events.
//
// It reads the reports of TruffleHog (JSON lines), Gitleaks (versions 7 and 8), detect-secrets, ggshield, GitLab's secret
// detection and SARIF, and tells by itself which one it has before it.
//
// Guarantees: no event holds a raw value. A finding's value is handed to the Fingerprint function of the caller and dropped;
// values that a scanner has redacted are not fingerprinted, because they would match nothing or the wrong thing. Ids are made
// from what stays the same between two runs of a scanner, so that the same finding is the same event. Unknown members are ignored:
// a newer version of a scanner does not break it.
//
// Failure modes: a report that is recognised by none is ErrUnknown; one that breaks off is an error that names the finding by
// its number, and nothing of its content. A single finding that cannot be used is listed in Result.Ignored with the reason.
package adapt
