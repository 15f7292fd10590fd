package vaultsrc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A Door is an auth mount through which people log in.
type Door struct {
	Mount string // below auth/: "oidc"
	Local bool   // people are called by what stands before the @ of their address
	Login string // path that tells the token_policies of a login, with {name} in it: "auth/userpass/users/{name}"; empty: none
}

// An Entity is whom Vault knows a person as.
type Entity struct {
	ID, Name string
	Alias    string   // the name by which it was found
	Mount    string   // and the auth mount where that name belongs
	Disabled bool     // may not log in, and no token of it works
	Policies []string // that the login gives to its tokens, beside those of the entity and its groups

	tokenAlias alias // its name on the token mount, if it has one
}

// An alias binds a name on an auth mount to an entity.
type alias struct{ id, name string }

// Entities finds whom Vault knows by any of these names. The same entity found twice is there once.
func (c *Client) Entities(ctx context.Context, doors []Door, names []string) ([]Entity, error) {
	if len(doors) == 0 || len(names) == 0 {
		return nil, nil
	}
	mounts, err := c.accessors(ctx)
	if err != nil {
		return nil, err
	}
	var out []Entity
	for _, d := range doors {
		accessor := mounts[strings.Trim(d.Mount, "/")]
		if accessor == "" {
			return nil, fmt.Errorf("%w: there is no auth mount %q", ErrInvalid, d.Mount)
		}
		for _, name := range d.called(names) {
			e, ok, err := c.entity(ctx, name, accessor, mounts["token"])
			if err != nil {
				return nil, err
			}
			if !ok || slices.ContainsFunc(out, func(o Entity) bool { return o.ID == e.ID }) {
				continue
			}
			e.Alias, e.Mount = name, strings.Trim(d.Mount, "/")
			if e.Policies, err = c.loginPolicies(ctx, d, name); err != nil {
				return nil, err
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// called is what people are called at this door.
func (d Door) called(names []string) []string {
	out := slices.Clone(names)
	for _, name := range names {
		local, _, isAddress := strings.Cut(name, "@")
		if d.Local && isAddress && local != "" && !slices.Contains(out, local) {
			out = append(out, local)
		}
	}
	return out
}

// accessors of the auth mounts, by path.
func (c *Client) accessors(ctx context.Context) (map[string]string, error) {
	r, err := c.do(ctx, request{path: "sys/auth"})
	if err != nil {
		return nil, fmt.Errorf("listing the auth mounts: %w", err)
	}
	out := make(map[string]string)
	for path, raw := range r.Data {
		var m struct{ Accessor string }
		if json.Unmarshal(raw, &m) == nil && m.Accessor != "" {
			out[strings.Trim(path, "/")] = m.Accessor
		}
	}
	return out, nil
}

// entity looks one alias up. Vault answers nothing for a name that it does not know.
func (c *Client) entity(ctx context.Context, name, accessor, tokenAccessor string) (e Entity, ok bool, err error) {
	r, err := c.do(ctx, request{write: true, path: "identity/lookup/entity", body: map[string]any{"alias_name": name, "alias_mount_accessor": accessor}})
	if err != nil {
		return e, false, fmt.Errorf("looking an entity up: %w", err)
	}
	e = Entity{ID: r.text("id"), Name: r.text("name")}
	_ = json.Unmarshal(r.Data["disabled"], &e.Disabled)
	var aliases []struct {
		ID, Name string
		Accessor string `json:"mount_accessor"`
	}
	_ = json.Unmarshal(r.Data["aliases"], &aliases)
	for _, a := range aliases {
		if a.Accessor == tokenAccessor {
			e.tokenAlias = alias{a.ID, a.Name}
		}
	}
	return e, e.ID != "", nil
}

// loginPolicies are those that a login through this door attaches.
func (c *Client) loginPolicies(ctx context.Context, d Door, name string) (out []string, err error) {
	if d.Login == "" {
		return nil, nil
	}
	r, err := c.do(ctx, request{path: strings.ReplaceAll(d.Login, "{name}", name)})
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the policies of a login: %w", err)
	}
	for _, field := range []string{"token_policies", "policies"} {
		if json.Unmarshal(r.Data[field], &out) == nil && len(out) > 0 {
			return out, nil
		}
	}
	return nil, nil
}

// probeAlias begins the names under which entities are bound to a probe.
const probeAlias = "rotator-probe-"

// CouldRead asks Vault's own policy engine which of these KV v2 secrets ("mount/path") the entity could read: with its own policies, those of its groups,
// templates filled in, and those of its login. It makes a token for that which nobody holds: the answer is wrapped, and
// the wrapping token thrown away; only the accessor is used, and the token revoked. One whose accessor was lost with an answer ends by
// itself within a minute. role is a token role, see the package doc.
func (c *Client) CouldRead(ctx context.Context, role string, e Entity, secrets []string) (readable map[string]bool, err error) {
	paths := make(map[string]string) // as the policies name them
	for _, s := range secrets {
		p, err := dataPath(s)
		if err != nil {
			return nil, err
		}
		paths[p] = s
	}
	c.probing.Lock() // a name that one probe takes away, another one would miss
	defer c.probing.Unlock()
	name, forget, err := c.bind(ctx, e)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, forget()) }()
	policies := append(slices.Clone(e.Policies), "default")
	r, err := c.do(ctx, request{once: true, write: true, wrap: true, path: "auth/token/create/" + role,
		body: map[string]any{"policies": policies, "entity_alias": name, "ttl": "60s", "no_default_policy": true, "display_name": "rotator-probe"}})
	if err != nil {
		return nil, fmt.Errorf("making a probe token: %w", err)
	}
	if r.WrapInfo == nil || r.WrapInfo.Accessor == "" {
		return nil, fmt.Errorf("making a probe token: %w: the answer is not wrapped", ErrInvalid)
	}
	accessor := map[string]any{"accessor": r.WrapInfo.Accessor}
	defer func() {
		_, rerr := c.do(context.WithoutCancel(ctx), request{write: true, path: "auth/token/revoke-accessor", body: accessor})
		err = errors.Join(err, rerr)
	}()
	// If another replica has taken the name away in between, Vault has bound the token to an entity of its own.
	is, err := c.do(ctx, request{write: true, path: "auth/token/lookup-accessor", body: accessor})
	if err != nil {
		return nil, fmt.Errorf("looking at a probe token: %w", err)
	}
	if is.text("entity_id") != e.ID {
		return nil, fmt.Errorf("%w: the probe token is bound to another entity; somebody else asks about the same person", ErrUnavailable)
	}
	readable = make(map[string]bool)
	for part := range slices.Chunk(slices.Sorted(maps.Keys(paths)), 500) {
		got, err := c.do(ctx, request{write: true, path: "sys/capabilities-accessor", body: map[string]any{"accessor": accessor["accessor"], "paths": part}})
		if err != nil {
			return nil, fmt.Errorf("asking what an entity may do: %w", err)
		}
		for _, p := range part {
			var may []string
			if json.Unmarshal(got.Data[p], &may) == nil && (slices.Contains(may, "read") || slices.Contains(may, "root")) {
				readable[paths[p]] = true
			}
		}
	}
	return readable, nil
}

// bind gives the entity a name on the token mount, if it has none, and takes it away afterwards. So it does with one that an earlier
// probe has left behind.
func (c *Client) bind(ctx context.Context, e Entity) (name string, forget func() error, err error) {
	bound := e.tokenAlias
	switch {
	case bound.name != "" && !strings.HasPrefix(bound.name, probeAlias):
		return bound.name, func() error { return nil }, nil
	case bound.name == "":
		mounts, err := c.accessors(ctx)
		if err != nil {
			return "", nil, err
		}
		bound.name = probeAlias + e.ID
		r, err := c.do(ctx, request{write: true, path: "identity/entity-alias", body: map[string]any{"name": bound.name, "canonical_id": e.ID, "mount_accessor": mounts["token"]}})
		if err != nil {
			return "", nil, fmt.Errorf("binding a probe to an entity: %w", err)
		}
		bound.id = r.text("id")
	}
	return bound.name, func() error {
		if bound.id == "" {
			return nil
		}
		_, err := c.do(context.WithoutCancel(ctx), request{remove: true, path: "identity/entity-alias/id/" + bound.id})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("taking the name of a probe away: %w", err)
		}
		return nil
	}, nil
}

