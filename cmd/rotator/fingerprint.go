package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

const fingerprintHelp = `Reads a leaked value from standard input and prints its keyed fingerprint, which may
go into an event, a ticket or a chat where the value must not. A newline at the end of
the input does not count. The key is kept in Vault.

  rotator fingerprint < leaked.txt
  rotator emit leak --fingerprint "$(rotator fingerprint < leaked.txt)" --wait`

// maxValue bounds what is read: OpenWhisk takes no larger parameter.
const maxValue = 1 << 20

func fingerprintCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "fingerprint", Short: "Print the keyed fingerprint of a value on standard input", Long: fingerprintHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := g.load(cmd)
			if err != nil {
				return err
			}
			raw, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxValue+1))
			if err != nil {
				return fmt.Errorf("reading standard input: %w", err)
			}
			raw = bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
			if len(raw) == 0 || len(raw) > maxValue {
				return coded(exitUsage, errors.New("standard input must hold one value, at most 1 MiB"))
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
			print := key.Fingerprint(secret.FromText(string(raw)))
			answer := map[string]string{"alg": "hmac-sha256", "key_id": key.ID(), "value": print}
			return g.print(cmd.OutOrStdout(), answer, func(w io.Writer) { fmt.Fprintf(w, "hmac-sha256/%s:%s\n", key.ID(), print) })
		},
	}
}
