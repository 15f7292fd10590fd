// Package vaulttest gives tests and the sandbox real systems: a HashiCorp Vault and a PostgreSQL.
//
// Start finds a Vault in this order: the one that VAULT_ADDR and VAULT_TOKEN name, a vault on PATH, an earlier build, a
// container (of ROTATOR_TEST_IMAGE_VAULT, or the official image), or a development build from the Go module proxy, made
// once and kept in the user's cache directory.
// StartPostgres runs PostgreSQL's own binaries on a temporary directory.
//
// Run and Postgres are the same for tests: what cannot be had skips the test with one line that says how to
// get it, or fails it when CI=true. Tests of one package share one Vault and keep apart by random mount names.
//
// Everything listens on 127.0.0.1 and is started in a process group of its own; on Linux it dies with the process
// that started it, however that ends. Nothing here is made for production: Vault's server is under the BUSL, which
// allows running it in development and tests, so it is built on the user's machine and never shipped.
package vaulttest
