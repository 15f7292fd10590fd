package rotator

import (
	"fmt"
	"math/rand/v2"
	"slices"
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
		e := Edit{Target: ref, Set: set, Replace: r.IntN(2) == 0}
		plan, send := PlanEdit(e, s, Limits{})
		if len(plan.Refusals) > 0 {
			if plan.Refusals[0].Reason != MarkChanges {
				t.Fatalf("refused: %v", plan.Refusals)
			}
			continue
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
