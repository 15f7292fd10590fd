package rotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// A Hit is one bundle that an event touches, and how it was found.
type Hit struct {
	Bundle string `json:"bundle"`
	Why    string `json:"why"`
	Proven bool   `json:"proven,omitempty"` // by the value itself
}

// resolver finds the bundles an event is about. Only fingerprints need Vault.
type resolver struct {
	bundles map[string]Bundle
	secrets Secrets
	people  People // may be nil
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

// byPath matches the KV v2 path, with or without mount and the API's data/ segment, or a path credentials come from.
func (r *resolver) byPath(c events.Credential) []Hit {
	if c.Vault == nil {
		return nil
	}
	full := path.Join(c.Vault.Mount, c.Vault.Path)
	var hits []Hit
	for _, name := range slices.Sorted(maps.Keys(r.bundles)) {
		b := r.bundles[name]
		mount, rest, _ := strings.Cut(b.Secret, "/")
		if full != b.Secret && full != mount+"/data/"+rest {
			continue
		}
		if key := c.Vault.Key; key != "" && !b.mintedKeys()[key] {
			if _, composed := b.Compose[key]; !composed {
				continue // a key that no rotation would change
			}
		}
		hits = append(hits, Hit{Bundle: name, Why: "Vault path " + b.Secret + " named in the event"})
	}
	return hits
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

// byFingerprint compares with the values of the newest versions, in memory.
func (r *resolver) byFingerprint(ctx context.Context, fps []events.Fingerprint) ([]Hit, error) {
	key, err := r.secrets.Key(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the fingerprint key: %w", err)
	}
	hits, err := r.byValue(ctx, func(set secret.Set) string {
		if param := matching(key, fps, set); param != "" {
			return "the fingerprint is that of " + param
		}
		return ""
	})
	for i := range hits {
		hits[i].Proven = true
	}
	return hits, err
}

// byPublicID looks for the bundle that holds the id beside its secret: an access key id, a client id.
func (r *resolver) byPublicID(ctx context.Context, id string) ([]Hit, error) {
	return r.byValue(ctx, func(set secret.Set) string {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			if text, ok := set[name].Text(); ok && text == id {
				return "the id named in the event is that of " + name
			}
		}
		return ""
	})
}

// byValue reads the newest version of every bundle and asks why it is the one.
func (r *resolver) byValue(ctx context.Context, why func(secret.Set) string) ([]Hit, error) {
	var hits []Hit
	for _, name := range slices.Sorted(maps.Keys(r.bundles)) {
		s, err := r.secrets.Read(ctx, r.bundles[name].Secret, 0)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading bundle %s to compare values: %w", name, err)
		}
		if text := why(s.Set); text != "" {
			hits = append(hits, Hit{Bundle: name, Why: text})
		}
	}
	return hits, nil
}

func matching(key secret.Key, fps []events.Fingerprint, set secret.Set) string {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		for _, fp := range fps {
			if fp.Alg == "hmac-sha256" && fp.KeyID != key.ID() {
				continue
			}
			if key.Matches(fp.Alg, fp.Value, set[name]) {
				return name
			}
		}
	}
	return ""
}
