package rotator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// Inventory lists what exists in Vault and on the hosts. It changes nothing.
type Inventory interface {
	// Holdings finds everything minted below these Vault paths, and the anchors of this installation. known saves calls.
	Holdings(ctx context.Context, paths []string, known []Handle) ([]Holding, []Unchecked, error)
	// Rows lists all entities of one kind on a host.
	Rows(ctx context.Context, host string, kind Kind) ([]Row, error)
}

// A Reconcile says how often what exists is compared with the journal, and what follows.
type Reconcile struct {
	Every  time.Duration // zero: never by itself
	Settle time.Duration // what is younger is left alone: a rotation may just have made it; zero: 20 minutes
	Revoke bool          // orphans that are certainly ours and certainly unused are revoked; otherwise only reported
	Apply  bool          // drifted targets are written again; otherwise only reported
}

// A Reconciliation is what one comparison found and did.
type Reconciliation struct {
	At        time.Time   `json:"at"`
	Orphans   []Stray     `json:"orphans"`
	Revoked   []Stray     `json:"revoked"`
	Drifted   []Drift     `json:"drifted"`
	Unchecked []Unchecked `json:"unchecked"`
}

// Clean reports that there is nothing to look at.
func (r Reconciliation) Clean() bool {
	return len(r.Orphans) == 0 && len(r.Revoked) == 0 && len(r.Drifted) == 0 && len(r.Unchecked) == 0
}

// turnKey is the journal record by which replicas take turns. No bundle can have this name.
const turnKey = "_reconcile"

// Housekeeping reports whether a journal key is the rotator's own and no bundle.
func Housekeeping(key string) bool { return key == turnKey || IsDeparture(key) }

// reconcileLoop compares every once in a while. Of several replicas one does it: whoever moves the next turn forward in
// the journal.
func (e *Engine) reconcileLoop(ctx context.Context) {
	for ctx.Err() == nil {
		mine, wait, err := e.turn(ctx)
		if err == nil && mine {
			_, err = e.Reconcile(ctx, e.Config.Reconcile)
		}
		if err != nil && ctx.Err() == nil {
			e.Log.Warn().Err(err).Msg("what exists could not be compared with the journal; trying again")
			wait = max(wait, time.Minute)
		}
		if sleep(ctx, max(wait, time.Second)) != nil {
			return
		}
	}
}

// turn reports whether the comparison is due and this replica has taken it; if not, how long to wait.
func (e *Engine) turn(ctx context.Context) (mine bool, wait time.Duration, err error) {
	rec, revision, err := e.readTurn(ctx)
	if err != nil {
		return false, 0, fmt.Errorf("reading whose turn it is: %w", err)
	}
	now := e.Now()
	if wait := rec.NotBefore.Sub(now); wait > 0 && wait <= e.Config.Reconcile.Every {
		return false, wait, nil
	}
	rec.Epoch++
	rec.NotBefore = now.Add(e.Config.Reconcile.Every)
	value, err := rec.Encode()
	if err != nil {
		return false, 0, err
	}
	if _, err = e.Journal.Put(ctx, turnKey, value, revision); err != nil {
		if errors.Is(err, ErrConflict) { // another replica's turn, or it noted what it found: look again
			return false, 0, nil
		}
		return false, 0, fmt.Errorf("taking the turn: %w", err)
	}
	return revision > 0, e.Config.Reconcile.Every, nil // a journal that has just been made has nothing to compare with
}

