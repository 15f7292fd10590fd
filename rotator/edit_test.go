package rotator

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// TestEditNeverLosesAParameter: of random targets and edits, what is not named stays as it is, with its marks; what is inherited
// is not copied down; with Replace exactly what is named is left.
func TestEditNeverLosesAParameter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	some := func() (l param.List) {
		for i := range 6 {
			if r.IntN(2) == 0 {
				l = append(l, param.Entry{Key: fmt.Sprint("K", i), Value: secret.FromText(fmt.Sprint(r.IntN(3))), Init: r.IntN(3) == 0})
			}
		}
		return l
	}
	for range 3000 {
		ref := Ref{Host: "h", Kind: Kind(1 + r.IntN(3)), Name: "p/a"}
		inherited, set := some(), some()
		mine := some()
		s := Sight{Target: Target{Ref: ref}, Observed: Observed{Ref: ref, Version: "0.0.1", Inherited: inherited, Parameters: inherited.With(mine)}}
		own := s.Observed.Parameters.Own(inherited)
		replace := r.IntN(2) == 0
		e := Edit{Target: ref, Set: set, Replace: replace}
		plan, send := PlanEdit(e, s, Limits{})
		if len(plan.Refusals) > 0 {
			if r := plan.Refusals[0]; r.Reason != MarkChanges || !strings.Contains(r.Remedy, map[bool]string{true: "-p", false: "-e"}[set[0].Init]) && len(set) == 1 {
				t.Fatalf("refused: %v", plan.Refusals)
			}
			continue
		}
		for _, e := range set {
			had, has := own.Get(e.Key)
			above, inherits := inherited.Get(e.Key)
			if has && had.Init != e.Init && !replace || !has && inherits && above.Init != e.Init {
				t.Fatalf("%s becomes another kind of parameter", e.Key)
			}
		}
		want := own.With(set)
		if e.Replace {
			want = set
		}
		if !send.Equal(want) || !slices.Equal(plan.Removes, send.Missing(own)) || !e.Replace && len(plan.Removes) > 0 {
			t.Fatalf("own %v, inherited %v, edit %v (replace %v): sends %v, removes %v", own.Keys(), inherited.Keys(), set.Keys(), e.Replace, send.Keys(), plan.Removes)
		}
		if n := len(plan.Changes) + len(plan.Same) + len(plan.Adds); n != len(set) || !e.Replace && len(plan.Keeps)+n-len(plan.Adds) != len(own) {
			t.Fatalf("%d of %d are told, %d kept of %d", n, len(set), len(plan.Keeps), len(own))
		}
	}
}

// hider is a host with one action that shows hashes in place of values: in GET, and in the answer to a PUT unless open.
type hider struct {
	Platform
	version    int
	own        param.List
	open, mute bool // mute: a PUT is answered without a body
	limits     Limits
}

func hashed(l param.List) (out param.List) {
	for _, e := range l {
		e.Value = secret.FromText(fmt.Sprintf("%x", sha256.Sum256(e.Value.Reveal())))
		out = append(out, e)
	}
	return out
}

func (h *hider) Limits(context.Context, string) (Limits, error) { return h.limits, nil }

func (h *hider) Observe(_ context.Context, r Ref, _ *Seen) (Observed, error) {
	return Observed{Ref: r, Version: fmt.Sprint("0.0.", h.version), Parameters: hashed(h.own)}, nil
}

func (h *hider) Put(_ context.Context, _ Ref, w Write) (Written, error) {
	h.own = w.Parameters
	h.version++
	answer := Written{Version: fmt.Sprint("0.0.", h.version), Parameters: hashed(h.own)}
	if h.open {
		answer.Parameters = h.own
	}
	if h.mute {
		answer = Written{}
	}
	return answer, nil
}

// TestEditOnAHostThatHidesValues: what GET shows is never written as if it were the value where the host is known to hide; where it
// is not known, one PUT shows it, and the error says what to do.
func TestEditOnAHostThatHidesValues(t *testing.T) {
	ref := Ref{Host: "h", Kind: Action, Name: "a"}
	yes := func(EditPlan) (bool, error) { return true, nil }
	one, all := param.List{{Key: "A", Value: secret.FromText("new")}}, param.List{{Key: "A", Value: secret.FromText("new")}, {Key: "B", Value: secret.FromText("too")}}
	for _, open := range []bool{false, true} {
		for _, mute := range []bool{false, true} {
			h := func(known bool) *hider {
				return &hider{own: param.List{{Key: "A", Value: secret.FromText("1")}, {Key: "B", Value: secret.FromText("2")}}, open: open, mute: mute, limits: Limits{HidesValues: known}}
			}
			known := h(true)
			plan, err := Edits(t.Context(), known, Edit{Target: ref, Set: one}, yes)
			if err != nil || len(plan.Refusals) != 1 || plan.Refusals[0].Reason != KeysVanish || known.version != 0 {
				t.Errorf("open %v, mute %v: %v, %v after %d PUTs", open, mute, plan.Refusals, err, known.version)
			}
			if plan, err := Edits(t.Context(), known, Edit{Target: ref, Set: all}, yes); err != nil || plan.After != "0.0.1" || !known.own.Equal(all) {
				t.Errorf("open %v, mute %v: every value named: %+v, %v after %d PUTs", open, mute, plan, err, known.version)
			}
			unknown := h(false)
			if _, err := Edits(t.Context(), unknown, Edit{Target: ref, Set: one}, yes); err == nil || !strings.Contains(err.Error(), "hides_values: true") || unknown.version != 1 {
				t.Errorf("open %v, mute %v: %v after %d PUTs", open, mute, err, unknown.version)
			}
		}
	}
}
