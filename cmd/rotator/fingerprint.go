package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
)

const fingerprintHelp = `Reads a leaked value from standard input and prints its keyed fingerprint, which may
go into an event, a ticket or a chat where the value must not. A newline at the end of
the input does not count. On a terminal it asks, and shows nothing of what is typed.
The key is kept in Vault.

  rotator fingerprint < leaked.txt
  rotator emit leak --fingerprint "$(rotator fingerprint < leaked.txt)" --wait`

func fingerprintCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "fingerprint", Short: "Print the keyed fingerprint of a value on standard input", Long: fingerprintHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := g.load(cmd)
			if err != nil {
				return err
			}
			value, err := readValue(cmd, "-")
			if err != nil {
				return coded(exitUsage, err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
			defer cancel()
			preview, err := service.Preview(ctx, cfg, logger(cmd.ErrOrStderr(), cfg.Log))
			if err != nil {
				return remote(err)
			}
			key, err := preview.Secrets.Key(ctx)
			if err != nil {
				return remote(fmt.Errorf("reading the fingerprint key: %w", err))
			}
			print := key.Fingerprint(value)
			answer := map[string]string{"alg": "hmac-sha256", "key_id": key.ID(), "value": print}
			return g.print(cmd.OutOrStdout(), answer, func(w io.Writer) { fmt.Fprintf(w, "hmac-sha256/%s:%s\n", key.ID(), print) })
		},
	}
}
