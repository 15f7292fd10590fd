package whisktest

import "slices"

// TB is the part of testing.TB that the referee needs; this package does not import testing, so that a program
// may mount a Server.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// A Foul is a kind of mistake that the referee calls.
type Foul int

// The fouls.
const (
	Lost       Foul = iota // a parameter the entity owned is not in the new list
	MarkLost               // a value was carried over without its init or encryption mark
	CopiedDown             // a parameter inherited from a package or provider became the entity's own
	Stale                  // the write is based on a version that was no longer current, or on none
	Note                   // an annotation of a package or trigger is not in the new list
	Extra                  // the body held more than parameters and annotations
)

type referee struct {
	t       TB
	ignored []Foul
	allowed map[string][]string          // "collection name" -> keys
	seen    map[string]map[string][3]int // client -> entity -> version
}

// Referee fails t from now on when a client's write breaks one of the rules, except the ignored ones. Clients are
// told apart by credential and User-Agent. Setup methods are not judged.
func (s *Server) Referee(t TB, ignored ...Foul) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.referee = &referee{t: t, ignored: ignored, allowed: make(map[string][]string), seen: make(map[string]map[string][3]int)}
}

// Allow lets these keys disappear from an entity, or be copied down to it.
func (s *Server) Allow(collection, name string, keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.referee != nil {
		at := collection + " " + s.opt.Namespace + "/" + name
		s.referee.allowed[at] = append(s.referee.allowed[at], keys...)
	}
}

// saw notes what a client knows.
func (s *Server) saw(r *request, e *entity) {
	if s.referee == nil {
		return
	}
	client := r.client()
	if s.referee.seen[client] == nil {
		s.referee.seen[client] = make(map[string][3]int)
	}
	s.referee.seen[client][e.key()] = e.version
}

// unsee takes back what saw noted: the answer does not arrive.
func (s *Server) unsee(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.referee != nil {
		delete(s.referee.seen[r.client()], r.key())
	}
}

func (r *request) client() string {
	return r.Header.Get("Authorization") + "\n" + r.Header.Get("User-Agent")
}

// judge looks at a write just before it is stored. Its messages name keys, never values.
func (s *Server) judge(r *request, c change, old, next *entity) {
	if s.referee == nil {
		return
	}
	call := func(f Foul, format string, args ...any) {
		if !slices.Contains(s.referee.ignored, f) {
			s.referee.t.Helper()
			s.referee.t.Errorf("referee: PUT "+r.collection+" "+r.full()+": "+format, args...)
		}
	}
	for field := range r.payload {
		if field != "parameters" && field != "annotations" {
			call(Extra, "the body holds %q", field)
		}
	}
	if old == nil || c.params == nil && c.annotations == nil {
		return
	}
	if v, read := s.referee.seen[r.client()][old.key()]; !read {
		call(Stale, "written without being read")
	} else if v != old.version {
		call(Stale, "written from version %v over version %v", v, old.version)
	}
	s.judgeNotes(c, old, call)
	if c.params != nil && next.exec.kind != "sequence" {
		s.judgeParams(*c.params, old, s.referee.allowed[r.collection+" "+old.key()], call)
	}
}

func (s *Server) judgeNotes(c change, old *entity, call func(Foul, string, ...any)) {
	if c.annotations == nil || old.collection == "actions" {
		return
	}
	for _, e := range old.annotations {
		if _, kept := findEntry(*c.annotations, e.key); !kept && e.key != "binding" {
			call(Note, "annotation %q is lost", e.key)
		}
	}
}

func (s *Server) judgeParams(sent []entry, old *entity, allowed []string, call func(Foul, string, ...any)) {
	for _, was := range old.params {
		is, kept := findEntry(sent, was.key)
		switch {
		case slices.Contains(allowed, was.key):
		case !kept:
			call(Lost, "parameter %q is lost", was.key)
		case sameJSON(is.value, was.value) && (is.init != was.init || is.encryption != was.encryption):
			call(MarkLost, "parameter %q keeps its value but not its marks", was.key)
		}
	}
	inherited := s.inherited(old)
	for _, e := range sent {
		_, owned := findEntry(old.params, e.key)
		above, has := findEntry(inherited, e.key)
		if !owned && has && sameJSON(above.value, e.value) && !slices.Contains(allowed, e.key) {
			call(CopiedDown, "parameter %q was inherited and is now its own", e.key)
		}
	}
}

// inherited is what a GET of e shows beside its own parameters.
func (s *Server) inherited(e *entity) []entry {
	above := e.ns + "/" + e.pkg
	if e.binding != nil {
		above = e.binding.key()
	}
	if p, found := s.store[above]; found && (e.pkg != "" || e.binding != nil) {
		return p.params
	}
	return nil
}
