package crash

import (
	"fmt"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// An ill is something that an OpenWhisk host does to one request of a rotation.
type ill struct {
	what   string
	method string
	nth    int // request of this method, from 0
	whisktest.Fault
}

func (i ill) String() string { return fmt.Sprintf("%s at %s %d", i.what, i.method, i.nth) }

// ills are: away for a while, throttled, failing, cut before and after a write took effect, reads of what was there before.
func ills() (all []ill) {
	kinds := map[string]whisktest.Fault{
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
	for what, f := range kinds {
		for _, method := range []string{"GET", "PUT"} {
			if method == "GET" && (f.Status == 409 || f.AfterCommit || f.Empty) || method == "PUT" && f.Stale {
				continue
			}
			for nth := range 3 {
				f.Method, f.Skip = method, nth
				all = append(all, ill{what, method, nth, f})
			}
		}
	}
	return all
}

// TestHostMisbehaves at the first, second and third request of each kind.
func TestHostMisbehaves(t *testing.T) {
	p := newParts(t, vaulttest.Run(t))
	around(t, some(6, ills()), 10, func(t *testing.T, i ill) {
		s := p.newShop(t)
		defer s.report()
		s.whisk.Inject(i.Fault)
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
}
