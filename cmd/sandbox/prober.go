package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator"
)

// A prober logs in with whatever is bound to each target, many times a second, as the actions would.
type prober struct {
	shop *shop
	ow   *openwhisk

	mu     sync.Mutex
	logins int
	failed []string
	end    func()
}

func (s *sandbox) startProber(ctx context.Context) *prober {
	p := &prober{shop: s.shop, ow: s.ow}
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for _, t := range s.shop.targets {
		for _, b := range s.shop.bundles {
			if bt, ok := b.target(t.Ref); ok {
				workers.Go(func() { p.watch(ctx, b, bt) })
			}
		}
	}
	p.end = sync.OnceFunc(func() { cancel(); workers.Wait() })
	s.later(p.end)
	return p
}

// watch tries one target until ctx ends.
func (p *prober) watch(ctx context.Context, b *bundle, t rotator.Target) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		p.try(ctx, b, t)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// try logs in with the bound credential. A refusal counts when the same credential is still bound afterwards:
// otherwise the time between reading it and using it was ours, and the next pass tries again.
func (p *prober) try(ctx context.Context, b *bundle, t rotator.Target) {
	values, whole, err := p.bound(ctx, b, t)
	if err == nil && !whole {
		return
	}
	if err == nil {
		err = b.login(ctx, values)
	}
	if errors.Is(err, errDead) {
		again, _, readErr := p.bound(ctx, b, t)
		if readErr == nil && !maps.Equal(values, again) {
			return
		}
	}
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logins++
	if err != nil {
		p.failed = append(p.failed, fmt.Sprintf("%s %s, bundle %s: %v", time.Now().Format("15:04:05.000"), t.Ref, b.name, err))
	}
}

func (p *prober) bound(ctx context.Context, b *bundle, t rotator.Target) (map[string]string, bool, error) {
	e, err := p.ow.get(ctx, t.Ref)
	if err != nil {
		return nil, false, err
	}
	values, whole := b.bound(t, texts(e.merged))
	return values, whole, nil
}

// result ends the prober and says what it saw.
func (p *prober) result() (logins int, failed []string) {
	p.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logins, p.failed
}
