package service

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/ops"
)

// health answers from before anything is waited for until everything has been let go: an orchestrator must not take a process that
// waits for NATS, or that finishes what it has in hand, for a dead one.
type health struct {
	ops    *ops.Server // nil: not configured
	cancel context.CancelFunc
	done   chan struct{} // closed when it does not answer any more
	err    error         // why, after done
	phase  atomic.Value  // why the service is not ready yet, or not any more; "": it works
	opened atomic.Bool   // the rest of the service may be looked at
}

// listen takes the port and begins to answer.
func (s *Service) listen(ctx context.Context, version string) (err error) {
	s.phase.Store("starting")
	if s.cfg.Ops.Listen == "" {
		return nil
	}
	s.ops, err = ops.Listen(ctx, ops.Config{Listen: s.cfg.Ops.Listen, Version: version, Records: s.records, Compared: s.compared, Ready: s.ready, Streams: s.levels, Overdue: s.overdue, Clock: s.clock,
		More: []prometheus.Collector{s.received}})
	if err != nil {
		return err
	}
	s.log.Info().Str("address", s.ops.Addr()).Msg("health, metrics and status page")
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx)) // until Close
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		s.err = s.ops.Run(ctx)
	}()
	return nil
}

// watch ends Run when health ends by itself, which it does not do before Close.
func (s *Service) watch(ctx context.Context) error {
	select {
	case <-s.done: // never, if there is none
		return s.err
	case <-ctx.Done():
		s.phase.Store("stopping")
		return nil
	}
}

func (h *health) close() {
	if h.ops != nil {
		h.cancel()
		<-h.done
	}
}

// works is the end of Open.
func (h *health) works() {
	h.opened.Store(true)
	h.phase.Store("")
}

func (s *Service) records() map[string]rotator.Record {
	if !s.opened.Load() {
		return nil
	}
	return s.Engine.Records()
}

func (s *Service) compared() *rotator.Compared {
	if !s.opened.Load() {
		return nil
	}
	return s.Engine.Compared()
}

// levels of the streams; unknown as long as nothing is connected.
func (s *Service) levels(ctx context.Context) (stream.Levels, error) {
	if !s.opened.Load() {
		return stream.Levels{}, errNotOpen
	}
	return stream.ReadLevels(ctx, s.Conn)
}

var errNotOpen = errors.New("the service is not open yet")

func (s *Service) overdue() int {
	if !s.opened.Load() {
		return 0
	}
	return s.Engine.Overdue()
}

func (s *Service) clock() time.Duration {
	if !s.opened.Load() {
		return 0
	}
	return s.Engine.ClockOffset()
}

// ready reports whether events can be taken in and worked off right now.
func (s *Service) ready(ctx context.Context) error {
	if phase := s.phase.Load(); phase != "" {
		return fmt.Errorf("not ready: %v", phase)
	}
	if s.Conn.Status() != nats.CONNECTED {
		return errors.New("NATS is not connected")
	}
	if err := s.Engine.ClockError(); err != nil {
		return err
	}
	return s.vault.Ready(ctx)
}
