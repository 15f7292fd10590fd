package vaultsrc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// Defaults of Config.
const (
	DefaultTimeout    = 30 * time.Second
	DefaultMaxCalls   = 32
	DefaultAnchorRole = "rotator-anchor"
	DefaultAnchorTTL  = 15 * time.Minute
	DefaultLiveTTL    = 720 * time.Hour
)

// Config says where Vault is and how to log in. Address and Auth are required.
type Config struct {
	Address    string // "https://vault.example.com:8200"
	Namespace  string // Vault Enterprise or HCP; empty: root
	CACertFile string // PEM; empty: the system's
	Auth       Auth
	Anchor     AnchorConfig
	Owner      string        // names this installation in the metadata of what it makes; needed when several share a Vault
	Timeout    time.Duration // of one call, retries included
	Logger     zerolog.Logger
	MaxCalls   int // calls under way at a time, whoever makes them

	// WrapTransport, when set, is put around the network transport of every call.
	WrapTransport func(http.RoundTripper) http.RoundTripper
}

// Auth is how the rotator logs in.
type Auth struct {
	Method       string       // token, token_file, approle, kubernetes, jwt or cert
	Token        secret.Value // for token
	TokenFile    string       // for token_file: read again at every login, as a Vault Agent rewrites it
	RoleID       string       // for approle, or RoleIDFile
	RoleIDFile   string
	SecretIDFile string // for approle: read again at every login
	Wrapped      bool   // SecretIDFile holds a response-wrapping token; each login needs a fresh one
	Mount        string // auth mount; empty: the method's name
	Role         string // for kubernetes, jwt and cert
	JWTFile      string // for kubernetes and jwt: read again at every login
	CertFile     string // for cert
	KeyFile      string
}

// makes reports a method whose every login makes a token.
func (a Auth) makes() bool { return a.Method != "token" && a.Method != "token_file" }

// AnchorConfig describes the tokens that own the leases of a generation.
type AnchorConfig struct {
	Role     string        // token role below auth/token/roles; it must say orphan=true and have no period
	Policies []string      // policies to ask for; empty: what the role gives
	TTL      time.Duration // until confirmed
	LiveTTL  time.Duration // once confirmed, and at each renewal
}

// Client talks to one Vault. Its methods may be called concurrently.
type Client struct {
	cfg   Config
	idem  *api.Client   // repeats what may be repeated
	once  *api.Client   // never sends anything twice
	slots chan struct{} // one per call under way

	probing sync.Mutex // see Can
	session
}

// New checks the configuration and prepares a Client. It does not connect: the first call, or Run, logs in.
func New(_ context.Context, cfg Config) (*Client, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	cfg.MaxCalls = cmp.Or(cfg.MaxCalls, DefaultMaxCalls)
	cfg.Anchor.Role = cmp.Or(cfg.Anchor.Role, DefaultAnchorRole)
	cfg.Anchor.TTL = cmp.Or(cfg.Anchor.TTL, DefaultAnchorTTL)
	cfg.Anchor.LiveTTL = cmp.Or(cfg.Anchor.LiveTTL, DefaultLiveTTL)
	cfg.Auth.Mount = cmp.Or(cfg.Auth.Mount, cfg.Auth.Method)
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configuring vault: %w", err)
	}
	base, err := newTransport(cfg)
	if err != nil {
		return nil, fmt.Errorf("configuring vault: %w", err)
	}
	c := &Client{cfg: cfg, slots: make(chan struct{}, cfg.MaxCalls)}
	if c.idem, err = newAPI(cfg, base, 3); err != nil {
		return nil, fmt.Errorf("configuring vault: %w", err)
	}
	if c.once, err = newAPI(cfg, noReplay{base}, 0); err != nil {
		return nil, fmt.Errorf("configuring vault: %w", err)
	}
	return c, nil
}

func (cfg Config) validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(cfg.Address != "", "address is missing: set vault.address, e.g. https://vault:8200")
	a := cfg.Auth
	switch a.Method {
	case "token":
		need(!a.Token.Blank(), "auth method token needs a token")
	case "token_file":
		need(a.TokenFile != "", "auth method token_file needs token_file")
	case "approle":
		need(a.RoleID != "" || a.RoleIDFile != "", "auth method approle needs role_id or role_id_file")
		need(a.SecretIDFile != "", "auth method approle needs secret_id_file")
	case "kubernetes":
		need(a.Role != "", "auth method kubernetes needs role")
	case "jwt":
		need(a.Role != "" && a.JWTFile != "", "auth method jwt needs role and jwt_file")
	case "cert":
		need(a.CertFile != "" && a.KeyFile != "", "auth method cert needs cert_file and key_file")
	default:
		need(false, fmt.Sprintf("unknown auth method %q: use token, token_file, approle, kubernetes, jwt or cert", a.Method))
	}
	return errors.Join(errs...)
}
