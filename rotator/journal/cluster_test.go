package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
)

func stores(t *testing.T, all []*server.Server) (out []*Store) {
	t.Helper()
	for _, s := range all {
		out = append(out, open(t, connect(t, stream.Config{URL: s.ClientURL()}), 3))
	}
	return out
}

func TestClusterGetIsNeverStale(t *testing.T) {
	const rounds = 200
	for i, s := range stores(t, cluster(t)) { // connected to the leader and to both followers
		key, rev := fmt.Sprintf("own-%d", i), uint64(0)
		for n := range rounds {
			want := fmt.Appendf(nil, "%d", n)
			var err error
			if rev, err = s.Put(t.Context(), key, want, rev); err != nil {
				t.Fatal(err)
			}
			got, at, err := s.Get(t.Context(), key)
			if err != nil || at != rev || !bytes.Equal(got, want) {
				t.Fatalf("store %d round %d: Get = %q, %d, %v; want %q, %d", i, n, got, at, err, want, rev)
			}
			if n%50 == 0 {
				if all, err := s.List(t.Context()); err != nil || all[key].Revision != rev {
					t.Fatalf("List is behind: %v, %v", all[key], err)
				}
			}
		}
	}
}

func TestClusterOneOfManyRacersWins(t *testing.T) {
	all := stores(t, cluster(t))
	rev := uint64(0)
	for round := range 10 {
		var wins atomic.Uint64
		var won atomic.Uint64
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				r, err := all[i%len(all)].Put(t.Context(), "raced", fmt.Appendf(nil, "%d-%d", round, i), rev)
				if err == nil {
					wins.Add(1)
					won.Store(r)
				} else if !errors.Is(err, rotator.ErrConflict) {
					t.Errorf("a loser got %v", err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("round %d had %d winners", round, wins.Load())
		}
		rev = won.Load()
	}
}

func TestClusterWritesResumeAfterTheLeaderDies(t *testing.T) {
	nodes := cluster(t)
	url := nodes[0].ClientURL() + "," + nodes[1].ClientURL() + "," + nodes[2].ClientURL()
	s := open(t, connect(t, stream.Config{URL: url}), 3)
	ctx := t.Context()
	changes := s.Watch(ctx)
	rev, err := s.Put(ctx, "a", []byte("before"), 0)
	if err != nil {
		t.Fatal(err)
	}
	awaitChange(t, changes, "before")
	kill(t, s, nodes)
	died := time.Now()
	for done := false; !done; {
		if time.Since(died) > 30*time.Second {
			t.Fatal("no write succeeded after the leader died")
		}
		got, err := s.Put(ctx, "a", []byte("after"), rev)
		if err != nil { // whatever happened, reading tells
			v, at, gerr := s.Get(ctx, "a")
			if gerr != nil || string(v) != "after" {
				continue
			}
			got = at
		}
		rev, done = got, true
	}
	t.Logf("writes resumed after %v", time.Since(died).Round(time.Millisecond))
	if v, at, err := s.Get(ctx, "a"); err != nil || string(v) != "after" || at != rev {
		t.Fatalf("Get = %q, %d, %v", v, at, err)
	}
	awaitChange(t, changes, "after")
}

// kill stops the server that leads the journal's stream.
func kill(t *testing.T, s *Store, nodes []*server.Server) {
	t.Helper()
	st, err := s.js.Stream(t.Context(), Stream)
	if err != nil {
		t.Fatal(err)
	}
	leader := st.CachedInfo().Cluster.Leader
	for _, n := range nodes {
		if n.Name() == leader {
			n.Shutdown()
			n.WaitForShutdown()
			return
		}
	}
	t.Fatalf("the leader %q is none of the servers", leader)
}

func awaitChange(t *testing.T, changes <-chan rotator.Change, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	for {
		select {
		case c, ok := <-changes:
			if !ok {
				t.Fatal("the watch ended")
			}
			if string(c.Value) == value {
				return
			}
		case <-ctx.Done():
			t.Fatalf("the watch never showed %q", value)
		}
	}
}
