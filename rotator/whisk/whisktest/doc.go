// Package whisktest is an OpenWhisk host for tests and for the sandbox: an http.Handler that keeps actions,
// packages, bindings, triggers and rules in memory and answers as the real controller does, down to its texts and
// its odd corners. A conformance suite (package conformance) holds it to that, and runs on a real host as well.
//
// Beyond what a host does it has
//   - faults by script ([Server.Inject]): conflicts, 5xx, 429, dropped connections before and after the write took
//     effect, empty answers, HTML, stale reads, and hooks that run between a client's GET and PUT;
//   - a referee ([Server.Referee]) that fails the test when a write loses a parameter, a mark or an annotation,
//     copies an inherited parameter down, or overwrites what the client has not seen;
//   - a model of invocation ([Server.Handle]): arguments are captured when the action is invoked, init parameters
//     when its container starts.
//
// Failure modes: misuse of the setup methods panics, as it does in net/http/httptest. What a host does over time -
// cache invalidation, idle containers, throttling - happens here only when a test asks for it.
package whisktest
