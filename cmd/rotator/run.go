package main

import (
	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
)

const runHelp = `Runs the service: takes events from NATS, rotates what they touch, and keeps live
credentials alive. Any number of replicas may run on one NATS cluster.

Without nats.url in the configuration a NATS server runs inside this process, with
its data under data; then there is exactly one replica.

SIGTERM stops taking events in, lets every rotation in hand reach its next durable
state, ends its login to Vault, and exits. A rotation that is not finished goes on at the next start, or on
another replica.`

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
			defer s.Close()
			if err := s.Run(cmd.Context()); err != nil {
				return remote(err)
			}
			log.Info().Msg("stopped; everything in hand is durable")
			return nil
		},
	}
}
