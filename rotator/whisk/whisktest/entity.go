package whisktest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// entity is one stored document of any collection.
type entity struct {
	collection    string // "actions", "packages", "triggers" or "rules"
	ns, pkg, name string
	version       [3]int
	publish       bool
	updated       int64
	params        []entry
	annotations   []entry

	exec   exec           // of an action
	limits map[string]any // of an action

	binding *ref // of a package; nil: plain

	trigger, action ref // of a rule
	active          bool
}

// ref names an entity: the path is "ns" or "ns/pkg".
type ref struct {
	Path string `json:"path"`
	Name string `json:"name"`
}

func (r ref) key() string { return r.Path + "/" + r.Name }

type exec struct {
	kind, main, image string
	code              json.RawMessage // a JSON string, or an object; nil: none
	binary            bool
	components        []string // "/ns/[pkg/]name"
}

func (e *entity) path() string {
	if e.pkg != "" {
		return e.ns + "/" + e.pkg
	}
	return e.ns
}

func (e *entity) key() string { return e.path() + "/" + e.name }

func (e *entity) clone() *entity {
	c := *e
	c.params, c.annotations, c.limits = slices.Clone(e.params), slices.Clone(e.annotations), maps.Clone(e.limits)
	return &c
}

func (e *entity) versionText() string {
	return fmt.Sprintf("%d.%d.%d", e.version[0], e.version[1], e.version[2])
}

func parseVersion(s string) (v [3]int, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 3 {
		return v, false
	}
	for i, p := range parts {
		if n, err := fmt.Sscanf(p, "%d", &v[i]); n != 1 || err != nil || v[i] < 0 {
			return v, false
		}
	}
	return v, v != [3]int{}
}

// common are the members that every collection has.
func (e *entity) common() map[string]any {
	return map[string]any{
		"namespace": e.path(), "name": e.name, "version": e.versionText(), "publish": e.publish,
		"annotations": show(e.annotations), "updated": e.updated,
	}
}

// document renders an entity with these parameters; code only where the API gives it away.
func (s *Server) document(e *entity, params []entry, code bool) map[string]any {
	doc := e.common()
	switch e.collection {
	case "actions":
		doc["parameters"], doc["limits"], doc["exec"] = show(params), e.limits, e.exec.document(code)
	case "packages":
		doc["parameters"], doc["binding"] = show(params), map[string]any{}
		if e.binding != nil {
			doc["binding"] = map[string]any{"namespace": e.binding.Path, "name": e.binding.Name}
		}
	case "triggers":
		doc["parameters"], doc["limits"] = show(params), map[string]any{}
		if rules := s.rulesOf(e); len(rules) > 0 {
			doc["rules"] = rules
		}
	case "rules":
		doc["trigger"], doc["action"], doc["status"] = e.trigger, e.action, status(e.active)
	}
	return doc
}

func (x exec) document(code bool) map[string]any {
	doc := map[string]any{"kind": x.kind, "binary": x.binary}
	if x.main != "" {
		doc["main"] = x.main
	}
	if x.image != "" {
		doc["image"] = x.image
	}
	if x.components != nil {
		doc["components"] = x.components
	}
	if code && x.code != nil {
		doc["code"] = x.code
	}
	return doc
}

// row is what a list shows of an entity: no parameters.
func (e *entity) row() map[string]any {
	doc := e.common()
	switch e.collection {
	case "actions":
		doc["limits"], doc["exec"] = e.limits, map[string]any{"binary": e.exec.binary}
	case "packages":
		doc["binding"] = false
		if e.binding != nil {
			doc["binding"] = map[string]any{"namespace": e.binding.Path, "name": e.binding.Name}
		}
	case "rules":
		doc["trigger"], doc["action"] = e.trigger, e.action
	}
	return doc
}

func (s *Server) rulesOf(t *entity) map[string]any {
	out := make(map[string]any)
	for _, e := range s.store {
		if e.collection == "rules" && e.trigger.key() == t.key() {
			out[e.key()] = map[string]any{"action": e.action, "status": status(e.active)}
		}
	}
	return out
}

func status(active bool) string {
	if active {
		return "active"
	}
	return "inactive"
}
