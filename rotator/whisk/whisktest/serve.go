package whisktest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// request is one request, taken apart.
type request struct {
	*http.Request
	ns         string // of the credential
	collection string
	in         string // namespace in the path
	pkg, name  string
	list       bool
	payload    map[string]json.RawMessage
}

func (r request) full() string {
	if r.pkg == "" {
		return r.name
	}
	return r.pkg + "/" + r.name
}

func (r request) key() string { return r.in + "/" + r.full() }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	id := hr.Header.Get("X-Request-ID")
	if id == "" || strings.HasPrefix(id, "sid_") {
		id = newID()
	}
	body, _ := io.ReadAll(io.LimitReader(hr.Body, 64<<20))
	r := &request{Request: hr}
	a := s.enter(r)
	f := s.match(r)
	if f != nil && f.Hook != nil {
		f.Hook()
	}
	if f != nil && f.Drop == BeforeCommit {
		s.record(r, 0, body)
		panic(http.ErrAbortHandler)
	}
	if a == nil && (f == nil || f.Status == 0 || f.AfterCommit) {
		a = s.serve(r, body, f != nil && f.Stale)
	}
	if f != nil && f.unanswered() {
		s.unsee(r)
	}
	if f != nil && f.Drop == AfterCommit {
		s.record(r, 0, body)
		panic(http.ErrAbortHandler)
	}
	if f != nil {
		a = f.change(a)
	}
	s.record(r, a.status, body)
	if f != nil && f.Truncate {
		w = &truncated{ResponseWriter: w}
	}
	a.write(w, id, f != nil && f.NumericCode)
}

func (s *Server) record(r *request, status int, body []byte) {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(body, &fields)
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.full()
	if r.list {
		name = ""
	}
	s.requests = append(s.requests, Request{r.Method, r.collection, name, status, slices.Sorted(maps.Keys(fields))})
}

// enter takes the path apart and checks the credential; an answer means that is all.
func (s *Server) enter(r *request) *answer {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/api/v1")
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/ping":
		return &answer{status: http.StatusOK, body: "pong"}
	case r.Method == http.MethodGet && (path == "" || path == "/"):
		return ok(s.info())
	}
	var segments []string
	for _, raw := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
		segment, err := url.PathUnescape(raw)
		if err != nil {
			return fail(http.StatusBadRequest, textBadName)
		}
		segments = append(segments, segment)
	}
	if segments[0] != "namespaces" {
		return fail(http.StatusNotFound, textNoRoute)
	}
	ns, refused := s.identity(r.Request)
	if refused != nil {
		return refused
	}
	r.ns = ns
	if len(segments) == 1 || len(segments) == 2 && segments[1] == "" {
		r.collection = "namespaces"
		return ok([]string{ns})
	}
	return r.route(segments[1:])
}

var nameRE = regexp.MustCompile(`\A(\w|\w[\w@ .&-]{0,254}[\w@.&-])\z`)

func (r *request) route(segments []string) *answer {
	r.in = segments[0]
	if r.in == "_" {
		r.in = r.ns
	}
	if len(segments) < 2 {
		return fail(http.StatusNotFound, textNoRoute)
	}
	r.collection = segments[1]
	rest := segments[2:]
	if len(rest) == 1 && rest[0] == "" {
		rest = nil
	}
	switch {
	case len(rest) == 0:
		r.list = true
	case len(rest) == 1:
		r.name = rest[0]
	case len(rest) == 2 && r.collection == "actions" && rest[1] == "":
		r.pkg, r.list = rest[0], true
	case len(rest) == 2 && r.collection == "actions":
		r.pkg, r.name = rest[0], rest[1]
	default:
		return fail(http.StatusNotFound, textNoRoute)
	}
	for _, n := range rest {
		if n != "" && !nameRE.MatchString(n) {
			return fail(http.StatusBadRequest, textBadName)
		}
	}
	return nil
}

// serve dispatches what passed the door.
func (s *Server) serve(r *request, body []byte, stale bool) *answer {
	if r.collection == "limits" && r.list && r.Method == http.MethodGet {
		return ok(s.limits())
	}
	if !slices.Contains([]string{"actions", "packages", "triggers", "rules"}, r.collection) {
		return fail(http.StatusNotFound, textNoRoute)
	}
	if a := s.entitled(r); a != nil {
		return a
	}
	switch {
	case r.list && r.Method == http.MethodGet:
		return s.serveList(r)
	case r.list:
		return fail(http.StatusNotFound, textNoRoute)
	case r.Method == http.MethodGet:
		return s.serveGet(r, stale)
	case r.Method == http.MethodDelete:
		return s.serveDelete(r)
	case r.Method == http.MethodPut:
		return s.servePut(r, body)
	case r.Method == http.MethodPost && r.collection != "packages":
		return s.servePost(r, body)
	}
	return fail(http.StatusNotFound, textNoRoute)
}

// entitled allows everything in the own namespace, and reading and invoking below published foreign packages.
func (s *Server) entitled(r *request) *answer {
	if r.in == r.ns {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pkg := r.pkg
	if r.collection == "packages" {
		pkg = r.name
	}
	p, found := s.store[r.in+"/"+pkg]
	reads := r.Method == http.MethodGet || r.Method == http.MethodPost
	if pkg != "" && found && p.collection == "packages" && p.publish && reads {
		return nil
	}
	return fail(http.StatusForbidden, textForbidden, strings.TrimSuffix(r.key(), "/"))
}

// decode reads a JSON object as pekko-http and spray do.
func (r *request) decode(body []byte) *answer {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case len(body) == 0 && r.Method == http.MethodPost:
		return nil
	case len(body) == 0:
		return fail(http.StatusBadRequest, textNoBody)
	case media != "application/json":
		return fail(http.StatusUnsupportedMediaType, textMediaType, r.Header.Get("Content-Type"))
	}
	if err := json.Unmarshal(body, &r.payload); err != nil || r.payload == nil {
		return fail(http.StatusBadRequest, TextMalformed+"Object expected")
	}
	return nil
}

func (s *Server) info() map[string]any {
	runtimes := make(map[string][]map[string]any)
	for kind, deprecated := range s.kinds() {
		family, _, _ := strings.Cut(kind, ":")
		if family != "blackbox" && family != "sequence" {
			runtimes[family] = append(runtimes[family], map[string]any{"kind": kind, "deprecated": deprecated, "default": kind == "nodejs:20"})
		}
	}
	return map[string]any{
		"description": "OpenWhisk", "api_paths": []string{"/api/v1"}, "runtimes": runtimes,
		"limits": map[string]any{"actions_per_minute": 60, "concurrent_actions": 30, "sequence_length": 50, "triggers_per_minute": 60},
	}
}

func (s *Server) limits() map[string]any {
	text := fmt.Sprintf("%d B", s.opt.MaxBytes)
	if s.opt.MaxBytes%(1<<20) == 0 {
		text = fmt.Sprintf("%d MB", s.opt.MaxBytes>>20)
	}
	return map[string]any{"maxParameterSize": text, "invocationsPerMinute": 60, "concurrentInvocations": 30, "firesPerMinute": 60}
}
