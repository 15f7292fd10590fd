package rotator

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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
	Work       map[string][]Work    // by host, what it may be running; only for drains
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

// Digest is the same for two plans that do the same: mint the same, beside the same version of the values, and write the same
// parameters, by name, to the same targets. A target's version is left out: bundles that share a target change it for each other.
func (p Plan) Digest() string {
	p.Overlap, p.OverlapText, p.Warnings, p.Refusals, p.Targets = 0, "", nil, nil, slices.Clone(p.Targets)
	for i := range p.Targets {
		p.Targets[i].Version, p.Targets[i].Bytes = "", 0
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return "" // no plan has this digest
	}
	return hashOf(string(raw))
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
	p.Overlap, p.OverlapText = overlap(f)
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
	if c.Generate.PasswordPolicy != "" {
		out = append(out, fmt.Sprintf("credential %s is a text made by Vault: it is replaced; nothing can be revoked, and only its probe could prove the old one dead", c.Name))
	}
	if c.Probe.IsZero() && c.Generate.PasswordPolicy == "" {
		out = append(out, fmt.Sprintf("credential %s has no probe: it is bound untested, and its death is proven by Vault's answer alone", c.Name))
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
