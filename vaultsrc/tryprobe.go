package vaultsrc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// AuthMounts lists the paths of all auth mounts, sorted.
func (c *Client) AuthMounts(ctx context.Context) ([]string, error) {
	mounts, err := c.accessors(ctx)
	return slices.Sorted(maps.Keys(mounts)), err
}

// TryProbe does what CouldRead does, for nobody: it makes a probe token that is bound to no entity and has no policy but default, wrapped,
// looks at it, asks what it may do, and revokes it. An error comes with the remedy. Whether the role lets a probe be bound to a person is
// looked at if this login may read the role.
func (c *Client) TryProbe(ctx context.Context, role string) (remedy string, err error) {
	create := "auth/token/create/" + role
	r, err := c.do(ctx, request{once: true, write: true, wrap: true, path: create,
		body: map[string]any{"policies": []string{"default"}, "ttl": "60s", "no_default_policy": true, "display_name": "rotator-probe"}})
	switch {
	case errors.Is(err, ErrForbidden):
		return "add to the rotator's policy: " + fmt.Sprintf(`path %q { capabilities = ["update"] min_wrapping_ttl = "1s" max_wrapping_ttl = "90s" }`, create), fmt.Errorf("making a probe token: %w", err)
	case err != nil:
		return "make the role: vault write auth/token/roles/" + role + ` allowed_policies_glob="*" disallowed_policies=root orphan=true renewable=false ` +
			`token_explicit_max_ttl=120s token_no_default_policy=true allowed_entity_aliases="` + probeAlias + `*"`, fmt.Errorf("making a probe token: %w", err)
	case r.WrapInfo == nil || r.WrapInfo.Accessor == "":
		return "the role must give service tokens", fmt.Errorf("making a probe token: %w: the answer has no accessor", ErrInvalid)
	}
	accessor := map[string]any{"accessor": r.WrapInfo.Accessor}
	call := func(path string, body map[string]any) {
		_, cerr := c.do(context.WithoutCancel(ctx), request{write: true, path: path, body: body})
		if cerr != nil && err == nil {
			remedy, err = "add to the rotator's policy: "+line(path, "update"), fmt.Errorf("trying the probe of a person: %w", cerr)
		}
	}
	call("auth/token/lookup-accessor", accessor)
	call("sys/capabilities-accessor", map[string]any{"accessor": r.WrapInfo.Accessor, "paths": []string{"sys/auth"}})
	call("auth/token/revoke-accessor", accessor) // whatever has failed
	if err != nil {
		return remedy, err
	}
	return c.bindable(ctx, role)
}

// bindable reports a role that does not let a probe be bound to an entity.
func (c *Client) bindable(ctx context.Context, role string) (remedy string, err error) {
	r, err := c.do(ctx, request{path: "auth/token/roles/" + role})
	if err != nil {
		return "", nil // not allowed to look; the first person will tell
	}
	var names []string
	_ = json.Unmarshal(r.Data["allowed_entity_aliases"], &names)
	if slices.ContainsFunc(names, func(n string) bool {
		prefix, glob := strings.CutSuffix(n, "*")
		return glob && strings.HasPrefix(probeAlias, prefix)
	}) {
		return "", nil
	}
	return "set it: vault write auth/token/roles/" + role + ` allowed_entity_aliases="` + probeAlias + `*" with its other settings`,
		fmt.Errorf("%w: token role %q lets no probe be bound to a person: allowed_entity_aliases lacks %s*", ErrInvalid, role, probeAlias)
}
