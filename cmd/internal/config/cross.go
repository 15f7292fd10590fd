package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator"
)

// checkSecrets reports one Vault secret behind two bundles: each would undo the other's version.
func checkSecrets(all []placed, fingerprintKey string) {
	first := make(map[string]placed)
	for _, b := range all {
		if b.Secret == "" {
			continue
		}
		if b.Secret == fingerprintKey {
			b.secret.fail("this is the rotator's own fingerprint key", "choose another path, or set vault.fingerprint_key")
		}
		if other, taken := first[b.Secret]; taken {
			b.secret.fail(fmt.Sprintf("%q is the secret of bundle %q already", show(b.Secret), show(other.Name)), "one secret is one bundle; put both credentials into one bundle")
			continue
		}
		first[b.Secret] = b
	}
}

// checkProbes reports a probe that does not use what its credential mints: it would prove neither that the new
// one works nor that the old one is dead. An action gets the whole bundle.
func checkProbes(b placed) {
	for _, c := range b.Credentials {
		at, ok := b.probes[c.Name]
		if !ok || at.reported() || c.Probe.IsZero() || c.Probe.Action != "" || len(c.Keys) == 0 {
			continue
		}
		minted := slices.Collect(maps.Values(c.Keys))
		used := b.expand(probeKeys(c.Probe))
		if !slices.ContainsFunc(used, func(k string) bool { return slices.Contains(minted, k) }) {
			slices.Sort(minted)
			at.fail("uses no key that this credential mints, so it proves nothing", "use one of "+show(strings.Join(minted, ", ")))
		}
	}
}

// reported tells whether something is wrong with the value already.
func (v value) reported() bool {
	return slices.ContainsFunc(v.r.problems, func(p Problem) bool { return strings.HasPrefix(p.Path, v.path) })
}

func probeKeys(p rotator.Probe) []string {
	keys := append(p.Postgres.Keys(), p.Token.Keys()...)
	if p.HTTP != nil {
		for _, t := range p.HTTP.Headers {
			keys = append(keys, t.Keys()...)
		}
	}
	for _, e := range p.Env {
		keys = append(keys, e.Value.Keys()...)
	}
	if p.AppRole != nil {
		keys = append(append(keys, p.AppRole.RoleID.Keys()...), p.AppRole.SecretID.Keys()...)
	}
	return keys
}

// expand adds the keys that composed keys are built from.
func (b placed) expand(keys []string) []string {
	seen := slices.Clone(keys)
	for i := 0; i < len(seen); i++ {
		for _, k := range b.Compose[seen[i]].Keys() {
			if !slices.Contains(seen, k) {
				seen = append(seen, k)
			}
		}
	}
	return seen
}

// checkTargets reports parameters that one target would get from two bundles, or twice from one. Only keys
// that the file names are known here; the rest is checked when a rotation is planned.
func checkTargets(all []placed) {
	type claim struct{ bundle, key string }
	claims := make(map[rotator.Ref]map[string]claim)
	for _, b := range all {
		for _, t := range b.targets {
			if claims[t.Ref] == nil {
				claims[t.Ref] = make(map[string]claim)
			}
			params := t.Params(b.knownKeys(t))
			for _, key := range slices.Sorted(maps.Keys(params)) {
				name := params[key]
				other, taken := claims[t.Ref][name]
				switch {
				case !taken:
					claims[t.Ref][name] = claim{b.Name, key}
				case other.bundle == b.Name:
					t.at.fail(fmt.Sprintf("keys %q and %q would both become the parameter %q", show(other.key), show(key), show(name)), "rename one of them")
				default:
					t.at.fail(fmt.Sprintf("parameter %q of %s comes from bundle %q already", show(name), show(t.Ref.String()), show(other.bundle)),
						"select disjoint keys with keys, or rename one")
				}
			}
		}
	}
}

// knownKeys are the keys that the target certainly gets.
func (b placed) knownKeys(t placedTarget) []string {
	if len(t.Keys) > 0 {
		return t.Keys
	}
	known := slices.Collect(mapKeys(b.keys))
	for key := range t.Rename {
		if !slices.Contains(known, key) {
			known = append(known, key)
		}
	}
	return known
}
