package rotator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/openwhisk-rotator/rotator/rotator/param"
)

// An Edit is a change of parameters that a person makes by hand on one target.
type Edit struct {
	Target  Ref
	Set     param.List
	Replace bool // every own parameter that Set does not name goes away
}

// An EditPlan is exactly what an Edit would do, by name. It holds no value.
type EditPlan struct {
	Target   Ref       `json:"target"`
	Before   string    `json:"version_before"`
	After    string    `json:"version_after,omitempty"`
	Changes  []string  `json:"changes,omitempty"`  // own parameters that get another value
	Same     []string  `json:"same,omitempty"`     // own parameters that are named, and have this value
	Adds     []string  `json:"adds,omitempty"`     // become the target's own
	Shadows  []string  `json:"shadows,omitempty"`  // of those, the ones that hide what the package delivers
	Keeps    []string  `json:"keeps,omitempty"`    // own parameters that are not named
	Inherits []string  `json:"inherits,omitempty"` // left to the package
	Removes  []string  `json:"removes,omitempty"`  // with Replace
	Touches  []string  `json:"touches,omitempty"`  // actions restarted because init parameters of their package change
	Refusals []Refusal `json:"refusals,omitempty"`
}

// editTries bounds how often somebody else may write in between.
const editTries = 4

// Edits shows the plan of an Edit, and writes it if agree says so: one PUT, and one more for each action whose containers
// must start afresh. A deploy that writes in between is noticed, and the plan is made and shown again. A plan with refusals
// is returned unasked. The answer has been compared with what was sent, or the target read again.
func Edits(ctx context.Context, p Platform, e Edit, agree func(EditPlan) (bool, error)) (EditPlan, error) {
	limits, err := p.Limits(ctx, e.Target.Host)
	if err != nil {
		return EditPlan{}, fmt.Errorf("reading the limits of host %s: %w", e.Target.Host, err)
	}
	for range editTries {
		o, err := p.Observe(ctx, e.Target, new(Seen))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return EditPlan{}, fmt.Errorf("reading %s: %w", e.Target, err)
		}
		plan, send := PlanEdit(e, Sight{Target: Target{Ref: e.Target}, Observed: o, Err: err}, limits)
		if len(plan.Refusals) > 0 {
			return plan, nil
		}
		if ok, err := agree(plan); err != nil || !ok {
			return plan, err
		}
		plan.After, err = putEdit(ctx, p, o, send, limits)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err == nil && !limits.HidesValues {
			err = reread(ctx, p, plan, send)
		}
		if err != nil {
			return plan, err
		}
		for _, name := range plan.Touches {
			if err := p.Touch(ctx, Ref{Host: e.Target.Host, Kind: Action, Name: name}); err != nil {
				return plan, fmt.Errorf("%s is written, but action %s was not restarted: %w", e.Target, name, err)
			}
		}
		return plan, nil
	}
	return EditPlan{}, fmt.Errorf("writing %s: somebody else writes it all the time: %w", e.Target, ErrConflict)
}

// putEdit sends the PUT and returns the version it made. ErrConflict: it did not take effect, or somebody else's write did as well.
func putEdit(ctx context.Context, p Platform, o Observed, send param.List, l Limits) (version string, err error) {
	r := o.Ref
	w, err := p.Put(ctx, r, Write{Parameters: send})
	if err == nil && (w.answers(send) || l.HidesValues && sameNames(w.Parameters, send)) {
		if !follows(o.Version, w.Version) {
			return w.Version, fmt.Errorf("writing %s: version %s became %s, so somebody else wrote in between, and what they changed in its parameters is lost: look at it, and say it again", r, o.Version, w.Version)
		}
		return w.Version, nil
	}
	if err != nil && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrConflict) {
		return "", fmt.Errorf("writing %s: %w", r, err)
	}
	// No answer, or not the one that was expected: the target itself knows.
	now, lerr := p.Observe(ctx, r, new(Seen))
	if lerr != nil {
		return "", fmt.Errorf("writing %s: it may have been written or not (%w), and it cannot be read: %w", r, cmp.Or(err, ErrUnknown), lerr)
	}
	if err == nil && follows(o.Version, now.Version) {
		return taken(now, send, l) // and nobody else has written
	}
	if now.Version != o.Version && now.Parameters.Own(now.Inherited).Equal(send) {
		return now.Version, nil
	}
	return "", ErrConflict
}

// taken judges what a target shows after a PUT that was accepted.
func taken(now Observed, send param.List, l Limits) (version string, err error) {
	own := now.Parameters.Own(now.Inherited)
	switch hidden := disguised(now.Parameters, send); {
	case own.Equal(send):
		return now.Version, nil
	case l.HidesValues && len(send.Missing(own)) == 0 && len(now.Parameters.Missing(send)) == 0: // own ones may look inherited
		return now.Version, nil
	case !l.HidesValues && len(hidden) > 0:
		return now.Version, hiding(now.Ref, hidden)
	}
	return "", ErrConflict
}

// sameNames compares what can be compared where values are hidden.
func sameNames(l, o param.List) bool {
	return len(l.Missing(o)) == 0 && len(o.Missing(l)) == 0
}

