package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator"
)

// A shopTarget is one consumer with the bundles it draws from.
type shopTarget struct {
	rotator.Ref
	above string // package or provider whose parameters it inherits
	from  []string
}

// An ownEntry is a parameter that no bundle names; a rotation has to leave it alone.
type ownEntry struct {
	key   string
	value any
	init  bool
}

// A shop is what the OpenWhisk host is filled with.
type shop struct {
	pre      string // in front of every name
	bundles  []*bundle
	targets  []shopTarget
	sequence rotator.Ref
	own      map[string][]ownEntry // by name without prefix
}

func newShop(pre string, bundles []*bundle) *shop {
	s := &shop{pre: pre, bundles: bundles, sequence: ref(rotator.Action, pre+"month-end")}
	for _, b := range bundles {
		for _, t := range b.targets {
			i := slices.IndexFunc(s.targets, func(have shopTarget) bool { return have.Ref == t.Ref })
			if i < 0 {
				i = len(s.targets)
				s.targets = append(s.targets, shopTarget{Ref: t.Ref, above: s.above(t.Ref)})
			}
			s.targets[i].from = append(s.targets[i].from, b.name)
		}
	}
	s.own = map[string][]ownEntry{
		"shop":          {{key: "CURRENCY", value: "EUR"}, {key: "REGION", value: "world"}, {key: "AUDIT_KEY", value: "audit-" + rand.Text()}},
		"shop-eu":       {{key: "REGION", value: "eu"}},
		"shop/checkout": {{key: "FEATURES", value: map[string]any{"giftcards": true, "limit": 250}}, {key: "LOG_LEVEL", value: "info"}},
		"shop/refund":   {{key: "APPROVAL_KEY", value: "approval-" + rand.Text(), init: true}, {key: "MAX_REFUND", value: 100}},
		"newsletter":    {{key: "MAIL_KEY", value: "mail-" + rand.Text()}, {key: "TEMPLATE", value: "winter"}},
		"nightly":       {{key: "hour", value: 3}},
	}
	return s
}

func (s *shop) above(r rotator.Ref) string {
	pkg, _, packaged := strings.Cut(r.Name, "/")
	switch {
	case packaged:
		return pkg
	case r.Name == s.pre+"shop-eu":
		return s.pre + "shop"
	}
	return ""
}

// bundle finds one by name.
func (s *shop) bundle(name string) *bundle {
	for _, b := range s.bundles {
		if b.name == name {
			return b
		}
	}
	return nil
}

// target is what the bundle says about one of its consumers.
func (b *bundle) target(r rotator.Ref) (rotator.Target, bool) {
	for _, t := range b.targets {
		if t.Ref == r {
			return t, true
		}
	}
	return rotator.Target{}, false
}

// parameters is what a person would bind by hand: own entries, then the bundles' values.
func (s *shop) parameters(r rotator.Ref) []map[string]any {
	var list []map[string]any
	for _, e := range s.own[strings.TrimPrefix(r.Name, s.pre)] {
		one := map[string]any{"key": e.key, "value": e.value}
		if e.init {
			one["init"] = true
		}
		list = append(list, one)
	}
	for _, b := range s.bundles {
		t, ok := b.target(r)
		if !ok {
			continue
		}
		for key, name := range t.Params(b.keys()) {
			if key == "SESSION_KEY" && r.Kind == rotator.Action {
				continue // inherited from the package
			}
			one := map[string]any{"key": name, "value": b.values[key]}
			if slices.Contains(t.Init, name) {
				one["init"] = true
			}
			list = append(list, one)
		}
	}
	return list
}

// fill makes packages, actions, a binding, a trigger with a rule, and a sequence.
func (s *shop) fill(ctx context.Context, w *openwhisk) error {
	note := func(text string) []map[string]any {
		return []map[string]any{{"key": "description", "value": text}, {"key": "team", "value": "shop"}}
	}
	pkg, eu, nightly := ref(rotator.Package, s.pre+"shop"), ref(rotator.Package, s.pre+"shop-eu"), ref(rotator.Trigger, s.pre+"nightly")
	if err := w.create(ctx, "packages/"+pkg.Name, map[string]any{"parameters": s.parameters(pkg), "annotations": note("the shop")}); err != nil {
		return err
	}
	for _, name := range []string{"shop/checkout", "shop/refund", "newsletter"} {
		a := ref(rotator.Action, s.pre+name)
		body := map[string]any{"exec": map[string]any{"kind": "nodejs:default", "code": "function main() { return { ok: true } }"},
			"parameters": s.parameters(a), "annotations": note(name), "limits": map[string]any{"timeout": 10000}}
		if err := w.create(ctx, "actions/"+a.Name, body); err != nil {
			return err
		}
	}
	ns, err := w.namespace(ctx)
	if err != nil {
		return err
	}
	full := func(name string) string { return "/" + ns + "/" + s.pre + name }
	steps := []struct {
		path string
		body map[string]any
	}{
		{"packages/" + eu.Name, map[string]any{"binding": map[string]any{"namespace": ns, "name": pkg.Name}, "parameters": s.parameters(eu), "annotations": note("the shop in Europe")}},
		{"triggers/" + nightly.Name, map[string]any{"parameters": s.parameters(nightly), "annotations": note("every night")}},
		{"actions/" + s.sequence.Name, map[string]any{"exec": map[string]any{"kind": "sequence", "components": []string{full("shop/refund"), full("newsletter")}}}},
		{"rules/" + s.pre + "nightly-newsletter", map[string]any{"trigger": full("nightly"), "action": full("newsletter")}},
	}
	for _, step := range steps {
		if err := w.create(ctx, step.path, step.body); err != nil {
			return err
		}
	}
	return s.valuesShown(ctx, w)
}

// namespace asks for the name behind "_".
func (w *openwhisk) namespace(ctx context.Context) (string, error) {
	var names []string
	if err := w.send(ctx, http.MethodGet, "/api/v1/namespaces", nil, &names); err != nil || len(names) == 0 {
		return "", fmt.Errorf("asking OpenWhisk for the namespace of the key: %w", err)
	}
	return names[0], nil
}

// valuesShown makes sure that the host tells what is bound: all proofs here rest on it.
func (s *shop) valuesShown(ctx context.Context, w *openwhisk) error {
	for _, t := range s.targets {
		e, err := w.get(ctx, t.Ref)
		if err != nil {
			return err
		}
		for _, b := range s.bundles {
			bt, ok := b.target(t.Ref)
			values, whole := b.bound(bt, texts(e.merged))
			if ok && whole && b.login(ctx, values) != nil {
				return fmt.Errorf("%s does not show the values that were just bound; the sandbox needs an OpenWhisk that shows them, leave -apihost out to use the emulator", t.Ref)
			}
		}
	}
	return nil
}
