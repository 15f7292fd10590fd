package stream

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestStore(t *testing.T) {
	b := newBench(t)
	for range 2 { // the second one takes what is there
		s, err := OpenStore(t.Context(), b.nc, SeenBucket, time.Hour, 1, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		if v, err := s.Get(t.Context(), "00ff"); err != nil || v != nil {
			t.Fatalf("%q, %v", v, err)
		}
		if err := s.Put(t.Context(), "00ff", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if v, err := s.Get(t.Context(), "00ff"); err != nil || string(v) != "x" {
			t.Fatalf("%q, %v", v, err)
		}
		for range 2 {
			if err := s.Delete(t.Context(), "00ff"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestALetterOfTheEdge(t *testing.T) {
	b := newBench(t)
	for range 2 {
		if err := b.pub.Bury(t.Context(), "gh", "of no kind that is known", []byte(`{"new":1}`), 9); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.pub.Bury(t.Context(), "gh", "of no kind that is known", nil, 99); err != nil {
		t.Fatal(err)
	}
	all := b.letters(2)
	if all[1].Reason != "not-understood" || all[1].Bytes == 0 || all[1].Remedy == "" || all[0].Bytes != 0 {
		t.Fatalf("%+v", all)
	}
	if h := b.stored(Dead, all[0].Seq).Header.Get(headerBody); !strings.Contains(h, "99 bytes") {
		t.Error(h)
	}
}
