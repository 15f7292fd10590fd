package vaultsrc

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// A thief is a proxy in front of Vault that lets a request through and then drops the answer.
type thief struct {
	proxy  *httputil.ReverseProxy
	target atomic.Pointer[string] // path prefix whose answers are stolen
	stolen atomic.Int32
}

// steal makes the proxy drop answers below prefix, which is relative to /v1/; "" stops it.
func (p *thief) steal(prefix string) { p.target.Store(&prefix) }

func (p *thief) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	prefix := p.target.Load()
	if prefix == nil || *prefix == "" || !strings.HasPrefix(r.URL.Path, "/v1/"+*prefix) {
		p.proxy.ServeHTTP(w, r)
		return
	}
	p.stolen.Add(1)
	p.proxy.ServeHTTP(httptest.NewRecorder(), r)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.(*net.TCPConn).SetLinger(0) // reset: the client's transport sees a reused connection break
		conn.Close()
	}
}

// withThief returns a second client of f that talks through the proxy.
func (f *fixture) withThief(t *testing.T) (*thief, *Client) {
	t.Helper()
	u, err := url.Parse(f.vault.Address)
	if err != nil {
		t.Fatal(err)
	}
	p := &thief{proxy: httputil.NewSingleHostReverseProxy(u)}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	cfg := f.cfg
	cfg.Address, cfg.WrapTransport = srv.URL, nil
	return p, newClient(t, cfg)
}

func TestLostAnswerOfALeaseIsAbortedWithoutATrace(t *testing.T) {
	f := newFixture(t, true)
	p, c := f.withThief(t)
	ctx := t.Context()
	a, err := c.CreateAnchor(ctx, AnchorRequest{Rotation: "r-lost", Bundle: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	req := MintRequest{Rotation: "r-lost", Path: f.db + "/creds/app"}
	if _, err := c.ReadBundle(ctx, f.path("none"), 0); !errors.Is(err, ErrNotFound) { // leaves a connection to reuse
		t.Fatal(err)
	}
	p.steal(req.Path)
	_, err = c.Mint(ctx, a, req)
	if !errors.Is(err, ErrUnknownOutcome) || errors.Is(err, ErrUnavailable) {
		t.Fatalf("%v", err)
	}
	if n := p.stolen.Load(); n != 1 {
		t.Errorf("sent %d times", n)
	}
	if n := f.users(t); n != 1 {
		t.Fatalf("%d users were made, want the one whose answer was lost", n)
	}
	p.steal("")
	abort := AbortRequest{Rotation: "r-lost", Anchor: a.Accessor, Mints: []MintRequest{req}}
	for range 2 { // it may be repeated
		if err := c.Abort(ctx, abort); err != nil {
			t.Fatal(err)
		}
		if n := f.users(t); n != 0 {
			t.Fatalf("%d users are left when Abort says that nothing is", n)
		}
	}
	if _, err := c.Mint(ctx, a, req); !errors.Is(err, ErrForbidden) {
		t.Errorf("minting below an aborted anchor: %v", err)
	}
}

func TestLostAnswerOfASecretIDIsAborted(t *testing.T) {
	f := newFixture(t, false)
	p, c := f.withThief(t)
	ctx := t.Context()
	f.role(t, "shop", map[string]any{})
	req := MintRequest{Rotation: "r-sid", Path: "auth/" + f.approle + "/role/shop/secret-id"}
	other, err := c.Mint(ctx, Anchor{}, MintRequest{Rotation: "r-other", Path: req.Path})
	if err != nil {
		t.Fatal(err)
	}
	p.steal(req.Path)
	if _, err := c.Mint(ctx, Anchor{}, req); !errors.Is(err, ErrUnknownOutcome) {
		t.Fatalf("%v", err)
	}
	p.steal("")
	found, err := c.findSecretIDs(ctx, "auth/"+f.approle+"/role/shop", "r-sid")
	if err != nil || len(found) != 1 || p.stolen.Load() != 1 {
		t.Fatalf("found %d, sent %d times, %v", len(found), p.stolen.Load(), err)
	}
	if err := c.Abort(ctx, AbortRequest{Rotation: "r-sid", Mints: []MintRequest{req}}); err != nil {
		t.Fatal(err)
	}
	if left, err := c.keys(ctx, req.Path); err != nil || len(left) != 1 || left[0] != other.Handles[0].ID {
		t.Errorf("%d secret-ids are left, want the other rotation's, %v", len(left), err)
	}
}

func TestLostAnswersOfWriteAndAnchor(t *testing.T) {
	f := newFixture(t, false)
	p, c := f.withThief(t)
	ctx := t.Context()
	p.steal(f.kv + "/data/shop")
	if _, err := c.WriteBundle(ctx, f.path("shop"), set("A", "1"), []byte(`{"rotation":"r-1"}`), 0); !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("write: %v", err)
	}
	p.steal("auth/token/create/")
	if _, err := c.CreateAnchor(ctx, AnchorRequest{Rotation: "r-1"}); !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("anchor: %v", err)
	}
	if n := p.stolen.Load(); n != 2 {
		t.Errorf("sent %d times, want 2", n)
	}
	p.steal("")
	b, err := c.ReadBundle(ctx, f.path("shop"), 0)
	if err != nil || b.Version != 1 || string(b.Marker) != `{"rotation":"r-1"}` {
		t.Errorf("the marker does not tell: version %d, marker %s, %v", b.Version, b.Marker, err)
	}
}

