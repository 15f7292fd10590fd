package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/whisk"
)

// Observe makes one GET, plus one for the package or provider whose parameters the host merges in. That something does not
// exist is believed only when the host's list agrees, because a GET may be answered from a cache.
func (hs hosts) Observe(ctx context.Context, r rotator.Ref, seen *rotator.Seen) (rotator.Observed, error) {
	o, err := hs.observe(ctx, r, seen)
	if errors.Is(err, rotator.ErrNotFound) && !strings.HasPrefix(r.Name, "/") { // another namespace cannot be listed
		listed, lerr := hs.listed(ctx, r)
		switch {
		case lerr != nil:
			return o, fmt.Errorf("reading %s: not found, and the list cannot be read: %w", r, whiskError(lerr))
		case listed:
			return o, fmt.Errorf("reading %s: not found, but the list has it: %w", r, rotator.ErrUnavailable)
		}
	}
	return o, err
}

// listed looks for an entity in the list of its namespace.
func (hs hosts) listed(ctx context.Context, r rotator.Ref) (bool, error) {
	rows, err := hs.list(ctx, r.Host, r.Kind)
	return slices.ContainsFunc(rows, func(row whisk.Row) bool { return row.Path() == r.Name }), err
}

func (hs hosts) observe(ctx context.Context, r rotator.Ref, seen *rotator.Seen) (rotator.Observed, error) {
	switch r.Kind {
	case rotator.Action:
		return hs.action(ctx, r, seen)
	case rotator.Package:
		return seen.Once(ctx, r.Host+" "+r.Name, func() (rotator.Observed, error) { return hs.pkg(ctx, r, seen) })
	case rotator.Trigger:
		t, err := hs[r.Host].client.GetTrigger(ctx, r.Name)
		o := observed(r, t.Entity)
		o.Feed, o.Fires = t.Feed, t.Actions
		return o, whiskError(err)
	}
	return rotator.Observed{}, fmt.Errorf("target %s has no kind: %w", r, rotator.ErrPermanent)
}

func observed(r rotator.Ref, e whisk.Entity) rotator.Observed {
	o := rotator.Observed{Ref: r, Version: e.Version, Parameters: e.Parameters, At: time.Now()}
	for _, a := range e.Annotations {
		o.Annotations = append(o.Annotations, rotator.Annotation(a))
	}
	return o
}

func (hs hosts) action(ctx context.Context, r rotator.Ref, seen *rotator.Seen) (rotator.Observed, error) {
	h := hs[r.Host]
	a, err := h.client.GetAction(ctx, r.Name)
	if err != nil {
		return rotator.Observed{}, whiskError(err)
	}
	o := observed(r, a.Entity)
	o.Sequence, o.Components, o.BelowBinding, o.Timeout = a.Sequence(), a.Components, a.Binding, a.Timeout
	h.mu.Lock()
	if slices.Contains(h.deprecated, a.Kind) {
		o.Deprecated = a.Kind
	}
	h.mu.Unlock()
	name, _, packaged := strings.Cut(r.Name, "/")
	if !packaged || o.BelowBinding != "" || o.Sequence {
		return o, nil
	}
	p, err := hs.Observe(ctx, rotator.Ref{Host: r.Host, Kind: rotator.Package, Name: name}, seen)
	if err != nil {
		return o, fmt.Errorf("reading the package of %s: %w", r, err)
	}
	o.Inherited = p.Parameters
	return o, nil
}

// pkg reads a package. A binding shows its provider's parameters merged in, so the provider is read as well.
func (hs hosts) pkg(ctx context.Context, r rotator.Ref, seen *rotator.Seen) (rotator.Observed, error) {
	p, err := hs[r.Host].client.GetPackage(ctx, r.Name)
	if err != nil {
		return rotator.Observed{}, whiskError(err)
	}
	o := observed(r, p.Entity)
	o.Actions = p.Actions
	if p.Binding == "" {
		return o, nil
	}
	o.Binding, o.Actions = true, nil // the actions are the provider's
	provider := "/" + p.Binding      // possibly another namespace's, if it is published
	if ns, name, ok := strings.Cut(p.Binding, "/"); ok && ns == p.Namespace {
		provider, o.Provider = name, name
	}
	from, err := hs.Observe(ctx, rotator.Ref{Host: r.Host, Kind: rotator.Package, Name: provider}, seen)
	if err != nil {
		return o, fmt.Errorf("reading the provider of binding %s: %w", r, err)
	}
	o.Inherited = from.Parameters
	return o, nil
}

// Put sends the one PUT. An answer without a body is a Written without parameters: the core looks again.
func (hs hosts) Put(ctx context.Context, r rotator.Ref, w rotator.Write) (rotator.Written, error) {
	u := whisk.Update{Parameters: &w.Parameters, Still: w.Still}
	for _, a := range w.Annotations {
		u.Annotations = append(u.Annotations, whisk.Annotation(a))
	}
	e, err := hs.put(ctx, r, u)
	if errors.Is(err, whisk.ErrNoBody) {
		return rotator.Written{}, nil
	}
	if err != nil {
		return rotator.Written{}, whiskError(err)
	}
	return rotator.Written{Version: e.Version, Parameters: e.Parameters}, nil
}

func (hs hosts) put(ctx context.Context, r rotator.Ref, u whisk.Update) (whisk.Entity, error) {
	c := hs[r.Host].client
	switch r.Kind {
	case rotator.Action:
		a, err := c.PutAction(ctx, r.Name, u)
		return a.Entity, err
	case rotator.Package:
		p, err := c.PutPackage(ctx, r.Name, u)
		return p.Entity, err
	case rotator.Trigger:
		t, err := c.PutTrigger(ctx, r.Name, u)
		return t.Entity, err
	}
	return whisk.Entity{}, fmt.Errorf("target %s has no kind", r)
}

// Touch restarts the containers of an action.
func (hs hosts) Touch(ctx context.Context, r rotator.Ref) error {
	_, err := hs[r.Host].client.Touch(ctx, r.Name)
	return whiskError(err)
}
