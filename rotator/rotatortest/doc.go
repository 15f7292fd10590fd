// Package rotatortest lets a Go test of yours run against the real rotator: one call starts its image with NATS, Vault and an
// OpenWhisk host beside it in containers, and hands out what a test needs to seed them, to publish an event, and to wait for
// what became of it. Everything is removed at the end of the test.
//
// It lives below rotator/, because the top level of this repository is fixed, and in this module, because its version and
// that of the image belong together. It imports no other package of this module: its surface is strings, bytes and the standard
// library, so that a test which uses it depends on nothing else of ours. See the example of Start.
//
// # Images
//
// Each can be named by a variable: ROTATOR_TEST_IMAGE_ROTATOR (default "rotator") and ROTATOR_TEST_IMAGE_OPENWHISK ("rotator-demo",
// the emulator), which "docker compose build" in this repository makes; ROTATOR_TEST_IMAGE_NATS and ROTATOR_TEST_IMAGE_VAULT
// (the official ones).
//
// # Guarantees and failure modes
//
// When Start returns, the rotator is ready. An event that it does not take - nothing matches it, it is malformed - ends Leak and Await
// at once, with the reason. Where no container engine answers, Start skips the test with one line that says so,
// and fails it when CI=true; every other failure fails the test, with the logs of the container that did not start. Vault runs in
// dev mode and the rotator with its root token: rights are not tested here.
package rotatortest
