package rotator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

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
