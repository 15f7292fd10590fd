package rotator

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What the platform may still do with old values after the last PUT (openwhisk: cache lag of the other
// controllers, time in the queue), and its limits for actions that do not name one or cannot be seen.
const (
	cacheLag       = 5 * time.Minute
	queueTime      = time.Minute
	defaultTimeout = time.Minute
	unseenTimeout  = 5 * time.Minute
)

// A Work is an action that a host may be running.
type Work struct {
	Name       string        // "name" or "package/name"
	Timeout    time.Duration // of one run; zero: not known
	Components []string      // of a sequence, named in the same way
}

// Workload tells what a host may be running. Only drains need it.
type Workload interface {
	// Work lists every action of a host, at most seconds old.
	Work(ctx context.Context, host string) ([]Work, error)
}

// work asks every host of a bundle, if the old generation is to be drained.
func (e *Engine) work(ctx context.Context, f *Facts) error {
	if !f.Rule.Drain {
		return nil
	}
	f.Work = make(map[string][]Work)
	for host := range f.Limits {
		list, err := e.Platform.Work(ctx, host)
		if err != nil {
			return fmt.Errorf("asking host %s what it may be running, for the drain: %w", host, err)
		}
		f.Work[host] = list
	}
	return nil
}

// overlap is the time between the last target's update and the revocation of the old generation, and what it is made of.
// Drained, it is what work in flight may still need: that of every action which a target's parameters reach, and of every sequence with
// such an action in it, because a sequence runs all of its components with the values of its start.
func overlap(f Facts) (time.Duration, string) {
	if !f.Rule.Drain {
		return f.Rule.Overlap, f.Rule.Overlap.String()
	}
	longest, what := 2*defaultTimeout, "work in flight"
	for _, s := range f.Sights {
		work := workload(f.Work[s.Target.Host])
		for _, w := range work.reached(s) {
			if d := work.lasts(w, 0); d > longest {
				longest, what = d, w.String()
			}
		}
	}
	d := longest + cacheLag + queueTime + f.Zombie
	return d, fmt.Sprintf("%s (drain: %s may go on for %s)", d, what, longest)
}

// String names the work for people.
func (w Work) String() string {
	if w.Components != nil {
		return "sequence " + w.Name
	}
	return "action " + w.Name
}

// workload is everything that one host may be running.
type workload []Work

// reached lists what may run with a target's parameters.
func (ws workload) reached(s Sight) []Work {
	var direct, out []Work
	if o := s.Observed; s.Target.Kind == Action { // as it was just read, listed or not
		direct = append(direct, Work{Name: s.Target.Name, Timeout: o.Timeout})
	}
	for _, w := range ws {
		if s.delivers(w) {
			direct = append(direct, w)
		}
	}
	for _, w := range ws {
		if w.Components != nil && ws.includes(w, direct, 0) {
			out = append(out, w)
		}
	}
	return append(out, direct...)
}

// delivers reports whether the parameters of a target are given to an action.
func (s Sight) delivers(w Work) bool {
	switch s.Target.Kind {
	case Action:
		return w.Name == s.Target.Name
	case Package:
		return strings.HasPrefix(w.Name, s.Target.Name+"/") || s.Observed.Provider != "" && strings.HasPrefix(w.Name, s.Observed.Provider+"/")
	case Trigger:
		return slices.Contains(s.Observed.Fires, w.Name)
	}
	return false
}

// deepest is how far sequences in sequences are followed; the platform allows 50 components in all.
const deepest = 50

// includes reports whether one of these actions is in a sequence.
func (ws workload) includes(seq Work, actions []Work, depth int) bool {
	return slices.ContainsFunc(seq.Components, func(name string) bool {
		c, known := ws.find(name)
		switch {
		case slices.ContainsFunc(actions, func(a Work) bool { return a.Name == name || !known && base(a.Name) == base(name) }):
			return true
		case known && c.Components != nil && depth < deepest:
			return ws.includes(c, actions, depth+1)
		}
		return false
	})
}

// lasts is how long one activation may go on: an action may use its limit for its start and again for its run.
func (ws workload) lasts(w Work, depth int) (d time.Duration) {
	if w.Components == nil || depth > deepest {
		if w.Timeout == 0 {
			w.Timeout = defaultTimeout
		}
		return 2 * w.Timeout
	}
	for _, name := range w.Components {
		c, known := ws.find(name)
		if !known {
			c = Work{Timeout: unseenTimeout}
			for _, a := range ws { // through a binding it has another name
				if base(a.Name) == base(name) {
					c.Timeout = max(c.Timeout, a.Timeout)
				}
			}
		}
		d += ws.lasts(c, depth+1) + queueTime
	}
	return d
}

func (ws workload) find(name string) (Work, bool) {
	i := slices.IndexFunc(ws, func(w Work) bool { return w.Name == name })
	if i < 0 {
		return Work{}, false
	}
	return ws[i], true
}

func base(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// follows reports whether version is exactly one patch after before; anything else means somebody wrote in between.
func follows(before, version string) bool {
	head, patch, ok := cutLast(before)
	n, err := strconv.Atoi(patch)
	return ok && err == nil && version == head+"."+strconv.Itoa(n+1)
}

func cutLast(v string) (head, tail string, ok bool) {
	i := strings.LastIndexByte(v, '.')
	if i < 0 {
		return "", "", false
	}
	return v[:i], v[i+1:], true
}
