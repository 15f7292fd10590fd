package config

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator"
)

// A placed bundle remembers where its parts stand, for the checks across bundles.
type placed struct {
	rotator.Bundle
	at      value
	secret  value
	keys    map[string]value // minted and composed keys
	probes  map[string]value // by credential
	targets []placedTarget
}

var bundleName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

func (r *reader) bundles(top *section, fingerprintKey string) map[string]rotator.Bundle {
	out := make(map[string]rotator.Bundle)
	v, ok := top.require("bundles", "name at least one bundle: bundles: {checkout: {secret: secret/checkout, ...}}")
	if !ok {
		return out
	}
	named := v.section()
	var all []placed
	for _, name := range named.names() {
		at, ok := named.field(name)
		if !bundleName.MatchString(name) {
			at.fail(fmt.Sprintf("%q is no name for a bundle", show(name)), "use letters, digits, _ . and -, at most 128")
		}
		if !ok {
			continue // reported by names
		}
		b := r.bundle(name, at)
		out[name] = b.Bundle
		all = append(all, b)
	}
	if len(named.fields) == 0 && isMapping(v.node) {
		v.fail("names no bundle", "name at least one: checkout: {secret: secret/checkout, ...}")
	}
	checkSecrets(all, fingerprintKey)
	checkTargets(all)
	return out
}

func (r *reader) bundle(name string, v value) placed {
	s := v.section()
	defer s.done()
	b := placed{at: v, keys: make(map[string]value), probes: make(map[string]value), Bundle: rotator.Bundle{Name: name}}
	if at, ok := s.require("secret", "write the KV v2 path that holds the parameters: secret: mount/path"); ok {
		b.secret = at
		b.Secret = at.secretPath()
	}
	r.credentials(s, &b)
	r.compose(s, &b)
	checkProbes(b)
	r.targets(s, &b)
	b.Holders = r.holders(s)
	b.Policy, b.Cooldown = r.policy(s)
	b.DetectedAs = r.aliases(s)
	return b
}

func (r *reader) credentials(s *section, b *placed) {
	v, ok := s.require("credentials", "say what Vault mints: credentials: {db: {generate: database/creds/role, keys: {...}}}")
	if !ok {
		return
	}
	named := v.section()
	names := named.names()
	if len(names) == 0 && isMapping(v.node) {
		v.fail("names no credential", "a bundle without a credential has nothing to rotate")
	}
	slices.Sort(names)
	for _, name := range names {
		at, ok := named.field(name)
		if !bundleName.MatchString(name) {
			at.fail(fmt.Sprintf("%q is no name for a credential", show(name)), "use letters, digits, _ . and -, at most 128")
		}
		if ok {
			b.Credentials = append(b.Credentials, r.credential(name, at, b))
		}
	}
}

func (r *reader) credential(name string, v value, b *placed) rotator.Credential {
	s := v.section()
	defer s.done()
	c := rotator.Credential{Name: name, Keys: make(map[string]string)}
	if at, ok := s.require("generate", "write the Vault path that mints it, or {password_policy: name}"); ok {
		c.Generate = r.generator(at)
	}
	c.Exclusive = s.flag("exclusive")
	keys, ok := s.require("keys", "map each field of Vault's answer to a key of the bundle: {username: DB_USER, password: DB_PASSWORD}")
	if ok {
		r.keys(keys, &c, b)
	}
	if at, ok := s.field("probe"); ok {
		c.Probe = r.probe(at)
		b.probes[name] = at
	}
	return c
}

// keys reads field -> bundle key, and reports a key that two credentials would write.
func (r *reader) keys(v value, c *rotator.Credential, b *placed) {
	s := v.section()
	names := s.names()
	if len(names) == 0 && isMapping(v.node) {
		v.fail("is empty", "map each field of Vault's answer to a key of the bundle")
	}
	for _, field := range names {
		at, ok := s.field(field)
		key := at.nonEmpty("")
		if !ok || key == "" || !at.usable(key) {
			continue
		}
		if c.Generate.PasswordPolicy != "" && field != "password" {
			at.fail(fmt.Sprintf("a password policy returns no field %q", show(field)), "its only field is password")
		}
		if other, taken := b.keys[key]; taken {
			at.fail(fmt.Sprintf("key %q is written twice; first by %s", show(key), other.path), "give each minted value a key of its own")
			continue
		}
		b.keys[key] = at
		c.Keys[field] = key
	}
}

// reservedPrefix begins keys of the rotator's own inside the secret.
const reservedPrefix = "_rotator"

func (v value) usable(key string) bool {
	switch {
	case strings.HasPrefix(key, reservedPrefix):
		v.fail(fmt.Sprintf("key %q is reserved", show(key)), "choose a name that does not begin with "+reservedPrefix)
	case strings.TrimSpace(key) != key || strings.ContainsAny(key, "{}|\n\t"):
		v.fail(fmt.Sprintf("%q is no name for a key", show(key)), "leave out spaces at the ends, braces and |")
	default:
		return true
	}
	return false
}

