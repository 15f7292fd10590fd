package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// A snapshot is all targets at one moment, and the newest values of the bundles.
type snapshot struct {
	entities map[rotator.Ref]entity
	sequence string                       // version of the sequence, which nobody writes
	values   map[string]map[string]string // by bundle
	versions map[string]int               // KV version by bundle
}

func (s *sandbox) snapshot(ctx context.Context) (snapshot, error) {
	snap := snapshot{entities: make(map[rotator.Ref]entity), values: make(map[string]map[string]string), versions: make(map[string]int)}
	for _, t := range s.shop.targets {
		e, err := s.ow.look(ctx, t)
		if err != nil {
			return snap, err
		}
		snap.entities[t.Ref] = e
	}
	e, err := s.ow.get(ctx, s.shop.sequence)
	if err != nil {
		return snap, err
	}
	snap.sequence = e.version
	for _, b := range s.shop.bundles {
		all, err := s.vault.versions(ctx, b.name)
		if err != nil {
			return snap, err
		}
		snap.versions[b.name] = len(all)
		snap.values[b.name] = onlyTexts(all[len(all)-1])
	}
	return snap, nil
}

func onlyTexts(values map[string]any) map[string]string {
	out := make(map[string]string)
	for key, v := range values {
		if s, ok := v.(string); ok {
			out[key] = s
		}
	}
	return out
}

// fingerprints shows values as short HMACs with a key of this run: the same value has the same one, and nothing can
// be learned from it afterwards.
type fingerprints struct{ key secret.Key }

func newFingerprints() fingerprints {
	material := make([]byte, secret.MinKeyBytes)
	_, _ = rand.Read(material) // never fails
	key, err := secret.NewKey("sandbox", material)
	if err != nil {
		panic(err) // the length is right
	}
	return fingerprints{key}
}

func (f fingerprints) of(v secret.Value) string { return f.key.Fingerprint(v)[:8] }

// table prints before and after: names, versions and fingerprints. What was not written takes one line.
func (s *sandbox) table(before, after snapshot) {
	rows := [][]string{{"TARGET", "VERSION", "PARAMETER", "BEFORE", "AFTER", ""}}
	untouched := func(name, version, why string) { rows = append(rows, []string{name, version, "", "", "", why}) }
	for _, t := range s.shop.targets {
		was, is := before.entities[t.Ref], after.entities[t.Ref]
		if was.version == is.version {
			untouched(t.Kind.String()+" "+t.Name, is.version, "not concerned")
			continue
		}
		name, version := t.Kind.String()+" "+t.Name, was.version+" -> "+is.version
		for _, key := range append(is.merged.Keys(), is.merged.Missing(was.merged)...) {
			row := s.row(was, is, key)
			if row[3] == inherited {
				continue // shown at the package
			}
			rows = append(rows, append([]string{name, version}, row...))
			name, version = "", ""
		}
	}
	untouched("sequence "+s.shop.sequence.Name, after.sequence, "a sequence has no parameters; its actions have")
	s.out.table(rows, func(i int) string {
		switch {
		case i == 0:
			return bold
		case rows[i][5] == "LOST":
			return red
		case strings.HasPrefix(rows[i][5], "new"):
			return green
		}
		return dim
	})
}

const inherited = "kept, from the package"

func (s *sandbox) row(was, is entity, key string) []string {
	now, kept := is.merged.Get(key)
	old, had := was.merged.Get(key)
	before, note := "-", "new"
	if !kept {
		return []string{key, s.marks.of(old.Value), "-", "LOST"}
	}
	if had {
		before = s.marks.of(old.Value)
		if old.Value.Equal(now.Value) {
			note = "kept"
		}
	}
	if _, own := is.own.Get(key); !own {
		note += ", from the package"
	}
	if now.Init {
		key += " (init)"
	}
	return []string{key, before, s.marks.of(now.Value), note}
}

// prove logs in with values and prints whether that was to be expected.
func (s *sandbox) prove(ctx context.Context, b *bundle, which string, values map[string]string, alive bool) bool {
	err := b.login(ctx, values)
	got, code := fmt.Sprintf("no clear answer: %v", err), red
	dead := errors.Is(err, errDead)
	switch {
	case err == nil:
		got, code = "accepted", green
	case dead:
		got, code = "refused", green
	}
	ok := alive && err == nil || !alive && dead
	if !ok {
		code = red
	}
	s.out.line("  %s: %s with the %s credential: %s", b.name, b.proof, which, s.out.paint(code, got))
	return ok
}