// reread looks whether a host shows what it was sent, where something was carried over that the host had shown.
func reread(ctx context.Context, p Platform, plan EditPlan, sent param.List) error {
	if len(plan.Keeps) == 0 {
		return nil
	}
	now, err := p.Observe(ctx, plan.Target, new(Seen))
	if err != nil || now.Version != plan.After { // it is written; a cache, or the next writer
		return nil
	}
	if hidden := disguised(now.Parameters, sent); len(hidden) > 0 {
		return hiding(plan.Target, hidden)
	}
	return nil
}

// disguised lists what was sent in clear and is shown, without a mark, with another value.
func disguised(shown, sent param.List) (out []string) {
	for _, e := range sent {
		if is, ok := shown.Get(e.Key); ok && e.Encryption == "" && is.Encryption == "" && !is.Value.Equal(e.Value) {
			out = append(out, e.Key)
		}
	}
	return out
}

func hiding(r Ref, keys []string) error {
	return fmt.Errorf("%s: the host shows other values than it was sent for %s, so it hides values, and what this command carried over was not the values: "+
		"write every parameter of the %s again, all in one call, and set hides_values: true for the host in rotator.yaml (%w)", r, names(keys), r.Kind, ErrPermanent)
}

// PlanEdit decides what an Edit does to a target as it was observed, and returns the list to write.
func PlanEdit(e Edit, s Sight, l Limits) (EditPlan, param.List) {
	plan := EditPlan{Target: e.Target, Before: s.Observed.Version, Refusals: editSight(s)}
	if len(plan.Refusals) > 0 {
		return plan, nil
	}
	own := s.Observed.Parameters.Own(s.Observed.Inherited)
	var send param.List
	if !e.Replace {
		send = own
	}
	for _, entry := range e.Set {
		had, has := own.Get(entry.Key)
		above, inherited := s.Observed.Inherited.Get(entry.Key)
		switch {
		case has && had.Init != entry.Init && !e.Replace, !has && inherited && above.Init != entry.Init:
			plan.Refusals = append(plan.Refusals, otherKind(e.Target, entry))
		case has && had.Value.Equal(entry.Value) && had.Init == entry.Init:
			plan.Same = append(plan.Same, entry.Key)
		case has:
			plan.Changes = append(plan.Changes, entry.Key)
		default:
			plan.Adds = append(plan.Adds, entry.Key)
			if inherited {
				plan.Shadows = append(plan.Shadows, entry.Key)
			}
		}
	}
	send = send.With(e.Set)
	plan.Removes = send.Missing(own)
	for _, name := range own.Keys() {
		if _, named := e.Set.Get(name); !named && !e.Replace {
			plan.Keeps = append(plan.Keeps, name)
		}
	}
	for _, name := range s.Observed.Inherited.Keys() {
		if _, mine := send.Get(name); !mine {
			plan.Inherits = append(plan.Inherits, name)
		}
	}
	plan.Touches = restarts(s.Observed, own, send)
	plan.Refusals = append(plan.Refusals, editRefusals(plan, s, l, send)...)
	return plan, send
}

// editSight is what an edit by hand cannot write, with what its author can do: there is no bundle to change.
func editSight(s Sight) []Refusal {
	out := sightRefusals(s)
	for i := range out {
		switch out[i].Reason {
		case MissingTarget:
			out[i].Remedy = "check the name, and the host; this command creates nothing"
		case SequenceTarget:
			out[i].Remedy = "update its components instead: " + names(s.Observed.Components)
		}
	}
	return out
}

// otherKind refuses what would silently turn environment into an ordinary parameter, or the reverse: code looks for it where it was.
func otherKind(r Ref, e param.Entry) Refusal {
	if e.Init {
		return about(r, MarkChanges, "give it with -p to keep it that", "%s is an ordinary parameter today, and would become environment (init)", e.Key)
	}
	return about(r, MarkChanges, "give it with -e to keep it that", "%s is delivered as environment (init) today, and would become an ordinary parameter", e.Key)
}

func editRefusals(plan EditPlan, s Sight, l Limits, send param.List) (out []Refusal) {
	if size := send.Size(); l.ParameterBytes > 0 && size > l.ParameterBytes {
		out = append(out, about(plan.Target, TooLarge, "name fewer parameters, or shorten values", "the parameters take %d bytes, the host allows %d", size, l.ParameterBytes))
	}
	if vanish := hidden(s, composed{carried: plan.Keeps}, l); len(vanish) > 0 {
		r := about(plan.Target, KeysVanish, "name these as well, with their values, as --param-file can; or drop them with --replace", "the host hides values, so %s cannot be carried over", names(vanish))
		r.Keys = vanish
		out = append(out, r)
	}
	return out
}

// restarts lists the actions of a package whose environment changes with it: init parameters reach new containers only.
func restarts(o Observed, before, after param.List) (out []string) {
	changed := slices.ContainsFunc(after, func(e param.Entry) bool {
		had, has := before.Get(e.Key)
		return e.Init && (!has || !had.Init || !had.Value.Equal(e.Value))
	}) || slices.ContainsFunc(before, func(e param.Entry) bool {
		_, stays := after.Get(e.Key)
		return e.Init && !stays
	})
	if o.Ref.Kind != Package || !changed {
		return nil
	}
	for _, name := range o.Actions {
		out = append(out, o.Ref.Name+"/"+name)
	}
	return out
}
