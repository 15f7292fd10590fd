// Package embedded runs a NATS server with JetStream inside the process: the default when no other NATS is
// configured.
//
// Guarantees: every write is on disk, synced, before it is acknowledged, so neither a crash nor a power loss takes
// back what a publisher was told; one directory is used by one process at a time. It has one replica: for more,
// run a NATS cluster. The server installs no signal handlers and ends only with Stop.
//
// Failure modes: a directory in use, a directory without rights and a listener that is taken are errors of Start.
// A full store refuses new messages.
package embedded

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

const (
	startTime    = 30 * time.Second
	defaultStore = 4 << 30
	memory       = 64 << 20
)

// Config says where the data is and who may connect.
type Config struct {
	Dir      string // of the data; made when it does not exist
	Listen   string // host:port for other processes; empty: none
	MaxStore int64  // bytes on disk; 0 is 4 GiB
	Log      zerolog.Logger
}

// A Server is a running server. It is the nats.InProcessConnProvider for connections of this process.
type Server struct {
	*server.Server
	unlock   func()
	listener bool
}

var _ nats.InProcessConnProvider = (*Server)(nil)

// Start runs a server on its directory until Stop.
func Start(c Config) (*Server, error) {
	if c.Dir == "" {
		return nil, errors.New("no directory for the data of the embedded NATS server")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	unlock, err := lockDir(c.Dir)
	if err != nil {
		return nil, err
	}
	s, err := start(c)
	if err != nil {
		unlock()
		return nil, err
	}
	return &Server{Server: s, unlock: unlock, listener: c.Listen != ""}, nil
}

func start(c Config) (*server.Server, error) {
	opts, err := options(c)
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("configuring the embedded NATS server: %w", err)
	}
	l := &logger{log: c.Log}
	s.SetLoggerV2(l, false, false, false)
	s.Start()
	if !s.ReadyForConnections(startTime) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("the embedded NATS server did not start on %s%s", c.Dir, l.last())
	}
	return s, nil
}

func options(c Config) (*server.Options, error) {
	store := c.MaxStore
	if store <= 0 {
		store = defaultStore
	}
	opts := &server.Options{
		ServerName: "rotator", DontListen: true, JetStream: true, StoreDir: filepath.Join(c.Dir, "nats"), SyncAlways: true,
		JetStreamMaxMemory: memory, JetStreamMaxStore: store, NoSigs: true, NoSystemAccount: false,
	}
	if c.Listen == "" {
		return opts, nil
	}
	host, text, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("nats.listen %q is not host:port: %w", c.Listen, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("nats.listen %q has no port number: %w", c.Listen, err)
	}
	if err := free(c.Listen); err != nil {
		return nil, err
	}
	opts.DontListen, opts.Host, opts.Port = false, host, int(port)
	if port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts, nil
}

// free tells early, and in one line, that an address cannot be used; the server would end the process.
func free(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listening on nats.listen %s (choose another port, or leave nats.listen out): %w", address, err)
	}
	return l.Close()
}

// URL is for other processes on this network; it is empty without a listener.
func (s *Server) URL() string {
	if !s.listener {
		return ""
	}
	return s.ClientURL()
}

// Stop ends the server, waits until everything is on disk, and gives the directory free. It may be called again.
func (s *Server) Stop() {
	s.Shutdown()
	s.WaitForShutdown()
	s.unlock()
}
