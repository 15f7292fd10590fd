package rotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// canary is part of every value in these tests: nothing outside Vault and PUT bodies may hold it.
const canary = "CANARY-7f3a"

// world is Vault, OpenWhisk, JetStream and the backends, in memory. It is a referee: after every write it checks
// that no target holds a dead credential, and that no target lost a parameter.
type world struct {
	t  testing.TB
	mu sync.Mutex

	secrets  map[string][]Snapshot
	anchors  map[string]*anchorState
	creds    map[string]*credState // by value
	targets  map[Ref]*targetState
	journal  map[string][]Stored
	gone     map[string]uint64 // last revision of what was forgotten
	watchers []chan Change
	outcomes map[string]events.Outcome
	raised   []events.Event
	told     []events.Outcome // in order, alarms that are told again included

	minted   int
	writes   []string // every external write, in order
	calls    map[string]int
	contain  bool             // a dead credential may be bound
	cut      string           // this one may be dead while it is bound
	end      time.Time        // of what is renewed; zero: never
	outage   map[string]error // what a call answers while its system is away
	violated []string
	fault    func(n int, point string) fault
	expiring time.Duration // how long a minted credential lasts that no handle can renew
	message  int           // largest that the stream takes
	tooLarge int
}

// fault is what happens to one write.
type fault int

const (
	none      fault = iota
	refusedIt       // not applied, the caller gets an error
	lostIt          // applied, the answer is lost
	dieBefore       // the process dies before the write
	dieAfter        // the process dies after the write
	lateLost        // the answer is lost, and the write is applied only just within the bound on stragglers
	lateDead        // the same, and the process dies
)

type anchorState struct {
	rotation  string
	confirmed bool
	revoked   bool
}

type credState struct {
	alive    bool
	rotation string
	anchor   string
}

type targetState struct {
	obs   Observed
	floor []string // parameters that must never disappear
	fail  func(n int) error
	again bool // a deploy puts the old values back after every PUT
	puts  int
}

func newWorld(t testing.TB) *world {
	return &world{
		t: t, secrets: make(map[string][]Snapshot), anchors: make(map[string]*anchorState), creds: make(map[string]*credState),
		targets: make(map[Ref]*targetState), journal: make(map[string][]Stored), gone: make(map[string]uint64), outcomes: make(map[string]events.Outcome), calls: make(map[string]int),
		message: 1 << 20,
	}
}

