package vaultsrc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRevokeSaysWhenTheBackendIsDown(t *testing.T) {
	f := newFixture(t, true)
	handles, _ := f.rotateOnce(t, "r-down", Bundle{})
	f.pg.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := f.client.Revoke(ctx, handles[:1]); !errors.Is(err, ErrNotGone) {
		t.Fatalf("a lease whose database is down: %v", err)
	}
	if gone, err := f.client.gone(t.Context(), handles[0]); gone || err != nil {
		t.Errorf("gone %v, %v", gone, err)
	}
}

func TestRevokingAnAnchorAlone(t *testing.T) {
	f := newFixture(t, true)
	handles, m := f.rotateOnce(t, "r-anchor", Bundle{})
	lease, anchor := handles[0], handles[1]
	if err := f.client.Revoke(t.Context(), []Handle{anchor, anchor}); err != nil {
		t.Fatal(err)
	}
	if err := f.client.awaitGone(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	if f.connect(t.Context(), m.Fields) == nil {
		t.Error("the user still logs in")
	}
	if _, err := f.client.Renew(t.Context(), handles); !errors.Is(err, ErrNotFound) {
		t.Errorf("renewing what is gone: %v", err)
	}
}

// TestTokenThatIsBeingRevoked: while Vault revokes a token it answers 403 to a lookup. On raft storage two replicas that
// revoke one anchor at once meet that in one of some dozen cases; here the answers are made.
func TestTokenThatIsBeingRevoked(t *testing.T) {
	f := newFixture(t, false)
	a, err := f.client.CreateAnchor(t.Context(), AnchorRequest{Rotation: "r"})
	if err != nil {
		t.Fatal(err)
	}
	cfg := f.cfg
	denials := 3
	cfg.WrapTransport = func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			if !strings.HasSuffix(q.URL.Path, "/lookup-accessor") || denials == 0 {
				return next.RoundTrip(q)
			}
			denials--
			body := io.NopCloser(strings.NewReader(`{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`))
			return &http.Response{StatusCode: http.StatusForbidden, Request: q, Header: http.Header{}, Body: body}, nil
		})
	}
	c := newClient(t, cfg)
	if err := c.Revoke(t.Context(), []Handle{{Kind: KindAnchor, ID: a.Accessor}}); err != nil || denials != 0 {
		t.Errorf("%v, %d answers left", err, denials)
	}
	denials = -1 // for ever: the right is missing
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.Revoke(ctx, []Handle{{Kind: KindAnchor, ID: a.Accessor}}); !errors.Is(err, ErrForbidden) {
		t.Errorf("without the right: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

func TestUnknownHandleKind(t *testing.T) {
	f := newFixture(t, false)
	h := []Handle{{Kind: "spell", ID: "x"}}
	if err := f.client.Revoke(t.Context(), h); !errors.Is(err, ErrInvalid) {
		t.Errorf("revoke: %v", err)
	}
	if _, err := f.client.Renew(t.Context(), h); !errors.Is(err, ErrInvalid) {
		t.Errorf("renew: %v", err)
	}
}
