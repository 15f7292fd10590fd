// Package probe tests a credential at the backend that is to accept it: before it is bound to a target, and
// after it was revoked, to prove that it is dead.
//
// A probe has three answers. Nil: the backend accepts the credential. An error that wraps
// [rotator.ErrRejected]: it answered and refuses it. Any other error proves nothing, in either direction: it
// wraps [rotator.ErrUnavailable] when another attempt may tell more, and [rotator.ErrPermanent] when the probe
// itself is wrong (a missing key, a program that does not exist).
//
// The package guarantees that no value of the bundle is in an error, an argument list or an address, that
// the output of a program is thrown away unread, and that one attempt ends within its timeout together with
// the processes it started. It never repeats an attempt by itself.
//
// What is an answer:
//
//   - postgres: a connection and one round trip are accepted; SQLSTATE 28P01, and 28000 unless it is about
//     pg_hba.conf (which says where a client may come from, not who it is), are refused.
//   - http: 2xx is accepted, 401 and 403 are refused. Redirects are not followed: they would carry the
//     credential elsewhere.
//   - exec: exit code 0 is accepted, [ExitRejected] is refused. The code is not 1, because 1 is what every
//     broken script returns, and that must not count as proof of death.
//   - action: what Config.Invoke says.
//   - approle, token: what Vault says.
package probe
