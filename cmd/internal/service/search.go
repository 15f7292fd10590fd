package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/whisk"
)

// bindings reads what could hold a value, with one GET for each entity.
type bindings struct{ inventory }

var _ rotator.Entities = bindings{}

// Bindings reads one entity.
func (b bindings) Bindings(ctx context.Context, r rotator.Ref) (param.List, []rotator.Annotation, error) {
	c := b.hosts[r.Host].client
	var e whisk.Entity
	var err error
	switch r.Kind {
	case rotator.Action:
		var a whisk.Action
		a, err = c.GetAction(ctx, r.Name)
		e = a.Entity
	case rotator.Package:
		var p whisk.Package
		p, err = c.GetPackage(ctx, r.Name)
		e = p.Entity
	case rotator.Trigger:
		var t whisk.Trigger
		t, err = c.GetTrigger(ctx, r.Name)
		e = t.Entity
	default:
		return nil, nil, fmt.Errorf("%s has no kind: %w", r, rotator.ErrPermanent)
	}
	if err != nil {
		return nil, nil, whiskError(err)
	}
	return e.Parameters, observed(r, e).Annotations, nil
}

// Rows lists one kind of entity.
func (b bindings) Rows(ctx context.Context, host string, kind rotator.Kind) ([]rotator.Row, error) {
	rows, err := b.hosts.list(ctx, host, kind)
	if err != nil && !errors.Is(err, whisk.ErrUnstable) { // rows that moved have been written, not made: all are there
		return nil, whiskError(err)
	}
	out := make([]rotator.Row, len(rows))
	for i, r := range rows {
		out[i] = rotator.Row{Name: r.Path(), Version: r.Version}
		if ns, provider, bound := strings.Cut(r.Binding, "/"); bound && ns == r.Namespace {
			out[i].Provider = provider
		}
	}
	return out, nil
}

// searchParallel is how many entities of a host are read at a time, unless the host allows fewer.
const searchParallel = 16

// besideRotations is the part that a search of the service takes of a host: a quarter.
const besideRotations = 4

// NewSearch prepares to look for values on every configured host.
func NewSearch(cfg *config.Config, secrets rotator.Secrets, progress func(done, total int)) (rotator.Search, error) {
	platform, err := openHosts(cfg.Hosts)
	if err != nil {
		return rotator.Search{}, err
	}
	return search(cfg, platform, secrets, 1, progress), nil
}

// search leaves to others all but one of so many parts of what a host does at a time.
func search(cfg *config.Config, platform hosts, secrets rotator.Secrets, part int, progress func(done, total int)) rotator.Search {
	s := rotator.Search{Entities: bindings{inventory{hosts: platform}}, Hosts: slices.Sorted(maps.Keys(cfg.Hosts)), Bundles: cfg.Bundles, Secrets: secrets, Parallel: searchParallel,
		Hides: make(map[string]bool), Progress: progress}
	for name, h := range cfg.Hosts {
		s.Parallel = min(s.Parallel, max(h.Parallel/part, 1))
		s.Hides[name] = h.HidesValues
	}
	return s
}
