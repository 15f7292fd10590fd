package rotator

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestComparedIsKept although writing it fails once, or another replica takes its turn in between.
func TestComparedIsKept(t *testing.T) {
	for name, f := range map[string]fault{"not applied": refusedIt, "answer lost": lostIt, "overtaken": none} {
		synctest.Test(t, func(t *testing.T) {
			w, p := comparing(t)
			defer p.end()
			first := true
			w.fault = func(_ int, point string) fault {
				if point != "journal put" || !first {
					return none
				}
				first = false
				if name == "overtaken" {
					turn, _ := Record{Bundle: turnKey, State: Idle, Epoch: 7}.Encode()
					w.journal[turnKey] = append(w.journal[turnKey], Stored{Value: turn, Revision: uint64(len(w.journal[turnKey]) + 1)})
				}
				return f
			}
			if _, err := p.Reconcile(context.Background(), Reconcile{}); (err != nil) != (f != none) {
				t.Fatalf("%s: %v", name, err)
			}
			time.Sleep(time.Hour)
			found, err := p.Reconcile(context.Background(), Reconcile{})
			if err != nil {
				t.Fatalf("%s, the next one: %v", name, err)
			}
			rec := w.record(t, turnKey)
			if c := rec.Compared; c == nil || !c.At.Equal(found.At) || c.Unchecked != 1 {
				t.Errorf("%s: kept %+v of %+v", name, c, found)
			}
			if name == "overtaken" && rec.Epoch != 7 {
				t.Errorf("the other's turn was overwritten: epoch %d", rec.Epoch)
			}
			late := &Compared{At: found.At.Add(-time.Second), Unchecked: 9}
			if err := p.note(context.Background(), late); err != nil || w.record(t, turnKey).Compared.Unchecked != 1 {
				t.Errorf("%s: an older result replaced a newer one (%v)", name, err)
			}
		})
	}
}

// comparing starts a replica that compares only when it is asked.
func comparing(t *testing.T) (*world, *process) {
	t.Helper()
	w := newWorld(t)
	p := w.start("r1", map[string]Bundle{"checkout": w.shop("checkout", 1)}, io.Discard)
	p.Engine.Inventory = stock{ports: p.ports}
	synctest.Wait()
	return w, p
}