// shop fills the world with one bundle and n actions that hold its first generation.
func (w *world) shop(name string, n int) Bundle {
	first := secret.FromText(canary + "-" + name + "-first")
	w.creds[text(first)] = &credState{alive: true, rotation: "by hand", anchor: "acc-" + name}
	w.anchors["acc-"+name] = &anchorState{confirmed: true}
	set := secret.Set{"PASSWORD": first, "SMTP": secret.FromText("mail.example"), "RETRIES": must(secret.FromJSON([]byte("3")))}
	w.secrets["secret/"+name] = []Snapshot{{Version: 1, Set: set, Marker: Marker{Handles: []Handle{{Kind: "anchor", ID: "acc-" + name}}}}}
	b := Bundle{Name: name, Secret: "secret/" + name, Policy: Policy{}, Holders: []string{"alice@example.com"}}
	b.Credentials = []Credential{{Name: "db", Generate: Generator{Path: "database/creds/" + name}, Keys: map[string]string{"password": "PASSWORD"},
		Probe: Probe{Postgres: must(ParseTemplate("{{PASSWORD}}"))}}}
	for i := range n {
		ref := Ref{Host: "prod", Kind: Action, Name: fmt.Sprintf("%s-%d", name, i)}
		own := param.List{{Key: "PASSWORD", Value: first}, {Key: "SMTP", Value: set["SMTP"]}, {Key: "RETRIES", Value: set["RETRIES"]},
			{Key: "MINE", Value: secret.FromText("kept"), Init: true}}
		w.targets[ref] = &targetState{obs: Observed{Ref: ref, Version: "0.0.1", Parameters: own, Timeout: time.Minute}, floor: own.Keys()}
		b.Targets = append(b.Targets, Target{Ref: ref})
	}
	return b
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func text(v secret.Value) string { s, _ := v.Text(); return s }

// referee checks the promises that hold at every instant. The caller holds the lock.
func (w *world) referee(after string) {
	for ref, t := range w.targets {
		e, ok := t.obs.Parameters.Get("PASSWORD")
		if !ok {
			continue
		}
		if c := w.creds[text(e.Value)]; (c == nil || !c.alive) && !w.contain && text(e.Value) != w.cut {
			w.violated = append(w.violated, fmt.Sprintf("P3 after %s: %s holds a dead credential", after, ref))
		}
		for _, name := range t.floor {
			if _, ok := t.obs.Parameters.Get(name); !ok {
				w.violated = append(w.violated, fmt.Sprintf("P1 after %s: %s lost %s", after, ref, name))
			}
		}
	}
}

// ports is one process's connection to the world. After its death every call fails.
type ports struct {
	*world
	kill context.CancelFunc
	mu2  sync.Mutex
	dead bool
}

var errDead = errors.New("process is dead")

func (p *ports) died() bool { p.mu2.Lock(); defer p.mu2.Unlock(); return p.dead }

func (p *ports) die() { p.mu2.Lock(); p.dead = true; p.mu2.Unlock(); p.kill() }

// read guards a call that changes nothing.
func (p *ports) read(call string) error {
	if p.died() {
		return errDead
	}
	p.calls[call]++
	return p.outage[call]
}

// write performs one external write under the fault script. unknown is what a lost answer looks like here.
func (p *ports) write(point string, unknown error, do func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.died() {
		return errDead
	}
	p.calls[point]++
	if err := p.outage[point]; err != nil {
		return err
	}
	f := none
	if p.fault != nil {
		f = p.fault(len(p.writes), point)
	}
	p.writes = append(p.writes, point)
	switch f {
	case refusedIt:
		return fmt.Errorf("injected at %s: %w", point, unknown)
	case dieBefore:
		p.die()
		return errDead
	}
	if f == lateLost || f == lateDead {
		time.AfterFunc(defaultZombie-time.Second, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			_ = do()
			p.referee("late " + point)
		})
		if f == lateDead {
			p.die()
			return errDead
		}
		return fmt.Errorf("injected at %s: %w", point, unknown)
	}
	err := do()
	if err == nil { // otherwise nothing has changed
		p.referee(point)
	}
	switch {
	case f == dieAfter:
		p.die()
		return errDead
	case f == lostIt && err == nil:
		return fmt.Errorf("injected at %s: %w", point, unknown)
	}
	return err
}

func (p *ports) Read(_ context.Context, path string, version int) (Snapshot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.read("kv read"); err != nil {
		return Snapshot{}, err
	}
	vs := p.secrets[path]
	if len(vs) == 0 || version > len(vs) {
		return Snapshot{}, ErrNotFound
	}
	if version == 0 {
		version = len(vs)
	}
	s := vs[version-1]
	s.Set = maps.Clone(s.Set)
	s.Marker.Handles = slices.Clone(s.Marker.Handles)
	return s, nil
}

func (p *ports) Write(_ context.Context, path string, s Snapshot) (version int, err error) {
	err = p.write("kv write", ErrUnknown, func() error {
		if len(p.secrets[path]) != s.Version {
			return ErrConflict
		}
		s.Set = maps.Clone(s.Set)
		version = s.Version + 1
		s.Version = version
		p.secrets[path] = append(p.secrets[path], s)
		return nil
	})
	return version, err
}

func (p *ports) Key(context.Context) (secret.Key, error) {
	return secret.NewKey("test", []byte(strings.Repeat("k", secret.MinKeyBytes)))
}

func (p *ports) Anchor(_ context.Context, _, rotation string, _ uint64) (a Anchor, err error) {
	err = p.write("anchor", ErrUnknown, func() error {
		a.Accessor = fmt.Sprintf("acc-%d", len(p.anchors))
		a.Token = a.Accessor
		p.anchors[a.Accessor] = &anchorState{rotation: rotation}
		return nil
	})
	return a, err
}

