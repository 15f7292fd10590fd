package rotator

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
)

// A Preview answers what a rotation would do. It only reads.
type Preview struct {
	Bundles  map[string]Bundle
	Secrets  Secrets
	Platform Platform
	Home     Home
	People   People // may be nil
	Log      zerolog.Logger
}

// Plan observes a bundle and its targets and returns what a rotation for this kind of event would do.
func (p Preview) Plan(ctx context.Context, bundle string, kind events.Kind) (Plan, error) {
	b, ok := p.Bundles[bundle]
	if !ok {
		return Plan{}, fmt.Errorf("planning: bundle %q is not in the configuration: %w", bundle, ErrNotFound)
	}
	e := &Engine{Config: Config{Bundles: p.Bundles, Secrets: p.Secrets, Platform: p.Platform, Zombie: defaultZombie}}
	facts, err := e.gather(ctx, b, b.Policy.Rule(kind))
	if err != nil {
		return Plan{}, fmt.Errorf("planning bundle %s: %w", bundle, err)
	}
	return Planned(facts), nil
}

// Resolve returns the bundles that an event touches, as the service would find them. A *IncompleteError comes beside those that could
// be found.
func (p Preview) Resolve(ctx context.Context, ev events.Event) ([]Hit, error) {
	t, err := p.Touched(ctx, ev)
	if err == nil && len(t.Refused) > 0 {
		err = &IncompleteError{Refused: t.Refused}
	}
	return t.Hits, err
}

// Touched returns all that there is to say about what an event touches.
func (p Preview) Touched(ctx context.Context, ev events.Event) (Touched, error) {
	r := &resolver{bundles: p.Bundles, secrets: p.Secrets, people: p.People, log: p.Log, vault: p.Home}
	return r.touched(ctx, ev)
}
