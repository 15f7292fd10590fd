package vaultsrc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// serviceAccountToken is where Kubernetes projects the pod's token.
const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// authenticate makes one attempt with the configured method. Files are read anew each time.
func (c *Client) authenticate(ctx context.Context) (*api.Secret, error) {
	a := c.cfg.Auth
	switch a.Method {
	case "token":
		text, _ := a.Token.Text()
		return c.loginToken(ctx, text)
	case "token_file":
		text, err := readSecretFile(a.TokenFile)
		if err != nil {
			return nil, err
		}
		return c.loginToken(ctx, text)
	case "approle":
		return c.loginAppRole(ctx)
	case "cert":
		return c.loginWrite(ctx, map[string]any{"name": a.Role})
	}
	jwt, err := readSecretFile(cmp.Or(a.JWTFile, serviceAccountToken))
	if err != nil {
		return nil, err
	}
	return c.loginWrite(ctx, map[string]any{"role": a.Role, "jwt": jwt}, secret.FromText(jwt))
}

// loginToken asks what the given token is. A token whose policies do not let it look at itself is taken as it is.
func (c *Client) loginToken(ctx context.Context, token string) (*api.Secret, error) {
	out := &api.Secret{Auth: &api.SecretAuth{ClientToken: token}}
	r, err := c.do(ctx, request{path: "auth/token/lookup-self", token: token})
	if errors.Is(err, ErrForbidden) && !errors.Is(err, errDeadToken) {
		return out, nil
	}
	if err != nil {
		return nil, remedy(err, "give a valid token")
	}
	out.Auth.Accessor = r.text("accessor")
	out.Auth.LeaseDuration = int(r.number("ttl"))
	out.Auth.Renewable = string(r.Data["renewable"]) == "true"
	return out, nil
}

func (c *Client) loginAppRole(ctx context.Context) (*api.Secret, error) {
	a := c.cfg.Auth
	roleID := a.RoleID
	if roleID == "" {
		text, err := readSecretFile(a.RoleIDFile)
		if err != nil {
			return nil, err
		}
		roleID = text
	}
	secretID, err := readSecretFile(a.SecretIDFile)
	if err != nil {
		return nil, err
	}
	opts := []approle.LoginOption{approle.WithMountPath(a.Mount)}
	if a.Wrapped {
		opts = append(opts, approle.WithWrappingToken())
	}
	method, err := approle.NewAppRoleAuth(roleID, &approle.SecretID{FromString: secretID}, opts...)
	if err != nil {
		return nil, err
	}
	client, err := c.once.CloneWithHeaders() // unwrapping sets a token on the client it is given
	if err != nil {
		return nil, err
	}
	client.ClearToken()
	client.SetCloneToken(false)
	s, err := method.Login(ctx, client)
	r := request{once: true, write: true, path: "auth/" + a.Mount + "/login", values: []secret.Value{secret.FromText(secretID)}}
	return checkLogin(s, err, r)
}

// loginWrite logs in through auth/<mount>/login.
func (c *Client) loginWrite(ctx context.Context, body map[string]any, values ...secret.Value) (*api.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	r := request{once: true, write: true, path: "auth/" + c.cfg.Auth.Mount + "/login", values: values}
	s, err := c.once.Logical().WriteWithContext(ctx, r.path, body)
	return checkLogin(s, err, r)
}

// checkLogin sorts the error of a login. A login whose answer was lost leaves a short-lived token behind and
// is simply made again, so its outcome is no reason to stop.
func checkLogin(s *api.Secret, err error, r request) (*api.Secret, error) {
	if err != nil {
		err = r.sort(err)
		if errors.Is(err, ErrUnknownOutcome) {
			return nil, fmt.Errorf("%w: %v", ErrUnavailable, err)
		}
		return nil, remedy(err, "check the role and its credentials")
	}
	if s == nil || s.Auth == nil || s.Auth.ClientToken == "" {
		return nil, fmt.Errorf("%s: %w: the answer holds no token", r.path, ErrInvalid)
	}
	return s, nil
}

func remedy(err error, text string) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %s", err, text)
}

// readSecretFile returns the file's text without surrounding white space.
func readSecretFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a credential file: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", fmt.Errorf("reading a credential file: %s is empty", path)
	}
	return text, nil
}
