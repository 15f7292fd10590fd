package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream/natstest"
)

// store publishes n outcomes of each bundle, in turns, and returns the rotations of each.
func (b *bench) store(n int, bundles ...string) map[string][]string {
	b.Helper()
	ids := make(map[string][]string)
	for i := range n {
		for _, name := range bundles {
			at, id := time.Now().UTC(), fmt.Sprintf("%s-%d", name, i)
			o := events.Outcome{Rotation: id, Bundle: name, Result: events.ResultRotated, Kind: events.KindLeak, Started: at, Finished: at}
			if err := b.pub.Outcome(b.Context(), o); err != nil {
				b.Fatal(err)
			}
			ids[name] = append(ids[name], id)
		}
	}
	return ids
}

func read(ctx context.Context, b *bench, bundle string) (ids []string, err error) {
	err = OutcomesOf(ctx, b.nc, bundle, func(o events.Outcome) error {
		ids = append(ids, o.Rotation)
		return nil
	})
	return ids, err
}

func TestOutcomesOfOneBundle(t *testing.T) {
	b := newBench(t)
	want := b.store(5, "shop.a", "b", "shop.ab")["shop.a"]
	before := b.nc.Stats().OutMsgs
	if got, err := read(t.Context(), b, "shop.a"); err != nil || !slices.Equal(got, want) {
		t.Fatalf("read %v, %v", got, err)
	}
	if sent := b.nc.Stats().OutMsgs - before; sent != uint64(len(want)+2) {
		t.Errorf("%d round trips for %d outcomes", sent, len(want))
	}
	if got, err := read(t.Context(), b, "shop"); err != nil || got != nil {
		t.Errorf("of another bundle: %v, %v", got, err)
	}
	enough := errors.New("enough")
	if err := OutcomesOf(t.Context(), b.nc, "b", func(events.Outcome) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("stopped with %v", err)
	}
	s, err := b.js.Stream(t.Context(), Outcomes)
	if err != nil || s.CachedInfo().State.Consumers != 0 {
		t.Errorf("the readings left consumers: %v", err)
	}
	b.raw(outcomePrefix+token("b"), `{}`, nil)
	if _, err := read(t.Context(), b, "b"); err == nil {
		t.Error("a message that is no outcome is not told")
	}
}

// People read receipts during outages: a reading that meets a change of the leader goes on by itself.
func TestOutcomesAreReadWhileLeadersChange(t *testing.T) {
	c := natstest.Run(t)
	b := &bench{T: t, log: &safeBuffer{}}
	b.nc = b.dial(Config{URL: c.URL()})
	b.pub = NewPublisher(b.nc)
	if err := Setup(t.Context(), b.nc, SetupConfig{Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	want := b.store(5, "a")["a"]
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	over := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		own := &bench{T: t, log: b.log}
		own.nc = own.dial(Config{URL: c.URL()})
		readers.Go(func() {
			for done := false; !done; {
				select {
				case <-over:
					done = true // once more, after all changes
				default:
				}
				// A new leader may not know the last ones yet.
				got, err := read(ctx, own, "a")
				if err != nil || !slices.Equal(got, want[:len(got)]) {
					t.Errorf("read %v, %v", got, err)
					return
				}
			}
		})
	}
	for range 3 {
		var leader int
		b.eventually("a leader", func() bool { leader = c.Leads(Outcomes); return leader >= 0 })
		c.Stop(leader)
		b.eventually("another leader", func() bool { return c.Leads(Outcomes) >= 0 })
		c.Start(leader)
		c.Ready()
	}
	close(over)
	readers.Wait()
	b.eventually("all outcomes", func() bool {
		got, err := read(ctx, b, "a")
		return err == nil && slices.Equal(got, want)
	})
}
