package rotator

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// Errors that decide what happens next. Adapters wrap their own errors in exactly one of them; an error
// that wraps none is treated like ErrUnavailable: waited out and retried.
var (
	// ErrUnavailable means wait and retry: sealed, unreachable, rate limited, 5xx.
	ErrUnavailable = errors.New("unavailable")
	// ErrConflict means somebody else wrote first: read again and decide again.
	ErrConflict = errors.New("written by somebody else")
	// ErrUnknown means a write whose answer was lost: it may or may not have happened.
	ErrUnknown = errors.New("outcome unknown")
	// ErrNotFound means the thing does not exist.
	ErrNotFound = errors.New("does not exist")
	// ErrPermanent means the same call will never succeed: 400, 401, 403, 413.
	ErrPermanent = errors.New("refused")
	// ErrRejected means a probe was answered, and the credential is not accepted.
	ErrRejected = errors.New("credential is not accepted")
	// ErrNotGone means a revocation did not take effect yet.
	ErrNotGone = errors.New("not revoked yet")
	// ErrTooLarge means that a message does not fit into NATS: it was not written, and the same one never will be.
	ErrTooLarge = errors.New("too large for NATS")
	// ErrIrrevocable comes together with ErrNotGone: Vault has given up, and somebody has to look.
	ErrIrrevocable = errors.New("cannot be revoked by Vault")
)

// A Handle names one thing that revoking a generation must undo. It is no secret value, but sensitive.
type Handle struct {
	Kind string `json:"kind"` // "anchor", "lease", "secret-id" or "token"
	ID   string `json:"id"`   // accessor or lease id
	Path string `json:"path,omitempty"`
}

// A Marker is kept inside the bundle's data under a reserved key: the fact of the commit, atomic with the values.
type Marker struct {
	Rotation string    `json:"rotation,omitempty"`
	Epoch    uint64    `json:"epoch,omitempty"`
	Handles  []Handle  `json:"handles,omitempty"` // of the generation whose values stand beside it
	Expires  time.Time `json:"expires,omitzero"`  // of what among these values no handle can renew
	Fence    uint64    `json:"fence,omitempty"`   // epoch that fenced off a predecessor
}

// A Snapshot is one version of a bundle's secret.
type Snapshot struct {
	Version int
	Set     secret.Set
	Marker  Marker
}

// Secrets reads and writes bundles.
type Secrets interface {
	// Read returns exactly this version, or the newest when version is 0. ErrNotFound covers a deleted version, whose number comes
	// with it.
	Read(ctx context.Context, path string, version int) (Snapshot, error)
	// Write stores s.Set and s.Marker as a new version if s.Version is still the newest. It fails with
	// ErrConflict when it is not, with ErrUnknown when the answer was lost.
	Write(ctx context.Context, path string, s Snapshot) (version int, err error)
	// Key returns the fingerprint key, made once and cached.
	Key(ctx context.Context) (secret.Key, error)
}

// A Mint is one credential to mint for a rotation.
type Mint struct {
	Rotation   string
	Credential Credential
}

// Minted is what one call to Vault returned.
type Minted struct {
	Fields  secret.Set
	Handles []Handle
	Expires time.Time // zero: does not expire by itself
}

// An Anchor owns every lease of one generation. Token is opaque to the core and is never stored.
type Anchor struct {
	Accessor string
	Token    any
}

// Minter creates credentials. None of its calls is repeated blindly.
type Minter interface {
	// Anchor creates the token that will own the leases; it dies within minutes unless confirmed.
	Anchor(ctx context.Context, bundle, rotation string, epoch uint64) (Anchor, error)
	// Mint calls Vault once. ErrUnknown: something may exist; only Revoker.Abort may follow.
	Mint(ctx context.Context, a Anchor, m Mint) (Minted, error)
	// Confirm gives the anchor its long life; after that the generation outlives this process.
	Confirm(ctx context.Context, accessor string) error
	// Renew keeps a live generation alive and says when to come back, and when it ends for good (zero: never).
	Renew(ctx context.Context, hs []Handle) (next, end time.Time, err error)
}

