package whisktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/param"
)

// A Seed is what an entity starts with.
type Seed struct {
	Parameters  param.List
	Annotations map[string]any
	Kind        string        // of an action; empty: "nodejs:20". A deprecated one is accepted here
	Code        string        // of an action
	Timeout     time.Duration // of an action; 0: 60s
	Publish     bool
}

// Package puts a package there, version 0.0.1; names here are without namespace.
func (s *Server) Package(name string, seed Seed) { s.seed("packages", name, seed, nil) }

// Binding puts a binding to provider there ("pkg" or "ns/pkg").
func (s *Server) Binding(name, provider string, seed Seed) {
	s.seed("packages", name, seed, func(e *entity) {
		in, pkg, qualified := strings.Cut(provider, "/")
		if !qualified {
			in, pkg = e.ns, provider
		}
		e.binding = &ref{in, pkg}
		e.serverNote("binding", map[string]string{"namespace": in, "name": pkg})
	})
}

// Action puts an action there, "name" or "pkg/name".
func (s *Server) Action(name string, seed Seed) {
	s.seed("actions", name, seed, func(e *entity) {
		e.exec = exec{kind: seed.Kind}
		if seed.Kind == "" {
			e.exec.kind = "nodejs:20"
		}
		e.exec.code = mustJSON(seed.Code)
	})
}

// Sequence puts a sequence there; components are "name" or "pkg/name".
func (s *Server) Sequence(name string, components ...string) {
	s.seed("actions", name, Seed{}, func(e *entity) {
		e.exec = exec{kind: "sequence"}
		for _, c := range components {
			e.exec.components = append(e.exec.components, "/"+e.ns+"/"+c)
		}
		e.params = []entry{{key: "_actions", value: mustJSON(e.exec.components)}}
	})
}

// Trigger puts a trigger there.
func (s *Server) Trigger(name string, seed Seed) { s.seed("triggers", name, seed, nil) }

// Rule puts an active rule there.
func (s *Server) Rule(name, trigger, action string) {
	s.seed("rules", name, Seed{}, func(e *entity) {
		e.active = true
		e.trigger = ref{e.ns, trigger}
		path, base := e.ns, action
		if pkg, in, packaged := strings.Cut(action, "/"); packaged {
			path, base = e.ns+"/"+pkg, in
		}
		e.action = ref{path, base}
	})
}

func (s *Server) seed(collection, name string, seed Seed, finish func(*entity)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &entity{collection: collection, ns: s.opt.Namespace, name: name, version: [3]int{0, 0, 1}, publish: seed.Publish}
	if pkg, base, packaged := strings.Cut(name, "/"); packaged {
		e.pkg, e.name = pkg, base
		if p, found := s.store[e.ns+"/"+pkg]; !found || p.collection != "packages" || p.binding != nil {
			panic(fmt.Sprintf("whisktest: %s: there is no package %s", name, pkg))
		}
	}
	e.params = fromList(seed.Parameters)
	for key, value := range seed.Annotations {
		e.annotations = setEntry(e.annotations, entry{key: key, value: mustJSON(value)})
	}
	if finish != nil {
		finish(e)
	}
	if collection == "actions" {
		timeout := seed.Timeout
		if timeout == 0 {
			timeout = time.Minute
		}
		e.limits = map[string]any{"timeout": timeout.Milliseconds(), "memory": 256, "logs": 10, "concurrency": 1}
		e.serverNote("provide-api-key", false)
		e.serverNote("exec", e.exec.kind)
	}
	s.commit(e)
}

// Write is another writer: it replaces the own parameters behind the clients' back, as one PUT does. It is not
// counted, not judged, and meets no fault.
func (s *Server) Write(collection, name string, list param.List) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.mustFind(collection, name)
	next := old.clone()
	next.version[2]++
	next.params = fromList(list)
	s.commit(next)
}

// Delete takes an entity away.
func (s *Server) Delete(collection, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.store, s.mustFind(collection, name).key())
}

// A Snapshot is what the host really holds.
type Snapshot struct {
	Version     string
	Own         param.List // as stored, without what is inherited
	Plain       param.List // the same with locked values opened, as the action gets them
	Annotations map[string]json.RawMessage
	Code        string
	Kind        string
	Updated     time.Time
}

// Snapshot looks at an entity of a collection ("actions", "packages", "triggers"), if it is there.
func (s *Server) Snapshot(collection, name string) (Snapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, found := s.store[s.opt.Namespace+"/"+name]
	if !found || e.collection != collection {
		return Snapshot{}, false
	}
	out := Snapshot{
		Version: e.versionText(), Own: toList(e.params), Plain: toList(s.unseal(e.params)), Kind: e.exec.kind,
		Annotations: make(map[string]json.RawMessage), Updated: time.UnixMilli(e.updated),
	}
	for _, a := range e.annotations {
		out.Annotations[a.key] = slices.Clone(a.value)
	}
	_ = json.Unmarshal(e.exec.code, &out.Code) // only text is code here
	return out, true
}

func (s *Server) mustFind(collection, name string) *entity {
	e, found := s.store[s.opt.Namespace+"/"+name]
	if !found || e.collection != collection {
		panic(fmt.Sprintf("whisktest: there is no %s in %s", name, collection))
	}
	return e
}

func fromList(list param.List) []entry {
	entries, err := parseEntries(list.Encode())
	if err != nil {
		panic(err)
	}
	return entries
}

func toList(entries []entry) param.List {
	list, err := param.Parse(mustJSON(show(entries)))
	if err != nil {
		panic(err)
	}
	return list
}

// Params parses a parameter list written as JSON: [{"key":"A","value":1}].
func Params(text string) param.List {
	list, err := param.Parse([]byte(text))
	if err != nil {
		panic(err)
	}
	return list
}

func mustJSON(v any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // values stay as they were written
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSpace(b.Bytes())
}
