package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestWithinEnds: what ends by itself is waited for, what does not is left behind in time; before the signal nothing is cut.
func TestWithinEnds(t *testing.T) {
	own := errors.New("its own")
	for name, tc := range map[string]struct {
		takes time.Duration // after the signal
		want  error
		after time.Duration
	}{
		"in time":       {10 * time.Second, own, 10 * time.Second},
		"never":         {time.Hour, errCut, stopTime},
		"by itself":     {-time.Hour, own, -time.Hour},
		"at the signal": {0, own, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, signal := context.WithCancel(t.Context())
				began, at := time.Now(), 24*time.Hour
				time.AfterFunc(at, signal)
				err := within(ctx, stopTime, func(context.Context) error {
					time.Sleep(at + tc.takes)
					return own
				})
				if took := time.Since(began); !errors.Is(err, tc.want) || took != at+tc.after {
					t.Errorf("%v after %v", err, took)
				}
				time.Sleep(2 * time.Hour) // what was left behind ends with the process; here it has to end by itself
			})
		})
	}
}
