package config

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator"
)

type placedTarget struct {
	rotator.Target
	at   value
	keys value
}

func mapKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

func probeAddress(s string) (*url.URL, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return nil, false
	}
	return u, u.Scheme == "https" || u.Scheme == "http"
}

func (r *reader) targets(s *section, b *placed) {
	v, ok := s.require("targets", "name what consumes the bundle: targets: [{host: prod, action: shop/checkout}]")
	if !ok {
		return
	}
	items := v.items()
	if _, isList := s.field("targets"); isList && len(items) == 0 && kindOf(v.node) == "a list" {
		v.fail("is empty", "name at least one target: {host: prod, action: shop/checkout}")
	}
	first := make(map[rotator.Ref]value)
	for _, item := range items {
		t, ok := r.target(item)
		if !ok {
			continue
		}
		if other, twice := first[t.Ref]; twice {
			item.fail(fmt.Sprintf("%s is there twice; first as %s", show(t.Ref.String()), other.path), "keep one of them and join their keys")
			continue
		}
		first[t.Ref] = item
		b.Targets = append(b.Targets, t.Target)
		b.targets = append(b.targets, t)
	}
}

var kindKeys = []rotator.Kind{rotator.Action, rotator.Package, rotator.Trigger}

// target reads one target; ok means its name is usable for checks across targets.
func (r *reader) target(v value) (t placedTarget, ok bool) {
	if !isMapping(v.node) {
		v.fail("is "+kindOf(v.node)+", wants a mapping", "write {host: prod, action: package/name}")
		return t, false
	}
	s := v.section()
	defer s.done()
	t.at = v
	host, hostOK := r.targetHost(s)
	t.Host = host.Name
	nameOK := r.targetName(s, &t, host)
	t.keys, _ = s.field("keys")
	t.Keys = words(t.keys)
	if _, given := s.field("keys"); given && len(t.Keys) == 0 && kindOf(t.keys.node) == "a list" {
		t.keys.fail("selects no key", "name keys, or leave keys out to deliver all of them")
	}
	r.rename(s, &t)
	r.initAndRemove(s, &t)
	return t, hostOK && nameOK
}

func (r *reader) targetHost(s *section) (Host, bool) {
	v, ok := s.field("host")
	if !ok {
		if len(r.hosts) == 1 {
			for _, only := range r.hosts {
				return only, true
			}
		}
		s.require("host", "name one of the hosts under openwhisk")
		return Host{}, false
	}
	name := v.nonEmpty("")
	if name == "" {
		return Host{}, false
	}
	h, known := r.hosts[name]
	if !known {
		v.fail(fmt.Sprintf("unknown host %q", show(name)), didYouMean(name, slices.Collect(mapKeys(r.hosts))))
	}
	return h, known
}

func (r *reader) targetName(s *section, t *placedTarget, h Host) bool {
	var given []string
	ok := false
	for _, kind := range kindKeys {
		at, is := s.field(kind.String())
		if !is {
			continue
		}
		given = append(given, kind.String())
		t.Kind = kind
		if name := at.nonEmpty(""); name != "" {
			t.Name, ok = at.entityName(kind, name, h)
		}
	}
	switch len(given) {
	case 0:
		s.fail("names no action, package or trigger", "write {host: prod, action: package/name}")
	case 1:
		return ok
	default:
		s.fail("is one target, but names "+strings.Join(given, " and "), "write one entry for each")
	}
	return false
}

var segment = regexp.MustCompile(`^([\pL\pN_]|[\pL\pN_][\pL\pN_@ .&-]{0,254}[\pL\pN_@.&-])$`)

// entityName checks the shape and takes off a namespace in front, if it is the host's own.
func (v value) entityName(kind rotator.Kind, name string, h Host) (string, bool) {
	if rest, full := strings.CutPrefix(name, "/"); full {
		ns, inner, _ := strings.Cut(rest, "/")
		if ns != "_" && ns != h.Namespace {
			v.fail(fmt.Sprintf("%q names another namespace than its host, which is in %q", show(name), show(h.Namespace)), "leave out the namespace, or describe that namespace as a host of its own under openwhisk")
			return "", false
		}
		name = inner
	}
	parts := strings.Split(name, "/")
	if kind != rotator.Action && len(parts) > 1 {
		v.fail(fmt.Sprintf("%q has a slash; a %s has a plain name", show(name), kind), "write the name alone, or use action:")
		return "", false
	}
	if len(parts) > 2 {
		v.fail(fmt.Sprintf("%q has too many slashes", show(name)), "write name or package/name, without a namespace")
		return "", false
	}
	for _, p := range parts {
		if !segment.MatchString(p) {
			v.fail(fmt.Sprintf("%q is no valid %s name", show(name), kind), "write name"+map[bool]string{true: " or package/name"}[kind == rotator.Action]+"; OpenWhisk allows letters, digits, _ @ . & - and inner spaces")
			return "", false
		}
	}
	if kind == rotator.Package && name == "default" {
		v.fail("the package name default is reserved by OpenWhisk", "an action outside of packages is written by its name alone")
		return "", false
	}
	return name, true
}

// words is a list of non-empty texts without repetition.
func words(v value) []string {
	var out []string
	for _, item := range v.items() {
		w := item.nonEmpty("")
		switch {
		case w == "":
		case slices.Contains(out, w):
			item.fail(fmt.Sprintf("%q is there twice", show(w)), "keep one of them")
		default:
			out = append(out, w)
		}
	}
	return out
}

func (r *reader) rename(s *section, t *placedTarget) {
	v, _ := s.field("rename")
	named := v.section()
	for _, key := range named.names() {
		at, ok := named.field(key)
		name := at.nonEmpty("")
		if !ok || name == "" {
			continue
		}
		if len(t.Keys) > 0 && !slices.Contains(t.Keys, key) {
			at.fail(fmt.Sprintf("key %q is renamed but not selected", show(key)), "add it to keys, or remove the line; "+didYouMean(key, t.Keys))
			continue
		}
		if t.Rename == nil {
			t.Rename = make(map[string]string)
		}
		t.Rename[key] = name
	}
}

// initAndRemove reads the lists that speak of parameter names, not of keys.
func (r *reader) initAndRemove(s *section, t *placedTarget) {
	gets := slices.Collect(maps.Values(t.Params(t.Keys)))
	initial, _ := s.field("init")
	t.Init = words(initial)
	if len(t.Init) > 0 && t.Kind == rotator.Trigger {
		initial.fail("a trigger starts no container", "remove init")
	}
	for _, item := range initial.items() {
		name, _ := item.scalar()
		if renamed, ok := t.Rename[name]; ok && !slices.Contains(slices.Collect(maps.Values(t.Rename)), name) {
			item.fail(fmt.Sprintf("%q is delivered as %q here", show(name), show(renamed)), fmt.Sprintf("init takes the name of the parameter: %q", show(renamed)))
		} else if len(t.Keys) > 0 && name != "" && !slices.Contains(gets, name) {
			item.fail(fmt.Sprintf("the target does not get a parameter %q", show(name)), cmp.Or(didYouMean(name, gets), "add its key to keys"))
		}
	}
	removed, _ := s.field("remove")
	t.Remove = words(removed)
	for _, item := range removed.items() {
		if name, _ := item.scalar(); slices.Contains(gets, name) || slices.Contains(t.Init, name) {
			item.fail(fmt.Sprintf("the parameter %q is delivered and removed", show(name)), "keep one of the two")
		}
	}
}
