package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// Config says where NATS is and how to log in. Empty fields are not used.
type Config struct {
	URL             string // one or several, separated by commas
	CredentialsFile string // of decentralised authentication; read again at every connect
	NKeyFile        string
	CAFile          string
	CertFile        string
	KeyFile         string
	Name            string                     // shown by the server's tools
	Inbox           string                     // prefix of the subjects on which answers come; empty: _INBOX_rotator
	InProcess       nats.InProcessConnProvider // instead of URL
	Log             zerolog.Logger
}

// Connect returns a connection that stays for good: it comes back after every interruption. A server that is not
// reachable yet is waited for until ctx ends, with a line in the log at once and then every ten seconds. While the
// connection is down publishing fails at once, so that a caller never believes in a message that is only buffered.
func Connect(ctx context.Context, c Config) (*nats.Conn, error) {
	up := make(chan struct{}, 1)
	opts, err := c.options(up)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS: %w", err)
	}
	again := time.NewTicker(10 * time.Second)
	defer again.Stop()
	first := time.NewTimer(100 * time.Millisecond)
	defer first.Stop()
	for !nc.IsConnected() {
		select {
		case <-ctx.Done():
			err := errors.Join(ctx.Err(), nc.LastError())
			nc.Close()
			return nil, fmt.Errorf("connecting to NATS: %w", err)
		case <-up:
			continue
		case <-first.C:
		case <-again.C:
		}
		if !nc.IsConnected() {
			c.Log.Warn().AnErr("reason", nc.LastError()).Msg("waiting for NATS; check nats.url, the credentials and the network")
		}
	}
	return nc, nil
}

func (c Config) options(up chan<- struct{}) ([]nats.Option, error) {
	log := c.Log
	opts := []nats.Option{
		nats.Name(c.Name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.ReconnectBufSize(-1),
		nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(200*time.Millisecond, time.Second),
		nats.PingInterval(20 * time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(5 * time.Second),
		nats.DrainTimeout(30 * time.Second), nats.IgnoreAuthErrorAbort(), nats.CustomInboxPrefix(cmp.Or(c.Inbox, "_INBOX_rotator")),
		nats.ConnectHandler(func(*nats.Conn) { signal(up) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			signal(up)
			log.Info().Str("server", nc.ConnectedServerName()).Msg("connected to NATS again")
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn().AnErr("reason", err).Msg("lost the connection to NATS; reconnecting")
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn().AnErr("reason", err).Msg("NATS reports a problem")
		}),
	}
	if c.InProcess != nil {
		return append(opts, nats.InProcessServer(c.InProcess)), nil
	}
	if c.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(c.CredentialsFile))
	}
	if c.NKeyFile != "" {
		o, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the NKey seed file %s: %w", c.NKeyFile, err)
		}
		opts = append(opts, o)
	}
	if c.CAFile != "" {
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" || c.KeyFile != "" {
		opts = append(opts, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	return opts, nil
}

func signal(up chan<- struct{}) {
	select {
	case up <- struct{}{}:
	default:
	}
}
