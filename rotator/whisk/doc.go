// Package whisk is a small REST client for OpenWhisk and Adobe I/O Runtime: it reads actions, packages,
// bindings and triggers, and writes their parameters and annotations.
//
// It guarantees:
//   - A PUT carries parameters and annotations and nothing else: never exec, version or limits, which would
//     replace code, freeze the version or change the runtime settings.
//   - A PUT is sent once. Whether to repeat it is the caller's decision, by [Classify]; reads are repeated a
//     bounded number of times. Redirects are never followed, so that a body goes only where it was addressed.
//   - Parameters keep their raw JSON and their marks (package param).
//   - No error holds a request or response body, a parameter value or a credential.
//   - Answers are read as a stream and up to a limit; the code of an action is skipped, not kept.
//
// Failure modes: every failed call returns an [*Error]. A time-out, a 5xx, a broken connection or an answer that
// cannot be read leave the outcome of a PUT unknown ([Unknown]): GET and compare versions with [Follows]. A host may
// answer a PUT with 200 and no body; that is [ErrNoBody], and the write was accepted.
//
// GET is merged: for a packaged action it includes the package's parameters, for a binding the provider's.
// Writing such a list back copies inherited secrets down; subtract first, see param.List.Own.
package whisk
