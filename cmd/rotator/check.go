package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
)

const checkHelp = `Checks the configuration and reaches for every system with the rights the service
will need: NATS and its streams, Vault's login and policies, the auth mounts and the
probe of persons (a token without rights, which is revoked at once), every OpenWhisk
host, and every bundle with its targets. Nothing is changed but missing streams.

Every finding comes with a remedy. Exit code 1 means that there are findings, 2 that
the configuration itself is wrong.`

func checkCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Check the configuration and reach for every system", Long: checkHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			cfg, err := g.load(cmd)
			if problems, ok := errors.AsType[config.Problems](err); ok && g.json() {
				return coded(exitUsage, errors.Join(errSaid, g.print(out, wrong(problems), nil)))
			}
			if err != nil {
				return err
			}
			findings := []service.Finding{}
			failed := false
			service.Check(cmd.Context(), cfg, logger(cmd.ErrOrStderr(), cfg.Log), func(f service.Finding) {
				findings = append(findings, f)
				failed = failed || !f.OK
				if !g.json() {
					writeFinding(out, f)
				}
			})
			if err := g.print(out, findings, func(io.Writer) {}); err != nil {
				return err
			}
			if failed {
				return coded(exitFailed, errSaid)
			}
			return nil
		},
	}
}

// wrong are the mistakes of a configuration as findings.
func wrong(problems config.Problems) []service.Finding {
	out := make([]service.Finding, len(problems))
	for i, p := range problems {
		out[i] = service.Finding{OK: p.Warning, Warning: p.Warning, Subject: fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column), Text: p.Path + ": " + p.Text, Remedy: p.Remedy}
	}
	return out
}

func writeFinding(w io.Writer, f service.Finding) {
	mark, on, off := "ok  ", "\x1b[32m", "\x1b[0m"
	switch {
	case !f.OK:
		mark, on = "FAIL", "\x1b[31m"
	case f.Warning:
		mark, on = "note", "\x1b[33m"
	}
	if !colours(w) {
		on, off = "", ""
	}
	fmt.Fprintf(w, "%s%s%s  %s: %s\n", on, mark, off, f.Subject, f.Text)
	if f.Remedy != "" {
		fmt.Fprintf(w, "      remedy: %s\n", f.Remedy)
	}
}
