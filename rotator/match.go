package rotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// A Home is the Vault that the bundles are in. What an event says of another one is about other secrets.
type Home struct{ Address, Namespace string }

// holds reports whether a path that an event names may be here. What the event does not say is taken for the same.
func (p Home) holds(v events.VaultPath) bool {
	return (v.Addr == "" || p.Address == "" || strings.EqualFold(hostName(v.Addr), hostName(p.Address))) &&
		(v.Namespace == "" || strings.Trim(v.Namespace, "/") == strings.Trim(p.Namespace, "/"))
}

func hostName(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = rest
	}
	u, err := url.Parse("//" + address)
	if err != nil {
		return address
	}
	return u.Hostname()
}

// byPath matches the KV v2 path, with or without mount and the API's data/ segment; some put the namespace in front of it.
func (r *resolver) byPath(c events.Credential) []Hit {
	if c.Vault == nil || !r.vault.holds(*c.Vault) {
		return nil
	}
	full := path.Join(c.Vault.Mount, c.Vault.Path)
	if ns := strings.Trim(r.vault.Namespace, "/"); ns != "" {
		full = strings.TrimPrefix(full, ns+"/")
	}
	var hits []Hit
	for _, name := range slices.Sorted(maps.Keys(r.bundles)) {
		b := r.bundles[name]
		mount, rest, _ := strings.Cut(b.Secret, "/")
		if full != b.Secret && full != mount+"/data/"+rest || c.Vault.Key != "" && !b.replaces(c.Vault.Key) {
			continue
		}
		h := Hit{Bundle: name, Why: "Vault path " + b.Secret + " named in the event"}
		if age := r.age(name, c.Vault.Version); age != current {
			h.Version, h.Retired = c.Vault.Version, age == retired
			h.Why += fmt.Sprintf(", version %d", c.Vault.Version)
		}
		hits = append(hits, h)
	}
	return hits
}

// replaces reports whether a rotation changes the value of a key.
func (b Bundle) replaces(key string) bool { return b.changes()[key] }

// Age of a version's generation.
type age int

const (
	current age = iota // the newest, or nothing is known
	leaving            // being replaced right now
	retired            // revoked by a rotation that is over
)

// age looks a version up in the journal.
func (r *resolver) age(bundle string, version int) age {
	if r.records == nil || version == 0 {
		return current
	}
	rec, ok := r.records(bundle)
	if !ok {
		return current
	}
	if rot := rec.Rotation; rot != nil && version == rot.Base && !rot.Back {
		return leaving
	}
	if slices.ContainsFunc(rec.History, func(r Receipt) bool { return r.VersionFrom == version && r.retires() }) {
		return retired
	}
	return current
}

// retires reports whether the rotation has ended the generation that was before it.
func (r Receipt) retires() bool {
	return !r.Steps["revoked"].IsZero() && r.Result != events.ResultRolledBack
}

// byFingerprint compares with the values that a rotation replaces: those of the newest versions, and if it is none of them, those of the
// versions before, which may be on their way out or retired. All in memory.
func (r *resolver) byFingerprint(ctx context.Context, fps []events.Fingerprint) ([]Hit, error) {
	key, err := r.secrets.Key(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the fingerprint key: %w", err)
	}
	hits, err := r.byValue(ctx, func(b Bundle, set secret.Set) string {
		if param := matching(key, fps, set, b.replaces); param != "" {
			return "the fingerprint is that of " + param
		}
		return ""
	})
	if err == nil && len(hits) == 0 {
		hits, err = r.byEarlierValue(ctx, key, fps)
	}
	for i := range hits {
		hits[i].Proven = true
	}
	return hits, err
}

// earlier bounds how many versions of a bundle are looked at beside the newest.
const earlier = 3