// Reconcile compares Vault and the hosts with the journal once, and does what the policy says: it revokes orphans and
// applies drifted targets again, or raises them. Irrevocable leases are always raised. A part that cannot be looked at, or
// a bundle whose record cannot be read, is Unchecked; the rest is done, raised and kept all the same, and the error says
// what was away.
func (e *Engine) Reconcile(ctx context.Context, policy Reconcile) (Reconciliation, error) {
	out := Reconciliation{At: e.Now(), Orphans: []Stray{}, Revoked: []Stray{}, Drifted: []Drift{}, Unchecked: []Unchecked{}}
	stored, err := e.Journal.List(ctx)
	if err != nil {
		return Reconciliation{}, fmt.Errorf("listing the journal: %w", err)
	}
	records, unread := readable(stored, &out)
	failed := e.orphans(ctx, policy, records, unread, &out)
	rows, away := e.rows(ctx, records, &out)
	failed = errors.Join(failed, errors.Join(slices.Collect(maps.Values(away))...))
	for _, name := range slices.Sorted(maps.Keys(e.Bundles)) {
		found, err := e.drifts(ctx, e.Bundles[name].without(away), records[name], rows)
		if err != nil {
			err = fmt.Errorf("looking for drift of %s: %w", name, err)
			failed = errors.Join(failed, err)
			out.Unchecked = append(out.Unchecked, Unchecked{What: "targets of " + name, Why: err.Error(), Remedy: awayRemedy})
		}
		if policy.Apply && slices.ContainsFunc(found, func(d Drift) bool { return rows[d.Target].Version != "" }) {
			if err := e.reapply(ctx, name, stored[name], found[0].Target.String()+": "+found[0].Text); err != nil {
				e.Log.Warn().Err(err).Str("bundle", name).Msg("drift is left for the next time")
			} else {
				for i := range found {
					found[i].Applied = true
				}
			}
		}
		out.Drifted = append(out.Drifted, found...)
	}
	failed = errors.Join(failed, e.raiseFound(ctx, out))
	if err := e.note(ctx, out.compared()); err != nil {
		failed = errors.Join(failed, fmt.Errorf("keeping what was found for the status: %w", err))
	}
	return out, failed
}

// awayRemedy is for what could not be looked at this time.
const awayRemedy = "it is looked at the next time; if that does not help, run: rotator check"

// readable decodes the records. Nothing is known of what the others own.
func readable(stored map[string]Stored, out *Reconciliation) (records map[string]Record, unread map[string]bool) {
	records, unread = make(map[string]Record), make(map[string]bool)
	for _, key := range slices.Sorted(maps.Keys(stored)) {
		if Housekeeping(key) {
			continue
		}
		rec, err := decodeOf(key, stored[key].Value)
		if err == nil {
			records[key] = rec
			continue
		}
		unread[key] = true
		remedy := damagedRemedy
		if errors.Is(err, ErrNewerRecord) {
			remedy = "compare with the newer program"
		}
		out.Unchecked = append(out.Unchecked, Unchecked{What: "bundle " + key, Why: err.Error(), Remedy: remedy})
	}
	return records, unread
}

func (e *Engine) orphans(ctx context.Context, policy Reconcile, records map[string]Record, unread map[string]bool, out *Reconciliation) error {
	var paths []string
	exclusive := make(map[string]string)
	for name, b := range e.Bundles {
		for _, c := range b.Credentials {
			if c.Generate.Path != "" {
				paths = append(paths, c.Generate.Path)
			}
			if _, shared := exclusive[c.Generate.Path]; c.Exclusive && !shared {
				exclusive[c.Generate.Path] = name
			} else if c.Generate.Path != "" {
				exclusive[c.Generate.Path] = "" // two mint there
			}
		}
	}
	slices.Sort(paths)
	var known []Handle
	for _, rec := range records {
		for _, g := range rec.kept() {
			known = append(known, g.Handles...)
		}
	}
	found, unchecked, err := e.Inventory.Holdings(ctx, slices.Compact(paths), known)
	if err != nil {
		out.Unchecked = append(out.Unchecked, Unchecked{What: "what Vault holds", Why: err.Error(), Remedy: awayRemedy})
		return err
	}
	out.Unchecked = append(out.Unchecked, unchecked...)
	found = slices.DeleteFunc(found, func(h Holding) bool { return e.mayBelong(h, unread) })
	for _, s := range Strays(found, records, exclusive, e.Now().Add(-cmp.Or(policy.Settle, settleTime))) {
		if !s.Revocable || !policy.Revoke {
			out.Orphans = append(out.Orphans, s)
			continue
		}
		if err := e.revokeStray(ctx, s); err != nil {
			s.Why += "; revoking it failed: " + err.Error()
			out.Orphans = append(out.Orphans, s)
			continue
		}
		out.Revoked = append(out.Revoked, s)
		e.Log.Warn().Str("bundle", s.Bundle).Str("kind", s.Handle.Kind).Str("rotation", s.Rotation).Msg("an orphan was revoked")
	}
	return nil
}

