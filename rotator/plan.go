package rotator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// Facts is everything a plan is made from. Gathering it is somebody else's work; planning does no I/O.
type Facts struct {
	Bundle     Bundle
	Rule       Rule
	Base       Snapshot // newest version of the bundle
	Sights     []Sight  // one per target of the bundle
	Limits     map[string]Limits
	Neighbours map[string]Neighbour // other bundles that share a target with this one, by name
	Zombie     time.Duration        // longest request a dead replica may still have under way
}

// A Sight is one target with what was observed of it, or why it could not be.
type Sight struct {
	Target   Target
	Observed Observed
	Err      error
}

// A Neighbour is another bundle that draws on a shared target.
type Neighbour struct {
	Keys    []string
	Targets []Target
}

// A Plan is exactly what a rotation would do, by name. It holds no value.
type Plan struct {
	Bundle      string        `json:"bundle"`
	BaseVersion int           `json:"base_version"`
	Mint        []PlannedMint `json:"mint"`
	Composed    []string      `json:"composed,omitempty"` // keys rebuilt from others
	Targets     []PlannedPut  `json:"targets"`
	Overlap     time.Duration `json:"overlap_ns"`
	OverlapText string        `json:"overlap"`
	Warnings    []string      `json:"warnings,omitempty"`
	Refusals    []Refusal     `json:"refusals,omitempty"`
}

// A PlannedMint is one credential to be minted.
type PlannedMint struct {
	Credential string   `json:"credential"`
	From       string   `json:"from"` // Vault path or password policy
	Keys       []string `json:"keys"`
	Probed     bool     `json:"probed"`
}

// A PlannedPut is the one PUT a target will get.
type PlannedPut struct {
	Target   Ref      `json:"target"`
	Version  string   `json:"version"`
	Rotates  []string `json:"rotates"`            // parameters that get a new value
	Sets     []string `json:"sets,omitempty"`     // parameters from the bundle whose value stays or is brought in line
	Adds     []string `json:"adds,omitempty"`     // of all those, the ones the target does not have as its own today
	Carries  []string `json:"carries,omitempty"`  // own parameters kept untouched
	Inherits []string `json:"inherits,omitempty"` // left to the package
	Removes  []string `json:"removes,omitempty"`  // as listed in the configuration
	Bytes    int      `json:"bytes"`
	Touches  []string `json:"touches,omitempty"` // actions restarted because init parameters of their package change
}

// Planned decides. With refusals the rotation must not begin.
func Planned(f Facts) Plan {
	p := Plan{Bundle: f.Bundle.Name, BaseVersion: f.Base.Version}
	p.Refusals = append(p.Refusals, baseRefusals(f)...)
	minted := make(map[string]bool)
	for _, c := range f.Bundle.Credentials {
		p.Mint = append(p.Mint, plannedMint(c))
		for _, key := range c.Keys {
			minted[key] = true
		}
		p.Warnings = append(p.Warnings, mintWarnings(f, c)...)
	}
	for _, key := range composedKeys(f.Bundle) {
		p.Composed = append(p.Composed, key)
		minted[key] = true
	}
	set, refusals := forecast(f, minted)
	p.Refusals = append(p.Refusals, refusals...)
	for _, s := range f.Sights {
		put, refusals := plannedPut(f, s, set, minted)
		p.Targets = append(p.Targets, put)
		p.Refusals = append(p.Refusals, refusals...)
	}
	p.Overlap = overlap(f)
	p.OverlapText = p.Overlap.String()
	if f.Rule.Drain {
		p.OverlapText += " (drain, computed from the targets' limits)"
	}
	return p
}

func plannedMint(c Credential) PlannedMint {
	from := c.Generate.Path
	if c.Generate.PasswordPolicy != "" {
		from = "password policy " + c.Generate.PasswordPolicy
	}
	return PlannedMint{Credential: c.Name, From: from, Keys: slices.Sorted(maps.Values(c.Keys)), Probed: !c.Probe.IsZero()}
}

func mintWarnings(f Facts, c Credential) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Values(c.Keys)) {
		if _, ok := f.Base.Set[key]; !ok {
			out = append(out, fmt.Sprintf("key %s of credential %s is not in the bundle yet; it will be added", key, c.Name))
		}
	}
	if c.Probe.IsZero() && c.Generate.PasswordPolicy == "" {
		out = append(out, fmt.Sprintf("credential %s has no probe: it is bound untested, and its death is proven by Vault's answer alone", c.Name))
	}
	return out
}

