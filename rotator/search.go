package rotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

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
	Hides    map[string]bool   // hosts where a GET does not show the values
	Bundles  map[string]Bundle // to say which of them a place belongs to
	Secrets  Secrets           // may be nil: then what annotations say of hidden values is not followed
	Parallel int
	Progress func(done, total int) // may be nil; called from several goroutines
}

// Found is the answer of a Search. What could not be looked at may hold the value as well.
type Found struct {
	Places   []Place  `json:"places"`
	Searched int      `json:"searched"`
	Hidden   []Hidden `json:"hidden,omitempty"`
	Unread   []string `json:"unread,omitempty"` // entities and whole hosts, with the reason

	hidden []Ref // entities with values that were not shown
}

// Hidden counts the entities of a host whose values were not shown and of which no annotation says that they hold what is looked for.
type Hidden struct {
	Host     string `json:"host"`
	Entities int    `json:"entities"`
}

// String is one line for people.
func (h Hidden) String() string {
	return fmt.Sprintf("%d entities of host %s could not be compared: it hides values", h.Entities, h.Host)
}

// Run finds every place that holds what is looked for. Values are compared in memory and go nowhere. What cannot be read is named in the
// answer, and does not hold up the rest.
func (s Search) Run(ctx context.Context, sought Sought) Found {
	w := &walk{Search: s, sought: sought, versions: make(map[string]*version), providers: make(map[Ref]string), found: Found{Places: []Place{}}}
	var wg sync.WaitGroup
	for _, host := range s.Hosts {
		wg.Go(func() { w.host(ctx, host) })
	}
	wg.Wait()
	w.finish()
	return w.found
}

// A walk is one run of a Search.
type walk struct {
	Search
	sought Sought

	mu        sync.Mutex
	found     Found
	done      int
	total     int
	providers map[Ref]string // of bindings

	reading  sync.Mutex
	versions map[string]*version
}

// deaf is after how many failures in a row a host is left alone.
const deaf = 32

// host looks at everything on one host.
func (w *walk) host(ctx context.Context, host string) {
	refs := w.list(ctx, host)
	w.mu.Lock()
	w.total += len(refs)
	w.mu.Unlock()
	gate := make(chan struct{}, max(w.Parallel, 1))
	var wg sync.WaitGroup
	defer wg.Wait()
	var mu sync.Mutex
	failed := 0
	for i, ref := range refs {
		gate <- struct{}{}
		mu.Lock()
		why := map[bool]string{true: "it does not answer"}[failed >= deaf]
		mu.Unlock()
		if ctx.Err() != nil {
			why = "the time was up"
		}
		if why != "" {
			w.unread("host %s: %d of its entities were not read: %s", host, len(refs)-i, why)
			return
		}
		wg.Go(func() {
			defer func() { <-gate }()
			err := w.look(ctx, ref)
			w.progress()
			mu.Lock()
			defer mu.Unlock()
			if failed++; err == nil || errors.Is(err, ErrPermanent) {
				failed = 0
			}
		})
	}
}

// list names everything on a host.
func (w *walk) list(ctx context.Context, host string) (refs []Ref) {
	for _, kind := range []Kind{Package, Action, Trigger} {
		rows, err := w.Entities.Rows(ctx, host, kind)
		if err != nil {
			w.unread("host %s: its %ss cannot be listed: %v", host, kind, err)
			if !errors.Is(err, ErrPermanent) {
				return refs // asking for the rest would only take time
			}
		}
		for _, r := range rows {
			ref := Ref{Host: host, Kind: kind, Name: r.Name}
			refs = append(refs, ref)
			if r.Provider != "" {
				w.mu.Lock()
				w.providers[ref] = r.Provider
				w.mu.Unlock()
			}
		}
	}
	return refs
}

func (w *walk) progress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done++; w.Progress != nil {
		w.Progress(w.done, w.total)
	}
}

func (w *walk) unread(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found.Unread = append(w.found.Unread, fmt.Sprintf(format, args...))
}

