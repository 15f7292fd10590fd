package vaultsrc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// An interrupter does something once, before the first call of a path goes out.
type interrupter struct {
	next   http.RoundTripper
	path   string
	once   sync.Once // parallel calls wait
	before func()
}

func (i *interrupter) RoundTrip(q *http.Request) (*http.Response, error) {
	if strings.HasSuffix(q.URL.Path, i.path) {
		i.once.Do(i.before)
	}
	return i.next.RoundTrip(q)
}

// interrupted is a client of s that does f before the first call whose path ends with path.
func (s *stage) interrupted(t *testing.T, path string, before func()) *Client {
	t.Helper()
	cfg := s.cfg
	cfg.WrapTransport = func(next http.RoundTripper) http.RoundTripper {
		return &interrupter{next: s.calls.wrap(next), path: path, before: before}
	}
	return newClient(t, cfg)
}

func TestInventoryWhileThingsVanish(t *testing.T) {
	for _, path := range []string{"sys/leases/lookup", "auth/token/lookup-accessor", "secret-id-accessor/lookup"} {
		s := newStage(t)
		all := slices.Concat(s.stray, []Handle{s.token, s.secretID, {Kind: KindLease, ID: s.foreignLease}})
		c := s.interrupted(t, path, func() {
			if err := s.client.Revoke(context.Background(), all); err != nil {
				t.Error(err)
			}
		})
		s.scope.Known = nil
		inv, err := c.Inventory(t.Context(), s.scope)
		if err != nil || len(inv.Unchecked) > 0 {
			t.Fatalf("before %s: unchecked %v, %v", path, inv.Unchecked, err)
		}
		if n := len(inv.Holdings); n < 3 || n >= 8 {
			t.Errorf("before %s: %d holdings", path, n)
		}
	}
}

// TestInventoryMeetsATokenThatIsBeingRevoked: it is refused as if the right were missing.
func TestInventoryMeetsATokenThatIsBeingRevoked(t *testing.T) {
	s := newStage(t)
	cfg := s.cfg
	cfg.WrapTransport = func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			if !strings.HasSuffix(q.URL.Path, "/lookup-accessor") {
				return next.RoundTrip(q)
			}
			body, err := io.ReadAll(q.Body)
			if err != nil {
				return nil, err
			}
			q.Body = io.NopCloser(bytes.NewReader(body))
			if bytes.Contains(body, []byte(s.kept[1].ID)) {
				return &http.Response{StatusCode: http.StatusForbidden, Request: q, Header: http.Header{}, Body: http.NoBody}, nil
			}
			return next.RoundTrip(q)
		})
	}
	inv, err := newClient(t, cfg).Inventory(t.Context(), s.scope)
	if err != nil || len(inv.Unchecked) > 0 || len(inv.Holdings) != 7 {
		t.Errorf("%d holdings, want all but one, unchecked %v, %v", len(inv.Holdings), inv.Unchecked, err)
	}
}

func TestInventoryStopsWhenAskedTo(t *testing.T) {
	s := newStage(t)
	for range 30 {
		s.mint(t, MintRequest{Rotation: "r-many", Path: s.scope.Paths[3], Data: map[string]any{"ttl": "10m"}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := s.interrupted(t, "auth/token/lookup-accessor", cancel)
	if err := c.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.calls.take()
	s.scope.Known = nil
	inv, err := c.Inventory(ctx, s.scope)
	if err == nil || len(inv.Holdings) > 0 {
		t.Fatalf("%d holdings, %v", len(inv.Holdings), err)
	}
	if calls := s.calls.take(); len(calls) > 2+width {
		t.Errorf("%d calls, most of them after the end", len(calls))
	}
}

func TestInventoryLeavesVaultToTheRotations(t *testing.T) {
	var running, most atomic.Int32
	full := make(chan struct{}) // closed when as many run as may
	var once sync.Once
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := each(ctx, make([]string, 20*width), func(ctx context.Context, _ string) error {
		n := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if n == width {
			once.Do(func() { close(full) })
		}
		select {
		case <-full:
		case <-ctx.Done():
		}
		runtime.Gosched()
		return ctx.Err()
	})
	if err != nil || most.Load() != width {
		t.Errorf("%d calls at a time, want %d, %v", most.Load(), width, err)
	}
}

func TestInventoryAndAVaultThatIsIll(t *testing.T) {
	s := newStage(t)
	ill := func(path string, status int, timeout time.Duration) (Inventory, error) {
		cfg := s.cfg
		cfg.Timeout = timeout
		cfg.WrapTransport = func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(q *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(q.URL.Path, path) {
					return next.RoundTrip(q)
				}
				return &http.Response{StatusCode: status, Request: q, Header: http.Header{}, Body: http.NoBody}, nil
			})
		}
		return newClient(t, cfg).Inventory(t.Context(), s.scope)
	}
	inv, err := ill("secret-id-accessor/lookup", http.StatusInternalServerError, time.Minute) // one entry is damaged
	if err != nil || len(inv.Holdings) != 6 || len(inv.Unchecked) != 1 || !contains(inv.Unchecked[0].What, "/role/shop") {
		t.Errorf("%d holdings, unchecked %v, %v", len(inv.Holdings), inv.Unchecked, err)
	}
	if _, err := ill("auth/token/accessors", http.StatusTooManyRequests, time.Second); !errors.Is(err, ErrUnavailable) {
		t.Errorf("rate limited: %v", err)
	}
	inv, err = ill("auth/token/lookup-accessor", http.StatusForbidden, time.Minute)
	if err != nil || len(inv.Holdings) != 5 || len(inv.Unchecked) != 1 || !contains(inv.Unchecked[0].Remedy, "auth/token/lookup-accessor") {
		t.Errorf("no token may be looked at: %d holdings, unchecked %v, %v", len(inv.Holdings), inv.Unchecked, err)
	}
	missing := Scope{Paths: []string{"auth/" + s.approle + "/role/none/secret-id", s.db + "/creds/none"}, Known: s.kept}
	inv, err = s.client.Inventory(t.Context(), missing)
	if err != nil || len(inv.Unchecked) != 1 || errors.Is(inv.Unchecked[0].Why, ErrForbidden) || inv.Unchecked[0].Remedy == "" {
		t.Errorf("a role that does not exist: %v, %v", inv.Unchecked, err)
	}
}
