package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const healthHelp = `Asks the running service of this machine (ops.listen) whether it can work: exit code 0 when NATS and Vault can be
used, otherwise 1 with the reason. Made for container health checks, where there is no shell and no curl.

  rotator health
  rotator health --live        only whether the process answers`

func healthCommand(g *globals) *cobra.Command {
	var live bool
	cmd := &cobra.Command{Use: "health", Short: "Is the running service ready?", Long: healthHelp, Args: cobra.NoArgs}
	cmd.Flags().BoolVar(&live, "live", false, "ask for liveness instead of readiness")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := g.load(cmd)
		if err != nil {
			return err
		}
		if cfg.Ops.Listen == "" || cfg.Ops.Listen == "none" {
			return coded(exitUsage, errors.New("ops.listen is none, so the service cannot be asked"))
		}
		path := map[bool]string{true: "/healthz", false: "/readyz"}[live]
		text, ok, err := probe(cmd.Context(), "http://"+reachable(cfg.Ops.Listen)+path)
		if err != nil {
			return remote(err)
		}
		answer := map[string]any{"ok": ok, "answer": text}
		if err := g.print(cmd.OutOrStdout(), answer, func(w io.Writer) { fmt.Fprintln(w, text) }); err != nil {
			return err
		}
		if !ok {
			return coded(exitFailed, errSaid)
		}
		return nil
	}
	return cmd
}

// reachable turns an address that listens everywhere into one that can be dialled.
func reachable(listen string) string {
	for _, all := range []string{"0.0.0.0:", "[::]:", ":"} {
		if port, ok := strings.CutPrefix(listen, all); ok {
			return "127.0.0.1:" + port
		}
	}
	return listen
}

func probe(ctx context.Context, url string) (text string, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", false, fmt.Errorf("the service does not answer; does rotator run here? %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return strings.TrimSpace(string(body)), resp.StatusCode == http.StatusOK, err
}