func TestAnswersWithoutVault(t *testing.T) {
	var status atomic.Int32
	var body atomic.Value
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/lookup-self") {
			io.WriteString(w, `{"data":{"ttl":0}}`)
			return
		}
		w.WriteHeader(int(status.Load()))
		io.WriteString(w, body.Load().(string))
	}))
	defer srv.Close()
	c := newClient(t, Config{Address: srv.URL, Timeout: 400 * time.Millisecond, Auth: staticAuth("t")})
	for _, tt := range []struct {
		status     int
		body       string
		read, mint error
	}{
		{429, `{"errors":["rate limit"]}`, ErrUnavailable, ErrUnavailable},
		{473, ``, ErrUnavailable, ErrUnavailable},
		{503, `{"errors":["Vault is sealed"]}`, ErrUnavailable, ErrUnavailable},
		{503, `<html>bad gateway`, ErrUnavailable, ErrUnknownOutcome},
		{500, `{"errors":["boom"]}`, ErrUnavailable, ErrUnknownOutcome},
		{502, ``, ErrUnavailable, ErrUnknownOutcome},
		{200, `<html>welcome`, ErrInvalid, ErrUnknownOutcome},
		{400, `{"errors":["no"]}`, ErrInvalid, ErrInvalid},
		{404, `{"errors":[]}`, ErrNotFound, ErrNotFound},
		{405, ``, ErrInvalid, ErrInvalid},
	} {
		status.Store(int32(tt.status))
		body.Store(tt.body)
		_, err := c.ReadBundle(t.Context(), "kv/a", 0)
		if !errors.Is(err, tt.read) {
			t.Errorf("read, %d %q: %v", tt.status, tt.body, err)
		}
		_, err = c.Mint(t.Context(), Anchor{}, MintRequest{Path: "db/creds/x"})
		if !errors.Is(err, tt.mint) || errors.Is(err, ErrUnavailable) != (tt.mint == ErrUnavailable) {
			t.Errorf("mint, %d %q: %v", tt.status, tt.body, err)
		}
	}
	srv.Close()
	if _, err := c.Mint(t.Context(), Anchor{}, MintRequest{Path: "db/creds/x"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("nobody listens: %v", err)
	}
}

// TestASlowBody: the head of an answer is there at once, and its body later; and a body that never comes ends with our own deadline.
func TestASlowBody(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		if strings.Contains(r.URL.Path, "never") {
			<-release
			return
		}
		time.Sleep(50 * time.Millisecond) // time itself is what this is about
		_, _ = io.WriteString(w, `{"data":{"p":["read"],"keys":["a"]}}`)
	}))
	defer slow.Close()
	defer close(release)
	c := newClient(t, Config{Address: slow.URL, Timeout: 500 * time.Millisecond, Logger: zerolog.Nop(), Auth: Auth{Method: "token", Token: secret.FromText("t")}})
	for name, r := range map[string]request{"a read": {path: "x"}, "a list": list("x"), "a write": {write: true, path: "x", body: map[string]any{}}, "a write that is sent once": {write: true, once: true, path: "x", body: map[string]any{}}, "a removal": {remove: true, path: "x"}} {
		r.token = "t"
		if got, err := c.do(t.Context(), r); err != nil || len(got.Data) != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.do(t.Context(), request{write: true, once: true, token: "t", path: "never", body: map[string]any{}}); !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("a body that never comes: %v", err)
	}
}