// look reads one entity.
func (w *walk) look(ctx context.Context, ref Ref) error {
	params, annotations, err := w.Entities.Bindings(ctx, ref)
	if errors.Is(err, ErrNotFound) { // it went meanwhile, and holds nothing
		params, annotations, err = nil, nil, nil
	}
	if err != nil {
		w.unread("%s: %v", ref, err)
		return err
	}
	places, hidden := w.compare(ref, params, annotations)
	if len(hidden) > 0 {
		stamped, serr := w.stamped(ctx, ref, annotations, hidden)
		if serr != nil {
			w.unread("%s: its annotation cannot be followed: %v", ref, serr)
		}
		places = append(places, stamped...)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found.Places = append(w.found.Places, places...)
	if len(hidden) > 0 {
		w.found.hidden = append(w.found.hidden, ref)
	}
	w.found.Searched++
	return nil
}

// compare looks at what was read. hidden are the parameters that were not shown; they are tried all the same: what a host has stored before
// it began to hide values is in clear.
func (w *walk) compare(ref Ref, params param.List, annotations []Annotation) (places []Place, hidden []param.Entry) {
	add := func(p Place, v secret.Value) bool {
		findings := within(v, w.sought)
		for _, f := range findings {
			p.which, p.Inside, p.How = f.which, f.at, f.how
			places = append(places, p)
		}
		return len(findings) > 0
	}
	for _, p := range params {
		if !add(Place{Target: ref, Parameter: p.Key, Init: p.Init}, p.Value) && (w.Hides[ref.Host] || p.Encryption != "") {
			hidden = append(hidden, p)
		}
	}
	for _, a := range annotations {
		if v, err := secret.FromJSON(a.Value); err == nil && a.Key != AnnotationKey {
			add(Place{Target: ref, Annotation: a.Key}, v)
		}
	}
	return places, hidden
}

// A version of a bundle, with what of it is looked for.
type version struct {
	set   secret.Set
	found map[string][]finding // by key
	err   error
}

// version reads what a target says that it holds, once.
func (w *walk) version(ctx context.Context, b Bundle, n int) *version {
	w.reading.Lock()
	defer w.reading.Unlock()
	id := fmt.Sprint(b.Name, " ", n)
	if v, ok := w.versions[id]; ok {
		return v
	}
	v := &version{found: make(map[string][]finding)}
	w.versions[id] = v
	s, err := w.Secrets.Read(ctx, b.Secret, n)
	if err != nil {
		v.err = fmt.Errorf("reading version %d of bundle %s: %w", n, b.Name, err)
		return v
	}
	v.set = s.Set
	for key, value := range s.Set {
		v.found[key] = within(value, w.sought)
	}
	return v
}

// stamped finds places by the annotation of a target whose values are hidden: it names the version of the bundle that was written there.
func (w *walk) stamped(ctx context.Context, ref Ref, annotations []Annotation, hidden []param.Entry) (places []Place, err error) {
	if w.Secrets == nil {
		return nil, nil
	}
	for name, stamp := range stamps(annotations) {
		b, known := w.Bundles[name]
		if !known || stamp.Version == 0 {
			continue
		}
		v := w.version(ctx, b, stamp.Version)
		if v.err != nil {
			if !errors.Is(v.err, ErrNotFound) {
				err = errors.Join(err, v.err)
			}
			continue
		}
		key, kerr := w.Secrets.Key(ctx)
		if kerr != nil {
			return places, errors.Join(err, fmt.Errorf("reading the fingerprint key: %w", kerr))
		}
		t := Target{Ref: ref}
		if i := slices.IndexFunc(b.Targets, func(t Target) bool { return t.Ref == ref }); i >= 0 {
			t = b.Targets[i]
		}
		how := fmt.Sprintf("by its annotation: KV version %d of %s", stamp.Version, name)
		if stampFor(key, t, v.set, stamp.Rotation, stamp.Version) != stamp {
			how += ", delivered otherwise than configured now"
		}
		for from, to := range t.Params(slices.Collect(maps.Keys(v.set))) {
			i := slices.IndexFunc(hidden, func(e param.Entry) bool { return e.Key == to })
			if i < 0 {
				continue
			}
			for _, f := range v.found[from] {
				f = f.by(how)
				places = append(places, Place{Target: ref, Parameter: to, Inside: f.at, How: f.how, Init: hidden[i].Init, which: f.which})
			}
		}
	}
	return places, err
}

// finish orders what was found, and says which places belong to a bundle, which a rotation replaces, and which are inherited.
func (w *walk) finish() {
	f := &w.found
	for i := range f.Places {
		p := &f.Places[i]
		for _, name := range slices.Sorted(maps.Keys(w.Bundles)) {
			b := w.Bundles[name]
			if slices.ContainsFunc(b.Targets, func(t Target) bool { return t.Ref == p.Target }) {
				p.Bundles = append(p.Bundles, name)
			}
			if p.Annotation == "" && b.replacesOn(p.Target, p.Parameter) {
				p.ReplacedBy = append(p.ReplacedBy, name)
			}
		}
	}
	w.inherit()
	slices.SortFunc(f.Places, Place.order)
	slices.Sort(f.Unread)
	count := make(map[string]int)
	for _, r := range f.hidden {
		if !slices.ContainsFunc(f.Places, func(p Place) bool { return p.Target == r }) {
			count[r.Host]++
		}
	}
	for _, host := range slices.Sorted(maps.Keys(count)) {
		f.Hidden = append(f.Hidden, Hidden{host, count[host]})
	}
}

// inherit marks what is a package's. What a rotation replaces there is new wherever it is inherited.
func (w *walk) inherit() {
	type spot struct {
		pkg               Ref
		parameter, inside string
		which             int
	}
	origin := make(map[spot]Place)
	for _, p := range w.found.Places {
		if p.Target.Kind == Package && p.Annotation == "" {
			origin[spot{p.Target, p.Parameter, p.Inside, p.which}] = p
		}
	}
	for i := range w.found.Places {
		p := &w.found.Places[i]
		from := w.from(p.Target)
		o, ok := origin[spot{Ref{Host: p.Target.Host, Kind: Package, Name: from}, p.Parameter, p.Inside, p.which}]
		if !ok || p.Annotation != "" {
			continue
		}
		p.Inherited, p.From = true, from
		if len(p.ReplacedBy) == 0 {
			p.ReplacedBy = o.ReplacedBy
		}
	}
}

// from is the package that an entity inherits from: that of an action, the provider of a binding.
func (w *walk) from(r Ref) string {
	if r.Kind == Package {
		return w.providers[r]
	}
	if pkg, _, packaged := strings.Cut(r.Name, "/"); packaged && r.Kind == Action {
		return pkg
	}
	return ""
}
