package stream

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// A provider makes in-process connections to the bench's server.
type provider struct{ s nats.InProcessConnProvider }

// InProcessConn connects.
func (p *provider) InProcessConn() (net.Conn, error) { return p.s.InProcessConn() }

func (b *bench) provider() *provider { return &provider{b.nc.Opts.InProcessServer} }

func (b *bench) logger() zerolog.Logger { return zerolog.New(b.log) }

// absent fails the test when the secret is in a file of the server or in the log.
func (b *bench) absent(secret string) {
	b.Helper()
	if strings.Contains(b.log.String(), secret) {
		b.Errorf("the log contains the secret:\n%s", b.log)
	}
	if b.onDisk(secret) {
		b.Error("a file of the server contains the secret")
	}
}

// onDisk searches every file of the server.
func (b *bench) onDisk(secret string) (found bool) {
	b.Helper()
	s, ok := b.nc.Opts.InProcessServer.(interface{ StoreDir() string })
	if !ok {
		b.Fatal("the server does not tell its directory")
	}
	err := filepath.WalkDir(s.StoreDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return unlessGone(err)
		}
		data, err := os.ReadFile(path)
		found = found || strings.Contains(string(data), secret)
		return unlessGone(err)
	})
	if err != nil {
		b.Fatal(err)
	}
	return found
}

// unlessGone lets a running server replace its files while they are read.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

const publisherConfig = `
listen: "127.0.0.1:-1"
jetstream { store_dir: %q }
authorization { users: [
  { user: rotator, password: r }
  { user: gh, password: g, permissions: { publish: ["rotator.events.v1.gh.>"], subscribe: ["_INBOX_rotator.>"] } }
] }`

func TestAPublisherCannotSpeakForAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(strings.Replace(publisherConfig, "%q", `"`+t.TempDir()+`"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	b := &bench{T: t, log: &safeBuffer{}}
	at := strings.TrimPrefix(s.ClientURL(), "nats://")
	if err := Setup(t.Context(), b.dial(Config{URL: "nats://rotator:r@" + at}), SetupConfig{}); err != nil {
		t.Fatal(err)
	}
	gh := NewPublisher(b.dial(Config{URL: "nats://gh:g@" + at}))
	again := leak("1")
	for range 2 { // the second time it may not look whether the event is there
		if _, duplicate, err := gh.Event(t.Context(), again); err != nil || duplicate {
			t.Fatalf("gh as gh: %v, %v", duplicate, err)
		}
	}
	forged := leak("2")
	forged.Publisher = "okta"
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := gh.Event(ctx, forged); err == nil {
		t.Fatal("gh could publish as okta")
	}
}

func TestConnectWaitsAndSaysSo(t *testing.T) {
	b := &bench{T: t, log: &safeBuffer{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := Connect(ctx, Config{URL: "nats://127.0.0.1:1", Log: b.logger()})
		done <- err
	}()
	b.eventually("a line in the log", func() bool { return strings.Contains(b.log.String(), "waiting for NATS") })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("Connect = %v", err)
	}
}
