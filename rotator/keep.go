package rotator

import (
	"context"
	"fmt"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// renewPause is the time between attempts to renew when the last one failed.
const renewPause = time.Minute

// keep renews the generations of a claimed record that are due, so that live credentials outlive any login. When
// the end of one is in sight it asks for a rotation.
func (e *Engine) keep(ctx context.Context, c *cursor) {
	rec := c.record()
	now := e.Now()
	for _, g := range rec.kept() {
		if g.RenewAt.IsZero() || g.RenewAt.After(now) || len(g.Handles) == 0 {
			continue
		}
		next, end, err := e.Minter.Renew(ctx, g.Handles)
		if err != nil {
			e.Log.Error().Err(err).Str("bundle", c.bundle.Name).Int("version", g.Version).Msg("live generation cannot be renewed; will try again")
			next = now.Add(renewPause)
		}
		warn := !end.IsZero() && !g.Warned && rec.keeps(g) && now.After(end.Add(-end.Sub(g.Minted)/3))
		if warn {
			warn = e.raise(ctx, c.bundle.Name, g.Version, end) == nil
		}
		rotation := g.Rotation
		err = c.move(ctx, func(r *Record) {
			for _, g := range r.kept() {
				if g.Rotation == rotation {
					g.RenewAt, g.Ends, g.Warned = next, end, g.Warned || warn
				}
			}
		})
		if err != nil {
			e.report(e.Log.With().Str("bundle", c.bundle.Name).Logger(), err, "journalling a renewal")
			return
		}
	}
}

// keeps reports whether a generation is to stay alive when the rotation in hand is over.
func (r *Record) keeps(g *Generation) bool {
	return r.Rotation == nil || (g == &r.Rotation.Old) == r.Rotation.Back
}

// raise publishes an expiring event for a generation that no renewal can save.
func (e *Engine) raise(ctx context.Context, bundle string, version int, end time.Time) error {
	return e.Outbox.Raise(ctx, events.Event{
		ID: fmt.Sprintf("%s-v%d-expires", bundle, version), Source: "urn:rotator", Kind: events.KindExpiring, Publisher: "rotator", Time: e.Now(),
		Expiring: &events.Expiring{Credential: events.Credential{Name: bundle}, ExpiresAt: end, Upstream: events.Upstream{System: "rotator"}},
	})
}
