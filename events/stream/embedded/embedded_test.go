package embedded

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func start1(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func js(t *testing.T, url string, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	out, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestARestartKeepsTheData(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	s := start1(t, c)
	if s.URL() != "" {
		t.Errorf("a server without a listener has the URL %q", s.URL())
	}
	first := js(t, "", nats.InProcessServer(s))
	if _, err := first.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Publish(t.Context(), "s", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Stop()
	st, err := js(t, "", nats.InProcessServer(start1(t, c))).Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := st.GetMsg(t.Context(), 1); err != nil || string(m.Data) != "kept" {
		t.Fatalf("after the restart: %v, %v", m, err)
	}
}

func TestADirectoryHasOneUser(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	s := start1(t, c)
	_, err := Start(c)
	if used, ok := errors.AsType[*InUseError](err); !ok || used.Dir != c.Dir || !strings.Contains(err.Error(), "nats.url") {
		t.Fatalf("second Start = %v", err)
	}
	s.Stop()
	start1(t, c)
}

func TestListener(t *testing.T) {
	s := start1(t, Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if _, err := js(t, s.URL()).AccountInfo(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := Start(Config{Dir: t.TempDir(), Listen: strings.TrimPrefix(s.URL(), "nats://")})
	if err == nil || !strings.Contains(err.Error(), "another port") {
		t.Fatalf("Start on a taken port = %v", err)
	}
	for _, bad := range []string{"localhost", "localhost:http!", "localhost:99999"} {
		if _, err := Start(Config{Dir: t.TempDir(), Listen: bad}); err == nil {
			t.Errorf("Start with the listener %q", bad)
		}
	}
	s.Stop()
	if c, err := net.DialTimeout("tcp", strings.TrimPrefix(s.URL(), "nats://"), time.Second); err == nil {
		_ = c.Close()
		t.Error("the listener is still there after Stop")
	}
}
