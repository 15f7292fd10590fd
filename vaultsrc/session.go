package vaultsrc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
)

// A login is one token of ours.
type login struct {
	token  string
	made   bool          // by us: neither given nor read from a file
	secret *api.Secret   // for the renewal; its Auth is set
	lost   chan struct{} // closed when the token turned out to be dead
}

// session holds the current login. The zero session is logged out.
type session struct {
	turn    sync.Mutex // held while logging in, so that it happens once
	mu      sync.Mutex // guards current
	current *login
}

func (s *session) now() *login {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// drop forgets a login, unless a newer one has taken its place.
func (s *session) drop(old *login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == old {
		s.current = nil
		close(old.lost)
	}
}

// login returns the current login or makes one.
func (c *Client) login(ctx context.Context) (*login, error) {
	if l := c.now(); l != nil {
		return l, nil
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	if l := c.now(); l != nil {
		return l, nil
	}
	s, err := c.authenticate(ctx)
	if err != nil {
		return nil, fmt.Errorf("logging in to vault with %s: %w", c.cfg.Auth.Method, err)
	}
	l := &login{token: s.Auth.ClientToken, made: c.cfg.Auth.makes(), secret: s, lost: make(chan struct{})}
	c.mu.Lock()
	c.current = l
	c.mu.Unlock()
	c.cfg.Logger.Info().Str("method", c.cfg.Auth.Method).Str("accessor", s.Auth.Accessor).
		Dur("ttl", time.Duration(s.Auth.LeaseDuration)*time.Second).Bool("renewable", s.Auth.Renewable).
		Msg("logged in to Vault")
	return l, nil
}

// Login logs in unless that is done already. While Vault is unavailable it waits, until ctx ends; a refusal
// is returned at once.
func (c *Client) Login(ctx context.Context) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		_, err := c.login(ctx)
		if err == nil || !errors.Is(err, ErrUnavailable) {
			return err
		}
		c.cfg.Logger.Warn().Err(err).Dur("again_in", pause).Msg("waiting for Vault")
		if sleep(ctx, pause) != nil {
			return err
		}
	}
}

// Logout revokes the token of the current login, which would live on for its whole time: hours, or weeks. A token that was given is not
// ours to end. Nothing that is in use hangs below a login: leases belong to anchors, which are orphans. A later call logs in afresh, so
// Logout comes last.
func (c *Client) Logout(ctx context.Context) error {
	c.turn.Lock() // whoever logs in right now is waited for
	l := c.now()
	c.turn.Unlock()
	if l == nil || !l.made {
		return nil
	}
	c.drop(l)
	_, err := c.do(ctx, request{write: true, path: "auth/token/revoke-self", token: l.token})
	if err != nil && !errors.Is(err, errDeadToken) {
		return fmt.Errorf("revoking the token of our login, which lives until it expires: %w", err)
	}
	return nil
}

// Pauses between logins. The floor keeps a login that dies at once from becoming a storm.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// Run keeps the login alive until ctx ends: it logs in, renews, and logs in afresh when renewal ends or the
// token is revoked. It returns nil; failing logins are logged and repeated.
func (c *Client) Run(ctx context.Context) error {
	for pause := firstPause; ctx.Err() == nil; {
		l, err := c.login(ctx)
		if err != nil {
			c.cfg.Logger.Warn().Err(err).Dur("again_in", pause).Msg("cannot log in to Vault")
			_ = sleep(ctx, pause)
			pause = min(2*pause, lastPause)
			continue
		}
		pause = firstPause
		c.keep(ctx, l)
		if ctx.Err() != nil {
			return nil // the login is good; Logout ends it
		}
		c.drop(l)
		_ = sleep(ctx, pause)
	}
	return nil
}

// keep renews a login until that is no longer possible, whatever the reason.
func (c *Client) keep(ctx context.Context, l *login) {
	if l.secret.Auth.LeaseDuration == 0 { // never expires
		select {
		case <-ctx.Done():
		case <-l.lost:
		}
		return
	}
	renewing, err := c.idem.CloneWithHeaders()
	if err != nil {
		c.cfg.Logger.Error().Err(err).Msg("cannot watch the Vault login")
		return
	}
	renewing.SetClientTimeout(c.cfg.Timeout) // the watcher sets no deadlines
	w, err := renewing.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: l.secret})
	if err != nil {
		c.cfg.Logger.Error().Err(err).Msg("cannot watch the Vault login")
		return
	}
	go w.Start()
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.lost:
			return
		case <-w.DoneCh():
			c.cfg.Logger.Info().Msg("Vault login cannot be renewed any more")
			return
		case <-w.RenewCh():
			c.cfg.Logger.Debug().Msg("renewed the Vault login")
		}
	}
}

// sleep waits for d with a quarter of jitter, or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d + rand.N(d/4+1))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Ready reports whether Vault is unsealed and we are logged in.
func (c *Client) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	h, err := c.once.Sys().HealthWithContext(ctx)
	if err != nil {
		return fmt.Errorf("asking for Vault's health: %w", request{path: "sys/health"}.sort(err))
	}
	if h.Sealed {
		return fmt.Errorf("%w: sealed: unseal it", ErrUnavailable)
	}
	if !h.Initialized {
		return fmt.Errorf("%w: not initialized: run vault operator init", ErrUnavailable)
	}
	_, err = c.login(ctx)
	return err
}
