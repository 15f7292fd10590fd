package rotator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// A Row is one line of a host's list.
type Row struct {
	Name     string // "name" or "package/name"
	Version  string
	Provider string // of a binding: the package in the same namespace that it refers to
}

// A Drift is a target that does not hold its bundle's live version any more.
type Drift struct {
	Bundle  string `json:"bundle"`
	Target  Ref    `json:"target"`
	Text    string `json:"text"`
	Applied bool   `json:"applied,omitempty"` // applying it again has been journalled
}

// rows reads each list that is needed once.
func (e *Engine) rows(ctx context.Context, records map[string]Record) (map[Ref]string, error) {
	type list struct {
		host string
		kind Kind
	}
	done := make(map[list]bool)
	out := make(map[Ref]string)
	for name, rec := range records {
		if rec.State != Idle || rec.Last() == nil {
			continue
		}
		for _, t := range e.Bundles[name].Targets {
			l := list{t.Host, t.Kind}
			if done[l] {
				continue
			}
			rows, err := e.Inventory.Rows(ctx, l.host, l.kind)
			if err != nil {
				return nil, fmt.Errorf("listing the %ss of host %s: %w", l.kind, l.host, err)
			}
			for _, r := range rows {
				out[Ref{Host: l.host, Kind: l.kind, Name: r.Name}] = r.Version
			}
			done[l] = true
		}
	}
	return out, nil
}

// drifts finds targets of one idle bundle that were overwritten. A version that is still that of our PUT needs no look;
// the others are read and compared by value, because a deploy that changes nothing is no drift.
func (e *Engine) drifts(ctx context.Context, b Bundle, rec Record, versions map[Ref]string) ([]Drift, error) {
	last := rec.Last()
	if rec.State != Idle || last == nil || rec.Live == nil {
		return nil, nil
	}
	var out []Drift
	suspects := make(map[Ref]bool)
	for _, t := range b.Targets {
		version, exists := versions[t.Ref]
		switch {
		case !exists:
			out = append(out, Drift{Bundle: b.Name, Target: t.Ref, Text: "it does not exist any more; deploy it, or take it out of the bundle's targets"})
		case !slices.ContainsFunc(last.Targets, func(s TargetState) bool { return s.Ref == t.Ref && s.After == version }):
			suspects[t.Ref] = true
		}
	}
	if len(suspects) == 0 {
		return out, nil
	}
	facts, err := e.glance(ctx, b, b.Policy.Rule(events.KindManual))
	if err != nil {
		return out, err
	}
	live, err := e.Secrets.Read(ctx, b.Secret, rec.Live.Version)
	if err != nil {
		return out, fmt.Errorf("reading version %d of bundle %s: %w", rec.Live.Version, b.Name, err)
	}
	for _, s := range facts.Sights {
		if !suspects[s.Target.Ref] || errors.Is(s.Err, ErrNotFound) {
			continue
		}
		if text := drifted(facts, s, live, rec); text != "" {
			out = append(out, Drift{Bundle: b.Name, Target: s.Target.Ref, Text: text})
		}
	}
	return out, nil
}

// drifted says what a target lacks of the live version, by name, or "".
func drifted(f Facts, s Sight, live Snapshot, rec Record) string {
	if s.Err != nil {
		return "it cannot be read: " + s.Err.Error()
	}
	if f.Limits[s.Target.Host].HidesValues {
		if got := stamps(s.Observed.Annotations)[f.Bundle.Name].Version; got != rec.Live.Version {
			return fmt.Sprintf("its annotation names KV version %d, the live one is %d", got, rec.Live.Version)
		}
		return ""
	}
	c := compose(s.Target, f.Bundle.Name, live.Set, s.Observed, expected(f, s, live.Set), Stamp{})
	if differ := slices.Concat(c.changed, c.added); len(differ) > 0 {
		return fmt.Sprintf("it does not hold KV version %d any more: %s", rec.Live.Version, names(differ))
	}
	return ""
}

// reapply journals that the live version is to be written again. Nothing is minted and nothing revoked. It goes the way
// of every rotation, so that a crash on the way changes nothing.
func (e *Engine) reapply(ctx context.Context, name string, s Stored, why string) error {
	rec, err := DecodeRecord(s.Value)
	if err != nil {
		return err
	}
	if rec.State != Idle || rec.Owner != "" || rec.Live == nil {
		return fmt.Errorf("bundle %s is in work: %w", name, ErrConflict)
	}
	now := e.Now()
	rec.Epoch++
	rec.State = Applying
	rec.Rotation = &Rotation{
		ID: rotationID(name, rec.Epoch, now), Kind: events.KindManual, Reapply: true, Started: now, Base: rec.Live.Version,
		Events: []Waiting{{Event: "reconcile " + name, ID: "urn:rotator reconcile", Kind: events.KindManual, Stored: now, Why: why}},
		New:    *rec.Live, Desired: rec.Live.Version, Deadline: now.Add(DefaultPatience),
	}
	rec.Rotation.step("claimed", now)
	value, err := rec.Encode()
	if err != nil {
		return err
	}
	at, err := e.Journal.Put(ctx, name, value, s.Revision)
	if err != nil {
		return fmt.Errorf("journalling that %s is applied again: %w", name, err)
	}
	e.view.put(name, Stored{Value: value, Revision: at})
	e.wakeUp()
	return nil
}

// passName is what the alarms of one comparison are named after.
func passName(now time.Time) string { return "reconcile-" + now.UTC().Format("20060102T150405") }
