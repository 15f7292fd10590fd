package rotator

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
)

// A Hit is one bundle that an event touches, and how it was found.
type Hit struct {
	Bundle  string `json:"bundle"`
	Why     string `json:"why"`
	Proven  bool   `json:"proven,omitempty"`  // by the value itself
	Version int    `json:"version,omitempty"` // KV version that holds the value, if it is not the newest
	Retired bool   `json:"retired,omitempty"` // that version's generation was revoked long ago: there is nothing to rotate
}

// resolver finds the bundles an event is about. Only fingerprints need Vault.
type resolver struct {
	bundles map[string]Bundle
	secrets Secrets
	people  People                             // may be nil
	records func(bundle string) (Record, bool) // what the journal knows; may be nil
	vault   Home
	log     zerolog.Logger
}

// resolve returns the bundles in order of name. It fails with *UnmatchedError when a leak, an expiry or a request
// names nothing that is managed. Persons are the matter of touched.
func (r *resolver) resolve(ctx context.Context, ev events.Event) ([]Hit, error) {
	switch {
	case ev.Leak != nil:
		return r.leak(ctx, *ev.Leak)
	case ev.Expiring != nil:
		return r.credential(ctx, ev.Expiring.Credential)
	case ev.Manual != nil:
		return r.credential(ctx, ev.Manual.Credential)
	}
	return nil, &UnmatchedError{Text: "the event has no data", Remedy: "publish one of the four kinds with its data"}
}

// leak follows what the event says of the credential, and then what the configuration knows of the place where it was found.
func (r *resolver) leak(ctx context.Context, l events.Leak) ([]Hit, error) {
	hits, err := r.credential(ctx, l.Credential)
	if !unmatched(err) {
		return hits, err
	}
	if hits := r.byAlias(l); len(hits) > 0 {
		return hits, nil
	}
	return nil, err
}

func unmatched(err error) bool {
	_, ok := errors.AsType[*UnmatchedError](err)
	return ok
}

// byAlias matches what detectors call a credential. The configuration says what that stands for.
func (r *resolver) byAlias(l events.Leak) []Hit {
	var hits []Hit
	for _, name := range slices.Sorted(maps.Keys(r.bundles)) {
		if a, ok := detected(r.bundles[name].DetectedAs, l); ok {
			hits = append(hits, Hit{Bundle: name, Why: "the configuration knows it as " + a.String()})
		}
	}
	return hits
}

func detected(aliases []Alias, l events.Leak) (Alias, bool) {
	for _, a := range aliases {
		if !glob(a.Source, l.Upstream.System) || !glob(a.SecretType, l.Credential.SecretType) || !glob(a.PublicID, l.Credential.PublicID) {
			continue
		}
		if a.Repository == "" || slices.ContainsFunc(l.Evidence, func(e events.Evidence) bool { return glob(a.Repository, e.Repository) }) {
			return a, true
		}
	}
	return Alias{}, false
}

// glob compares in any case; an empty pattern fits everything.
func glob(pattern, text string) bool {
	ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(text))
	return pattern == "" || ok && err == nil
}

// credential follows the selectors, most specific first; the first that is present decides. A fingerprint proves
// which value leaked, so it beats everything that is merely claimed.
func (r *resolver) credential(ctx context.Context, c events.Credential) ([]Hit, error) {
	if len(c.Fingerprints) > 0 {
		hits, err := r.byFingerprint(ctx, c.Fingerprints)
		if err != nil || len(hits) > 0 {
			return hits, err
		}
	}
	for _, find := range []func(events.Credential) []Hit{r.byPath, r.byName} {
		if hits := find(c); len(hits) > 0 {
			return hits, nil
		}
	}
	if c.PublicID != "" {
		if hits, err := r.byPublicID(ctx, c.PublicID); err != nil || len(hits) > 0 {
			return hits, err
		}
	}
	if hits := r.byAction(c); len(hits) > 0 {
		return hits, nil
	}
	if len(c.Fingerprints) > 0 {
		if err := r.fixed(ctx, c.Fingerprints); err != nil {
			return nil, err
		}
	}
	if len(c.Fingerprints) > 0 && c.Vault == nil && c.Name == "" && c.Action == "" && c.PublicID == "" {
		return nil, &UnmatchedError{Text: "no bundle matches the event by its fingerprints: no live value has one of them",
			Remedy: "if the value was rotated away already (rotator status BUNDLE) nothing is left to do; otherwise name the bundle"}
	}
	return nil, &UnmatchedError{Text: "no bundle matches the event by " + selectors(c),
		Remedy: "name a bundle of the configuration in data.credential.name; configured are: " + names(slices.Collect(maps.Keys(r.bundles)))}
}

// selectors says by what was searched. What the event says is not repeated: it may hold what must not be logged.
func selectors(c events.Credential) string {
	var out []string
	add := func(ok bool, text string) {
		if ok {
			out = append(out, text)
		}
	}
	add(len(c.Fingerprints) > 0, "its fingerprints")
	add(c.Vault != nil, "its Vault path and key")
	add(c.Name != "", "its name")
	add(c.PublicID != "", "its public id")
	add(c.Action != "", "its action")
	if len(out) == 0 {
		return "anything: it names neither fingerprint, Vault path, name, public id nor action"
	}
	return strings.Join(out, ", ")
}

func (r *resolver) byName(c events.Credential) []Hit {
	if _, ok := r.bundles[c.Name]; c.Name != "" && ok {
		return []Hit{{Bundle: c.Name, Why: "named in the event"}}
	}
	return nil
}

// byAction matches "/namespace/package/action" against the targets, whatever host holds the namespace.
func (r *resolver) byAction(c events.Credential) []Hit {
	parts := strings.SplitN(strings.TrimPrefix(c.Action, "/"), "/", 2)
	if len(parts) != 2 {
		return nil
	}
	var hits []Hit
	for _, name := range slices.Sorted(maps.Keys(r.bundles)) {
		if slices.ContainsFunc(r.bundles[name].Targets, func(t Target) bool { return t.Kind == Action && t.Name == parts[1] }) {
			hits = append(hits, Hit{Bundle: name, Why: "action " + parts[1] + " named in the event"})
		}
	}
	return hits
}
