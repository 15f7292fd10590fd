package whisktest

import (
	"crypto/cipher"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// GuestKey is the key of the namespace "guest" on every stand-alone OpenWhisk: public, and good for nothing else.
const GuestKey = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"

// Encryption is how a host keeps parameter values of actions and packages.
type Encryption int

// The modes of encryption.
const (
	Off    Encryption = iota // values in clear
	Marked                   // locked values come with their mark, and may be sent back with it
	Hidden                   // like Adobe's documentation: locked values come without a mark and cannot be sent back
)

// Options of a Server; the zero value is a stand-alone OpenWhisk with the guest user.
type Options struct {
	Keys       map[string]string // "uuid:key" -> namespace; nil: GuestKey -> "guest"
	Tokens     map[string]string // bearer token -> namespace
	Namespace  string            // of the setup methods; empty: "guest"
	Encryption Encryption
	MaxBytes   int      // of a parameter list; 0: 1 MB
	MaxPage    int      // of a list; 0: 200
	Deprecated []string // runtime kinds that may not be updated; beside "nodejs:6", which is always one
	EmptyPut   bool     // PUT of actions and packages answers 200 without a body
	Now        func() time.Time
}

// Server is the host. Mount it on a listener with net/http.
type Server struct {
	opt  Options
	lock cipher.AEAD

	mu         sync.Mutex
	store      map[string]*entity // "ns/name" or "ns/pkg/name", shared by all collections
	previous   map[string]*entity // as of one write ago: what a stale cache would show
	clock      int64
	faults     []*Fault
	requests   []Request
	containers map[string]map[string]string // container -> environment it was started with
	code       map[string]func(Call) (any, error)
	calls      []Call
	referee    *referee
}

// A Request is one request that was answered; Fields are the names of its body's members.
type Request struct {
	Method, Collection, Name string
	Status                   int // 0: the connection was dropped
	Fields                   []string
}

// New returns an empty host.
func New(opt Options) *Server {
	if opt.Keys == nil {
		opt.Keys = map[string]string{GuestKey: "guest"}
	}
	if opt.Namespace == "" {
		opt.Namespace = "guest"
	}
	if opt.MaxBytes == 0 {
		opt.MaxBytes = 1 << 20
	}
	if opt.MaxPage == 0 {
		opt.MaxPage = 200
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Server{
		opt:        opt,
		lock:       newLock(),
		store:      make(map[string]*entity),
		previous:   make(map[string]*entity),
		containers: make(map[string]map[string]string),
		code:       make(map[string]func(Call) (any, error)),
	}
}

// Requests returns everything that was answered so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count returns how many requests of this method there were on this collection ("actions", "packages", ...); an
// empty argument counts all.
func (s *Server) Count(method, collection string) int {
	n := 0
	for _, r := range s.Requests() {
		if (method == "" || r.Method == method) && (collection == "" || r.Collection == collection) {
			n++
		}
	}
	return n
}

// ResetRequests forgets the requests so far.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// kinds are the runtimes of this host, with whether each is deprecated.
func (s *Server) kinds() map[string]bool {
	m := map[string]bool{
		"nodejs:6": true, "nodejs:18": false, "nodejs:20": false, "nodejs:22": false, "python:3": false,
		"blackbox": false, "sequence": false,
	}
	for _, k := range s.opt.Deprecated {
		m[k] = true
	}
	return m
}

// identity returns the namespace of the request's credential.
func (s *Server) identity(r *http.Request) (ns string, refused *answer) {
	header := r.Header.Get("Authorization")
	scheme, value, _ := strings.Cut(header, " ")
	switch {
	case header == "":
		return "", unauthorized(textNoAuth)
	case strings.EqualFold(scheme, "bearer"):
		if ns, ok := s.opt.Tokens[value]; ok {
			return ns, nil
		}
	case strings.EqualFold(scheme, "basic"):
		raw, err := base64.StdEncoding.DecodeString(value)
		_, pass, _ := strings.Cut(string(raw), ":")
		if ns, ok := s.opt.Keys[string(raw)]; ok && err == nil && len(pass) == 64 {
			return ns, nil
		}
	}
	return "", unauthorized(textBadAuth)
}

func unauthorized(text string) *answer {
	a := fail(http.StatusUnauthorized, "%s", text)
	a.header = http.Header{"Www-Authenticate": {`Basic realm="OpenWhisk secure realm"`}}
	return a
}
