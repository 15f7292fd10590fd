package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
)

func exampleCommand() *cobra.Command {
	return &cobra.Command{
		Use: "example", Short: "Print a commented configuration with everything in it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), config.Example())
			return err
		},
	}
}