// Disable ends what an entity can do in Vault: it is disabled, which stops logins and every token of it at once, and then its
// tokens are revoked with their leases. It may be repeated at will, and tells how many tokens it found.
func (c *Client) Disable(ctx context.Context, e Entity) (tokens int, err error) {
	if _, err := c.do(ctx, request{write: true, path: "identity/entity/id/" + e.ID, body: map[string]any{"disabled": true}}); err != nil {
		return 0, fmt.Errorf("disabling entity %s: %w", e.ID, err)
	}
	accessors, err := c.keys(ctx, "auth/token/accessors")
	if err != nil {
		return 0, fmt.Errorf("listing tokens: %w", err)
	}
	var mu sync.Mutex
	var found []Handle
	var denied error
	allowed := false
	err = each(ctx, accessors, func(ctx context.Context, accessor string) error {
		r, err := c.do(ctx, request{write: true, path: "auth/token/lookup-accessor", body: map[string]any{"accessor": accessor}})
		mu.Lock()
		defer mu.Unlock()
		switch {
		case said(err, "invalid accessor"), errors.Is(err, ErrNotFound): // gone
		case errors.Is(err, ErrForbidden): // going, or we may not look
			denied = err
			return nil
		case err != nil:
			return err
		case r.text("entity_id") == e.ID:
			found = append(found, Handle{Kind: KindToken, ID: accessor})
		}
		allowed = true
		return nil
	})
	if err == nil && !allowed {
		err = denied
	}
	if err != nil {
		return 0, fmt.Errorf("looking for the tokens of entity %s: %w", e.ID, err)
	}
	return len(found), c.Revoke(ctx, found)
}
