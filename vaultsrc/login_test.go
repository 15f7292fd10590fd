package vaultsrc

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

func staticAuth(token string) Auth { return Auth{Method: "token", Token: secret.FromText(token)} }

func TestRunRenewsAndLogsInAfresh(t *testing.T) {
	f := newFixture(t, false)
	f.role(t, "rotator", map[string]any{"token_ttl": "2s", "token_max_ttl": "4s"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.client.Run(ctx) }()
	logins, renewals := 0, 0
	eventually(t, "it was renewed, and logged in twice", func() bool {
		for _, call := range f.calls.take() {
			switch {
			case strings.HasSuffix(call, f.approle+"/login"):
				logins++
			case strings.HasSuffix(call, "/renew-self"):
				renewals++
			}
		}
		return logins >= 2 && renewals >= 1
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestRevokedLoginIsReplacedWithinTheCall(t *testing.T) {
	f := newFixture(t, false)
	if _, err := f.client.WriteBundle(t.Context(), f.path("a"), set("A", "1"), nil, 0); err != nil {
		t.Fatal(err)
	}
	old := f.client.now()
	f.vault.Must(t, http.MethodPost, "auth/token/revoke-accessor", map[string]any{"accessor": old.secret.Auth.Accessor})
	if _, err := f.client.ReadBundle(t.Context(), f.path("a"), 0); err != nil {
		t.Fatalf("read after the login died: %v", err)
	}
	f.vault.Must(t, http.MethodPost, "auth/token/revoke-accessor", map[string]any{"accessor": f.client.now().secret.Auth.Accessor})
	if _, err := f.client.WriteBundle(t.Context(), f.path("a"), set("A", "2"), nil, 1); err != nil {
		t.Fatalf("write after the login died: %v", err)
	}
}

func TestSealedVaultIsWaitedFor(t *testing.T) {
	f := &fixture{vault: vaulttest.RunPersistent(t), db: "none"}
	f.prepare(t)
	ctx := t.Context()
	if _, err := f.client.WriteBundle(ctx, f.path("a"), set("A", "1"), nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.client.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.vault.Seal(ctx); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := f.client.Ready(short); !errors.Is(err, ErrUnavailable) {
		t.Errorf("ready: %v", err)
	}
	if _, err := f.client.ReadBundle(short, f.path("a"), 0); !errors.Is(err, ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	if _, err := f.client.WriteBundle(ctx, f.path("a"), set("A", "2"), nil, 1); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("write: %v", err)
	}
	fresh := newClient(t, f.cfg)
	waited := make(chan error, 1)
	go func() { waited <- fresh.Login(ctx) }()
	if err := f.vault.Unseal(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Errorf("a login that waited: %v", err)
	}
	if v, err := f.client.WriteBundle(ctx, f.path("a"), set("A", "2"), nil, 1); err != nil || v != 2 {
		t.Errorf("after unsealing: version %d, %v", v, err)
	}
}

func TestTokenFileIsReadAgain(t *testing.T) {
	f := newFixture(t, false)
	file := filepath.Join(t.TempDir(), "token")
	put := func() {
		token, err := f.vault.Token(t.Context(), time.Hour, "root")
		if err == nil {
			err = os.WriteFile(file, []byte(token), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg := f.cfg
	cfg.Auth = Auth{Method: "token_file", TokenFile: file}
	c := newClient(t, cfg)
	if err := c.Ready(t.Context()); err == nil || !contains(err.Error(), file) {
		t.Errorf("missing file: %v", err)
	}
	put()
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.vault.Must(t, http.MethodPost, "auth/token/revoke-accessor", map[string]any{"accessor": c.now().secret.Auth.Accessor})
	put()
	if _, err := c.Capabilities(t.Context(), []string{"sys/mounts"}); err != nil {
		t.Errorf("with the new token: %v", err)
	}
}

func TestWrappedSecretID(t *testing.T) {
	f := newFixture(t, false)
	cfg := f.cfg
	cfg.Auth.Wrapped = true
	wrap := func() string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			f.vault.Address+"/v1/auth/"+f.approle+"/role/rotator/secret-id", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Vault-Token", f.vault.RootToken)
		req.Header.Set("X-Vault-Wrap-TTL", "60s")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return wrappedToken(t, resp.Body)
	}
	cfg.Auth.SecretIDFile = filepath.Join(t.TempDir(), "wrapped")
	if err := os.WriteFile(cfg.Auth.SecretIDFile, []byte(wrap()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, cfg)
	if err := c.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.drop(c.now())
	if err := c.Login(t.Context()); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("a wrapping token that was used already: %v", err)
	}
}

func TestCapabilities(t *testing.T) {
	f := newFixture(t, false)
	if err := f.client.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.calls.take()
	mine, other := f.kv+"/data/a", "elsewhere/data/a"
	got, err := f.client.Capabilities(t.Context(), []string{mine, other})
	if err != nil {
		t.Fatal(err)
	}
	if len(got[mine]) != 3 || len(got[other]) != 1 || got[other][0] != "deny" {
		t.Errorf("%v", got)
	}
	if calls := f.calls.take(); len(calls) != 1 {
		t.Errorf("%d calls", len(calls))
	}
}

func TestNewReportsEveryMistake(t *testing.T) {
	for want, cfg := range map[string]Config{
		"address is missing":  {Auth: staticAuth("x")},
		"unknown auth method": {Address: "http://x", Auth: Auth{Method: "magic"}},
		"secret_id_file":      {Auth: Auth{Method: "approle"}},
		"role_id":             {Auth: Auth{Method: "approle"}},
		"jwt_file":            {Address: "http://x", Auth: Auth{Method: "jwt"}},
		"needs role":          {Address: "http://x", Auth: Auth{Method: "kubernetes"}},
		"cert_file":           {Address: "http://x", Auth: Auth{Method: "cert"}},
		"token_file":          {Address: "http://x", Auth: Auth{Method: "token_file"}},
		"no-such-ca":          {Address: "http://x", Auth: staticAuth("x"), CACertFile: "no-such-ca.pem"},
	} {
		if _, err := New(t.Context(), cfg); err == nil || !contains(err.Error(), want) {
			t.Errorf("want %q in: %v", want, err)
		}
	}
}

func TestEnvironmentDoesNotReachTheClient(t *testing.T) {
	f := newFixture(t, false)
	t.Setenv("VAULT_TOKEN", "stray")
	t.Setenv("VAULT_NAMESPACE", "stray")
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	if err := newClient(t, f.cfg).Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestLogout: the token of a login ends with it, what hangs below an anchor does not, and a token that was given is left alone.
func TestLogout(t *testing.T) {
	f := newFixture(t, false)
	anchor, err := f.client.CreateAnchor(t.Context(), AnchorRequest{Rotation: "r", Bundle: "b"})
	if err != nil {
		t.Fatal(err)
	}
	lives := func(accessor string) bool {
		return f.vault.API(t.Context(), http.MethodPost, "auth/token/lookup-accessor", map[string]any{"accessor": accessor}, nil) == nil
	}
	mine := f.client.now().secret.Auth.Accessor
	for range 2 { // the second time there is nothing to do
		if err := f.client.Logout(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if lives(mine) || !lives(anchor.Accessor) {
		t.Errorf("the login lives: %v; the anchor lives: %v", lives(mine), lives(anchor.Accessor))
	}
	if err := f.client.Ready(t.Context()); err != nil {
		t.Errorf("a call after it does not log in afresh: %v", err)
	}
	token, err := f.vault.Token(t.Context(), time.Hour, "root")
	if err != nil {
		t.Fatal(err)
	}
	cfg := f.cfg
	cfg.Auth = staticAuth(token)
	given := newClient(t, cfg)
	if err := given.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	accessor := given.now().secret.Auth.Accessor
	if err := given.Logout(t.Context()); err != nil || !lives(accessor) {
		t.Errorf("a token that was given: %v, lives %v", err, lives(accessor))
	}
}
