package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// VaultLogin tries credentials of Vault itself.
type VaultLogin interface {
	TryLogin(ctx context.Context, roleID, secretID secret.Value, mount string) error
	TryToken(ctx context.Context, token secret.Value) error
}

// Config says what the probes may use. Probes that need what is left out fail with rotator.ErrPermanent.
type Config struct {
	Vault VaultLogin
	// VaultRejects tells whether an error of Vault means that the credential is refused.
	VaultRejects func(error) bool
	// Invoke runs an action with these parameters and waits for it. An error that wraps rotator.ErrRejected
	// means that the action ran and failed; any other that it is not known.
	Invoke func(ctx context.Context, host, action string, payload secret.Set) error
	// HTTPClient sends http probes; nil: a client with the defaults of net/http.
	HTTPClient *http.Client
}

// A Runner makes probe attempts. It is safe for concurrent use.
type Runner struct {
	cfg  Config
	http *http.Client
}

var _ rotator.Prober = (*Runner)(nil)

// New returns a Runner.
func New(cfg Config) *Runner {
	client := http.Client{}
	if cfg.HTTPClient != nil {
		client = *cfg.HTTPClient
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Runner{cfg: cfg, http: &client}
}

// Probe makes one attempt with the values of set; see the package comment for what its answers mean.
func (r *Runner) Probe(ctx context.Context, p rotator.Probe, set secret.Set) error {
	timeout := p.Timeout
	if timeout <= 0 {
		timeout = rotator.DefaultProbeTimeout
	}
	attempt, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	kind, err := r.attempt(attempt, p, set)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil: // the caller gave up: nothing was learned about the credential
		return fmt.Errorf("%s probe: %w", kind, context.Cause(ctx))
	case attempt.Err() != nil && !errors.Is(err, rotator.ErrRejected):
		return fmt.Errorf("%s probe: %w: no answer within %s", kind, rotator.ErrUnavailable, timeout)
	}
	return fmt.Errorf("%s probe: %w", kind, err)
}

func (r *Runner) attempt(ctx context.Context, p rotator.Probe, set secret.Set) (kind string, err error) {
	switch {
	case !p.Postgres.IsZero():
		return "postgres", postgres(ctx, p.Postgres, set)
	case p.HTTP != nil:
		return "http", r.request(ctx, p.HTTP, set)
	case len(p.Exec) > 0:
		return "exec", run(ctx, p.Exec, p.Env, set)
	case p.Action != "":
		return "action", r.invoke(ctx, p.Action, set)
	case p.AppRole != nil:
		return "approle", r.login(ctx, p.AppRole, set)
	case !p.Token.IsZero():
		return "token", r.token(ctx, p.Token, set)
	}
	return "empty", permanent("nothing to try; configure a probe for the credential")
}

// permanent is an error in the probe itself, not in the credential.
func permanent(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{rotator.ErrPermanent}, args...)...)
}

func unavailable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{rotator.ErrUnavailable}, args...)...)
}

// render builds a text of values that are all there. A blank one would make some backends fall back to
// another credential, such as PGPASSWORD of our own environment.
func render(t rotator.Template, set secret.Set) (secret.Value, error) {
	for _, key := range t.Keys() {
		if v, ok := set[key]; ok && v.Blank() {
			return secret.Value{}, permanent("key %q is blank", key)
		}
	}
	v, err := t.Render(set)
	if err != nil {
		return secret.Value{}, permanent("%v", err)
	}
	return v, nil
}
