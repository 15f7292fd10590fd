package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

func (r *Runner) login(ctx context.Context, p *rotator.AppRoleProbe, set secret.Set) error {
	role, err := render(p.RoleID, set)
	if err != nil {
		return fmt.Errorf("role id: %w", err)
	}
	id, err := render(p.SecretID, set)
	if err != nil {
		return fmt.Errorf("secret-id: %w", err)
	}
	if r.cfg.Vault == nil {
		return permanent("this program has no Vault to log in to")
	}
	return r.vaultError(r.cfg.Vault.TryLogin(ctx, role, id, p.Mount), set)
}

func (r *Runner) token(ctx context.Context, t rotator.Template, set secret.Set) error {
	token, err := render(t, set)
	if err != nil {
		return err
	}
	if r.cfg.Vault == nil {
		return permanent("this program has no Vault to ask")
	}
	return r.vaultError(r.cfg.Vault.TryToken(ctx, token), set)
}

// vaultError sorts Vault's answer.
func (r *Runner) vaultError(err error, set secret.Set) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rotator.ErrRejected), r.cfg.VaultRejects != nil && r.cfg.VaultRejects(err):
		return fmt.Errorf("%w by Vault", rotator.ErrRejected)
	}
	return unavailable("Vault gave no clear answer: %s", scrub(err, set))
}

// scrub is the text of an error without the values of the bundle, whatever its maker promised.
func scrub(err error, set secret.Set) string {
	text := err.Error()
	for _, v := range set {
		if plain, ok := v.Text(); ok && plain != "" {
			text = strings.ReplaceAll(text, plain, secret.Redacted)
		}
	}
	return text
}

func (r *Runner) invoke(ctx context.Context, target string, set secret.Set) error {
	host, action, ok := strings.Cut(target, ":")
	if !ok {
		return permanent("%q is not host:action", target)
	}
	if r.cfg.Invoke == nil {
		return permanent("this program cannot invoke actions")
	}
	err := r.cfg.Invoke(ctx, host, action, set)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rotator.ErrRejected):
		return fmt.Errorf("%w: action %s ran and failed", rotator.ErrRejected, target)
	case errors.Is(err, rotator.ErrPermanent), errors.Is(err, rotator.ErrNotFound):
		return permanent("action %s cannot be invoked: it is not there, or the host's key may not run it", target)
	}
	return unavailable("action %s gave no clear answer: %s", target, scrub(err, set))
}
