package vaultsrc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Door is an auth mount through which people log in, and what one of them may be called there.
type Door struct {
	Mount    string   // below auth/: "oidc"
	Names    []string // of the person that is asked about
	Login    string   // path that tells the token_policies of a login: "auth/userpass/users/{name}", "auth/oidc/role/staff"; empty: none
	Policies []string // that every login here may get
}

// An Account is one way of a person into Vault: a name on an auth mount, and the entity behind it.
type Account struct {
	Mount, Name string
	Policies    []string // that logging in gives, beside those of the entity and its groups
	Entity      Entity   // zero: the name is there, and nobody has ever logged in by it
}

// An Entity is whom Vault knows a person as.
type Entity struct {
	ID, Name string
	Disabled bool // may not log in, and no token of it works

	policies []string // its own
	groups   []string // ids, inherited ones too
	aliases  []alias
}

// An alias binds a name on an auth mount to an entity.
type alias struct {
	ID, Name string
	Accessor string `json:"mount_accessor"`
}

// on is the name of the entity on a mount, if it has one.
func (e Entity) on(accessor string) alias {
	for _, a := range e.aliases {
		if a.Accessor == accessor {
			return a
		}
	}
	return alias{}
}

// Accounts finds every way of one person into Vault: entities by any of the names, with all the doors that lead to them, and names
// that exist and were never used. refused says what could not be found out and never will by itself: a mount or a right is missing.
func (c *Client) Accounts(ctx context.Context, doors []Door) (found []Account, refused []error, err error) {
	mounts, err := c.accessors(ctx)
	if lasting(err) {
		return nil, []error{err}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var entities []Entity
	for _, d := range doors {
		if mounts[d.Mount] == "" {
			refused = append(refused, fmt.Errorf("%w: there is no auth mount %q", ErrInvalid, d.Mount))
			continue
		}
		entities, err = c.entities(ctx, mounts[d.Mount], d.Names, entities)
		switch {
		case lasting(err):
			refused = append(refused, fmt.Errorf("auth mount %s: %w", d.Mount, err))
		case err != nil:
			return nil, nil, err
		}
	}
	for _, d := range doors {
		got, err := c.complete(ctx, d, d.accounts(entities, mounts[d.Mount]))
		switch {
		case lasting(err):
			refused = append(refused, fmt.Errorf("auth mount %s: %w", d.Mount, err))
		case err != nil:
			return nil, nil, err
		}
		found = append(found, got...)
	}
	return found, refused, nil
}

// lasting errors are there again when the same is asked again.
func lasting(err error) bool { return errors.Is(err, ErrForbidden) || errors.Is(err, ErrInvalid) }

// entities adds those that these names lead to.
func (c *Client) entities(ctx context.Context, accessor string, names []string, known []Entity) ([]Entity, error) {
	for _, name := range names {
		e, ok, err := c.entity(ctx, name, accessor)
		if err != nil {
			return known, err
		}
		if ok && !slices.ContainsFunc(known, func(o Entity) bool { return o.ID == e.ID }) {
			known = append(known, e)
		}
	}
	return known, nil
}

// accounts are those that there may be at a door: of the entities, and of names that no entity has yet.
func (d Door) accounts(entities []Entity, accessor string) (out []Account) {
	for _, e := range entities {
		for _, a := range e.aliases {
			if a.Accessor == accessor && accessor != "" {
				out = append(out, Account{Mount: d.Mount, Name: a.Name, Entity: e})
			}
		}
	}
	for _, name := range d.Names {
		if accessor != "" && d.named() && safe(name) {
			out = append(out, Account{Mount: d.Mount, Name: name})
		}
	}
	return out
}

// named reports whether every name has a place of its own that tells its policies.
func (d Door) named() bool { return strings.Contains(d.Login, "{name}") }

// complete fills in what logging in gives, and drops names that nobody has. Beside an error that lasts stands what is known without.
func (c *Client) complete(ctx context.Context, d Door, all []Account) (out []Account, lasts error) {
	for _, a := range all {
		if a.Entity.ID == "" && slices.ContainsFunc(out, func(o Account) bool { return strings.EqualFold(o.Name, a.Name) }) {
			continue
		}
		a.Policies = slices.Clone(d.Policies)
		there := false
		if d.Login != "" && (safe(a.Name) || !d.named()) {
			more, found, err := c.loginPolicies(ctx, strings.ReplaceAll(d.Login, "{name}", a.Name))
			if err == nil && !found && !d.named() {
				err = fmt.Errorf("%w: there is nothing at %q, which is to tell the policies of a login", ErrInvalid, d.Login)
			}
			if err != nil && !lasting(err) {
				return nil, err
			}
			lasts = cmp.Or(lasts, err)
			there = found
			a.Policies = append(a.Policies, more...)
		}
		if there || a.Entity.ID != "" {
			out = append(out, a)
		}
	}
	return out, lasts
}

// safe keeps a name from leading elsewhere than to itself when it is put into a path.
func safe(name string) bool { return name != "." && name != ".." && !strings.ContainsAny(name, "/?#%") }

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
func (c *Client) entity(ctx context.Context, name, accessor string) (e Entity, ok bool, err error) {
	r, err := c.do(ctx, request{write: true, path: "identity/lookup/entity", body: map[string]any{"alias_name": name, "alias_mount_accessor": accessor}})
	if err != nil {
		return e, false, fmt.Errorf("looking an entity up: %w", err)
	}
	e = Entity{ID: r.text("id"), Name: r.text("name")}
	_ = json.Unmarshal(r.Data["disabled"], &e.Disabled)
	_ = json.Unmarshal(r.Data["aliases"], &e.aliases)
	_ = json.Unmarshal(r.Data["policies"], &e.policies)
	_ = json.Unmarshal(r.Data["group_ids"], &e.groups)
	return e, e.ID != "", nil
}

// loginPolicies are those that a login attaches, by what stands at a path, and whether anything stands there. A user of LDAP is in
// groups of that mount as well.
func (c *Client) loginPolicies(ctx context.Context, path string) (policies []string, there bool, err error) {
	r, err := c.do(ctx, request{path: path})
	if errors.Is(err, ErrNotFound) && !said(err, "no handler for route") {
		return nil, false, nil
	}
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: no auth mount has the path %q", ErrInvalid, path)
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading the policies of a login: %w", err)
	}
	for _, field := range []string{"token_policies", "policies"} {
		var some []string
		if json.Unmarshal(r.Data[field], &some) == nil && len(policies) == 0 {
			policies = some
		}
	}
	users, _, isUser := strings.Cut(path, "/users/")
	for group := range strings.SplitSeq(r.text("groups"), ",") {
		if group = strings.TrimSpace(group); !isUser || group == "" || !safe(group) {
			continue
		}
		more, _, err := c.loginPolicies(ctx, users+"/groups/"+group)
		if err != nil {
			return nil, false, err
		}
		policies = append(policies, more...)
	}
	return policies, true, nil
}