// Revoker ends generations. All its calls are idempotent and return nil only when nothing is left.
type Revoker interface {
	Revoke(ctx context.Context, hs []Handle) error
	// Abort revokes everything attributable to a rotation that never committed, journalled or not.
	Abort(ctx context.Context, rotation, anchor string, ms []Mint) error
	// Adopt finds the handles of a credential that was put into the bundle by somebody else, where the
	// value itself leads to it; an empty answer means it cannot be found.
	Adopt(ctx context.Context, c Credential, set secret.Set) ([]Handle, error)
}

// Prober tests a credential: nil is accepted, ErrRejected is refused, anything else proves nothing.
type Prober interface {
	Probe(ctx context.Context, p Probe, set secret.Set) error
}

// Observed is what one GET told about a target.
type Observed struct {
	Ref          Ref
	Version      string
	Parameters   param.List // as read: merged for a packaged action or a binding
	Inherited    param.List // of the package, or the binding's provider; what Parameters minus it are the target's own
	Annotations  []Annotation
	Sequence     bool
	Components   []string // of a sequence
	BelowBinding string   // the binding through which the action was addressed, if any
	Binding      bool     // the package refers to another one
	Provider     string   // of a binding, if it is in the same namespace
	Actions      []string // of a package
	Feed         string   // of a trigger
	Fires        []string // actions that a trigger starts
	Deprecated   string   // the runtime, when the host no longer supports it
	Timeout      time.Duration
	At           time.Time
}

// An Annotation is one entry of a target's annotation list, with its value as raw JSON.
type Annotation struct {
	Key   string
	Value json.RawMessage
}

// A Write is the one PUT that a target gets.
type Write struct {
	Parameters  param.List
	Annotations []Annotation // packages and triggers: the whole list; actions: only the entries to merge
	Still       func() error // asked again at the last moment, when the request is about to leave; an error keeps it back
}

// A Written is the answer to a PUT.
type Written struct {
	Version    string
	Parameters param.List // unmerged; nil when the host answers without a body
}

// Limits of a host.
type Limits struct {
	ParameterBytes int  // largest parameter list; 0: not known
	HidesValues    bool // GET returns something else than the values
	Parallel       int
}

// Platform talks to the OpenWhisk hosts.
type Platform interface {
	// Observe makes one GET, plus one for the package of a packaged action unless seen holds it already.
	Observe(ctx context.Context, r Ref, seen *Seen) (Observed, error)
	Put(ctx context.Context, r Ref, w Write) (Written, error)
	// Touch makes the containers of an action start afresh.
	Touch(ctx context.Context, r Ref) error
	Limits(ctx context.Context, host string) (Limits, error)
	Workload
}

// Journal keeps one record per bundle. Put is a compare-and-swap: it fails with ErrConflict when revision is
// not the newest, and with ErrUnknown when the answer was lost. Get reads from the leader. A key that a person has
// deleted does not exist: Get fails with ErrNotFound, List leaves it out, Put at revision 0 makes it anew. Forget takes what is stored
// up to a revision away for good; anything newer stays.
type Journal interface {
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	List(ctx context.Context) (map[string]Stored, error)
	Watch(ctx context.Context) <-chan Change
	Forget(ctx context.Context, key string, revision uint64) error
}

// Stored is one journal value with its revision.
type Stored struct {
	Value    []byte
	Revision uint64
}

// A Change is a hint that a journal value moved.
type Change struct {
	Key string
	Stored
	Deleted bool // by a person: there is no value any more, and Revision is that of the deletion
}

// Outbox publishes what happened. Publishing the same thing again is harmless.
type Outbox interface {
	Outcome(ctx context.Context, o events.Outcome) error
	Raise(ctx context.Context, e events.Event) error
}
