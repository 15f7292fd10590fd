package vaultsrc

import (
	"context"
	"errors"
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
