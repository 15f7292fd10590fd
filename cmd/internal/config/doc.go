// Package config reads rotator.yaml: one file, reviewed in git, with no secret in it.
//
// It guarantees that every mistake is reported at once, with file, line, column, what is wrong and what to
// do, before anything is connected; that what it returns is complete (defaults are filled in, names are
// resolved, relative paths are absolute or relative to the working directory); and that no text of an error
// repeats a value that looks like a secret.
//
// A mistake is an error; what may be right on another machine - a file that is not there yet, a key file
// that everybody can read - is a warning and is found in [Config.Warnings].
//
// Failure modes: a file that is not YAML at all yields one problem, where the parser stopped. What only the
// systems themselves know (does the role exist, is the action there) is the business of `rotator check`.
package config
