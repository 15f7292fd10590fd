package rotator

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Place is where a value was found on a host. It holds no value.
type Place struct {
	Target     Ref      `json:"target"`
	Parameter  string   `json:"parameter,omitempty"`
	Inside     string   `json:"inside,omitempty"`      // of an object or a list: "db.password", "keys[2]"
	How        string   `json:"how,omitempty"`         // "inside of a longer text", "in base64"; empty: as it is
	Annotation string   `json:"annotation,omitempty"`  // instead of a parameter
	Init       bool     `json:"init,omitempty"`        // delivered as environment
	Inherited  bool     `json:"inherited,omitempty"`   // it is the parameter of From
	From       string   `json:"from,omitempty"`        // the package
	Bundles    []string `json:"bundles,omitempty"`     // that have this target
	ReplacedBy []string `json:"replaced_by,omitempty"` // those of which a rotation puts another value here

	which int // of the values looked for
}

// String is one line for people.
func (p Place) String() string {
	what := "parameter " + p.Parameter
	if p.Annotation != "" {
		what = "annotation " + p.Annotation
	}
	if p.Inside != "" {
		what += ", inside at " + p.Inside
	}
	if p.How != "" {
		what += ", " + p.How
	}
	if p.Init {
		what += " (init)"
	}
	if p.Inherited {
		what += " (from package " + p.From + ")"
	}
	return fmt.Sprintf("bound on %s as %s", p.Target, what)
}

// Remedy says whether a rotation puts another value here, and what is to be done when none does.
func (p Place) Remedy() string {
	switch {
	case len(p.ReplacedBy) > 0:
		return "a rotation of " + strings.Join(p.ReplacedBy, ", ") + " replaces it"
	case p.Inherited:
		return "see package " + p.From
	case len(p.Bundles) > 0:
		return "target of " + strings.Join(p.Bundles, ", ") + ", but no rotation replaces this: replace it by hand"
	}
	return "no bundle delivers it: replace it by hand"
}

// order is that of the list: packages, actions, triggers.
func (p Place) order(o Place) int {
	return cmp.Or(cmp.Compare(p.which, o.which), cmp.Compare(p.Target.Kind, o.Target.Kind), strings.Compare(p.String(), o.String()))
}

// changes are the keys that have another value after a rotation: those that are minted, and what is composed of them.
func (b Bundle) changes() map[string]bool {
	keys := b.mintedKeys()
	for _, key := range composedKeys(b) { // each after those that it needs
		if slices.ContainsFunc(b.Compose[key].Keys(), func(need string) bool { return keys[need] }) {
			keys[key] = true
		}
	}
	return keys
}

// replacesOn reports whether a rotation of the bundle gives this parameter of the target another value.
func (b Bundle) replacesOn(r Ref, parameter string) bool {
	keys := slices.Collect(maps.Keys(b.changes()))
	return slices.ContainsFunc(b.Targets, func(t Target) bool {
		return t.Ref == r && slices.Contains(slices.Collect(maps.Values(t.Params(keys))), parameter)
	})
}
