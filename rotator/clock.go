package rotator

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Ends of drains and claims are moments in the journal, which every replica compares with its own clock.
const (
	maxSkew      = 5 * time.Second
	measureEvery = 30 * time.Second
	measureTime  = 5 * time.Second
)

// clock is what is known of this machine's clock.
type clock struct {
	mu     sync.Mutex
	offset time.Duration // ahead of the journal's
	at     time.Time     // when that was measured
}

// stale reports that the clock may have jumped since it was measured.
func (c *clock) stale() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.at) >= time.Second
}

func (c *clock) wrong() (offset time.Duration, wrong bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset, c.offset.Abs() > maxSkew
}

// set keeps what was measured, and tells whether the clock was wrong before, and is now.
func (c *clock) set(offset time.Duration) (was, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was = c.offset.Abs() > maxSkew
	c.offset, c.at = offset, time.Now()
	return was, c.offset.Abs() > maxSkew
}

// ClockOffset is how far this machine's clock is ahead of the journal's, as last measured.
func (e *Engine) ClockOffset() time.Duration {
	offset, _ := e.clock.wrong()
	return offset
}

// ClockError says that this machine's clock is too far from the journal's: this replica begins nothing, for it would end drains
// too early or take over claims that are held.
func (e *Engine) ClockError() error {
	offset, wrong := e.clock.wrong()
	if !wrong {
		return nil
	}
	word := "ahead of"
	if offset < 0 {
		word = "behind"
	}
	return fmt.Errorf("the clock of this machine is %s %s that of the NATS server; nothing is begun here until they agree: check the time synchronisation of both",
		offset.Abs().Round(time.Second), word)
}

// measure compares the clocks, unless it has just been done, and opens or closes the lanes.
func (e *Engine) measure(ctx context.Context) {
	if e.Clock == nil || !e.clock.stale() {
		return
	}
	sub, cancel := context.WithTimeout(ctx, measureTime)
	defer cancel()
	offset, err := e.Clock(sub)
	if err != nil { // NATS is away: nothing can be claimed anyway
		e.Log.Debug().Err(err).Msg("the clock could not be compared with that of the NATS server")
		return
	}
	was, is := e.clock.set(offset)
	e.lanes.shut(is)
	switch {
	case is && !was:
		e.Log.Error().Err(e.ClockError()).Msg("this replica begins nothing")
	case was && !is:
		e.Log.Info().Msg("the clocks agree again; this replica goes on")
		e.wakeUp()
	}
}

// measureLoop measures every once in a while.
func (e *Engine) measureLoop(ctx context.Context) {
	for sleep(ctx, measureEvery) == nil {
		e.measure(ctx)
	}
}
