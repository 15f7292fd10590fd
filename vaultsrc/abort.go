package vaultsrc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// An AbortRequest names a rotation that never committed, and all it may have minted.
type AbortRequest struct {
	Rotation string
	Anchor   string // accessor; empty: none was journalled, so nothing was minted below one
	Mints    []MintRequest
}

// Abort revokes everything that can be attributed to a rotation, whether its answer was ever seen: the anchor
// with all its leases, and secret-ids and tokens that carry the rotation's id. It may be repeated at will and
// returns nil only when nothing is left.
func (c *Client) Abort(ctx context.Context, q AbortRequest) error {
	var errs []error
	if q.Anchor != "" {
		errs = append(errs, c.Revoke(ctx, []Handle{{Kind: KindAnchor, ID: q.Anchor}}))
	}
	seen := map[string]bool{}
	for _, m := range q.Mints {
		path := strings.Trim(m.Path, "/")
		if m.PasswordPolicy != "" || seen[path] {
			continue
		}
		seen[path] = true
		errs = append(errs, c.abortMint(ctx, q, m, path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("aborting %s: %w", q.Rotation, err)
	}
	return nil
}

func (c *Client) abortMint(ctx context.Context, q AbortRequest, m MintRequest, path string) error {
	var found []Handle
	var err error
	role := m.secretIDRole()
	switch {
	case role != "":
		found, err = c.findSecretIDs(ctx, role, q.Rotation)
	case m.isToken():
		found, err = c.findTokens(ctx, q.Rotation)
	case q.Anchor != "":
		return c.awaitLeases(ctx, path)
	}
	if err != nil {
		return err
	}
	return c.Revoke(ctx, found)
}

func (c *Client) findSecretIDs(ctx context.Context, role, rotation string) ([]Handle, error) {
	return c.find(ctx, role+"/secret-id", func(accessor string) (Handle, bool, error) {
		r, err := c.do(ctx, request{
			write: true, path: role + "/secret-id-accessor/lookup", body: map[string]any{"secret_id_accessor": accessor},
		})
		return Handle{Kind: KindSecretID, ID: accessor, Path: role}, r.rotation("metadata") == rotation, err
	})
}

// findTokens looks at every token. Vault answers 403 for one that is being revoked this moment, as it does when the policy
// does not allow the look: where others could be looked at, it is asked again until it is gone.
func (c *Client) findTokens(ctx context.Context, rotation string) (out []Handle, err error) {
	accessors, err := c.keys(ctx, "auth/token/accessors")
	if err != nil {
		return nil, err
	}
	allowed := false
	err = c.poll(ctx, func() (bool, error) {
		var going []string
		var denied error
		for _, accessor := range accessors {
			r, err := c.do(ctx, request{
				write: true, path: "auth/token/lookup-accessor", body: map[string]any{"accessor": accessor},
			})
			switch {
			case errors.Is(err, ErrForbidden) && !said(err, "invalid accessor"):
				denied, going = err, append(going, accessor)
				continue
			case said(err, "invalid accessor"), errors.Is(err, ErrNotFound): // gone
			case err != nil:
				return false, err
			case r.rotation("meta") == rotation:
				out = append(out, Handle{Kind: KindToken, ID: accessor})
			}
			allowed = true
		}
		if accessors = going; denied != nil && !allowed {
			return false, denied
		}
		return len(going) == 0, nil
	}, func() []string { return nil })
	return out, err
}

// find lists path and keeps the entries that ours accepts. One that vanished meanwhile is none of ours.
func (c *Client) find(ctx context.Context, path string, ours func(string) (Handle, bool, error)) ([]Handle, error) {
	keys, err := c.keys(ctx, path)
	if err != nil {
		return nil, err
	}
	var out []Handle
	for _, key := range keys {
		h, ok, err := ours(key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if err == nil && ok {
			out = append(out, h)
		}
	}
	return out, nil
}

// awaitLeases waits until no lease below path is on its way out. Revoking an anchor marks all its leases as
// expired before it answers, so that afterwards every lease that was the anchor's is either gone or expired.
func (c *Client) awaitLeases(ctx context.Context, path string) error {
	var left []string
	return c.poll(ctx, func() (bool, error) {
		var err error
		left, err = c.expiring(ctx, path)
		return len(left) == 0, err
	}, func() []string { return left })
}

func (c *Client) expiring(ctx context.Context, path string) ([]string, error) {
	keys, err := c.keys(ctx, "sys/leases/lookup/"+path+"/")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, key := range keys {
		id := path + "/" + key
		r, err := c.do(ctx, request{write: true, path: "sys/leases/lookup", body: map[string]any{"lease_id": id}})
		if said(err, "invalid lease") {
			continue
		}
		if err != nil {
			return nil, err
		}
		if r.text("expire_time") != "" && r.number("ttl") <= 0 {
			out = append(out, id)
		}
	}
	return out, nil
}

// keys of a LIST; none when there is nothing to list.
func (c *Client) keys(ctx context.Context, path string) ([]string, error) {
	r, err := c.do(ctx, list(path))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var keys []string
	if raw := r.Data["keys"]; raw != nil && json.Unmarshal(raw, &keys) != nil {
		return nil, fmt.Errorf("%s: %w: the list is not understood", path, ErrInvalid)
	}
	return keys, nil
}

// rotation is the id that Mint attached.
func (r reply) rotation(field string) string {
	var m map[string]any
	if json.Unmarshal(r.Data[field], &m) != nil {
		return ""
	}
	id, _ := m["rotation"].(string)
	return id
}

// Adopt finds the handle of a credential that somebody else minted, from the value itself: a secret-id or a
// token. A lease cannot be found that way; then, and for a value that Vault does not know, the answer is empty.
// fields are named as the engine names them.
func (c *Client) Adopt(ctx context.Context, q MintRequest, fields secret.Set) ([]Handle, error) {
	field, r := "", request{write: true}
	role := q.secretIDRole()
	switch {
	case role != "":
		field, r.path = "secret_id", role+"/secret-id/lookup"
	case q.isToken():
		field, r.path = "token", lookupToken
	}
	v, ok := fields[field]
	text, isText := v.Text()
	if !ok || !isText || text == "" {
		return nil, nil
	}
	r.values = []secret.Value{v}
	r.body = map[string]any{field: text}
	out, err := c.do(ctx, r)
	if errors.Is(err, ErrNotFound) || said(err, "bad token") || said(err, "invalid token") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("adopting a credential: %w", err)
	}
	if role != "" {
		if id := out.text("secret_id_accessor"); id != "" {
			return []Handle{{Kind: KindSecretID, ID: id, Path: role}}, nil
		}
		return nil, nil
	}
	if id := out.text("accessor"); id != "" {
		return []Handle{{Kind: KindToken, ID: id}}, nil
	}
	return nil, nil
}
