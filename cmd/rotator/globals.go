package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
)

// globals are the flags that every command has.
type globals struct {
	config string
	output string
}

func (g *globals) validate() error {
	if g.output != "text" && g.output != "json" {
		return coded(exitUsage, fmt.Errorf("unknown output %q; use -o text or -o json", g.output))
	}
	return nil
}

func (g *globals) json() bool { return g.output == "json" }

// load reads the configuration and shows warnings on stderr.
func (g *globals) load(cmd *cobra.Command) (*config.Config, error) {
	cfg, err := config.Load(g.config, config.ThisMachine())
	if err != nil {
		return nil, coded(exitUsage, err)
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), w)
	}
	return cfg, nil
}

// print writes v as JSON, or as text writes it.
func (g *globals) print(w io.Writer, v any, text func(io.Writer)) error {
	if !g.json() {
		text(w)
		return nil
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// completeBundles offers the bundles of the configuration.
func (g *globals) completeBundles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	cfg, err := config.Load(g.config, config.ThisMachine())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(cfg.Bundles)), cobra.ShellCompDirectiveNoFileComp
}

// logger writes JSON, or lines for people when stderr is a terminal or the configuration says so.
func logger(w io.Writer, l config.Log) zerolog.Logger {
	level, err := zerolog.ParseLevel(l.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	if l.Format == "text" || l.Format == "auto" && terminal(w) {
		w = zerolog.ConsoleWriter{Out: w, NoColor: !colours(w), TimeFormat: "15:04:05.000"}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func colours(w io.Writer) bool { return terminal(w) && os.Getenv("NO_COLOR") == "" }

// version is what the release build stamped in, or what Go knows about the build.
func version() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v += " " + s.Value[:12]
		}
	}
	return v
}

// stamped is set with -ldflags "-X main.stamped=v1.2.3".
var stamped string

// remote marks an error as one of reaching another system.
func remote(err error) error {
	var c *codedError
	if err == nil || errors.As(err, &c) {
		return err
	}
	return coded(exitRemote, err)
}
