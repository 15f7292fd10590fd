package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
)

const runHelp = `Runs the service: takes events from NATS, rotates what they touch, and keeps live
credentials alive. Any number of replicas may run on one NATS cluster.

Without nats.url in the configuration a NATS server runs inside this process, with
its data under data; then there is exactly one replica.

SIGTERM stops taking events in, lets every rotation in hand reach its next durable
state, ends its login to Vault, and exits, after 40 seconds in any case: give it at least
a minute before it is killed. A rotation that is not finished goes on at the next start, or on another
replica.`

// stopTime is how long what is in hand may take after the signal to stop. The deployments allow for more before they kill.
const stopTime = 40 * time.Second

// errCut says that something did not end in time.
var errCut = errors.New("what was in hand did not end in time")

// within runs until what it runs has ended, or for stopTime after ctx: a Vault that takes half a minute for every answer
// must not make the end of a process take for ever. What was in hand is in the journal, or comes again.
func within(ctx context.Context, stop time.Duration, work func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(stop)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return errCut
	}
}

func runCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: "Run the service", Long: runHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := g.load(cmd)
			if err != nil {
				return err
			}
			log := logger(cmd.ErrOrStderr(), cfg.Log)
			log.Info().Str("version", version()).Str("config", cfg.Path).Msg("starting")
			s, err := service.Open(cmd.Context(), cfg, service.Options{Log: log, Version: version()})
			if err != nil && cmd.Context().Err() != nil {
				log.Info().Msg("stopped while waiting for NATS")
				return nil
			}
			if err != nil {
				return remote(err)
			}
			err = within(cmd.Context(), stopTime, func(ctx context.Context) error {
				defer s.Close()
				return s.Run(ctx)
			})
			if errors.Is(err, errCut) {
				log.Warn().Dur("after_ms", stopTime).Msg("stopped in the middle of a step; whatever was in hand is in the journal, or is delivered again")
				return nil
			}
			if err != nil {
				return remote(err)
			}
			log.Info().Msg("stopped; everything in hand is durable")
			return nil
		},
	}
}
