package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/whisk"
)

// workAge is how old the answer of Work may be: a storm of rotations asks once.
const workAge = 10 * time.Second

// running remembers what a host may be running.
type running struct {
	mu        sync.Mutex
	at        time.Time
	work      []rotator.Work
	sequences map[string][]string // components, by path and version
}

// Work lists the actions of a host, with one GET for every sequence that was not seen in this version before.
func (hs hosts) Work(ctx context.Context, name string) ([]rotator.Work, error) {
	h := hs[name]
	h.running.mu.Lock()
	defer h.running.mu.Unlock()
	if time.Since(h.running.at) < workAge {
		return h.running.work, nil
	}
	began := time.Now()
	rows, err := h.client.ListActions(ctx)
	if err != nil && !errors.Is(err, whisk.ErrUnstable) { // rows that moved have been written, not made: all are there
		return nil, whiskError(err)
	}
	work := make([]rotator.Work, len(rows))
	sequences, err := h.components(ctx, rows)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		work[i] = rotator.Work{Name: r.Path(), Timeout: r.Timeout, Components: sequences[versioned(r)]}
	}
	h.running.at, h.running.work, h.running.sequences = began, work, sequences
	return work, nil
}

func versioned(r whisk.Row) string { return r.Path() + "@" + r.Version }

// components reads the sequences among the rows, a bounded number at a time. The caller holds the lock.
func (h *host) components(ctx context.Context, rows []whisk.Row) (map[string][]string, error) {
	out := make(map[string][]string)
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(h.config.Parallel, 1))
	for _, r := range rows {
		if r.Kind != "sequence" {
			continue
		}
		if known, ok := h.running.sequences[versioned(r)]; ok {
			mu.Lock()
			out[versioned(r)] = known
			mu.Unlock()
			continue
		}
		g.Go(func() error {
			a, err := h.client.GetAction(ctx, r.Path())
			if err != nil && whisk.Classify(err) == whisk.NotFound {
				return nil // gone meanwhile
			}
			if err != nil {
				return fmt.Errorf("reading sequence %s: %w", r.Path(), whiskError(err))
			}
			mu.Lock()
			defer mu.Unlock()
			out[versioned(r)] = pathsOf(a.Components)
			return nil
		})
	}
	return out, g.Wait()
}

// pathsOf takes the namespace off: "/ns/package/action" is "package/action" here.
func pathsOf(components []string) []string {
	out := make([]string, len(components))
	for i, c := range components {
		_, out[i], _ = strings.Cut(strings.TrimPrefix(c, "/"), "/")
	}
	return out
}
