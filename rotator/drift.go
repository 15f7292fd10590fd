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
	Name        string // "name" or "package/name"
	Version     string
	Annotations []Annotation // the rotator's, at least
	Provider    string       // of a binding: the package in the same namespace that it refers to
}

// A Drift is a target that does not hold its bundle's live version any more.
type Drift struct {
	Bundle  string `json:"bundle"`
	Target  Ref    `json:"target"`
	Text    string `json:"text"`
	Applied bool   `json:"applied,omitempty"` // applying it again has been journalled
}

// rows reads each list that is needed once. A host of which one cannot be read is away as a whole: packages and their actions
// are compared together.
func (e *Engine) rows(ctx context.Context, records map[string]Record, out *Reconciliation) (rows map[Ref]Row, away map[string]error) {
	type list struct {
		host string
		kind Kind
	}
	done := make(map[list]bool)
	rows, away = make(map[Ref]Row), make(map[string]error)
	for name, rec := range records {
		if rec.State != Idle || rec.Last() == nil {
			continue
		}
		for _, t := range e.Bundles[name].Targets {
			l := list{t.Host, t.Kind}
			if done[l] || away[l.host] != nil {
				continue
			}
			read, err := e.Inventory.Rows(ctx, l.host, l.kind)
			if err != nil {
				away[l.host] = fmt.Errorf("listing the %ss of host %s: %w", l.kind, l.host, err)
				out.Unchecked = append(out.Unchecked, Unchecked{What: "targets on host " + l.host, Why: err.Error(), Remedy: awayRemedy})
				continue
			}
			for _, r := range read {
				rows[Ref{Host: l.host, Kind: l.kind, Name: r.Name}] = r
			}
			done[l] = true
		}
	}
	return rows, away
}

// without is the bundle without its targets on hosts that are away.
func (b Bundle) without(away map[string]error) Bundle {
	b.Targets = slices.DeleteFunc(slices.Clone(b.Targets), func(t Target) bool { return away[t.Host] != nil })
	return b
}

// drifts finds targets of one idle bundle that were overwritten. One whose row still shows the version of our PUT and our
// annotation needs no look - the version alone does not do, for an action that was deleted counts from the beginning; the
// others are read and compared by value, because a deploy that changes nothing is no drift.
func (e *Engine) drifts(ctx context.Context, b Bundle, rec Record, rows map[Ref]Row) ([]Drift, error) {
	last := rec.Last()
	if rec.State != Idle || last == nil || rec.Live == nil {
		return nil, nil
	}
	var out []Drift
	suspects := make(map[Ref]bool)
	for _, t := range b.Targets {
		row, exists := rows[t.Ref]
		ours := func(s TargetState) bool { return s.Ref == t.Ref && s.After == row.Version }
		switch {
		case !exists:
			out = append(out, Drift{Bundle: b.Name, Target: t.Ref, Text: "it does not exist any more; deploy it, or take it out of the bundle's targets"})
		case !slices.ContainsFunc(last.Targets, ours) || stamps(row.Annotations)[b.Name].Version != rec.Live.Version:
			suspects[t.Ref] = true
		}
	}
	if len(suspects) == 0 {
		return out, nil
	}
	facts := e.glance(ctx, b, b.Policy.Rule(events.KindManual), nil)
	live, err := e.Secrets.Read(ctx, b.Secret, rec.Live.Version)
	if err != nil {
		return out, fmt.Errorf("reading version %d of bundle %s: %w", rec.Live.Version, b.Name, err)
	}
	for _, s := range facts.Sights {
		if !suspects[s.Target.Ref] || errors.Is(s.Err, ErrNotFound) {
			continue
		}
		if err := s.passing(); err != nil {
			return out, fmt.Errorf("reading %s: %w", s.Target.Ref, err)
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
