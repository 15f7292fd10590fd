package whisktest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// servePut checks in the controller's order: package, body, size, then the entity itself.
func (s *Server) servePut(r *request, body []byte) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.pkg != "" {
		_, binding, refused := s.parents(r.in, r.pkg)
		if refused != nil {
			return refused
		}
		if binding != nil {
			return fail(http.StatusBadRequest, TextBelow)
		}
	}
	if a := r.decode(body); a != nil {
		return a
	}
	c, refused := s.parseChange(r)
	if refused != nil {
		return refused
	}
	old := s.store[r.key()]
	if old != nil && old.collection != r.collection {
		return fail(http.StatusConflict, TextWrongType)
	}
	if old != nil && !truthy(r.URL.Query().Get("overwrite"), false) {
		return fail(http.StatusConflict, TextExists)
	}
	var next *entity
	switch r.collection {
	case "actions":
		next, refused = s.putAction(r, c, old)
	case "packages":
		next, refused = s.putPackage(r, c, old)
	case "triggers":
		next, refused = s.putTrigger(r, c, old)
	case "rules":
		next, refused = s.putRule(r, c, old)
	}
	if refused != nil {
		return refused
	}
	s.judge(r, c, old, next)
	s.commit(next)
	if s.opt.EmptyPut && (r.collection == "actions" || r.collection == "packages") {
		return &answer{status: http.StatusOK}
	}
	s.saw(r, next)
	return ok(s.document(next, s.afterPut(next, c), true))
}

// afterPut shows new values in clear: the answer is made before they are locked.
func (s *Server) afterPut(e *entity, c change) []entry {
	if s.opt.Encryption != Marked || c.params == nil || e.collection == "triggers" || e.exec.kind == "sequence" {
		return s.shown(e.params)
	}
	return *c.params
}

// commit locks and stores; updated never stands still, so that lists have one order.
func (s *Server) commit(e *entity) {
	if e.collection == "actions" || e.collection == "packages" {
		e.params = s.seal(e.params)
	}
	s.clock = max(s.clock+1, s.opt.Now().UnixMilli())
	e.updated = s.clock
	if old, had := s.store[e.key()]; had {
		s.previous[e.key()] = old
	}
	s.store[e.key()] = e
}

// change is a PUT body, parsed; nil means absent.
type change struct {
	params, annotations *[]entry
	version             *[3]int
	publish             *bool
	limits              map[string]any
	drop                []string
	exec                *exec
	raw                 map[string]json.RawMessage
}

func (s *Server) parseChange(r *request) (change, *answer) {
	c := change{raw: r.payload}
	malformed := func(what string) (change, *answer) {
		return c, fail(http.StatusBadRequest, "%s", TextMalformed+what+" malformed!")
	}
	for _, list := range []struct {
		field string
		into  **[]entry
	}{{"parameters", &c.params}, {"annotations", &c.annotations}} {
		raw, has := r.payload[list.field]
		if !has {
			continue
		}
		entries, err := parseEntries(raw)
		if err != nil {
			return malformed("parameters") // annotations are the same type, and get the same text
		}
		*list.into = &entries
	}
	if raw, has := r.payload["version"]; has {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return malformed("version")
		}
		v, valid := parseVersion(text)
		if !valid {
			return malformed("version")
		}
		c.version = &v
	}
	for field, into := range map[string]any{"publish": &c.publish, "limits": &c.limits, "delAnnotations": &c.drop} {
		if raw, has := r.payload[field]; has && json.Unmarshal(raw, into) != nil {
			return malformed(field)
		}
	}
	if raw, has := r.payload["exec"]; has && r.collection == "actions" {
		x, refused := s.parseExec(raw, r)
		if refused != nil {
			return c, refused
		}
		c.exec = &x
	}
	return c, s.measure(c)
}

func (s *Server) measure(c change) *answer {
	for _, list := range []struct {
		what    string
		entries *[]entry
	}{{"parameters", c.params}, {"annotations", c.annotations}} {
		if list.entries == nil {
			continue
		}
		if n := size(*list.entries); n > s.opt.MaxBytes {
			return fail(http.StatusRequestEntityTooLarge, textTooLarge, list.what, n, s.opt.MaxBytes)
		}
	}
	return nil
}

func (s *Server) parseExec(raw json.RawMessage, r *request) (exec, *answer) {
	var w struct {
		Kind, Main, Image string
		Code              json.RawMessage
		Binary            bool
		Components        []string
	}
	if json.Unmarshal(raw, &w) != nil || w.Kind == "" {
		return exec{}, fail(http.StatusBadRequest, TextMalformed+"'kind' must be a string defined in 'exec'")
	}
	kinds := s.kinds()
	kind := w.Kind
	if family, version, _ := strings.Cut(kind, ":"); version == "default" {
		kind = map[string]string{"nodejs": "nodejs:20", "python": "python:3"}[family]
	}
	deprecated, known := kinds[kind]
	switch {
	case !known:
		return exec{}, fail(http.StatusBadRequest, textBadKind, w.Kind, "nodejs:20, python:3")
	case deprecated:
		return exec{}, fail(http.StatusBadRequest, textOldKind, w.Kind)
	case kind == "sequence":
		return s.parseSequence(w.Components, r)
	case kind != "blackbox" && (len(w.Code) == 0 || w.Code[0] != '"' && w.Code[0] != '{'):
		return exec{}, fail(http.StatusBadRequest, textCodeField, kind)
	}
	return exec{kind: kind, main: w.Main, image: w.Image, code: w.Code, binary: w.Binary}, nil
}

func (s *Server) parseSequence(components []string, r *request) (exec, *answer) {
	x := exec{kind: "sequence", components: []string{}}
	for _, c := range components {
		parts := strings.Split(strings.TrimPrefix(c, "/"), "/")
		if parts[0] == "_" {
			parts[0] = r.ns
		}
		in, pkg := parts[0], ""
		if len(parts) == 3 {
			pkg = parts[1]
		}
		if len(parts) < 2 || len(parts) > 3 {
			return x, fail(http.StatusBadRequest, textComponent)
		}
		if _, _, _, refused := s.resolve(in, pkg, parts[len(parts)-1]); refused != nil {
			return x, fail(http.StatusBadRequest, textComponent)
		}
		x.components = append(x.components, "/"+strings.Join(parts, "/"))
	}
	return x, nil
}

// base is the next state of an entity before its collection's own rules.
func (r *request) base(c change, old *entity) *entity {
	e := &entity{collection: r.collection, ns: r.in, pkg: r.pkg, name: r.name, version: [3]int{0, 0, 1}}
	if old != nil {
		e = old.clone()
		e.version[2]++
	}
	if c.version != nil {
		e.version = *c.version
	}
	if c.publish != nil {
		e.publish = *c.publish
	}
	if c.params != nil {
		e.params = *c.params
	}
	return e
}

// serverNote replaces an annotation that only the server writes.
func (e *entity) serverNote(key string, value any) {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	e.annotations = setEntry(e.annotations, entry{key: key, value: raw})
}