func baseRefusals(f Facts) []Refusal {
	var out []Refusal
	if f.Base.Version == 0 || len(f.Base.Set) == 0 {
		out = append(out, Refusal{Reason: MissingBundle, Text: fmt.Sprintf("the secret %s has no readable version", f.Bundle.Secret),
			Remedy: "write every parameter of its targets into it first, for example with: vault kv put"})
	}
	if len(f.Bundle.Credentials) == 0 {
		out = append(out, Refusal{Reason: NoCredential, Text: "the bundle lists no credential", Remedy: "add one under credentials in the configuration"})
	}
	return out
}

// forecast is the bundle as it will be, with the old values where new ones are not minted yet.
func forecast(f Facts, minted map[string]bool) (secret.Set, []Refusal) {
	set := maps.Clone(f.Base.Set)
	if set == nil {
		set = make(secret.Set)
	}
	for key := range minted {
		if _, ok := set[key]; !ok {
			set[key] = secret.FromText(strings.Repeat("x", 32)) // stands for a value that is minted later
		}
	}
	set, err := Rebuild(f.Bundle, set)
	if err != nil {
		return set, []Refusal{{Reason: BadTemplate, Text: err.Error(), Remedy: "correct compose in the configuration"}}
	}
	var blank []string
	for key, v := range set {
		if v.Blank() && !minted[key] {
			blank = append(blank, key)
		}
	}
	if len(blank) > 0 {
		return set, []Refusal{{Reason: BlankValue, Keys: blank, Text: "the bundle holds null or empty values for " + names(blank),
			Remedy: "set them in Vault, or delete the keys"}}
	}
	return set, nil
}

// composedKeys is the order in which composed keys are rebuilt: each after the composed keys it needs.
func composedKeys(b Bundle) []string {
	var out []string
	seen := make(map[string]bool)
	var visit func(key string)
	visit = func(key string) {
		t, ok := b.Compose[key]
		if !ok || seen[key] {
			return
		}
		seen[key] = true
		for _, need := range t.Keys() {
			visit(need)
		}
		out = append(out, key)
	}
	for _, key := range slices.Sorted(maps.Keys(b.Compose)) {
		visit(key)
	}
	return out
}

// Rebuild returns a copy of set with every composed key made anew from the others.
func Rebuild(b Bundle, set secret.Set) (secret.Set, error) {
	set = maps.Clone(set)
	for _, key := range composedKeys(b) {
		v, err := b.Compose[key].Render(set)
		if err != nil {
			return set, fmt.Errorf("composing %s: %w", key, err)
		}
		set[key] = v
	}
	return set, nil
}

func plannedPut(f Facts, s Sight, set secret.Set, minted map[string]bool) (PlannedPut, []Refusal) {
	put := PlannedPut{Target: s.Target.Ref, Version: s.Observed.Version}
	if out := sightRefusals(s); len(out) > 0 {
		return put, out
	}
	c := compose(s.Target, f.Bundle.Name, set, s.Observed, expected(f, s, set), Stamp{})
	rotating := make(map[string]bool)
	for key := range minted {
		rotating[s.Target.Params([]string{key})[key]] = true
	}
	for _, name := range c.delivered {
		if rotating[name] {
			put.Rotates = append(put.Rotates, name)
		} else {
			put.Sets = append(put.Sets, name)
		}
	}
	put.Adds, put.Carries, put.Inherits, put.Removes = c.added, c.carried, c.inherits, c.removed
	put.Bytes = c.write.Parameters.Size()
	if s.Target.Kind == Package && freshInit(c, rotating) {
		put.Touches = s.Observed.Actions
	}
	return put, composeRefusals(f, s, c)
}

// freshInit reports whether an init parameter is among the rotating ones: containers keep the old value.
func freshInit(c composed, rotating map[string]bool) bool {
	return slices.ContainsFunc(c.write.Parameters, func(e param.Entry) bool { return e.Init && rotating[e.Key] })
}

// expected is what a packaged action will inherit once its package has been written by this rotation.
func expected(f Facts, s Sight, set secret.Set) param.List {
	pkg, _, ok := strings.Cut(s.Target.Name, "/")
	if s.Target.Kind != Action || !ok {
		return s.Observed.Inherited
	}
	inherits := s.Observed.Inherited
	for _, other := range f.Sights {
		if other.Err == nil && other.Target.Kind == Package && other.Target.Host == s.Target.Host && other.Target.Name == pkg {
			c := compose(other.Target, f.Bundle.Name, set, other.Observed, other.Observed.Inherited, Stamp{})
			inherits = inherits.With(c.write.Parameters)
		}
	}
	return inherits
}