// byEarlierValue reads the versions that the journal knows to have been replaced.
func (r *resolver) byEarlierValue(ctx context.Context, key secret.Key, fps []events.Fingerprint) (hits []Hit, err error) {
	if r.records == nil {
		return nil, nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.bundles)) {
		rec, _ := r.records(name)
		for _, version := range rec.replaced() {
			s, err := r.secrets.Read(ctx, r.bundles[name].Secret, version)
			if errors.Is(err, ErrNotFound) { // deleted
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("reading version %d of bundle %s to compare values: %w", version, name, err)
			}
			param := matching(key, fps, s.Set, r.bundles[name].replaces)
			if age := r.age(name, version); param != "" && age != current {
				hits = append(hits, Hit{Bundle: name, Version: version, Retired: age == retired, Why: fmt.Sprintf("the fingerprint is that of %s in version %d", param, version)})
				break
			}
		}
	}
	return hits, nil
}

// replaced lists versions whose values are being replaced or have been, newest first.
func (r *Record) replaced() (out []int) {
	if r.Rotation != nil && r.Rotation.Base > 0 {
		out = append(out, r.Rotation.Base)
	}
	for _, done := range slices.Backward(r.History) {
		if len(out) < earlier && done.retires() && !slices.Contains(out, done.VersionFrom) {
			out = append(out, done.VersionFrom)
		}
	}
	return out
}

// fixed fails if the value is in a bundle, under a key that no rotation changes: somebody has to replace it by hand.
func (r *resolver) fixed(ctx context.Context, fps []events.Fingerprint) error {
	key, err := r.secrets.Key(ctx)
	if err != nil {
		return fmt.Errorf("reading the fingerprint key: %w", err)
	}
	hits, err := r.byValue(ctx, func(_ Bundle, set secret.Set) string {
		return matching(key, fps, set, func(string) bool { return true })
	})
	if err != nil || len(hits) == 0 {
		return err
	}
	var in []string
	for _, h := range hits {
		in = append(in, h.Why+" in "+r.bundles[h.Bundle].Secret)
	}
	return &UnmatchedError{Text: "the leaked value is that of " + strings.Join(in, ", ") + ", which no rotation changes",
		Remedy: "replace it by hand, write the new one into the bundle, and bring it to the targets with: rotator emit manual --bundle " + hits[0].Bundle}
}

// plainID is the length below which a text is no id, unless a credential brings it along: "eu" is in many bundles.
const plainID = 8

// byPublicID looks for the bundle that holds the id beside its secret: an access key id, a client id.
func (r *resolver) byPublicID(ctx context.Context, id string) ([]Hit, error) {
	return r.byValue(ctx, func(b Bundle, set secret.Set) string {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			if text, ok := set[name].Text(); ok && text == id && (b.replaces(name) || len(id) >= plainID) {
				return "the id named in the event is that of " + name
			}
		}
		return ""
	})
}

// byValue reads the newest version of every bundle and asks why it is the one. A bundle that cannot be read does not hide the others: the
// hits come with the error, if waiting may cure it; and if not, the log says so.
func (r *resolver) byValue(ctx context.Context, why func(Bundle, secret.Set) string) (hits []Hit, err error) {
	for _, name := range slices.Sorted(maps.Keys(r.bundles)) {
		s, rerr := r.secrets.Read(ctx, r.bundles[name].Secret, 0)
		switch {
		case errors.Is(rerr, ErrNotFound):
			continue
		case errors.Is(rerr, ErrPermanent):
			r.log.Error().Err(rerr).Str("bundle", name).Msg("this bundle cannot be read, so nothing can be compared with its values; run: rotator check")
			continue
		case rerr != nil:
			err = fmt.Errorf("reading bundle %s to compare values: %w", name, rerr)
			continue
		}
		if text := why(r.bundles[name], s.Set); text != "" {
			hits = append(hits, Hit{Bundle: name, Why: text})
		}
	}
	return hits, err
}

// matching names the first key, of those that count, whose value has one of the fingerprints.
func matching(key secret.Key, fps []events.Fingerprint, set secret.Set, counts func(key string) bool) string {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if !counts(name) {
			continue
		}
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
