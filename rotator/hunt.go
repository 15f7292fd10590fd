package rotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// Bounds on the searches that events cause: an event must not keep the hosts busy.
const (
	huntGap   = time.Minute      // at least so long after a search nothing is searched; what comes meanwhile shares the next one
	huntAgain = 10 * time.Minute // so long the same value is not searched for again, whoever reports it
	huntTries = 4                // searches for one value, while something cannot be read
	huntMost  = 256              // values that wait
)

// strange is a leaked value that may be bound where no rotation replaces it.
type strange struct {
	id     string
	key    string
	stored time.Time
	prints []events.Fingerprint
	hits   []string        // bundles that hold it and are rotated; none: nothing is
	tries  int             // searches so far
	told   map[string]bool // places
}

// suspect remembers a leak that matched no bundle, if its value could be looked for on the hosts.
func (e *Engine) suspect(ev events.Event, stored time.Time, err error) {
	if _, unmatched := errors.AsType[*UnmatchedError](err); unmatched {
		e.pursue(ev, stored, nil)
	}
}

// pursue remembers a leak whose value may be bound elsewhere, too: copies of it die unannounced when the old credential is revoked.
func (e *Engine) pursue(ev events.Event, stored time.Time, hits []Hit) {
	if e.Search == nil || ev.Leak == nil || len(ev.Leak.Credential.Fingerprints) == 0 {
		return
	}
	s := strange{id: ev.Source + " " + ev.ID, key: ev.Key(), stored: stored, prints: ev.Leak.Credential.Fingerprints}
	for _, h := range hits {
		s.hits = append(s.hits, h.Bundle)
	}
	select {
	case e.strange <- s:
	default:
		e.Log.Warn().Str("event", s.id).Int("waiting", huntMost).Msg("too many values wait: a leaked one is not searched for on the hosts; see: rotator affected --fingerprint")
	}
}