func sightRefusals(s Sight) []Refusal {
	ref, o := s.Target.Ref, s.Observed
	switch {
	case errors.Is(s.Err, ErrNotFound) && ref.Kind == Action:
		return []Refusal{about(ref, MissingTarget, "deploy the action, or take it out of the bundle's targets", "the action does not exist")}
	case errors.Is(s.Err, ErrNotFound):
		return []Refusal{about(ref, MissingTarget, "create it, or take it out of the bundle's targets; a write would create an empty one holding the secrets",
			"the %s does not exist", ref.Kind)}
	case s.Err != nil:
		return []Refusal{about(ref, NoPermission, "give the key of this host the right to read and update it", "it cannot be read: %v", s.Err)}
	case o.Sequence:
		return []Refusal{about(ref, SequenceTarget, "list its components as targets instead: "+names(o.Components), "it is a sequence, which ignores parameters")}
	case o.BelowBinding != "":
		return []Refusal{about(ref, BelowBinding, "name the action in the package that provides it, or the binding itself as a package",
			"the action is reached through the binding %s and cannot be written there", o.BelowBinding)}
	case o.Deprecated != "":
		return []Refusal{about(ref, OldRuntime, "redeploy the action with a supported runtime", "the runtime %s is deprecated; the host refuses updates", o.Deprecated)}
	}
	return nil
}

func composeRefusals(f Facts, s Sight, c composed) []Refusal {
	ref := s.Target.Ref
	limits := f.Limits[ref.Host]
	var out []Refusal
	if size := c.write.Parameters.Size(); limits.ParameterBytes > 0 && size > limits.ParameterBytes {
		out = append(out, about(ref, TooLarge, "select fewer keys for this target, or shorten values", "the parameters take %d bytes, the host allows %d", size, limits.ParameterBytes))
	}
	if vanish := hidden(s, c, limits); len(vanish) > 0 {
		r := about(ref, KeysVanish, "put these keys into the bundle, or list them under remove",
			"the host hides values, so %s cannot be carried over", names(vanish))
		r.Keys = vanish
		out = append(out, r)
	}
	if twice := duplicates(c.delivered); len(twice) > 0 {
		out = append(out, about(ref, KeyCollision, "correct rename in the configuration", "two keys of the bundle become one parameter: %s", names(twice)))
	}
	return append(out, collisions(f, s, c)...)
}

// hidden lists own parameters outside the bundle whose value was not really read. An entry with an encryption
// mark can be sent back as it is; without one, what GET showed would be stored as the value.
func hidden(s Sight, c composed, l Limits) []string {
	if !l.HidesValues {
		return nil
	}
	var out []string
	for _, name := range c.carried {
		if e, ok := s.Observed.Parameters.Get(name); ok && e.Encryption == "" {
			out = append(out, name)
		}
	}
	return out
}

func duplicates(ss []string) []string {
	var out []string
	seen := make(map[string]int)
	for _, s := range ss {
		if seen[s]++; seen[s] == 2 {
			out = append(out, s)
		}
	}
	return out
}

// collisions finds parameters that another bundle delivers to the same target.
func collisions(f Facts, s Sight, c composed) []Refusal {
	var out []Refusal
	for _, name := range slices.Sorted(maps.Keys(f.Neighbours)) {
		n := f.Neighbours[name]
		for _, t := range n.Targets {
			if t.Ref != s.Target.Ref {
				continue
			}
			theirs := slices.Collect(maps.Values(t.Params(n.Keys)))
			both := slices.DeleteFunc(slices.Clone(c.delivered), func(p string) bool { return !slices.Contains(theirs, p) })
			if len(both) > 0 {
				out = append(out, about(s.Target.Ref, KeyCollision, "select disjoint keys with keys or rename",
					"bundle %s delivers the same parameters: %s", name, names(both)))
			}
		}
	}
	return out
}

// What the platform may still do with old values after the last PUT (openwhisk: cache lag of the other
// controllers, time in the queue).
const (
	cacheLag  = 5 * time.Minute
	queueTime = time.Minute
)

// overlap is the time between the last target's update and the revocation of the old generation. Drained, it is
// what work in flight may still need: one activation may use its limit for init and again for run.
func overlap(f Facts) time.Duration {
	if !f.Rule.Drain {
		return f.Rule.Overlap
	}
	longest := time.Minute // the platform's default limit, for targets that do not name one
	for _, s := range f.Sights {
		longest = max(longest, s.Observed.Timeout)
	}
	return 2*longest + cacheLag + queueTime + f.Zombie
}

// follows reports whether version is exactly one patch after before; anything else means somebody wrote in between.
func follows(before, version string) bool {
	head, patch, ok := cutLast(before)
	n, err := strconv.Atoi(patch)
	return ok && err == nil && version == head+"."+strconv.Itoa(n+1)
}

func cutLast(v string) (head, tail string, ok bool) {
	i := strings.LastIndexByte(v, '.')
	if i < 0 {
		return "", "", false
	}
	return v[:i], v[i+1:], true
}