func (r *reader) generator(v value) rotator.Generator {
	if !isMapping(v.node) {
		p, _ := v.scalar()
		return rotator.Generator{Path: v.mintPath(p)}
	}
	s := v.section()
	defer s.done()
	g := rotator.Generator{Method: s.text("method", ""), PasswordPolicy: s.text("password_policy", "")}
	if at, ok := s.field("method"); ok && g.Method != "" && g.Method != "read" && g.Method != "write" {
		at.fail(fmt.Sprintf("unknown method %q", show(g.Method)), didYouMean(g.Method, []string{"read", "write"}))
	}
	if at, ok := s.field("path"); ok {
		g.Path = at.mintPath(at.nonEmpty(""))
		if g.PasswordPolicy != "" {
			at.fail("path and password_policy are both set", "keep one of them")
		}
	} else if _, ok := s.field("password_policy"); !ok {
		v.fail("says neither path nor password_policy", "write the Vault path that mints it, or {password_policy: name}")
	}
	if at, ok := s.field("data"); ok {
		if isMapping(at.node) {
			g.Data, _ = at.plain().(map[string]any)
		} else {
			at.section()
		}
		if g.Method == "read" || g.PasswordPolicy != "" {
			at.fail("data is sent by method write only", "remove data, or set method: write and a path")
		}
	}
	return g
}

var inPlace = []string{"static-creds", "static-cred", "rotate-role", "rotate-root", "static-roles"}

// mintPath checks a path of Vault that mints something new.
func (v value) mintPath(p string) string {
	parts := strings.Split(p, "/")
	static := slices.ContainsFunc(parts, func(s string) bool { return slices.Contains(inPlace, s) })
	switch {
	case p == "":
		v.fail("is empty", "write the Vault path that mints the credential, for example database/creds/checkout")
	case strings.HasPrefix(p, "/") || strings.HasPrefix(p, "v1/"):
		v.fail(fmt.Sprintf("%q is not a path below a mount", show(p)), "leave out the slash and v1/ in front")
	case static:
		v.fail("this is a static role: Vault changes it in place, so old and new are never valid at the same time",
			"use a dynamic role (.../creds/...), or two static roles A and B in two bundles")
	case strings.HasPrefix(p, "sys/policies/password/"):
		v.fail("a password policy is named, not called by its path", fmt.Sprintf("write {password_policy: %s}", show(cmp.Or(at(parts, 3), "name"))))
	case len(parts) > 2 && parts[1] == "data":
		v.fail("this reads a KV secret and mints nothing", "name a path that makes a new credential, or {password_policy: name}")
	case len(parts) < 2 || slices.Contains(parts, "") || slices.Contains(parts, ".."):
		v.fail(fmt.Sprintf("%q is not a path of Vault", show(p)), "write it as mount/..., for example database/creds/checkout")
	default:
		return p
	}
	return ""
}

func at(parts []string, i int) string {
	if i < len(parts) {
		return parts[i]
	}
	return ""
}

func (r *reader) holders(s *section) []string {
	list, _ := s.field("holders")
	var out []string
	for _, v := range list.items() {
		h := v.nonEmpty("")
		prefix, rest, hasPrefix := strings.Cut(h, ":")
		_, err := path.Match(h, "")
		switch {
		case h == "":
		case err != nil:
			v.fail(fmt.Sprintf("%q is not a pattern", show(h)), "use * for any text and ? for one character; [ must be closed")
		case hasPrefix && prefix == "group" && strings.TrimSpace(rest) == "":
			v.fail("names no group", `write "group:payments"`)
		case hasPrefix && prefix != "group" && distance(strings.ToLower(prefix), "group") <= 2:
			v.fail(fmt.Sprintf("unknown prefix %q", show(prefix+":")), `did you mean "group:"?`)
		case slices.Contains(out, h):
			v.fail(fmt.Sprintf("holder %q is there twice", show(h)), "keep one of them")
		default:
			out = append(out, h)
		}
	}
	return out
}

// aliases are what detectors call the credentials of a bundle.
func (r *reader) aliases(bundle *section) (out []rotator.Alias) {
	v, _ := bundle.field("detected_as")
	for _, item := range v.items() {
		s := item.section()
		a := rotator.Alias{Source: s.pattern("source"), Repository: s.pattern("repository"), SecretType: s.pattern("secret_type"), PublicID: s.pattern("public_id")}
		if a.Repository == "" && a.SecretType == "" && a.PublicID == "" && isMapping(item.node) {
			item.fail("would fit every finding", "name the repository, the secret_type or the public_id as well")
		}
		s.done()
		out = append(out, a)
	}
	return out
}