// hunt looks on the hosts for values that have leaked, and says where they are bound and no rotation replaces them: somebody has to. One
// search at a time, for all values that wait.
func (e *Engine) hunt(ctx context.Context) {
	var waiting []strange
	done := make(map[string]time.Time) // when a value was searched for
	for {
		if len(waiting) == 0 {
			select {
			case <-ctx.Done():
				return
			case s := <-e.strange:
				waiting = append(waiting, s)
			}
		}
		for more := true; more && len(waiting) < huntMost; {
			select {
			case s := <-e.strange:
				waiting = append(waiting, s)
			default:
				more = false
			}
		}
		began := e.Now()
		waiting = e.fresh(waiting, done, began)
		if len(waiting) == 0 {
			continue
		}
		waiting = e.track(ctx, waiting)
		pause := max(huntGap, e.Now().Sub(began))
		if len(waiting) > 0 {
			pause = max(pause, huntGap<<(waiting[0].tries-1))
		}
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

// fresh leaves out what was searched for a moment ago, and what waits twice.
func (e *Engine) fresh(waiting []strange, done map[string]time.Time, now time.Time) (out []strange) {
	for id, at := range done {
		if now.Sub(at) >= huntAgain {
			delete(done, id)
		}
	}
	for _, s := range waiting {
		var ids []string
		for _, p := range s.prints {
			ids = append(ids, p.Alg+" "+p.KeyID+" "+p.Value)
		}
		slices.Sort(ids)
		id := strings.Join(ids, "\n") + "\n" + strings.Join(s.hits, " ")
		if _, again := done[id]; again && s.tries == 0 {
			e.Log.Info().Str("event", s.id).Msg("the hosts were searched for this value a moment ago")
			continue
		}
		done[id] = now
		out = append(out, s)
	}
	return out
}

// track makes one search, tells what it found, and returns what is to be tried again.
func (e *Engine) track(ctx context.Context, waiting []strange) (again []strange) {
	key, err := e.Secrets.Key(ctx)
	var found Found
	if err != nil {
		found.Unread = []string{fmt.Sprintf("no host was searched: reading the fingerprint key: %v", err)}
	} else {
		var values [][]events.Fingerprint
		for _, s := range waiting {
			values = append(values, s.prints)
		}
		found = e.Search.Run(ctx, Prints(key, values...))
	}
	if ctx.Err() != nil {
		return nil
	}
	e.Log.Info().Int("values", len(waiting)).Int("searched", found.Searched).Int("places", len(found.Places)).Int("hidden", len(found.hidden)).Strs("unread", short(found.Unread)).
		Msg("the hosts were searched for values that have leaked")
	for i, s := range waiting {
		s.tries++
		last := len(found.Unread) == 0 || s.tries >= huntTries
		if err := e.telltale(ctx, &s, i, found, last); err != nil {
			e.Log.Warn().Err(err).Str("event", s.id).Msg("what was found on the hosts for a leaked value could not be published")
			last = s.tries >= huntTries
		}
		if !last {
			again = append(again, s)
		}
	}
	return again
}

// telltale publishes where a value is that no rotation of its bundles replaces. last says that nothing more will be found: then what could
// not be looked at is told, too.
func (e *Engine) telltale(ctx context.Context, s *strange, which int, found Found, last bool) error {
	var places, told []string
	for _, p := range found.Places {
		text := p.String()
		if p.which != which || s.told[text] || slices.ContainsFunc(p.ReplacedBy, func(b string) bool { return slices.Contains(s.hits, b) }) {
			continue
		}
		told = append(told, text)
		if len(p.ReplacedBy) > 0 {
			text += " (" + p.Remedy() + ")"
		}
		places = append(places, text)
	}
	var gaps []string
	if last {
		gaps = append(e.unseen(s, which, found), short(found.Unread)...)
	}
	if len(places)+len(gaps) == 0 {
		return nil
	}
	o := events.Outcome{Rotation: "event-" + ApprovalID(s.key), Result: events.ResultReported, Kind: events.KindLeak, Events: []string{s.id},
		Started: s.stored.UTC(), Finished: e.Now().UTC(), Reason: s.reason(short(places), gaps), Remedy: "make it part of a bundle (rotator bundle import), or replace it by hand"}
	if len(s.hits) == 1 {
		o.Bundle = s.hits[0]
	}
	if len(s.hits) > 0 {
		o.Remedy = "replace it there by hand, before the old credential is revoked, or make the place a target of the bundle; see: rotator affected"
	}
	if err := e.Outbox.Outcome(ctx, o); err != nil {
		return err
	}
	if s.told == nil {
		s.told = make(map[string]bool)
	}
	for _, text := range told {
		s.told[text] = true
	}
	return nil
}

// reason puts it into words.
func (s *strange) reason(places, gaps []string) string {
	what := "a leaked value that no bundle holds"
	if len(s.hits) > 0 {
		what = "the leaked value"
	}
	var out []string
	switch {
	case len(places) > 0 && len(s.hits) > 0:
		out = append(out, what+" is also where no rotation of "+strings.Join(s.hits, ", ")+" replaces it: "+strings.Join(places, "; "))
	case len(places) > 0:
		out = append(out, what+" is "+strings.Join(places, "; "))
	}
	if len(gaps) > 0 {
		out = append(out, what+" could not be looked for everywhere: "+strings.Join(gaps, "; "))
	}
	return strings.Join(out, "; ")
}

// unseen counts the entities whose values were not shown, by host: without those that hold the value by their annotation, and without the
// targets that a rotation writes anyway.
func (e *Engine) unseen(s *strange, which int, found Found) (out []string) {
	count := make(map[string]int)
	for _, r := range found.hidden {
		known := slices.ContainsFunc(found.Places, func(p Place) bool { return p.Target == r && p.which == which })
		ours := slices.ContainsFunc(s.hits, func(b string) bool {
			return slices.ContainsFunc(e.Bundles[b].Targets, func(t Target) bool { return t.Ref == r })
		})
		if !known && !ours {
			count[r.Host]++
		}
	}
	for _, host := range slices.Sorted(maps.Keys(count)) {
		out = append(out, Hidden{host, count[host]}.String())
	}
	return out
}

// short keeps a list readable.
func short(list []string) []string {
	const most = 20
	if len(list) <= most {
		return list
	}
	return append(slices.Clone(list[:most]), fmt.Sprintf("and %d more", len(list)-most))
}
