package rotator

import (
	"fmt"
	"sync"
)

// enough failures of a host, and no answer, say that it is away.
const enough = 3

// health is how the hosts answer during one look at many targets, so that one that is away costs a few time-outs and not hundreds.
type health struct {
	mu       sync.Mutex
	failures map[string]int // -1: it has answered
	last     map[string]error
}

func newHealth() *health {
	return &health{failures: make(map[string]int), last: make(map[string]error)}
}

// of is the error of a host that seems to be away.
func (h *health) of(host string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures[host] < enough {
		return nil
	}
	return fmt.Errorf("host %s does not answer: %w", host, h.last[host])
}

func (h *health) note(host string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		h.failures[host] = -1
	case h.failures[host] >= 0:
		h.failures[host]++
		h.last[host] = err
	}
}
