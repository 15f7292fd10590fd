package vaultsrc

import "errors"

// What a caller decides on. Every error of this package wraps one of these, or is a mistake in the
// arguments or the configuration.
var (
	// ErrNotFound means that the secret, role, lease or mount does not exist.
	ErrNotFound = errors.New("does not exist in Vault")
	// ErrDeleted means that the version asked for was deleted or destroyed: there is no data to work with.
	ErrDeleted = errors.New("version is deleted")
	// ErrConflict means that somebody else wrote a newer version first.
	ErrConflict = errors.New("written by somebody else")
	// ErrForbidden means that the token may not do this; the message names path and capability.
	ErrForbidden = errors.New("permission denied")
	// ErrUnavailable means that nothing happened: sealed, standby, rate limited, unreachable. Wait and retry.
	ErrUnavailable = errors.New("vault is not available")
	// ErrUnknownOutcome means that a call that creates something got no clear answer: it may have been executed.
	ErrUnknownOutcome = errors.New("outcome is unknown")
	// ErrRejected means that a probed credential is not accepted.
	ErrRejected = errors.New("credential is not accepted")
	// ErrInvalid means that the same request will never succeed: a wrong role, parameter or path.
	ErrInvalid = errors.New("refused by Vault")
	// ErrNotGone means that a revocation was accepted but has not taken effect yet. Call Revoke again.
	ErrNotGone = errors.New("not revoked yet")
	// ErrIrrevocable means that Vault has given up revoking a lease: an operator must act.
	ErrIrrevocable = errors.New("lease given up by Vault")
	// ErrShortLived means that an anchor cannot be given the life it needs.
	ErrShortLived = errors.New("lifetime is cut short")
)
