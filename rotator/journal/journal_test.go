package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openwhisk-rotator/rotator/events/stream/ensure"
	"github.com/openwhisk-rotator/rotator/rotator"
)

func TestPutIsCompareAndSwap(t *testing.T) {
	s := open(t, single(t), 1)
	ctx := t.Context()
	if _, _, err := s.Get(ctx, "shop.payments"); !errors.Is(err, rotator.ErrNotFound) {
		t.Fatalf("Get of nothing: %v", err)
	}
	r1, err := s.Put(ctx, "shop.payments", []byte("one"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(ctx, "shop.payments", []byte("x"), 0); !errors.Is(err, rotator.ErrConflict) {
		t.Fatalf("second creation: %v", err)
	}
	r2, err := s.Put(ctx, "shop.payments", []byte("two"), r1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(ctx, "shop.payments", []byte("x"), r1); !errors.Is(err, rotator.ErrConflict) {
		t.Fatalf("stale revision: %v", err)
	}
	v, r, err := s.Get(ctx, "shop.payments")
	if err != nil || string(v) != "two" || r != r2 {
		t.Fatalf("Get = %q, %d, %v", v, r, err)
	}
	h, err := s.History(ctx, "shop.payments")
	if err != nil || len(h) != 2 || string(h[0].Value) != "one" || h[1].Revision != r2 {
		t.Fatalf("History = %v, %v", h, err)
	}
	if _, err := s.Put(ctx, "", nil, 0); err == nil {
		t.Fatal("an empty key was stored")
	}
}

// TestForget: every value up to a revision is gone, a newer one and other keys stay, and the key may be used again.
func TestForget(t *testing.T) {
	s := open(t, single(t), 1)
	ctx := t.Context()
	put := func(key, value string, revision uint64) uint64 {
		t.Helper()
		r, err := s.Put(ctx, key, []byte(value), revision)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	other := put("_leave-y", "y", 0)
	r2 := put("_leave-x", "two", put("_leave-x", "one", 0))
	r3 := put("_leave-x", "three", r2)
	for _, revision := range []uint64{r2, r3, r3} {
		if err := s.Forget(ctx, "_leave-x", revision); err != nil {
			t.Fatal(err)
		}
		v, _, err := s.Get(ctx, "_leave-x")
		if newer := revision == r2; newer != (err == nil && string(v) == "three") || !newer && !errors.Is(err, rotator.ErrNotFound) {
			t.Errorf("up to %d: %q, %v", revision, v, err)
		}
	}
	if h, err := s.History(ctx, "_leave-x"); err != nil || len(h) > 0 {
		t.Errorf("history: %v, %v", h, err)
	}
	put("_leave-x", "again", 0)
	if all, err := s.List(ctx); err != nil || len(all) != 2 || all["_leave-y"].Revision != other || string(all["_leave-x"].Value) != "again" {
		t.Errorf("%v, %v", all, err)
	}
}

func TestListSeesEveryKey(t *testing.T) {
	s := open(t, single(t), 1)
	want := map[string]string{}
	for i := range 40 {
		key := fmt.Sprintf("team.%d/é *>", i)
		if _, err := s.Put(t.Context(), key, []byte(key+"!"), 0); err != nil {
			t.Fatal(err)
		}
		want[key] = key + "!"
	}
	if err := s.nc.Publish(prefix+"foreign.key", []byte("x")); err != nil {
		t.Fatal(err)
	}
	got, err := s.List(t.Context())
	if err != nil || len(got) != len(want) {
		t.Fatalf("List = %d keys, %v", len(got), err)
	}
	for k, v := range want {
		if string(got[k].Value) != v {
			t.Fatalf("List[%q] = %q", k, got[k].Value)
		}
	}
}

func TestAPersonsDeletionIsNoObstacle(t *testing.T) {
	s := open(t, single(t), 1)
	ctx := t.Context()
	if _, err := s.Put(ctx, "a", []byte("one"), 0); err != nil {
		t.Fatal(err)
	}
	kv, err := s.js.KeyValue(ctx, "rotator")
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(ctx, "a"); !errors.Is(err, rotator.ErrNotFound) {
		t.Fatalf("Get after a deletion: %v", err)
	}
	if all, err := s.List(ctx); err != nil || len(all) != 0 {
		t.Fatalf("List after a deletion = %v, %v", all, err)
	}
	if _, err := s.Put(ctx, "a", []byte("two"), 0); err != nil {
		t.Fatalf("creation after a deletion: %v", err)
	}
}

func TestOneMessagePerCall(t *testing.T) {
	s := open(t, single(t), 1)
	rev, err := s.Put(t.Context(), "a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	before := s.nc.Stats().OutMsgs
	if _, _, err := s.Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if n := s.nc.Stats().OutMsgs - before; n != 1 {
		t.Errorf("Get took %d messages", n)
	}
	if _, err := s.Put(t.Context(), "a", []byte("2"), rev); err != nil {
		t.Fatal(err)
	}
	if n := s.nc.Stats().OutMsgs - before; n != 2 {
		t.Errorf("Get and Put took %d messages", n)
	}
}

// A server that takes the write and never answers: the caller must be told that nobody knows.
func TestPutWithoutAnAnswerIsUnknown(t *testing.T) {
	nc := single(t)
	silent := prefix + encode("silent")
	sub, err := nc.SubscribeSync(silent)
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{nc: nc}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = sub.NextMsgWithContext(t.Context()) // the write is there; now the answer is lost
		cancel()
	}()
	if _, err := s.Put(ctx, "silent", []byte("x"), 0); !errors.Is(err, rotator.ErrUnknown) || errors.Is(err, rotator.ErrUnavailable) {
		t.Fatalf("Put without an answer: %v", err)
	}
}

// The connection is closed while the answer is on its way: the write may be there.
func TestPutOnAConnectionThatClosesIsUnknown(t *testing.T) {
	nc := single(t)
	sub, err := nc.SubscribeSync(prefix + encode("silent"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = sub.NextMsgWithContext(t.Context())
		nc.Close()
	}()
	if _, err := (&Store{nc: nc}).Put(t.Context(), "silent", []byte("x"), 0); !errors.Is(err, rotator.ErrUnknown) || errors.Is(err, rotator.ErrUnavailable) {
		t.Fatalf("Put on a connection that closes: %v", err)
	}
}

func TestNobodyThereIsUnavailable(t *testing.T) {
	s := &Store{nc: single(t)} // no stream, so nobody listens
	if _, err := s.Put(t.Context(), "a", nil, 0); !errors.Is(err, rotator.ErrUnavailable) || errors.Is(err, rotator.ErrUnknown) {
		t.Errorf("Put: %v", err)
	}
	if _, _, err := s.Get(t.Context(), "a"); !errors.Is(err, rotator.ErrUnavailable) {
		t.Errorf("Get: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, "a", nil, 0); !errors.Is(err, rotator.ErrUnavailable) || errors.Is(err, rotator.ErrUnknown) {
		t.Errorf("Put with an ended context: %v", err)
	}
	s.nc.Close()
	if _, err := s.Put(t.Context(), "a", nil, 0); !errors.Is(err, rotator.ErrUnavailable) || !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("Put on a closed connection: %v", err)
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	nc := single(t)
	if _, err := Open(t.Context(), nc, Config{ReadOnly: true}); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatalf("read-only without a bucket: %v", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "rotator"}); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), nc, Config{})
	bad, ok := errors.AsType[*ensure.MismatchError](err)
	if !ok || bad.Field != "direct get" || !strings.Contains(err.Error(), "nats stream edit KV_rotator --no-allow-direct") {
		t.Fatalf("Open = %v", err)
	}
}

func FuzzKey(f *testing.F) {
	for _, k := range []string{"checkout", "a.b", "=2E", "é", "*", " ", "a=b", "x\x00"} {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if got, err := decode(key); err == nil && encode(got) != key {
			t.Errorf("decode accepted %q, which encode does not write", key)
		}
		if key == "" {
			return
		}
		token := encode(key)
		if strings.ContainsAny(token, ".*> \x00") {
			t.Errorf("encode(%q) = %q is no token", key, token)
		}
		if got, err := decode(token); err != nil || got != key {
			t.Errorf("decode(%q) = %q, %v", token, got, err)
		}
	})
}

// What the servers never take is told apart from what may have happened.
func TestPutOfTooMuchIsTooLarge(t *testing.T) {
	s := open(t, single(t), 1)
	_, err := s.Put(t.Context(), "a", make([]byte, s.nc.MaxPayload()), 0)
	if !errors.Is(err, rotator.ErrTooLarge) || errors.Is(err, rotator.ErrUnknown) || errors.Is(err, rotator.ErrUnavailable) {
		t.Errorf("more than max_payload: %v", err)
	}
	c := bucket(1)
	c.MaxMsgSize = 1000
	if _, err := s.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Put(t.Context(), "a", make([]byte, 1000), 0); !errors.Is(err, rotator.ErrTooLarge) || errors.Is(err, rotator.ErrUnknown) {
		t.Errorf("more than max_msg_size: %v", err)
	}
	if _, err = s.Put(t.Context(), "a", make([]byte, 100), 0); err != nil {
		t.Error(err)
	}
}
