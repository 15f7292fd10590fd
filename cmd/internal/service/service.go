// Package service wires the product together: the same code runs in `rotator run` and in the sandbox.
//
// Open connects to NATS - or starts the embedded server - and prepares Vault and the OpenWhisk hosts; Run works until
// its context ends. Systems that cannot be reached are waited for, with a log line that says so.
package service

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/intake"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/events/stream/embedded"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/journal"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/vaultsrc"
)

// A Service is one replica.
type Service struct {
	Engine *rotator.Engine
	Conn   *nats.Conn

	cfg    *config.Config
	log    zerolog.Logger
	vault  *vaultsrc.Client
	server *embedded.Server
	intake *intake.Intake // nil: no source is configured
	health

	received *prometheus.CounterVec // messages of the edge
}

// Options are what the configuration file does not say.
type Options struct {
	Log     zerolog.Logger
	Version string
}

// Open builds a service. It waits for NATS until ctx ends, and answers for its health meanwhile; Vault and the hosts are first needed
// in Run.
func Open(ctx context.Context, cfg *config.Config, opts Options) (*Service, error) {
	s := &Service{cfg: cfg, log: opts.Log}
	if err := s.open(ctx, opts.Version); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// open leaves what it has taken, if it fails, to Close.
func (s *Service) open(ctx context.Context, version string) error {
	cfg, log, replica := s.cfg, s.log, replicaName()
	s.received = messages()
	if err := s.listen(ctx, version); err != nil {
		return err
	}
	s.phase.Store("waiting for NATS")
	if err := s.connect(ctx, replica); err != nil {
		return err
	}
	s.phase.Store("preparing the streams and the journal")
	if err := stream.Setup(ctx, s.Conn, stream.SetupConfig{Replicas: cfg.NATS.Replicas, Log: log}); err != nil {
		return fmt.Errorf("preparing the streams: %w", err)
	}
	store, err := journal.Open(ctx, s.Conn, journal.Config{Replicas: cfg.NATS.Replicas, Log: log})
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	if s.vault, err = Vault(ctx, cfg, log); err != nil {
		return err
	}
	platform, err := openHosts(cfg.Hosts)
	if err != nil {
		return err
	}
	v := &vault{client: s.vault, keyPath: cfg.Vault.FingerprintKey}
	if s.Engine, err = engine(cfg, replica, v, platform, store, outbox{Publisher(cfg, s.Conn)}, log); err != nil {
		return err
	}
	if cfg.Intake.Enabled() {
		count := func(source, result string) { s.received.WithLabelValues(source, result).Inc() }
		if s.intake, err = openIntake(ctx, cfg, s.Conn, Publisher(cfg, s.Conn), v, count, log); err != nil {
			return err
		}
	}
	s.works()
	return nil
}

func engine(cfg *config.Config, replica string, v *vault, platform hosts, store *journal.Store, outbox rotator.Outbox, log zerolog.Logger) (*rotator.Engine, error) {
	return rotator.New(rotator.Config{
		Bundles: cfg.Bundles, Replica: replica, Secrets: v, Minter: v, Revoker: v, Prober: newProber(v.client, platform), Platform: platform,
		Journal: store, Outbox: outbox, Log: log, Parallel: cfg.Limits.Bundles, Lease: cfg.Limits.Lease, Zombie: cfg.Limits.Straggler, Home: home(cfg), Gate: cfg.Events.Gate, People: newPeople(v.client, cfg.People), Disable: cfg.People.Disable, Never: cfg.People.Never, LoginsPerHour: cfg.People.PerHour, Search: new(search(cfg, platform, v, besideRotations, nil)),
		Inventory: inventory{vault: v, hosts: platform}, Reconcile: cfg.Reconcile, Clock: store.Clock,
	})
}

// home is the Vault that events have to mean, if they name one.
func home(cfg *config.Config) rotator.Home {
	return rotator.Home{Address: cfg.Vault.Address, Namespace: cfg.Vault.Namespace}
}

// connect starts the embedded server when no URL is configured, and connects.
func (s *Service) connect(ctx context.Context, replica string) (err error) {
	n := s.cfg.NATS
	c := streamConfig(n, "rotator "+replica, s.log)
	if n.URL == "" {
		s.server, err = embedded.Start(embedded.Config{Dir: s.cfg.Data, Listen: n.Listen, Log: s.log})
		if err != nil {
			return fmt.Errorf("starting the embedded NATS server: %w", err)
		}
		c.InProcess = s.server
	}
	s.Conn, err = stream.Connect(ctx, c)
	return err
}

func streamConfig(n config.NATS, name string, log zerolog.Logger) stream.Config {
	return stream.Config{URL: n.URL, CredentialsFile: n.CredentialsFile, NKeyFile: n.NKeyFile, CAFile: n.CAFile, CertFile: n.CertFile, KeyFile: n.KeyFile, Name: name, Log: log}
}

// Dial connects a command to NATS, within seconds: to the configured URL, or to the listener of the embedded server on this machine.
func Dial(ctx context.Context, cfg *config.Config, log zerolog.Logger) (*nats.Conn, error) {
	n := cfg.NATS
	if n.URL == "" {
		if n.Listen == "" {
			return nil, errors.New("the embedded NATS server has no listener, so no other process can reach it; set nats.listen or nats.url")
		}
		n.URL = "nats://" + n.Listen
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	nc, err := stream.Connect(ctx, streamConfig(n, "rotator command", log.Level(zerolog.Disabled)))
	if err != nil && cfg.NATS.URL == "" {
		return nil, fmt.Errorf("nothing answers on %s: is `rotator run` running on this machine? (nats.listen): %w", n.Listen, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; check nats.url and the network", err)
	}
	return nc, nil
}

// dialTime bounds how long a command waits for NATS.
const dialTime = 10 * time.Second

// Vault prepares the client for the configured Vault. Nothing is connected.
func Vault(ctx context.Context, cfg *config.Config, log zerolog.Logger) (*vaultsrc.Client, error) {
	v := cfg.Vault
	a := vaultsrc.Auth{Method: v.Auth.Method, TokenFile: v.Auth.TokenFile, RoleID: v.Auth.RoleID, RoleIDFile: v.Auth.RoleIDFile, SecretIDFile: v.Auth.SecretIDFile,
		Wrapped: v.Auth.Wrapped, Mount: v.Auth.Mount, Role: v.Auth.Role, JWTFile: v.Auth.JWTFile, CertFile: v.Auth.CertFile, KeyFile: v.Auth.KeyFile}
	if a.Method == "token" && a.TokenFile != "" {
		a.Method = "token_file"
	}
	if a.Method == "token" {
		a.Token = secret.FromText(strings.TrimSpace(os.Getenv(v.Auth.TokenEnv)))
	}
	c, err := vaultsrc.New(ctx, vaultsrc.Config{Address: v.Address, Namespace: v.Namespace, CACertFile: v.CAFile, Auth: a, Logger: log, MaxCalls: cfg.Limits.Vault, Owner: v.Owner,
		Anchor: vaultsrc.AnchorConfig{Role: v.Anchor.Role, TTL: v.Anchor.TTL, LiveTTL: v.Anchor.LiveTTL}})
	if err != nil {
		return nil, fmt.Errorf("preparing Vault: %w", err)
	}
	remember(ctx, c)
	return c, nil
}

// IntakeAddr is where webhooks are taken, or "".
func (s *Service) IntakeAddr() string {
	if s.intake == nil {
		return ""
	}
	return s.intake.Addr()
}

// Preview prepares a read-only look at what rotations would do. It needs no NATS.
func Preview(ctx context.Context, cfg *config.Config, log zerolog.Logger) (rotator.Preview, error) {
	client, err := Vault(ctx, cfg, log)
	if err != nil {
		return rotator.Preview{}, err
	}
	platform, err := openHosts(cfg.Hosts)
	if err != nil {
		return rotator.Preview{}, err
	}
	return rotator.Preview{Bundles: cfg.Bundles, Secrets: &vault{client: client, keyPath: cfg.Vault.FingerprintKey}, Platform: platform, Home: home(cfg),
		People: newPeople(client, cfg.People), Disable: cfg.People.Disable, Log: log}, nil
}

// Run takes events in and works them off until ctx ends. It returns when everything in hand has reached its next
// durable state.
func (s *Service) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.watch(ctx) })
	if s.intake != nil { // Vault may be away: what is taken waits in the stream
		s.log.Info().Str("address", s.intake.Addr()).Int("sources", len(s.cfg.Intake.Sources)).Msg("messages of detectors and identity systems")
		g.Go(func() error { return s.intake.Run(ctx) })
	}
	g.Go(func() error {
		if err := s.vault.Login(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("logging in to Vault: %w", err)
		} else if err != nil {
			return nil // told to stop while waiting
		}
		return s.work(ctx)
	})
	return g.Wait()
}

