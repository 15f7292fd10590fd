package whisktest

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
)

func (s *Server) putAction(r *request, c change, old *entity) (*entity, *answer) {
	if old == nil && c.exec == nil {
		return nil, fail(http.StatusBadRequest, TextNoExec)
	}
	if old != nil && c.exec == nil && s.kinds()[old.exec.kind] {
		return nil, fail(http.StatusBadRequest, textOldKind, old.exec.kind)
	}
	e := r.base(c, old)
	wasSequence := old != nil && old.exec.kind == "sequence"
	if c.exec != nil {
		e.exec = *c.exec
	}
	switch {
	case e.exec.kind == "sequence":
		raw, err := json.Marshal(e.exec.components)
		if err != nil {
			panic(err)
		}
		e.params = []entry{{key: "_actions", value: raw}} // whatever was sent
	case wasSequence && c.params == nil:
		e.params = nil
	}
	if e.limits == nil {
		e.limits = map[string]any{"timeout": 60000, "memory": 256, "logs": 10, "concurrency": 1}
	}
	maps.Copy(e.limits, c.limits)
	if e.exec.kind != "sequence" {
		for _, key := range c.drop {
			e.annotations = dropEntry(e.annotations, key)
		}
	}
	if c.annotations != nil {
		e.annotations = merge(e.annotations, *c.annotations)
	}
	if _, has := findEntry(e.annotations, "provide-api-key"); !has && old == nil {
		e.serverNote("provide-api-key", false)
	}
	e.serverNote("exec", e.exec.kind)
	return e, nil
}

func (s *Server) putPackage(r *request, c change, old *entity) (*entity, *answer) {
	if r.name == "default" {
		return nil, fail(http.StatusBadRequest, textReserved)
	}
	e := r.base(c, old)
	if c.annotations != nil {
		e.annotations = *c.annotations // wholesale, unlike an action's
	}
	b, refused := s.parseBinding(r, c)
	switch {
	case refused != nil:
		return nil, refused
	case b != nil && old != nil && old.binding == nil:
		return nil, fail(http.StatusConflict, textToBinding)
	case b != nil:
		e.binding = b
	}
	e.annotations = dropEntry(e.annotations, "binding")
	if e.binding != nil {
		e.serverNote("binding", map[string]string{"namespace": e.binding.Path, "name": e.binding.Name})
	}
	return e, nil
}

func (s *Server) parseBinding(r *request, c change) (*ref, *answer) {
	raw, has := c.raw["binding"]
	var b struct{ Namespace, Name string }
	if !has {
		return nil, nil
	}
	if json.Unmarshal(raw, &b) != nil {
		return nil, fail(http.StatusBadRequest, TextMalformed+"binding malformed!")
	}
	if b.Name == "" {
		return nil, nil // {} is read as absent
	}
	if b.Namespace == "_" || b.Namespace == "" {
		b.Namespace = r.ns
	}
	provider, found := s.store[b.Namespace+"/"+b.Name]
	switch {
	case !found || provider.collection != "packages":
		return nil, fail(http.StatusBadRequest, textProvider)
	case provider.ns != r.ns && !provider.publish:
		return nil, fail(http.StatusForbidden, textForbidden, provider.key())
	case provider.binding != nil:
		return nil, fail(http.StatusBadRequest, textRebind)
	}
	return &ref{b.Namespace, b.Name}, nil
}

func (s *Server) putTrigger(r *request, c change, old *entity) (*entity, *answer) {
	e := r.base(c, old)
	if c.annotations != nil {
		e.annotations = *c.annotations
	}
	if feed, has := findEntry(e.annotations, "feed"); has && old == nil {
		var name string
		if json.Unmarshal(feed.value, &name) != nil || name == "" {
			return nil, fail(http.StatusBadRequest, "Feed name is not valid")
		}
	}
	return e, nil
}

func (s *Server) putRule(r *request, c change, old *entity) (*entity, *answer) {
	e := r.base(c, old)
	e.params = nil
	if old == nil {
		e.active = true
	}
	if c.annotations != nil {
		e.annotations = *c.annotations
	}
	for field, into := range map[string]*ref{"trigger": &e.trigger, "action": &e.action} {
		if raw, has := c.raw[field]; has {
			parsed, valid := r.parseRef(raw)
			if !valid {
				return nil, fail(http.StatusBadRequest, "%s", TextMalformed+field+" malformed!")
			}
			*into = parsed
		}
		if into.Name == "" {
			return nil, fail(http.StatusBadRequest, "%s undefined", field)
		}
	}
	if t, found := s.store[e.trigger.key()]; !found || t.collection != "triggers" {
		return nil, fail(http.StatusNotFound, TextNotFound)
	}
	in, pkg, _ := strings.Cut(e.action.Path, "/")
	if _, _, _, refused := s.resolve(in, pkg, e.action.Name); refused != nil {
		return nil, fail(http.StatusNotFound, TextNotFound)
	}
	return e, nil
}

// parseRef reads "/ns/pkg/name" or {"path","name"}.
func (r *request) parseRef(raw json.RawMessage) (ref, bool) {
	var text string
	var out ref
	if json.Unmarshal(raw, &text) == nil {
		text = strings.TrimPrefix(text, "/")
		i := strings.LastIndex(text, "/")
		if i < 0 {
			return out, false
		}
		out = ref{text[:i], text[i+1:]}
	} else if json.Unmarshal(raw, &out) != nil {
		return out, false
	}
	if out.Path == "_" || strings.HasPrefix(out.Path, "_/") {
		out.Path = r.ns + out.Path[1:]
	}
	return out, out.Path != "" && out.Name != ""
}

func (s *Server) serveDelete(r *request) *answer {
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
	e, refused := s.find(r.key(), r.collection)
	if refused != nil {
		return refused
	}
	if r.collection == "packages" && e.binding == nil {
		inside := s.sorted("actions", e.ns, e.name)
		if len(inside) > 0 && !truthy(r.URL.Query().Get("force"), false) {
			what := "entity"
			if len(inside) > 1 {
				what = "entities"
			}
			return fail(http.StatusConflict, textNotEmpty, len(inside), what)
		}
		for _, a := range inside {
			delete(s.store, a.key())
		}
	}
	delete(s.store, e.key())
	return ok(s.document(e, s.shown(e.params), true))
}
