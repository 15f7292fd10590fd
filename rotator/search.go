package rotator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// A Place is where a value was found on a host. It holds no value.
type Place struct {
	Target     Ref      `json:"target"`
	Parameter  string   `json:"parameter,omitempty"`
	Inside     string   `json:"inside,omitempty"`     // of an object or a list: "db.password", "keys[2]"
	Annotation string   `json:"annotation,omitempty"` // instead of a parameter
	Init       bool     `json:"init,omitempty"`       // delivered as environment
	Inherited  bool     `json:"inherited,omitempty"`  // it is its package's
	Bundles    []string `json:"bundles,omitempty"`    // that have this target
}

// String is one line for people.
func (p Place) String() string {
	what := "parameter " + p.Parameter
	if p.Annotation != "" {
		what = "annotation " + p.Annotation
	}
	if p.Inside != "" {
		what += ", inside at " + p.Inside
	}
	if p.Init {
		what += " (init)"
	}
	if p.Inherited {
		what += " (from the package)"
	}
	return fmt.Sprintf("bound on %s as %s", p.Target, what)
}

// Entities reads everything that could hold a value.
type Entities interface {
	// Rows lists all entities of one kind on a host.
	Rows(ctx context.Context, host string, kind Kind) ([]Row, error)
	// Bindings reads the parameters and annotations of an entity with one GET.
	Bindings(ctx context.Context, r Ref) (param.List, []Annotation, error)
}

// A Search looks for values on hosts. Every page is listed once and every entity read once, Parallel of a host at a time.
type Search struct {
	Entities Entities
	Hosts    []string
	Bundles  map[string]Bundle // to say which of them a place belongs to
	Parallel int
	Progress func(done, total int) // may be nil; called from several goroutines
}

// Found is the answer of a Search. Unread are entities that could not be looked at.
type Found struct {
	Places   []Place  `json:"places"`
	Searched int      `json:"searched"`
	Unread   []string `json:"unread,omitempty"`
}

// Run finds every place that holds a value which matches. Values are compared in memory, nested ones too, and go nowhere.
func (s Search) Run(ctx context.Context, matches func(secret.Value) bool) (Found, error) {
	refs, err := s.list(ctx)
	if err != nil {
		return Found{}, err
	}
	found := Found{Searched: len(refs), Places: []Place{}}
	var mu sync.Mutex
	var done atomic.Int64
	gates := make(map[string]chan struct{})
	for _, h := range s.Hosts {
		gates[h] = make(chan struct{}, max(s.Parallel, 1))
	}
	var wg sync.WaitGroup
	for _, ref := range refs {
		if ctx.Err() != nil {
			break
		}
		gates[ref.Host] <- struct{}{}
		wg.Go(func() {
			defer func() { <-gates[ref.Host] }()
			places, err := s.look(ctx, ref, matches)
			mu.Lock()
			defer mu.Unlock()
			found.Places = append(found.Places, places...)
			if err != nil && !errors.Is(err, ErrNotFound) { // one that went meanwhile holds nothing
				found.Unread = append(found.Unread, fmt.Sprintf("%s: %v", ref, err))
			}
			if s.Progress != nil {
				s.Progress(int(done.Add(1)), len(refs))
			}
		})
	}
	wg.Wait()
	s.finish(&found)
	return found, ctx.Err()
}

// list names everything on the hosts, packages first.
func (s Search) list(ctx context.Context) (refs []Ref, err error) {
	for _, kind := range []Kind{Package, Action, Trigger} {
		for _, host := range s.Hosts {
			rows, err := s.Entities.Rows(ctx, host, kind)
			if err != nil {
				return nil, fmt.Errorf("listing the %ss of host %s: %w", kind, host, err)
			}
			for _, r := range rows {
				refs = append(refs, Ref{Host: host, Kind: kind, Name: r.Name})
			}
		}
	}
	return refs, nil
}

func (s Search) look(ctx context.Context, ref Ref, matches func(secret.Value) bool) (out []Place, err error) {
	params, annotations, err := s.Entities.Bindings(ctx, ref)
	if err != nil {
		return nil, err
	}
	for _, p := range params {
		for inside := range within(p.Value, matches) {
			out = append(out, Place{Target: ref, Parameter: p.Key, Inside: inside, Init: p.Init})
		}
	}
	for _, a := range annotations {
		if a.Key == AnnotationKey {
			continue
		}
		v, err := secret.FromJSON(a.Value)
		if err != nil {
			continue
		}
		for inside := range within(v, matches) {
			out = append(out, Place{Target: ref, Annotation: a.Key, Inside: inside})
		}
	}
	return out, nil
}

// finish orders the places, and says which are a package's and which belong to a bundle.
func (s Search) finish(f *Found) {
	packages := make(map[string]bool)
	for _, p := range f.Places {
		if p.Target.Kind == Package && p.Annotation == "" {
			packages[p.Target.Host+" "+p.Target.Name+" "+p.Parameter+" "+p.Inside] = true
		}
	}
	for i := range f.Places {
		p := &f.Places[i]
		if pkg, _, packaged := strings.Cut(p.Target.Name, "/"); packaged && p.Target.Kind == Action && p.Annotation == "" {
			p.Inherited = packages[p.Target.Host+" "+pkg+" "+p.Parameter+" "+p.Inside]
		}
		for _, name := range slices.Sorted(maps.Keys(s.Bundles)) {
			if slices.ContainsFunc(s.Bundles[name].Targets, func(t Target) bool { return t.Ref == p.Target }) {
				p.Bundles = append(p.Bundles, name)
			}
		}
	}
	slices.SortFunc(f.Places, func(a, b Place) int {
		if a.Target.Kind != b.Target.Kind {
			return int(a.Target.Kind) - int(b.Target.Kind)
		}
		return strings.Compare(a.String(), b.String())
	})
	slices.Sort(f.Unread)
}

// within yields where in a value something matches: "" for the value itself.
func within(v secret.Value, matches func(secret.Value) bool) map[string]bool {
	out := make(map[string]bool)
	if matches(v) {
		out[""] = true
		return out
	}
	var walk func(raw json.RawMessage, at string)
	walk = func(raw json.RawMessage, at string) {
		var object map[string]json.RawMessage
		var list []json.RawMessage
		switch {
		case json.Unmarshal(raw, &object) == nil && object != nil:
			for name, member := range object {
				walk(member, joinPath(at, name))
			}
			return
		case json.Unmarshal(raw, &list) == nil && list != nil:
			for i, item := range list {
				walk(item, at+"["+strconv.Itoa(i)+"]")
			}
			return
		}
		if leaf, err := secret.FromJSON(raw); err == nil && at != "" && matches(leaf) {
			out[at] = true
		}
	}
	walk(v.Reveal(), "")
	return out
}

func joinPath(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// Matcher makes fingerprints into what Search asks for.
func Matcher(key secret.Key, fps []events.Fingerprint) func(secret.Value) bool {
	return func(v secret.Value) bool {
		return slices.ContainsFunc(fps, func(fp events.Fingerprint) bool {
			return (fp.Alg != "hmac-sha256" || fp.KeyID == key.ID()) && key.Matches(fp.Alg, fp.Value, v)
		})
	}
}