// mayBelong reports a holding that a bundle whose record cannot be read may name.
func (e *Engine) mayBelong(h Holding, unread map[string]bool) bool {
	if h.Rotation != "" {
		return unread[cmp.Or(h.Bundle, bundleOf(h.Rotation))]
	}
	if h.Handle.Kind != "lease" || h.Irrevocable {
		return false
	}
	for name := range unread {
		b, configured := e.Bundles[name]
		if !configured || slices.ContainsFunc(b.Credentials, func(c Credential) bool { return c.Generate.Path == h.Path }) {
			return true
		}
	}
	return false
}

// revokeStray looks once more, at the bundle itself, before it revokes: what the newest version names is in use.
func (e *Engine) revokeStray(ctx context.Context, s Stray) error {
	b, ok := e.Bundles[s.Bundle]
	if !ok {
		return fmt.Errorf("bundle %s is not configured", s.Bundle)
	}
	head, err := e.Secrets.Read(ctx, b.Secret, 0)
	if err != nil {
		return err
	}
	if s.Rotation != "" && head.Marker.Rotation == rotationOf(s.Rotation) || slices.ContainsFunc(head.Marker.Handles, func(h Handle) bool { return h.ID == s.Handle.ID }) {
		return errors.New("the newest version of the bundle names it")
	}
	return e.Revoker.Revoke(ctx, []Handle{s.Handle})
}

// raiseFound publishes one alarm per bundle. Leases that may be another client's are only logged.
func (e *Engine) raiseFound(ctx context.Context, found Reconciliation) error {
	texts := make(map[string]map[string][]string) // result -> bundle -> lines
	add := func(result, bundle, text string) {
		if texts[result] == nil {
			texts[result] = make(map[string][]string)
		}
		texts[result][bundle] = append(texts[result][bundle], text)
	}
	foreign := 0
	for _, s := range found.Orphans {
		if s.foreign() {
			foreign++
			continue
		}
		add(events.ResultOrphaned, s.Bundle, strings.TrimSpace(s.Handle.Kind+" "+s.Path)+": "+s.Why)
	}
	for _, d := range found.Drifted {
		add(events.ResultDrifted, d.Bundle, d.Target.String()+": "+d.Text)
	}
	var failed error
	for result, bundles := range texts {
		for bundle, lines := range bundles {
			e.Log.Error().Str("bundle", bundle).Str("found", result).Strs("what", lines).Msg("found by comparing with the journal")
			err := e.Outbox.Outcome(ctx, events.Outcome{Rotation: passName(found.At), Bundle: bundle, Result: result, Finished: found.At,
				Reason: listed(lines), Remedy: "look at all of it, and mend it: rotator reconcile"})
			failed = errors.Join(failed, err)
		}
	}
	e.Log.Info().Int("orphans", len(found.Orphans)-foreign).Int("revoked", len(found.Revoked)).Int("drifted", len(found.Drifted)).
		Int("leases_unknown", foreign).Int("unchecked", len(found.Unchecked)).Msg("compared with the journal")
	for _, u := range found.Unchecked {
		e.Log.Warn().Str("what", u.What).Str("reason", u.Why).Str("remedy", u.Remedy).Msg("could not be compared with the journal")
	}
	return failed
}
