package rotator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
)

// A pause says that there is nothing to do for this record before a moment; the claim is given back meanwhile.
type pause struct {
	until time.Time
	why   error // nil when waiting is the plan, not a failure
}

// drive claims a record and takes it as far as it goes now: to idle, to a pause, or to the end of ctx. The same
// code runs for a rotation that was just claimed and for one that another process left behind.
func (e *Engine) drive(ctx context.Context, name string) {
	log := e.Log.With().Str("bundle", name).Logger()
	e.measure(ctx)
	c, err := e.claim(ctx, name)
	if err != nil {
		e.report(log, err, "claiming")
		return
	}
	if c == nil {
		return
	}
	defer func() {
		if found := recover(); found != nil {
			e.defect(ctx, c, found)
		}
	}()
	graceful, end := e.grace(ctx)
	defer end()
	stepCtx, stop := c.keepLease(graceful)
	defer stop()
	for stepCtx.Err() == nil {
		if ctx.Err() != nil {
			e.giveBack(ctx, c, pause{until: e.Now()})
			return
		}
		if e.ClockError() != nil { // no moment of this clock may get into the record
			e.giveBack(ctx, c, pause{})
			return
		}
		rec := c.record()
		if rec.Owner == "" {
			return // given back with the last move
		}
		if rec.State == Idle || rec.State == Quarantined {
			e.keep(stepCtx, c)
			e.giveBack(ctx, c, pause{})
			return
		}
		p := e.step(stepCtx, c)
		if p == nil {
			continue
		}
		if errors.Is(p.why, errLost) || context.Cause(stepCtx) != nil {
			return
		}
		if errors.Is(p.why, ErrTooLarge) {
			p.until = e.outgrown(stepCtx, name, rec.Rotation.ID, p.why)
		}
		if p.why != nil {
			if p = e.late(stepCtx, c, p); p == nil {
				continue // contained: on it goes
			}
			level := zerolog.WarnLevel
			if errors.Is(p.why, errNeighbour) {
				level = zerolog.InfoLevel
			}
			log.WithLevel(level).Str("rotation", rec.Rotation.ID).Str("state", string(rec.State)).Err(p.why).Time("again", p.until).Msg("cannot go on now; will try again")
		}
		e.keep(stepCtx, c)
		e.giveBack(ctx, c, *p)
		return
	}
}

// defect keeps a panic to the bundle in which it happened: the others go on, and this one is tried again later. What was found may
// hold anything, so it is told only if Go itself has found it.
func (e *Engine) defect(ctx context.Context, c *cursor, found any) {
	c.run = run{}
	stack := debug.Stack()
	if there, ok := found.(caught); ok {
		found, stack = there.found, there.stack
	}
	why := fmt.Errorf("a defect in this program: %T", found)
	if native, ok := found.(runtime.Error); ok {
		why = fmt.Errorf("a defect in this program: %w", native)
	}
	e.Log.Error().Str("bundle", c.bundle.Name).Err(why).Bytes("stack", stack).Msg("please report this; the bundle is tried again, the others go on")
	e.giveBack(ctx, c, pause{until: e.Now().Add(defectPause), why: why})
}

// defectPause is the time between attempts that a defect has ended.
const defectPause = time.Minute

// grace lets the step in hand finish when ctx ends: its next durable state is usually moments away, and cutting a
// request short would leave its outcome unknown.
func (e *Engine) grace(ctx context.Context) (context.Context, context.CancelFunc) {
	graceful, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(e.Grace, cancel)
		context.AfterFunc(graceful, func() { t.Stop() })
	})
	return graceful, func() { stop(); cancel() }
}

// step does the work of the present state. It returns nil after the record has moved.
func (e *Engine) step(ctx context.Context, c *cursor) *pause {
	rec := c.record()
	switch {
	case rec.Rotation.Final != nil:
		return e.closeUp(ctx, c)
	case rec.Rotation.Asked == Cutoff:
		return e.contain(ctx, c)
	case rec.Rotation.Asked == Undo && rec.State == Applying: // a minting that had committed after all
		return e.rollBack(ctx, c, "an operator decided so")
	}
	switch rec.State {
	case Claimed:
		return e.begin(ctx, c)
	case Minting:
		return e.mint(ctx, c)
	case Applying, RollingBack:
		return e.apply(ctx, c)
	case Draining:
		return e.drain(ctx, c)
	case Revoking:
		return e.revoke(ctx, c)
	case Idle, Quarantined:
	}
	return &pause{until: e.Now()}
}

// giveBack releases the claim so that whoever is there takes the record up when it is due.
func (e *Engine) giveBack(ctx context.Context, c *cursor, p pause) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // also while shutting down
	defer cancel()
	if c.record().Owner == "" {
		return
	}
	err := c.move(ctx, func(r *Record) {
		r.Owner, r.LeaseUntil = "", time.Time{}
		if !p.until.IsZero() {
			r.NotBefore = p.until
		}
		if r.Rotation != nil && p.why != nil {
			r.Rotation.Attempts++
			r.Rotation.LastError = p.why.Error()
		}
	})
	if err != nil && !errors.Is(err, errLost) {
		e.report(e.Log.With().Str("bundle", c.bundle.Name).Logger(), err, "giving the claim back")
	}
}

// report logs a failure that leads to a later attempt; a failure that is only the end of the process is silent.
func (e *Engine) report(log zerolog.Logger, err error, doing string) {
	if !errors.Is(err, context.Canceled) {
		log.Warn().Err(err).Str("doing", doing).Msg("will try again")
	}
}

// retry is a pause after a failure: doubling with the attempts, with jitter, at most a minute.
func (e *Engine) retry(c *cursor, err error) *pause {
	d := e.Backoff
	for range min(c.record().Rotation.Attempts, 10) {
		d = min(2*d, time.Minute)
	}
	d += rand.N(d/4 + 1)
	return &pause{until: e.Now().Add(d), why: err}
}