func (p *ports) Mint(_ context.Context, a Anchor, m Mint) (out Minted, err error) {
	err = p.write("mint", ErrUnknown, func() error {
		if s := p.anchors[a.Accessor]; s == nil || s.revoked {
			return ErrPermanent
		}
		p.minted++
		v := secret.FromText(fmt.Sprintf("%s-%d", canary, p.minted))
		p.creds[text(v)] = &credState{alive: true, rotation: m.Rotation, anchor: a.Accessor}
		out = Minted{Fields: secret.Set{"password": v}, Handles: []Handle{{Kind: "lease", ID: a.Accessor + "/lease"}}}
		if p.expiring > 0 {
			out.Handles, out.Expires = nil, time.Now().Add(p.expiring)
		}
		return nil
	})
	return out, err
}

func (p *ports) Confirm(_ context.Context, accessor string) error {
	return p.write("confirm", ErrUnavailable, func() error {
		if s := p.anchors[accessor]; s == nil || s.revoked {
			return ErrPermanent
		}
		p.anchors[accessor].confirmed = true
		return nil
	})
}

func (p *ports) Renew(context.Context, []Handle) (next, end time.Time, err error) {
	err = p.write("renew", ErrUnavailable, func() error { return nil })
	return time.Now().Add(time.Hour), p.end, err
}

// kill revokes an anchor with what hangs on it. The caller holds the lock.
func (w *world) killAnchor(accessor string) {
	if s := w.anchors[accessor]; s != nil {
		s.revoked = true
	}
	for _, c := range w.creds {
		if c.anchor == accessor {
			c.alive = false
		}
	}
}

func (p *ports) Revoke(_ context.Context, hs []Handle) error {
	return p.ports("revoke", func() {
		for _, h := range hs {
			if h.Kind == "anchor" {
				p.killAnchor(h.ID)
			}
		}
	})
}

func (p *ports) Abort(_ context.Context, _, anchor string, _ []Mint) error {
	return p.ports("abort", func() { p.killAnchor(anchor) })
}

func (p *ports) ports(point string, do func()) error {
	return p.write(point, ErrUnavailable, func() error { do(); return nil })
}

func (p *ports) Adopt(context.Context, Credential, secret.Set) ([]Handle, error) { return nil, nil }

func (p *ports) Probe(_ context.Context, pr Probe, set secret.Set) error {
	v, err := pr.Postgres.Render(set)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.read("probe"); err != nil {
		return err
	}
	if c := p.creds[text(v)]; c == nil || !c.alive {
		return ErrRejected
	}
	return nil
}

func (p *ports) Observe(_ context.Context, r Ref, _ *Seen) (Observed, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.read("get"); err != nil {
		return Observed{}, err
	}
	t := p.targets[r]
	if t == nil {
		return Observed{}, ErrNotFound
	}
	o := t.obs
	o.Parameters = slices.Clone(o.Parameters)
	o.Annotations = slices.Clone(o.Annotations)
	return o, nil
}

func (p *ports) Put(_ context.Context, r Ref, wr Write) (out Written, err error) {
	err = p.write("put", ErrUnknown, func() error {
		t := p.targets[r]
		if t == nil {
			return ErrNotFound
		}
		t.puts++
		if t.fail != nil {
			if err := t.fail(t.puts); err != nil {
				return err
			}
		}
		before := t.obs.Parameters
		head, patch, _ := cutLast(t.obs.Version)
		var n int
		_, _ = fmt.Sscan(patch, &n)
		t.obs.Version = fmt.Sprintf("%s.%d", head, n+1)
		t.obs.Parameters = slices.Clone(wr.Parameters)
		for _, a := range wr.Annotations {
			t.obs.Annotations = append(slices.DeleteFunc(t.obs.Annotations, func(o Annotation) bool { return o.Key == a.Key }), a)
		}
		out = Written{Version: t.obs.Version, Parameters: slices.Clone(wr.Parameters)}
		if t.again {
			t.obs.Version, t.obs.Parameters = fmt.Sprintf("%s.%d", head, n+2), before
		}
		return nil
	})
	return out, err
}

func (p *ports) Touch(context.Context, Ref) error {
	return p.write("touch", ErrUnknown, func() error { return nil })
}

