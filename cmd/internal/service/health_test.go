package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
)

// TestHealthWhileWaitingForNATS: a process that waits is alive and not ready, says for what, and gives its port back when it is told
// to stop.
func TestHealthWhileWaitingForNATS(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	opened := make(chan error, 1)
	go func() {
		_, err := Open(ctx, &config.Config{NATS: config.NATS{URL: "nats://" + silent.Addr().String()}, Ops: config.Ops{Listen: address}}, Options{Log: zerolog.Nop(), Version: "v"})
		opened <- err
	}()
	get := func(path string) (int, string) {
		for began := time.Now(); ; time.Sleep(10 * time.Millisecond) { // until it listens
			resp, err := http.Get("http://" + address + path)
			if err == nil {
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				return resp.StatusCode, string(body)
			}
			if time.Since(began) > 10*time.Second {
				return 0, fmt.Sprint(err)
			}
		}
	}
	if code, body := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %s", code, body)
	}
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "NATS") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	for _, path := range []string{"/", "/metrics"} {
		if code, body := get(path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	stop()
	if err := <-opened; err == nil {
		t.Error("it opened without NATS")
	}
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	again.Close()
}
