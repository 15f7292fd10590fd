package rotator

import (
	"strings"
	"testing"
	"time"
)

func TestOverlapCoversEverythingThatMayRunWithTheOldValues(t *testing.T) {
	const rest = cacheLag + queueTime + time.Minute // the last one is Facts.Zombie
	at := func(kind Kind, name string) Ref { return Ref{Host: "prod", Kind: kind, Name: name} }
	for name, tc := range map[string]struct {
		sight Observed
		work  []Work
		want  time.Duration // without rest
		what  string
	}{
		"nothing known":             {Observed{Ref: at(Action, "mail")}, nil, 2 * time.Minute, "work in flight"},
		"the action's own limit":    {Observed{Ref: at(Action, "mail"), Timeout: 3 * time.Minute}, nil, 6 * time.Minute, "action mail"},
		"another action's limit":    {Observed{Ref: at(Action, "mail"), Timeout: time.Minute}, []Work{{Name: "slow", Timeout: time.Hour}}, 2 * time.Minute, "work in flight"},
		"every action of a package": {Observed{Ref: at(Package, "shop")}, []Work{{Name: "shop/pay", Timeout: 4 * time.Minute}, {Name: "shopping/x", Timeout: time.Hour}}, 8 * time.Minute, "action shop/pay"},
		"the provider of a binding": {Observed{Ref: at(Package, "mine"), Binding: true, Provider: "shop"}, []Work{{Name: "shop/pay", Timeout: 4 * time.Minute}}, 8 * time.Minute, "action shop/pay"},
		"what a trigger starts":     {Observed{Ref: at(Trigger, "nightly"), Fires: []string{"shop/pay"}}, []Work{{Name: "shop/pay", Timeout: 4 * time.Minute}}, 8 * time.Minute, "action shop/pay"},
		"a sequence": {Observed{Ref: at(Action, "mail"), Timeout: time.Minute}, []Work{{Name: "mail", Timeout: time.Minute}, {Name: "slow", Timeout: 5 * time.Minute}, {Name: "flow", Components: []string{"slow", "mail"}}},
			12*time.Minute + 2*queueTime, "sequence flow"},
		"a sequence without it": {Observed{Ref: at(Action, "mail"), Timeout: time.Minute}, []Work{{Name: "slow", Timeout: 5 * time.Minute}, {Name: "flow", Components: []string{"slow", "slow"}}},
			2 * time.Minute, "work in flight"},
		"a sequence in a sequence": {Observed{Ref: at(Action, "mail"), Timeout: time.Minute}, []Work{{Name: "mail", Timeout: time.Minute}, {Name: "flow", Components: []string{"mail"}}, {Name: "slow", Timeout: 5 * time.Minute}, {Name: "outer", Components: []string{"flow", "slow"}}},
			2*time.Minute + queueTime + queueTime + 10*time.Minute + queueTime, "sequence outer"},
		"a sequence through a binding": {Observed{Ref: at(Action, "shop/pay"), Timeout: time.Minute}, []Work{{Name: "shop/pay", Timeout: time.Minute}, {Name: "slow", Timeout: 5 * time.Minute}, {Name: "flow", Components: []string{"bound/pay", "slow"}}},
			2*unseenTimeout + queueTime + 10*time.Minute + queueTime, "sequence flow"},
		"a sequence that calls another namespace": {Observed{Ref: at(Action, "mail"), Timeout: time.Minute}, []Work{{Name: "mail", Timeout: time.Minute}, {Name: "flow", Components: []string{"mail", "utils/echo"}}},
			2*time.Minute + queueTime + 2*unseenTimeout + queueTime, "sequence flow"},
		"a sequence in itself": {Observed{Ref: at(Action, "mail"), Timeout: time.Minute}, []Work{{Name: "flow", Components: []string{"flow"}}}, 2 * time.Minute, "work in flight"},
	} {
		t.Run(name, func(t *testing.T) {
			f := Facts{Rule: Rule{Drain: true}, Zombie: time.Minute, Work: map[string][]Work{"prod": tc.work},
				Sights: []Sight{{Target: Target{Ref: tc.sight.Ref}, Observed: tc.sight}}}
			got, text := overlap(f)
			if got != tc.want+rest || !strings.Contains(text, tc.what+" may go on for "+tc.want.String()) {
				t.Errorf("overlap %s, want %s: %s", got, tc.want+rest, text)
			}
			f.Rule = Rule{Overlap: time.Second}
			if got, text := overlap(f); got != time.Second || text != "1s" {
				t.Errorf("overlap %s %q, although the policy says 1s", got, text)
			}
		})
	}
}
