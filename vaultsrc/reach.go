package vaultsrc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Right is a capability on a path of Vault's API: read on "secret/data/checkout", update on "auth/approle/role/shop/secret-id".
type Right struct{ Path, Capability string }

// probeAlias begins the names under which entities are bound to a probe.
const probeAlias = "rotator-probe-"

// probePaths is how many paths one question holds.
const probePaths = 500

// Can asks Vault's own policy engine which of these rights an account has: with the policies of its login, those of the entity, of
// its groups, templates filled in. It makes a token for that which nobody holds: the answer is wrapped, and the wrapping token
// thrown away; only the accessor is used, and the token revoked. One whose accessor was lost with an answer ends by itself within a
// minute. role is a token role, see the package doc. Vault binds no token to an entity that is disabled: there the policies are
// asked without it, and rules with templates are not seen; nor are they for an account without an entity.
func (c *Client) Can(ctx context.Context, role string, a Account, rights []Right) (may []Right, err error) {
	if slices.Contains(a.Policies, "root") {
		return rights, nil
	}
	policies := append(slices.Clone(a.Policies), "default")
	body := map[string]any{"ttl": "60s", "no_default_policy": true, "display_name": "rotator-probe"}
	bound := a.Entity.ID != "" && !a.Entity.Disabled
	if bound {
		c.probing.Lock() // a name that one probe takes away, another one would miss
		defer c.probing.Unlock()
		name, forget, err := c.bind(ctx, a.Entity)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, forget()) }()
		body["entity_alias"] = name
	} else {
		more, err := c.inherits(ctx, a.Entity)
		if err != nil {
			return nil, err
		}
		policies = append(policies, more...)
	}
	body["policies"] = policies
	r, err := c.do(ctx, request{once: true, write: true, wrap: true, path: "auth/token/create/" + role, body: body})
	if bound && said(err, "is disabled") {
		return nil, fmt.Errorf("making a probe token: %w: the entity was disabled a moment ago", ErrUnavailable)
	}
	if err != nil {
		return nil, fmt.Errorf("making a probe token: %w", err)
	}
	if r.WrapInfo == nil || r.WrapInfo.Accessor == "" {
		return nil, fmt.Errorf("making a probe token: %w: the answer is not wrapped", ErrInvalid)
	}
	accessor := r.WrapInfo.Accessor
	defer func() {
		_, rerr := c.do(context.WithoutCancel(ctx), request{write: true, path: "auth/token/revoke-accessor", body: map[string]any{"accessor": accessor}})
		err = errors.Join(err, rerr)
	}()
	if bound {
		if err := c.isOf(ctx, accessor, a.Entity); err != nil {
			return nil, err
		}
	}
	for part := range slices.Chunk(rights, probePaths) {
		got, err := c.ask(ctx, accessor, part)
		if err != nil {
			return nil, err
		}
		may = append(may, got...)
	}
	return may, nil
}

// inherits lists the policies of an entity and of its groups by name.
func (c *Client) inherits(ctx context.Context, e Entity) (policies []string, err error) {
	policies = slices.Clone(e.policies)
	for _, id := range e.groups {
		r, err := c.do(ctx, request{path: "identity/group/id/" + id})
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading a group of entity %s: %w", e.ID, err)
		}
		var more []string
		_ = json.Unmarshal(r.Data["policies"], &more)
		policies = append(policies, more...)
	}
	return policies, nil
}

// isOf fails when the token is bound to another entity: if another replica has taken the name away in between, Vault has made one
// of its own for it.
func (c *Client) isOf(ctx context.Context, accessor string, e Entity) error {
	is, err := c.do(ctx, request{write: true, path: "auth/token/lookup-accessor", body: map[string]any{"accessor": accessor}})
	if err != nil {
		return fmt.Errorf("looking at a probe token: %w", err)
	}
	if is.text("entity_id") != e.ID {
		return fmt.Errorf("%w: the probe token is bound to another entity; somebody else asks about the same person", ErrUnavailable)
	}
	return nil
}

// ask returns those of the rights that a token has.
func (c *Client) ask(ctx context.Context, accessor string, rights []Right) (may []Right, err error) {
	var paths []string
	for _, r := range rights {
		paths = append(paths, r.Path)
	}
	got, err := c.do(ctx, request{write: true, path: "sys/capabilities-accessor", body: map[string]any{"accessor": accessor, "paths": paths}})
	if err != nil {
		return nil, fmt.Errorf("asking what an account may do: %w", err)
	}
	for _, r := range rights {
		var caps []string
		if json.Unmarshal(got.Data[r.Path], &caps) == nil && (slices.Contains(caps, r.Capability) || slices.Contains(caps, "root")) {
			may = append(may, r)
		}
	}
	return may, nil
}

// bind gives the entity a name on the token mount, if it has none, and takes it away afterwards. So it does with one that an earlier
// probe has left behind.
func (c *Client) bind(ctx context.Context, e Entity) (name string, forget func() error, err error) {
	mounts, err := c.accessors(ctx)
	if err != nil {
		return "", nil, err
	}
	bound := e.on(mounts["token"])
	switch {
	case bound.Name != "" && !isProbe(bound.Name):
		return bound.Name, func() error { return nil }, nil
	case bound.Name == "":
		bound.Name = probeAlias + e.ID
		r, err := c.do(ctx, request{write: true, path: "identity/entity-alias", body: map[string]any{"name": bound.Name, "canonical_id": e.ID, "mount_accessor": mounts["token"]}})
		if err != nil {
			return "", nil, fmt.Errorf("binding a probe to an entity: %w", err)
		}
		bound.ID = r.text("id")
	}
	return bound.Name, func() error {
		if bound.ID == "" {
			return nil
		}
		_, err := c.do(context.WithoutCancel(ctx), request{remove: true, path: "identity/entity-alias/id/" + bound.ID})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("taking the name of a probe away: %w", err)
		}
		return nil
	}, nil
}

func isProbe(name string) bool { return strings.HasPrefix(name, probeAlias) }
