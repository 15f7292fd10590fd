package rotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

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
	Disable  bool   // as of Config
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

// Ends lists the logins that the service would end for an event.
func (p Preview) Ends(ev events.Event, t Touched) []string {
	if ev.Offboarding == nil || !(&Engine{Config: Config{People: p.People, Disable: p.Disable}}).ends(*ev.Offboarding) {
		return nil
	}
	if len(t.Accounts)+len(t.Refused) == 0 && !ev.Offboarding.EffectiveAt.After(time.Now()) {
		return nil
	}
	return []string{Departure{Names: called(ev.Offboarding.Person), Accounts: t.Accounts}.Ends()}
}

// A Kept is a key of a bundle that holds what was looked for.
type Kept struct {
	Bundle, Key string
	Inside, How string // as of a Place
	Changes     bool   // a rotation gives the key another value
}

// Keeps looks for values in the newest version of every bundle, in all the ways in which a Search looks for them on the hosts. unread are
// the bundles that could not be looked at, with the reason.
func (p Preview) Keeps(ctx context.Context, sought Sought) (found []Kept, unread []string) {
	for _, name := range slices.Sorted(maps.Keys(p.Bundles)) {
		b := p.Bundles[name]
		s, err := p.Secrets.Read(ctx, b.Secret, 0)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			unread = append(unread, fmt.Sprintf("bundle %s: %v", name, err))
			continue
		}
		changes := b.changes()
		for _, key := range slices.Sorted(maps.Keys(s.Set)) {
			for _, f := range within(s.Set[key], sought) {
				found = append(found, Kept{Bundle: name, Key: key, Inside: f.at, How: f.how, Changes: changes[key]})
			}
		}
	}
	return found, unread
}
