package vaultsrc

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
)

// leases lists what is below a mint path, at any depth.
func (c *Client) leases(ctx context.Context, path string) ([]Holding, error) {
	var out collector
	for folders := []string{path + "/"}; len(folders) > 0; folders = folders[1:] {
		keys, err := c.keys(ctx, "sys/leases/lookup/"+folders[0])
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, key := range keys {
			if strings.HasSuffix(key, "/") {
				folders = append(folders, folders[0]+key)
			} else {
				ids = append(ids, folders[0]+key)
			}
		}
		err = each(ctx, ids, func(ctx context.Context, id string) error {
			h, ok, err := c.lease(ctx, path, id)
			return out.add(h, ok, err)
		})
		if err != nil {
			return nil, err
		}
	}
	return out.holdings, nil
}

func (c *Client) lease(ctx context.Context, path, id string) (Holding, bool, error) {
	r, err := c.do(ctx, request{write: true, path: "sys/leases/lookup", body: map[string]any{"lease_id": id}})
	if said(err, "invalid lease") {
		return Holding{}, false, nil
	}
	if err != nil {
		return Holding{}, false, err
	}
	h := Holding{
		Handle: Handle{Kind: KindLease, ID: id}, Path: path,
		Created: r.time("issue_time"), Expires: r.time("expire_time"),
	}
	if !h.Expires.IsZero() && r.number("ttl") < 0 { // by Vault's clock, so that asking cannot renew it
		h.Irrevocable, err = c.givenUp(ctx, id)
	}
	return h, true, err
}

// secretIDs lists those of a role.
func (c *Client) secretIDs(ctx context.Context, role string) ([]Holding, error) {
	keys, err := c.keys(ctx, role+"/secret-id")
	if err != nil {
		return nil, err
	}
	var out collector
	err = each(ctx, keys, func(ctx context.Context, accessor string) error {
		r, err := c.do(ctx, request{
			write: true, path: role + "/secret-id-accessor/lookup", body: map[string]any{"secret_id_accessor": accessor},
		})
		if errors.Is(err, ErrNotFound) || said(err, "failed to find accessor") {
			return nil
		}
		h := Holding{
			Handle: Handle{Kind: KindSecretID, ID: accessor, Path: role}, Path: role, Created: r.time("creation_time"),
		}
		meta := c.claim(r, "metadata")
		h.Rotation, h.Bundle = meta["rotation"], meta["bundle"]
		if r.number("secret_id_ttl") > 0 {
			h.Expires = r.time("expiration_time")
		}
		return out.add(h, len(r.Data) > 0, err) // an accessor whose secret-id is gone answers nothing
	})
	return out.holdings, err
}

// tokens lists those made below paths that carry our metadata, and the known ones. A token's path has a lease for each
// of its tokens; it tells how many there are, though not which. When all of them are known nothing is astray. The
// journal is older than the count, so that a token that is made meanwhile cannot hide one that is not known.
func (c *Client) tokens(ctx context.Context, paths []string, known []Handle) ([]Holding, error) {
	count := c.countTokens(ctx, paths)
	w := tokenWalk{client: c, paths: paths, known: make(map[string]Handle)}
	for _, h := range known {
		if h.Kind == KindAnchor || h.Kind == KindToken {
			w.known[h.ID] = h
		}
	}
	err := w.look(ctx, slices.Collect(maps.Keys(w.known)))
	if err != nil || w.below == count {
		return w.found.holdings, err
	}
	keys, err := c.keys(ctx, "auth/token/accessors")
	if err != nil {
		return nil, err
	}
	err = w.look(ctx, slices.DeleteFunc(keys, func(id string) bool { return w.known[id] != Handle{} }))
	if err == nil && !w.allowed {
		err = w.denied
	}
	return w.found.holdings, err
}

// countTokens of paths; -1 when that cannot be told.
func (c *Client) countTokens(ctx context.Context, paths []string) int {
	n := 0
	for _, path := range paths {
		keys, err := c.keys(ctx, "sys/leases/lookup/"+path+"/")
		if err != nil {
			return -1
		}
		for _, key := range keys {
			if !strings.HasSuffix(key, "/") {
				n++
			}
		}
	}
	return n
}

// A tokenWalk looks at tokens one by one.
type tokenWalk struct {
	client *Client
	paths  []string // the anchors' first
	known  map[string]Handle
	found  collector

	mu      sync.Mutex
	below   int // tokens seen below paths
	allowed bool
	denied  error
}

// look at tokens. Vault refuses one that is just being revoked in the same words as a client that may not look at
// any. Who may is always shown one: the own login.
func (w *tokenWalk) look(ctx context.Context, accessors []string) error {
	return each(ctx, accessors, func(ctx context.Context, accessor string) error {
		r, err := w.client.do(ctx, request{
			write: true, path: "auth/token/lookup-accessor", body: map[string]any{"accessor": accessor},
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case errors.Is(err, ErrForbidden):
			w.denied = err
			return nil
		case said(err, "invalid accessor"):
			w.allowed = true
			return nil
		case err != nil:
			return err
		}
		w.allowed = true
		return w.take(accessor, r)
	})
}

// take a token that is known, or that is below our paths and carries our metadata.
func (w *tokenWalk) take(accessor string, r reply) error {
	path, meta := r.text("path"), w.client.claim(r, "meta")
	below := slices.Contains(w.paths, path)
	if below {
		w.below++
	}
	h := Holding{
		Handle: Handle{Kind: KindToken, ID: accessor}, Path: path, Rotation: meta["rotation"], Bundle: meta["bundle"],
		Created: r.time("issue_time"), Expires: r.time("expire_time"),
	}
	if meta["epoch"] != "" {
		h.Handle.Kind = KindAnchor
	}
	known, isKnown := w.known[accessor]
	if isKnown {
		h.Handle = known
	}
	if h.Handle.Kind == KindAnchor {
		h.Path = ""
	}
	return w.found.add(h, isKnown || below && h.Rotation != "", nil)
}

// A collector gathers what parallel calls find.
type collector struct {
	mu       sync.Mutex
	holdings []Holding
}

func (c *collector) add(h Holding, ok bool, err error) error {
	if err != nil || !ok {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holdings = append(c.holdings, h)
	return nil
}
