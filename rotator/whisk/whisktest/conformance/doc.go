// Package conformance holds an OpenWhisk host to the contract that the rotator is built on: what a GET merges,
// what a PUT replaces, keeps, creates, ignores and refuses, and with which words. It speaks plain HTTP and shares no
// code with the client. The emulator must pass it, and so must a real host.
//
// It works in names of its own and removes them. What only the emulator can be made to do is tested there
// (package whisktest), not here.
package conformance
