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
// alert, a re-activation, a membership added) gives no event and says why in Result.Ignored; what somebody has to see, because a feed
// goes silent or tells too little, is marked there with Alarm.
//
// Nothing authentic is lost without a word: every part of a message ends as an event, in Ignored, in Result.Unread, or the message
// is an error. Members that only describe may be missing or of any type. One that decides what a message means, or whom or which
// credential it is about, is missing or of another type: then that part is in Unread and the good ones beside it are events, or, where
// there is only one, the message is an error. An identifier that no event can hold is left out and in Unread, and its person is not.
// Whoever calls keeps a message with an error or with Unread (see Result.Err) among the dead letters. The texts name the field, and
// hold nothing of the message.
//
// A finding without a value to compare (censored, redacted, not in the report) becomes an event if it can be one, and is in
// Result.Blind or is Ignored with Blind: that it matches nothing does not mean that it is none of ours.
//
// Failure modes: a report that is recognised by none is ErrUnknown; one that is empty is no error, because scanners that find nothing
// may write nothing. A source that is not one is ErrSource; a message that may carry a raw value on a way where it would be stored
// is ErrRaw; one of no kind that is known is ErrForeign.
//
// The package authenticates nothing: who may hand it what is the business of the caller.
package adapt
