package journal

import (
	"context"
	"testing"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/events/stream/embedded"
)

// TestWatchWaitsForNATS: a watch that begins while nobody leads the stream is no error of the program.
func TestWatchWaitsForNATS(t *testing.T) {
	cfg := embedded.Config{Dir: t.TempDir(), Listen: address(freePort(t)), Log: zerolog.Nop()}
	server, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, connect(t, stream.Config{URL: server.URL()}), 1)
	if _, err := s.Put(t.Context(), "a", []byte("there already"), 0); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	changes := s.Watch(t.Context())
	if server, err = embedded.Start(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	awaitChange(t, changes, "there already")
}

func TestWatchSurvivesARestartOfTheServer(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	cfg := embedded.Config{Dir: dir, Listen: address(port), Log: zerolog.Nop()}
	server, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, connect(t, stream.Config{URL: server.URL()}), 1)
	if _, err := s.Put(t.Context(), "a", []byte("there already"), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changes := s.Watch(ctx)
	awaitChange(t, changes, "there already")
	server.Stop()
	if server, err = embedded.Start(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	eventually(t, "a connection", s.nc.IsConnected)
	eventually(t, "a successful write", func() bool {
		_, err := s.Put(t.Context(), "b", []byte("after the restart"), 0)
		return err == nil
	})
	awaitChange(t, changes, "after the restart")
	cancel()
	for range changes { // must end
	}
}