// work needs Vault: it takes events in, works them off, and keeps the login alive.
func (s *Service) work(ctx context.Context) error {
	s.log.Info().Int("bundles", len(s.cfg.Bundles)).Msg("ready")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.vault.Run(ctx) })
	g.Go(func() error { return s.Engine.Run(ctx) })
	sub := stream.Subscriber{Conn: s.Conn, Publishers: publishers(s.cfg), Scopes: s.cfg.Events.Scopes, Signers: s.cfg.Events.Signers, Workers: s.cfg.Limits.Bundles, Taps: s.cfg.Intake.Subjects, Replicas: s.cfg.NATS.Replicas, Log: s.log}
	g.Go(func() error {
		return sub.Run(ctx, func(ctx context.Context, e events.Event, m stream.Meta) error {
			return s.Engine.Accept(ctx, e, m.Stored)
		})
	})
	return g.Wait()
}

// Publisher publishes events, signed if the configuration names a key.
func Publisher(cfg *config.Config, nc *nats.Conn) *stream.Publisher {
	p := stream.NewPublisher(nc)
	if cfg.Events.SignFile != "" {
		p = p.SignWith(cfg.Events.SignFile)
	}
	return p
}

// outbox tells the core what the publisher's errors mean to it.
type outbox struct{ *stream.Publisher }

