package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/events/intake"
)

const intakeHelp = `Takes the webhooks of detectors and identity systems, checks that they are authentic, and publishes
canonical events on NATS. rotator run does the same when intake.sources is configured; run this where the senders can reach it and
Vault's secrets and the OpenWhisk hosts need not be reached: it needs NATS, and Vault only for the fingerprint key.

  POST /v1/NAME           a message of the source NAME
  /v1/NAME/Users          SCIM 2.0, for a source of kind scim

A message is answered with success only after its events are durable. 202 with "kept" is an authentic message that was not understood: it
is a dead letter, and the answer names the field. 400 is no message at all, or one whose sender reads the answer; 401 a wrong signature;
404 an unknown source; 408 a body that takes too long; 413 more than 1 MiB; 429 too much of one sender; 503 come back later.

Kinds of source: `

func intakeCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "intake", Short: "Take webhooks of detectors and identity systems", Long: intakeHelp + strings.Join(intake.Kinds(), ", "), Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := g.load(cmd)
			if err != nil {
				return err
			}
			log := logger(cmd.ErrOrStderr(), cfg.Log)
			log.Info().Str("version", version()).Str("config", cfg.Path).Msg("starting")
			if !cfg.Intake.Enabled() {
				return coded(exitUsage, service.ErrNoSource)
			}
			e, err := service.OpenEdge(cmd.Context(), cfg, log)
			if err != nil && cmd.Context().Err() != nil {
				log.Info().Msg("stopped while waiting for NATS")
				return nil
			}
			if err != nil {
				return remote(err)
			}
			defer e.Close()
			log.Info().Str("address", e.Addr()).Int("sources", len(cfg.Intake.Sources)).Msg("ready")
			if err := e.Run(cmd.Context()); err != nil {
				return remote(err)
			}
			log.Info().Msg("stopped; every message that was answered is durable")
			return nil
		},
	}
}
