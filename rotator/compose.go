package rotator

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// AnnotationKey is the annotation by which every target says what it holds.
const AnnotationKey = "rotator"

// A Stamp is what the annotation says per bundle. On hosts that hide values it is the only witness.
type Stamp struct {
	Rotation    string `json:"rotation"`
	Version     int    `json:"version"`     // KV version whose values are bound
	Fingerprint string `json:"fingerprint"` // keyed, over the bundle's values on this target
}

// composed is the one PUT for a target with what it means.
type composed struct {
	write     Write
	delivered []string // parameter names that come from the bundle
	changed   []string // of those, the ones whose value differs from what was read
	added     []string // of those, the ones the target did not have
	carried   []string // own parameters kept as they are
	inherits  []string // left to the package, which delivers the same value
	removed   []string
	init      bool // an init parameter comes from the bundle
}

// compose builds the PUT: the target's own parameters, carried over untouched with their marks, with the
// bundle's values on top. inherits is what the package (or the binding's provider) will deliver by then.
// Inherited parameters never become the target's own, unless the bundle has another value for them.
func compose(t Target, bundle string, set secret.Set, o Observed, inherits param.List, stamp Stamp) composed {
	own := o.Parameters.Own(o.Inherited)
	var c composed
	var deliver param.List
	for _, key := range slices.Sorted(maps.Keys(set)) {
		name, ok := t.Params([]string{key})[key]
		if !ok {
			continue
		}
		had, has := own.Get(name)
		from, inherited := inherits.Get(name)
		if !has && inherited && from.Value.Equal(set[key]) {
			c.inherits = append(c.inherits, name)
			continue
		}
		e := param.Entry{Key: name, Value: set[key]}
		e.Init = has && had.Init || !has && inherited && from.Init || slices.Contains(t.Init, name)
		deliver = append(deliver, e)
		c.init = c.init || e.Init
		c.delivered = append(c.delivered, name)
		switch {
		case !has:
			c.added = append(c.added, name)
		case !had.Value.Equal(e.Value):
			c.changed = append(c.changed, name)
		default:
			continue
		}
	}
	kept := own.Without(t.Remove...)
	for _, name := range own.Keys() {
		if _, still := kept.Get(name); !still {
			c.removed = append(c.removed, name)
		} else if !slices.Contains(c.delivered, name) {
			c.carried = append(c.carried, name)
		}
	}
	c.write.Parameters = kept.With(deliver)
	c.write.Annotations = annotate(o, bundle, stamp)
	return c
}

// annotate puts the stamp into the target's annotations. Actions merge annotations by key on the server;
// packages and triggers replace the whole list, so it is sent back whole.
func annotate(o Observed, bundle string, stamp Stamp) []Annotation {
	stamps := stamps(o.Annotations)
	stamps[bundle] = stamp
	raw, err := json.Marshal(stamps)
	if err != nil {
		return nil // strings and ints always encode
	}
	mark := Annotation{Key: AnnotationKey, Value: raw}
	if o.Ref.Kind == Action {
		return []Annotation{mark}
	}
	all := slices.DeleteFunc(slices.Clone(o.Annotations), func(a Annotation) bool { return a.Key == AnnotationKey })
	return append(all, mark)
}

// stamps reads the annotation; anything unreadable counts as absent.
func stamps(as []Annotation) map[string]Stamp {
	out := make(map[string]Stamp)
	for _, a := range as {
		if a.Key != AnnotationKey {
			continue
		}
		var got map[string]Stamp
		if json.Unmarshal(a.Value, &got) == nil {
			maps.Copy(out, got)
		}
	}
	return out
}

// holds reports whether the target, as observed, already is what the PUT would make of it. Values decide, not
// the annotation alone: a deploy overwrites parameters but leaves an action's other annotations in place.
func (c composed) holds(o Observed, bundle string, stamp Stamp) bool {
	return stamps(o.Annotations)[bundle] == stamp && o.Parameters.Own(o.Inherited).Equal(c.write.Parameters)
}

// stampFor fingerprints the values that the bundle delivers to this target.
func stampFor(key secret.Key, t Target, set secret.Set, rotation string, version int) Stamp {
	part := make(secret.Set)
	for from, name := range t.Params(slices.Collect(maps.Keys(set))) {
		part[name] = set[from]
	}
	return Stamp{Rotation: rotation, Version: version, Fingerprint: key.FingerprintSet(part)[:16]}
}

// answers reports whether the answer to a PUT is the set that was sent. Values carried over in encrypted form
// come back as they were; new ones come back in clear.
func (w Written) answers(sent param.List) bool {
	if len(w.Parameters) != len(sent) || len(sent.Missing(w.Parameters)) > 0 {
		return false
	}
	for _, e := range sent {
		got, ok := w.Parameters.Get(e.Key)
		if !ok || got.Init != e.Init || got.Encryption == "" && !bytes.Equal(got.Value.Reveal(), e.Value.Reveal()) && !got.Value.Equal(e.Value) {
			return false
		}
	}
	return true
}
