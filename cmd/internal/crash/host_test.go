package crash

import (
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// TestHostMisbehaves: OpenWhisk is away for a while, throttles, fails, cuts connections before and after a write took
// effect, and answers reads with what was there before - at the first, second and third request of each kind.
func TestHostMisbehaves(t *testing.T) {
	p := newParts(t, vaulttest.Run(t))
	faults := map[string]whisktest.Fault{
		"away for many requests":  {Drop: whisktest.BeforeCommit, Times: 12},
		"429 with Retry-After":    {Status: 429, RetryAfter: "1", Times: 3},
		"503":                     {Status: 503, Times: 3},
		"504 although it applied": {Status: 504, AfterCommit: true},
		"cut before":              {Drop: whisktest.BeforeCommit},
		"cut after":               {Drop: whisktest.AfterCommit},
		"half an answer":          {Truncate: true},
		"no answer":               {Empty: true},
		"409":                     {Status: 409, Text: whisktest.TextConflict, Times: 2},
		"stale":                   {Stale: true},
	}
	for name, f := range faults {
		var points []point
		for _, method := range []string{"GET", "PUT"} {
			if method == "GET" && (f.Status == 409 || f.AfterCommit || f.Empty) || method == "PUT" && f.Stale {
				continue
			}
			for skip := range 3 {
				points = append(points, point{method, skip})
			}
		}
		t.Run(name, func(t *testing.T) {
			around(t, points, 6, func(t *testing.T, at point) {
				s := p.newShop(t)
				defer s.report()
				f := f
				f.Method, f.Skip = at.name, at.nth
				s.whisk.Inject(f)
				s.start("r1", newScript(point{}, pass), itself)
				if err := s.publish(departure("e1", s.name)); err != nil {
					t.Fatal(err)
				}
				if err := s.finished(90*time.Second, 1); err != nil {
					s.fail("P6, P8: %v", err)
				}
				s.look("the end")
				s.check(events.ResultRotated, 1)
			})
		})
	}
}
