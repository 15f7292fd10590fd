package rotator

import (
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// A Bundle is one KV v2 secret with everything that consumes it: the unit of a rotation.
type Bundle struct {
	Name        string
	Secret      string              // KV v2 "mount/path"
	Credentials []Credential        // what Vault can mint again, ordered by name
	Compose     map[string]Template // keys built from other keys, rebuilt at every rotation
	Targets     []Target
	Holders     []string // people ("a@example.com"), groups ("group:payments"), globs ("*@contractor.example")
	Policy      Policy
	DetectedAs  []Alias       // what detectors call its credentials
	Cooldown    time.Duration // after a rotation, for events that do not prove which value has leaked
}

// An Alias is what a detector says of a credential whose value and place in Vault it does not know. Members are globs in any
// case; an empty one fits everything.
type Alias struct {
	Source     string // the system that found it: "github", "gitguardian"
	Repository string // where: "acme/shop"
	SecretType string // what kind of credential it takes it for
	PublicID   string // an access key id, a client id
}

// String lists what is set.
func (a Alias) String() string {
	var out []string
	for _, p := range [][2]string{{"source", a.Source}, {"repository", a.Repository}, {"secret_type", a.SecretType}, {"public_id", a.PublicID}} {
		if p[1] != "" {
			out = append(out, p[0]+" "+p[1])
		}
	}
	return strings.Join(out, ", ")
}

// A Credential is the part of a bundle that one call to Vault mints again.
type Credential struct {
	Name     string
	Generate Generator
	Keys     map[string]string // field of Vault's answer -> key of the bundle
	Probe    Probe             // zero: minted values are not tested before they are bound

	Exclusive bool // nobody but this rotator mints from Generate.Path: a lease there that no rotation names is an orphan
}

// A Generator says where in Vault a credential comes from: a path that returns data, or a password policy.
type Generator struct {
	Path           string // "database/creds/checkout", "auth/approle/role/shop/secret-id"
	Method         string // "read", "write", or "" for what the path usually wants
	Data           map[string]any
	PasswordPolicy string
}

// A Probe proves that a credential is accepted (before it is bound) or refused (after it was revoked).
// At most one member is set. Templates see the bundle's keys.
type Probe struct {
	Postgres Template      // connection string; proven by connecting
	HTTP     *HTTPProbe    // proven by the status of one request
	Exec     []Template    // program and arguments; values go in by Env, never by argv
	Env      []EnvVar      // environment of Exec
	Action   string        // "host:name" of an action invoked with the bundle as payload; proven by success
	AppRole  *AppRoleProbe // proven by logging in to Vault
	Token    Template      // proven by looking itself up in Vault
	Timeout  time.Duration // of one attempt; zero: DefaultProbeTimeout
}

// DefaultProbeTimeout bounds one probe attempt.
const DefaultProbeTimeout = 10 * time.Second

// IsZero reports a credential without a probe.
func (p Probe) IsZero() bool {
	return p.Postgres.IsZero() && p.HTTP == nil && len(p.Exec) == 0 && p.Action == "" && p.AppRole == nil && p.Token.IsZero()
}

// An HTTPProbe is one request; 2xx means accepted, 401 and 403 mean refused, anything else proves nothing.
type HTTPProbe struct {
	Method, URL string
	Headers     map[string]Template
}

// An AppRoleProbe logs in to Vault's AppRole method.
type AppRoleProbe struct {
	Mount            string // auth mount, "approle" by default
	RoleID, SecretID Template
}

// An EnvVar is one environment variable of an exec probe.
type EnvVar struct {
	Name  string
	Value Template
}

// Kind of a target. The order of the constants is the order of writing: a package before its actions,
// triggers last, because trigger parameters beat action parameters.
type Kind int

// The kinds of target. A binding is a package that refers to another one.
const (
	Package Kind = iota + 1
	Action
	Trigger
)

// String is the word used in configuration, journal and logs.
func (k Kind) String() string {
	switch k {
	case Package:
		return "package"
	case Action:
		return "action"
	case Trigger:
		return "trigger"
	}
	return "unknown"
}

// MarshalText writes the word of String.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the word of String.
func (k *Kind) UnmarshalText(b []byte) error {
	for _, known := range []Kind{Package, Action, Trigger} {
		if known.String() == string(b) {
			*k = known
			return nil
		}
	}
	*k = 0
	return nil
}

// A Ref names one target on one host.
type Ref struct {
	Host string `json:"host"` // name of the host in the configuration
	Kind Kind   `json:"kind"`
	Name string `json:"name"` // "name" or "package/name"
}

// String is "host action package/name".
func (r Ref) String() string { return r.Host + " " + r.Kind.String() + " " + r.Name }

// A Target is one consumer of a bundle.
type Target struct {
	Ref
	Keys   []string          // selection of the bundle's keys; empty means all
	Rename map[string]string // bundle key -> parameter name
	Init   []string          // parameter names delivered as environment at container start
	Remove []string          // parameter names that may disappear: the only way a parameter is ever lost
}

// Params maps each selected bundle key to its parameter name on the target.
func (t Target) Params(bundleKeys []string) map[string]string {
	out := make(map[string]string)
	for _, key := range bundleKeys {
		if len(t.Keys) > 0 && !slices.Contains(t.Keys, key) {
			continue
		}
		name := key
		if to, ok := t.Rename[key]; ok {
			name = to
		}
		out[key] = name
	}
	return out
}

// AfterFailure is what happens when the targets cannot all be updated.
type AfterFailure string

// What happens after failure.
const (
	Rollback AfterFailure = "rollback" // put the previous version back everywhere, revoke the unused generation
	Hold     AfterFailure = "hold"     // quarantine: nothing more is written, the old generation stays alive
	Contain  AfterFailure = "contain"  // revoke the old generation although targets are missing
)

// A Rule is the policy for one kind of event.
type Rule struct {
	Drain         bool          // overlap computed from the targets' own limits
	Overlap       time.Duration // otherwise: time between the last target's update and revocation
	ContainWithin time.Duration // how long failing targets are retried before AfterFailure decides; zero: DefaultPatience
	AfterFailure  AfterFailure
}

// DefaultPatience bounds retries of failing targets when the policy names no deadline.
const DefaultPatience = 15 * time.Minute

// Policy holds one Rule per kind of event; DefaultRule fills the gaps.
type Policy map[events.Kind]Rule

// DefaultRule is the rule for kinds the configuration does not mention. A leak has no overlap and holds when
// targets cannot be updated: nobody is cut off unless the operator asked for contain. Everything else drains
// and rolls back.
func DefaultRule(kind events.Kind) Rule {
	if kind == events.KindLeak {
		return Rule{AfterFailure: Hold}
	}
	return Rule{Drain: true, AfterFailure: Rollback}
}

// Rule is the policy for an event of this kind.
func (p Policy) Rule(kind events.Kind) Rule {
	if r, ok := p[kind]; ok {
		return r
	}
	return DefaultRule(kind)
}

// SecretID reports whether the path mints AppRole secret-ids, which hold no lease.
func (g Generator) SecretID() bool {
	return strings.HasPrefix(g.Path, "auth/") && (strings.HasSuffix(g.Path, "/secret-id") || strings.HasSuffix(g.Path, "/custom-secret-id"))
}
