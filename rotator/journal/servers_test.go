package journal

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/events/stream/embedded"
	"github.com/openwhisk-rotator/rotator/events/stream/natstest"
)

// single starts one server on a fresh directory and returns a connection to it.
func single(t *testing.T) *nats.Conn {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return connect(t, stream.Config{InProcess: s})
}

func connect(t *testing.T, c stream.Config) *nats.Conn {
	t.Helper()
	c.Log = zerolog.Nop()
	nc, err := stream.Connect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func open(t *testing.T, nc *nats.Conn, replicas int) *Store {
	t.Helper()
	s, err := Open(t.Context(), nc, Config{Replicas: replicas, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// cluster starts three servers that form a cluster with JetStream.
func cluster(t *testing.T) []*server.Server {
	t.Helper()
	return natstest.Run(t).Servers()
}

// eventually polls until ok, for half a minute.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("there was never %s", what)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