func (p *ports) Limits(context.Context, string) (Limits, error) {
	return Limits{ParameterBytes: 1 << 20, Parallel: 4}, nil
}

func (p *ports) Work(context.Context, string) ([]Work, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return nil, p.read("work")
}

func (p *ports) Get(_ context.Context, key string) ([]byte, uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.read("journal get"); err != nil {
		return nil, 0, err
	}
	h := p.journal[key]
	if len(h) == 0 || h[len(h)-1].Value == nil {
		return nil, 0, ErrNotFound
	}
	return h[len(h)-1].Value, h[len(h)-1].Revision, nil
}

// journalPort gives the journal's Put its own name: Platform has a Put as well.
type journalPort struct{ *ports }

func (p journalPort) Put(_ context.Context, key string, value []byte, revision uint64) (at uint64, err error) {
	err = p.write("journal put", ErrUnknown, func() error {
		h := p.journal[key]
		var head Stored
		if len(h) > 0 {
			head = h[len(h)-1]
		}
		if head.Revision != revision && (head.Value != nil || revision != 0) {
			return ErrConflict
		}
		if strings.Contains(string(value), canary) {
			p.violated = append(p.violated, "P7: the journal holds a value")
		}
		if len(value) > p.message {
			p.tooLarge++
			return ErrTooLarge
		}
		at = max(head.Revision, p.gone[key]) + 1
		s := Stored{Value: value, Revision: at}
		p.journal[key] = append(h, s)
		p.hint(Change{Key: key, Stored: s})
		return nil
	})
	return at, err
}

// hint tells who watches the journal. The caller holds the lock.
func (w *world) hint(c Change) {
	for _, ch := range w.watchers {
		select {
		case ch <- c:
		default: // hints may be lost
		}
	}
}

// remove deletes a record, as a person does with a key-value tool.
func (w *world) remove(key string, hint bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.journal[key]
	s := Stored{Revision: h[len(h)-1].Revision + 1}
	w.journal[key] = append(h, s)
	if hint {
		w.hint(Change{Key: key, Stored: s, Deleted: true})
	}
}

func (p *ports) Forget(_ context.Context, key string, revision uint64) error {
	return p.ports("forget", func() {
		h := p.journal[key]
		if h = slices.DeleteFunc(slices.Clone(h), func(s Stored) bool { return s.Revision <= revision }); len(h) > 0 {
			p.journal[key] = h
			return
		}
		p.gone[key] = revision
		delete(p.journal, key)
	})
}

func (p *ports) List(context.Context) (map[string]Stored, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.read("journal list"); err != nil {
		return nil, err
	}
	out := make(map[string]Stored)
	for key, h := range p.journal {
		if s := h[len(h)-1]; s.Value != nil {
			out[key] = s
		}
	}
	return out, nil
}

func (p *ports) Watch(ctx context.Context) <-chan Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	ch := make(chan Change, 64)
	p.watchers = append(p.watchers, ch)
	context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.watchers = slices.DeleteFunc(p.watchers, func(c chan Change) bool { return c == ch })
		close(ch)
	})
	return ch
}

func (p *ports) Outcome(_ context.Context, o events.Outcome) error {
	return p.write("outcome", ErrUnavailable, func() error {
		if body, err := events.EncodeOutcome(o); err != nil {
			return err
		} else if len(body) > p.message {
			p.tooLarge++
			return ErrTooLarge
		}
		p.outcomes[named(o)] = o
		p.told = append(p.told, o)
		return nil
	})
}

func (p *ports) Raise(_ context.Context, e events.Event) error {
	return p.ports("raise", func() { p.raised = append(p.raised, e) })
}

// named is what an outcome is found by; an event may be held more than once.
func named(o events.Outcome) string {
	if o.Result == events.ResultHeld {
		return o.Key()
	}
	return o.Rotation + " " + o.Result
}

// entries is one version of a bundle as a parameter list.
func (w *world) entries(path string, version int) (l param.List) {
	for key, v := range w.secrets[path][version-1].Set {
		l = append(l, param.Entry{Key: key, Value: v})
	}
	return l
}