var _ rotator.Outbox = outbox{}

// Outcome publishes what became of a rotation.
func (o outbox) Outcome(ctx context.Context, oc events.Outcome) error {
	err := o.Publisher.Outcome(ctx, oc)
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w (%w)", err, rotator.ErrTooLarge)
	}
	return err
}

// publishers adds to a list what the configuration trusts already: the rotator itself, which raises events of its own, such as
// an expiry, and the sources of the HTTP edge.
func publishers(cfg *config.Config) []string {
	if len(cfg.Events.Publishers) == 0 {
		return nil
	}
	out := append(slices.Clone(cfg.Events.Publishers), "rotator")
	for _, s := range cfg.Intake.Sources {
		out = append(out, s.Name)
	}
	return out
}

// Close releases what Open took. It may be called more than once.
func (s *Service) Close() {
	if s.intake != nil {
		s.intake.Close()
	}
	if s.Conn != nil && !s.Conn.IsClosed() {
		_ = s.Conn.FlushTimeout(2 * time.Second)
		s.Conn.Close()
	}
	if s.server != nil {
		s.server.Stop()
		s.server = nil
	}
	s.close()
}

// replicaName is unique for every start of a process, so that a claim is never mistaken for that of a predecessor.
func replicaName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	return fmt.Sprintf("%s-%d-%s", name, os.Getpid(), rand.Text()[:8])
}
