// Command demo holds the parts of compose.yaml that are neither the rotator nor somebody else's image: the emulated OpenWhisk
// host, and the step that prepares Vault, PostgreSQL's users, the actions and the rotator's configuration.
//
//	demo openwhisk     serve the emulator on :3233, with the well-known guest key
//	demo prepare       fill Vault and the host, write the configuration to /config, end
//
// Everything in it is for looking at and for tests: the emulator keeps its actions in memory, Vault runs in dev mode. Environment:
// VAULT_ADDR, VAULT_TOKEN, OPENWHISK (URL), OPENWHISK_AUTH (uuid:key), NATS_URL, POSTGRES_HOST, POSTGRES_PASSWORD.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	verb := ""
	if len(os.Args) == 2 {
		verb = os.Args[1]
	}
	var err error
	switch verb {
	case "openwhisk":
		err = openwhisk(ctx)
	case "prepare":
		err = prepare(ctx, os.Getenv, "/config")
	case "health":
		err = health(ctx)
	default:
		err = errors.New("say: demo openwhisk, demo health, or demo prepare")
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

const listen = ":3233"

// openwhisk serves the emulator until it is told to stop.
func openwhisk(ctx context.Context) error {
	s := &http.Server{Addr: listen, Handler: whisktest.New(whisktest.Options{}), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	fmt.Println("emulated OpenWhisk host on " + listen)
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// health asks the emulator beside it; containers without a shell have no curl.
func health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return call(ctx, http.MethodGet, "http://127.0.0.1"+listen+"/api/v1/namespaces", whisktest.GuestKey, nil)
}
