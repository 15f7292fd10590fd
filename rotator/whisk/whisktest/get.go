package whisktest

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
)

// find returns a stored entity of the request's collection.
func (s *Server) find(key, collection string) (*entity, *answer) {
	e, found := s.store[key]
	switch {
	case !found && collection == "packages":
		return nil, fail(http.StatusNotFound, textNoPackage, key)
	case !found:
		return nil, fail(http.StatusNotFound, TextNotFound)
	case e.collection != collection:
		return nil, fail(http.StatusConflict, TextWrongType)
	}
	return e, nil
}

// parents returns the package of a packaged action and, when that is a binding, the provider; binding is then set.
func (s *Server) parents(in, pkg string) (provider, binding *entity, refused *answer) {
	p, found := s.store[in+"/"+pkg]
	switch {
	case !found:
		return nil, nil, fail(http.StatusNotFound, TextNotFound)
	case p.collection != "packages":
		return nil, nil, fail(http.StatusConflict, TextWrongType)
	case p.binding == nil:
		return p, nil, nil
	}
	provider, found = s.store[p.binding.key()]
	if !found || provider.collection != "packages" {
		return nil, nil, fail(http.StatusNotFound, TextNotFound)
	}
	return provider, p, nil
}

// resolve finds an action as it is addressed, with the parameters it inherits on that way.
func (s *Server) resolve(in, pkg, name string) (a *entity, inherited []entry, binding *entity, refused *answer) {
	if pkg == "" {
		a, refused = s.find(in+"/"+name, "actions")
		return a, nil, nil, refused
	}
	provider, binding, refused := s.parents(in, pkg)
	if refused != nil {
		return nil, nil, nil, refused
	}
	a, refused = s.find(provider.key()+"/"+name, "actions")
	if refused != nil {
		return nil, nil, nil, refused
	}
	inherited = provider.params
	if binding != nil {
		inherited = merge(inherited, binding.params)
	}
	return a, inherited, binding, nil
}

func (s *Server) serveGet(r *request, stale bool) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.collection == "actions" {
		return s.getAction(r, stale)
	}
	e, refused := s.find(r.key(), r.collection)
	if refused != nil {
		return refused
	}
	e = s.maybeStale(e, stale)
	s.saw(r, e)
	doc := s.document(e, s.shown(e.params), true)
	if r.collection == "packages" {
		return s.getPackage(e, doc)
	}
	return ok(doc)
}

func (s *Server) maybeStale(e *entity, stale bool) *entity {
	if old, has := s.previous[e.key()]; stale && has {
		return old
	}
	return e
}

func (s *Server) getAction(r *request, stale bool) *answer {
	e, inherited, binding, refused := s.resolve(r.in, r.pkg, r.name)
	if refused != nil {
		return refused
	}
	e = s.maybeStale(e, stale)
	s.saw(r, e)
	code := truthy(r.URL.Query().Get("code"), true)
	doc := s.document(e, s.shown(merge(inherited, e.params)), code)
	if binding != nil && !code {
		doc["binding"] = binding.key()
	}
	return ok(doc)
}

func (s *Server) getPackage(e *entity, doc map[string]any) *answer {
	owner := e
	if e.binding != nil {
		provider, found := s.store[e.binding.key()]
		if !found {
			return fail(http.StatusNotFound, TextNotFound)
		}
		owner = provider
		doc["parameters"] = show(s.shown(merge(provider.params, e.params)))
	}
	actions, feeds := []map[string]any{}, []map[string]any{}
	for _, a := range s.sorted("actions", owner.ns, owner.name) {
		summary := map[string]any{"name": a.name, "version": a.versionText(), "annotations": show(a.annotations)}
		if _, feed := findEntry(a.annotations, "feed"); feed {
			feeds = append(feeds, summary)
			continue
		}
		actions = append(actions, summary)
	}
	doc["actions"], doc["feeds"] = actions, feeds
	return ok(doc)
}

// sorted returns the entities of a namespace, newest first; pkg "" means all packages.
func (s *Server) sorted(collection, ns, pkg string) []*entity {
	var out []*entity
	for _, e := range s.store {
		if e.collection == collection && e.ns == ns && (pkg == "" || e.pkg == pkg) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *entity) int { return cmp.Compare(b.updated, a.updated) })
	return out
}

func (s *Server) serveList(r *request) *answer {
	limit, skip, refused := s.paging(r)
	if refused != nil {
		return refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in, pkg := r.in, r.pkg
	if pkg != "" {
		provider, _, refused := s.parents(in, pkg)
		if refused != nil {
			return refused
		}
		in, pkg = provider.ns, provider.name
	}
	all := s.sorted(r.collection, in, pkg)
	if truthy(r.URL.Query().Get("count"), false) {
		return ok(map[string]int{r.collection: max(len(all)-skip, 0)})
	}
	rows := []map[string]any{}
	for _, e := range all[min(skip, len(all)):min(skip+limit, len(all))] {
		rows = append(rows, e.row())
	}
	return ok(rows)
}

func (s *Server) paging(r *request) (limit, skip int, refused *answer) {
	const malformed = "The query parameter '%s' was malformed:\n"
	limit = min(30, s.opt.MaxPage)
	q := r.URL.Query()
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return 0, 0, fail(http.StatusBadRequest, malformed+"The value '%s' is not an integer for %s.", "limit", text, r.collection)
		}
		if n < 0 || n > s.opt.MaxPage {
			return 0, 0, fail(http.StatusBadRequest, malformed+"The value '%s' is not in the range of 0 to %d for %s.", "limit", text, s.opt.MaxPage, r.collection)
		}
		if limit = n; n == 0 {
			limit = s.opt.MaxPage
		}
	}
	if text := q.Get("skip"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return 0, 0, fail(http.StatusBadRequest, malformed+"The value '%s' is not an integer for %s.", "skip", text, r.collection)
		}
		if n < 0 {
			return 0, 0, fail(http.StatusBadRequest, malformed+"The value '%s' is not greater than or equal to 0 for %s.", "skip", text, r.collection)
		}
		skip = n
	}
	return limit, skip, nil
}

// truthy reads a query flag as Pekko does.
func truthy(text string, absent bool) bool {
	switch text {
	case "":
		return absent
	case "true", "yes", "on", "1":
		return true
	}
	return false
}
