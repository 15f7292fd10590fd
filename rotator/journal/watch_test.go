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

// TestWatchTellsOfADeletion, also to who begins to watch after it.
func TestWatchTellsOfADeletion(t *testing.T) {
	s := open(t, single(t), 1)
	ctx := t.Context()
	rev, err := s.Put(ctx, "a", []byte("one"), 0)
	if err != nil {
		t.Fatal(err)
	}
	before := s.Watch(ctx)
	awaitChange(t, before, "one")
	kv, err := s.js.KeyValue(ctx, "rotator")
	if err != nil {
		t.Fatal(err)
	}
	for _, remove := range []func() error{func() error { return kv.Delete(ctx, "a") }, func() error { return kv.Purge(ctx, "a") }} {
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		if c := <-before; c.Key != "a" || !c.Deleted || c.Revision != rev+1 {
			t.Fatalf("%+v, want the deletion at %d", c, rev+1)
		}
		if c := <-s.Watch(ctx); c.Key != "a" || !c.Deleted || c.Revision != rev+1 {
			t.Errorf("who comes later sees %+v", c)
		}
		if rev, err = s.Put(ctx, "a", []byte("again"), 0); err != nil {
			t.Fatal(err)
		}
		if c := <-before; c.Deleted || c.Revision != rev {
			t.Errorf("made anew: %+v", c)
		}
	}
}
