package rotator

import (
	"context"
	"sync"
)

// Seen remembers the packages read during one pass over the targets, so that each is read once however many
// of its actions are targets. It is safe for concurrent use.
type Seen struct {
	mu   sync.Mutex
	once map[string]*observation
}

type observation struct {
	done chan struct{}
	got  Observed
	err  error
}

// Once returns what read returns for this key, calling it only the first time.
func (s *Seen) Once(ctx context.Context, key string, read func() (Observed, error)) (Observed, error) {
	s.mu.Lock()
	if s.once == nil {
		s.once = make(map[string]*observation)
	}
	o, ok := s.once[key]
	if !ok {
		o = &observation{done: make(chan struct{})}
		s.once[key] = o
	}
	s.mu.Unlock()
	if !ok {
		o.got, o.err = read()
		close(o.done)
	}
	select {
	case <-o.done:
		return o.got, o.err
	case <-ctx.Done():
		return Observed{}, ctx.Err()
	}
}
