package service

import (
	"context"
	"fmt"
	"maps"
	"slices"

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

// searchParallel is how many entities of a host are read at a time, unless the host allows fewer.
const searchParallel = 16

// NewSearch prepares to look for values on every configured host.
func NewSearch(cfg *config.Config, progress func(done, total int)) (rotator.Search, error) {
	platform, err := openHosts(cfg.Hosts)
	if err != nil {
		return rotator.Search{}, err
	}
	return search(cfg, platform, progress), nil
}

func search(cfg *config.Config, platform hosts, progress func(done, total int)) rotator.Search {
	parallel := searchParallel
	for _, h := range cfg.Hosts {
		parallel = min(parallel, max(h.Parallel, 1))
	}
	return rotator.Search{Entities: bindings{inventory{hosts: platform}}, Hosts: slices.Sorted(maps.Keys(cfg.Hosts)), Bundles: cfg.Bundles, Parallel: parallel, Progress: progress}
}
