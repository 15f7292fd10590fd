package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator"
)

// template reads a text with {{KEY}} in it.
func (v value) template() (rotator.Template, bool) {
	text := v.nonEmpty("")
	if text == "" {
		return rotator.Template{}, false
	}
	t, err := rotator.ParseTemplate(text)
	if err != nil {
		v.fail("the template is wrong: "+err.Error(), "")
		return rotator.Template{}, false
	}
	if literalPassword(text) {
		v.fail("holds a password in clear; no secret belongs in this file", "keep it in the bundle and write {{KEY|url}} here")
		return rotator.Template{}, false
	}
	return t, true
}

// compose reads the keys that are built from others.
func (r *reader) compose(s *section, b *placed) {
	v, _ := s.field("compose")
	named := v.section()
	places := make(map[string]value)
	for _, key := range named.names() {
		at, ok := named.field(key)
		if !ok || !at.usable(key) {
			continue
		}
		t, ok := at.template()
		if !ok {
			continue
		}
		if other, taken := b.keys[key]; taken {
			at.fail(fmt.Sprintf("key %q is already written by %s", show(key), other.path), "a key is minted or composed, not both; rename one")
			continue
		}
		if len(t.Keys()) == 0 {
			at.warn("names no key, so it never changes", "write {{KEY}} where a value belongs, or keep it in the secret")
		}
		if b.Compose == nil {
			b.Compose = make(map[string]rotator.Template)
		}
		b.Compose[key], places[key] = t, at
	}
	for key, at := range places {
		b.keys[key] = at
	}
	checkCycles(b.Compose, places)
}

// checkCycles reports each ring of composed keys once.
func checkCycles(compose map[string]rotator.Template, places map[string]value) {
	said := make(map[string]bool)
	for _, key := range slices.Sorted(mapKeys(compose)) {
		ring := cycle(compose, key, nil)
		if len(ring) == 0 || said[key] {
			continue
		}
		for _, k := range ring {
			said[k] = true
		}
		if len(ring) == 1 {
			places[key].fail(fmt.Sprintf("key %q is built from itself", show(key)), "name other keys")
			continue
		}
		places[key].fail("keys are built from each other: "+show(strings.Join(append(ring, key), " -> ")), "break the ring")
	}
}

// cycle finds a way from key back to key.
func cycle(compose map[string]rotator.Template, key string, path []string) []string {
	from := key
	if len(path) > 0 {
		from = path[len(path)-1]
	} else {
		path = []string{key}
	}
	for _, next := range compose[from].Keys() {
		if next == path[0] {
			return path
		}
		if _, composed := compose[next]; !composed || slices.Contains(path, next) {
			continue
		}
		if ring := cycle(compose, next, append(slices.Clone(path), next)); ring != nil {
			return ring
		}
	}
	return nil
}
