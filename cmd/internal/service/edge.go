package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/intake"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/vaultsrc"
)

// ErrNoSource says that there is nothing for an edge to do.
var ErrNoSource = errors.New("the configuration names no source under intake.sources; see: rotator example")

// edgeInbox is where the edge gets its answers: its own, because with the rotator's it could read what the rotator reads.
const edgeInbox = "_INBOX_rotator_edge"

// An Edge is the HTTP edge alone, for machines that face the senders: it needs NATS, and Vault only for the fingerprint key.
type Edge struct {
	conn   *nats.Conn
	vault  *vaultsrc.Client // nil: no source sends raw values
	intake *intake.Intake
}

// OpenEdge builds the edge of the configuration.
func OpenEdge(ctx context.Context, cfg *config.Config, log zerolog.Logger) (e *Edge, err error) {
	if !cfg.Intake.Enabled() {
		return nil, ErrNoSource
	}
	e = new(Edge)
	n := cfg.NATS
	if n.URL == "" {
		n.URL = "nats://" + n.Listen
	}
	c := streamConfig(n, "rotator intake", log)
	c.Inbox = edgeInbox
	if e.conn, err = stream.Connect(ctx, c); err != nil {
		return nil, err
	}
	var v *vault
	if hashes(cfg.Intake) {
		if e.vault, err = Vault(ctx, cfg, log); err != nil {
			e.Close()
			return nil, err
		}
		v = &vault{client: e.vault, keyPath: cfg.Vault.FingerprintKey}
	}
	if e.intake, err = openIntake(ctx, cfg, e.conn, Publisher(cfg, e.conn).WriteOnly(), v, nil, log); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Addr is where it listens.
func (e *Edge) Addr() string { return e.intake.Addr() }

// Run takes messages until ctx ends. Without Vault the sources that need it are told to come back.
func (e *Edge) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.intake.Run(ctx) })
	if e.vault != nil {
		g.Go(func() error {
			if err := e.vault.Login(ctx); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("logging in to Vault: %w", err)
			}
			return e.vault.Run(ctx)
		})
	}
	return g.Wait()
}

// Close releases what OpenEdge took.
func (e *Edge) Close() {
	if e.intake != nil {
		e.intake.Close()
	}
	if e.conn != nil {
		_ = e.conn.FlushTimeout(2 * time.Second)
		e.conn.Close()
	}
}

// hashes reports whether a source needs the fingerprint key.
func hashes(in config.Intake) bool {
	for _, s := range in.Sources {
		if intake.Needs(s.Kind).Hash || s.APITokenFile != "" {
			return true
		}
	}
	return false
}

// messages counts what became of the messages of every source.
func messages() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rotator_intake_messages_total", Help: "Messages of detectors and identity systems over HTTP, by source and by what became of them."}, []string{"source", "result"})
}

// openIntake takes the port and opens the buckets. v may be nil when no source needs fingerprints, count when nobody counts.
func openIntake(ctx context.Context, cfg *config.Config, nc *nats.Conn, pub *stream.Publisher, v *vault, count func(source, result string), log zerolog.Logger) (*intake.Intake, error) {
	c := intake.Config{Listen: cfg.Intake.Listen, Count: count, Proxies: cfg.Intake.Proxies, Log: log, Ready: func(context.Context) error {
		if nc.Status() != nats.CONNECTED {
			return errors.New("NATS is not connected")
		}
		return nil
	}}
	seen, err := stream.OpenStore(ctx, nc, stream.SeenBucket, 30*24*time.Hour, cfg.NATS.Replicas, log)
	if err != nil {
		return nil, err
	}
	c.Seen = seen
	for _, s := range cfg.Intake.Sources {
		c.Sources = append(c.Sources, sourceOf(s))
		if s.Kind == "scim" && c.People == nil {
			people, err := stream.OpenStore(ctx, nc, stream.PeopleBucket, 0, cfg.NATS.Replicas, log)
			if err != nil {
				return nil, err
			}
			c.People = people
		}
	}
	if c.TLS, err = edgeTLS(cfg.Intake); err != nil {
		return nil, err
	}
	c.Publish = func(ctx context.Context, e events.Event) error {
		_, _, err := pub.Event(ctx, e)
		return err
	}
	c.Bury = func(ctx context.Context, l intake.Letter) error {
		return pub.Bury(ctx, l.Source, l.Why, l.Body, l.Size)
	}
	if v != nil {
		c.Hash = func(ctx context.Context) (func(string) events.Fingerprint, error) {
			key, err := v.Key(ctx)
			if err != nil {
				return nil, fmt.Errorf("reading the fingerprint key: %w", err)
			}
			return func(value string) events.Fingerprint {
				return events.Fingerprint{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(secret.FromText(value))}
			}, nil
		}
	}
	return intake.Open(ctx, c)
}

func sourceOf(s config.IntakeSource) intake.Source {
	out := intake.Source{Name: s.Name, Kind: s.Kind, Origin: s.Origin, ClientName: s.ClientName, Issuer: s.Issuer, Audience: s.Audience, Algorithms: s.Algorithms, Email: s.Email,
		Keys: s.Keys, PollURL: s.Poll, Types: s.Types}
	if s.SecretFile != "" {
		out.Secrets = s.Secrets
	}
	if s.APITokenFile != "" {
		out.FetchToken = s.APIToken
	}
	return out
}

// edgeTLS reads the certificate anew for every connection, so that a renewed one is used at once.
func edgeTLS(in config.Intake) (*tls.Config, error) {
	if in.CertFile == "" {
		return nil, nil
	}
	load := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(in.CertFile, in.KeyFile)
		return &c, err
	}
	if _, err := load(nil); err != nil {
		return nil, fmt.Errorf("reading intake.cert_file: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: load}
	if in.ClientCAFile == "" {
		return out, nil
	}
	raw, err := os.ReadFile(in.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading intake.client_ca_file: %w", err)
	}
	out.ClientCAs = x509.NewCertPool()
	if !out.ClientCAs.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s holds no PEM certificate", in.ClientCAFile)
	}
	out.ClientAuth = tls.VerifyClientCertIfGiven
	return out, nil
}
