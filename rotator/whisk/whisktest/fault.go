package whisktest

import "net/http"

// Drop says when a connection is cut without an answer.
type Drop int

// When a connection is cut.
const (
	Never        Drop = iota
	BeforeCommit      // nothing happened
	AfterCommit       // the write took effect, the answer is lost
)

// A Fault changes how matching requests are served. Empty matchers match everything.
type Fault struct {
	Method, Collection, Name string // Name is "name" or "pkg/name"
	Skip                     int    // let so many matching requests pass first
	Times                    int    // then apply to so many; 0: one, negative: all

	Hook        func() // runs before the request is served: between a client's GET and its PUT, say
	Drop        Drop
	Status      int    // answer with this instead of serving
	Text        string // error text that goes with Status
	HTML        string // body that goes with Status, as from a gateway
	RetryAfter  string
	AfterCommit bool // serve first, then answer with Status all the same
	Truncate    bool // serve, but cut the connection in the middle of the answer
	Empty       bool // serve, but answer 200 without a body
	NumericCode bool // error code as a number, as old releases sent it
	Stale       bool // GET shows the entity as it was one write ago
}

// Inject adds a fault to the script. The first one that matches and is not used up applies.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
	}
	s.faults = append(s.faults, &f)
}

// ClearFaults ends the script.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// unanswered reports that the client does not learn what its request did.
func (f *Fault) unanswered() bool {
	return f.Drop == AfterCommit || f.AfterCommit || f.Empty || f.Truncate
}

func (s *Server) match(r *request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Times == 0 || f.Method != "" && f.Method != r.Method || f.Collection != "" && f.Collection != r.collection ||
			f.Name != "" && f.Name != r.full() {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		applied := *f
		return &applied
	}
	return nil
}

// change turns the answer into what the script wants; a is nil when the request was not served.
func (f *Fault) change(a *answer) *answer {
	switch {
	case f.Status != 0 && f.HTML != "":
		a = &answer{status: f.Status, body: f.HTML, header: http.Header{"Content-Type": {"text/html"}}}
	case f.Status != 0:
		a = fail(f.Status, "%s", f.Text)
	case f.Empty && a.status == http.StatusOK:
		a = &answer{status: http.StatusOK}
	}
	if f.RetryAfter != "" {
		if a.header == nil {
			a.header = make(http.Header)
		}
		a.header.Set("Retry-After", f.RetryAfter)
	}
	return a
}
