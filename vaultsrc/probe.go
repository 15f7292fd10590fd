package vaultsrc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// TryLogin tests an AppRole credential by logging in with it: nil means accepted, ErrRejected refused, anything
// else proves nothing. The token it gets is revoked at once. The login counts against the secret-id's
// secret_id_num_uses. An empty mount is "approle".
func (c *Client) TryLogin(ctx context.Context, roleID, secretID secret.Value, mount string) error {
	role, _ := roleID.Text()
	id, _ := secretID.Text()
	if role == "" || id == "" {
		return fmt.Errorf("probing an approle login: %w: role id and secret-id must be texts", ErrRejected)
	}
	r, err := c.do(ctx, request{
		once: true, write: true, anon: true, path: "auth/" + cmp.Or(mount, "approle") + "/login",
		body: map[string]any{"role_id": role, "secret_id": id}, values: []secret.Value{roleID, secretID},
	})
	switch {
	case said(err, "invalid role"), said(err, "invalid secret"): // a 403 proves nothing: five bad logins lock a whole role out
		return fmt.Errorf("probing an approle login: %w: %v", ErrRejected, err)
	case err != nil:
		return fmt.Errorf("probing an approle login: %w", err)
	case r.Auth == nil || r.Auth.ClientToken == "":
		return fmt.Errorf("probing an approle login: %w: the answer holds no token", ErrInvalid)
	}
	// Accepted, whatever comes now; a token that cannot revoke itself ends with its time to live.
	_, err = c.do(ctx, request{write: true, path: "auth/token/revoke-self", token: r.Auth.ClientToken})
	if err != nil {
		c.cfg.Logger.Warn().Err(err).Msg("the token of a probe login was not revoked and lives until it expires")
	}
	return nil
}

// TryToken tests a token: nil means accepted, ErrRejected refused, anything else proves nothing. It counts against
// the token's num_uses.
func (c *Client) TryToken(ctx context.Context, token secret.Value) error {
	text, _ := token.Text()
	if text == "" {
		return fmt.Errorf("probing a token: %w: it must be a text", ErrRejected)
	}
	_, err := c.do(ctx, request{once: true, path: "auth/token/lookup-self", token: text, values: []secret.Value{token}})
	switch {
	case errors.Is(err, errDeadToken):
		return fmt.Errorf("probing a token: %w", ErrRejected)
	case errors.Is(err, ErrForbidden): // known, only not allowed to look at itself
		return nil
	case err != nil:
		return fmt.Errorf("probing a token: %w", err)
	}
	return nil
}

// Capabilities says what our own login may do at each path, in one call.
func (c *Client) Capabilities(ctx context.Context, paths []string) (map[string][]string, error) {
	r, err := c.do(ctx, request{write: true, path: "sys/capabilities-self", body: map[string]any{"paths": paths}})
	if err != nil {
		return nil, fmt.Errorf("asking for capabilities: %w", err)
	}
	out := make(map[string][]string, len(paths))
	for _, p := range paths {
		var caps []string
		if json.Unmarshal(r.Data[p], &caps) != nil {
			return nil, fmt.Errorf("asking for capabilities: %w: no answer for %q", ErrInvalid, p)
		}
		out[p] = caps
	}
	return out, nil
}
