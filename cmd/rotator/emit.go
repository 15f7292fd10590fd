package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/events"
)

const emitHelp = `Publishes an event, as a scanner or an identity system would.

  rotator emit leak --bundle checkout --wait
  rotator emit leak --path secret/checkout --key DB_PASSWORD
  rotator emit leak --target shop/checkout
  rotator emit leak --fingerprint sha256:9f86d0...
  rotator emit offboarding --person alice@example.com --wait
  rotator emit manual --bundle checkout --reason "quarterly"

With --wait the command follows the rotations to their outcome and exits with 1
when one of them is anything but rotated.`

const waitHelp = `With --wait: exit code 0 when everything was rotated, 1 when something was refused, rolled
back, contained or quarantined, 3 when the time is up; the rotation then goes on.`

// emission is what the flags of emit say.
type emission struct {
	bundle, path, key, target, fingerprint string
	reason, severity                       string
	id, publisher                          string
	wait                                   bool
	timeout                                time.Duration
}

func emitCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "emit", Short: "Publish an event: leak, offboarding or manual", Long: emitHelp, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("say what happened: leak, offboarding or manual")
		}}
	cmd.AddCommand(emitLeak(g), emitOffboarding(g), emitManual(g))
	return cmd
}

func (m *emission) common(g *globals, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&m.id, "id", "", "`id` of the event; the same id again rotates nothing (default: random)")
	f.StringVar(&m.publisher, "publisher", "cli", "publisher `name` in the subject")
	f.StringVar(&m.severity, "severity", "high", "how bad it is: `critical`, high, medium, low or info")
	f.BoolVar(&m.wait, "wait", false, "follow the rotations to their outcome")
	f.DurationVar(&m.timeout, "timeout", 15*time.Minute, "how long to wait")
	_ = cmd.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions([]string{"critical", "high", "medium", "low", "info"}, cobra.ShellCompDirectiveNoFileComp))
	if f.Lookup("bundle") != nil {
		_ = cmd.RegisterFlagCompletionFunc("bundle", g.completeBundles)
	}
}

func emitLeak(g *globals) *cobra.Command {
	m := new(emission)
	cmd := &cobra.Command{Use: "leak", Short: "A credential leaked", Args: cobra.NoArgs, Long: `Says that a credential leaked, and how it is known: by the bundle, the Vault path (and
key), an action that holds it, or the fingerprint of the value. Never the value itself.

  rotator emit leak --bundle checkout --wait
  rotator emit leak --path secret/checkout --key DB_PASSWORD
  rotator emit leak --target shop/checkout          (any namespace)
  rotator emit leak --fingerprint "$(rotator fingerprint < leaked.txt)"

` + waitHelp}
	f := cmd.Flags()
	f.StringVar(&m.bundle, "bundle", "", "the `bundle` whose credential leaked")
	f.StringVar(&m.path, "path", "", "the Vault `path`, mount/path")
	f.StringVar(&m.key, "key", "", "the `key` inside --path")
	f.StringVar(&m.target, "target", "", "an `action` that holds it: package/action or /namespace/package/action")
	f.StringVar(&m.fingerprint, "fingerprint", "", "`alg:hex` of the leaked value: sha256, sha1 or hmac-sha256/KEYID")
	m.common(g, cmd)
	cmd.MarkFlagsOneRequired("bundle", "path", "target", "fingerprint")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return m.publish(g, cmd, func(cfg *config.Config) (events.Event, error) {
			c, err := m.credential(cfg)
			return events.Event{Kind: events.KindLeak, Leak: &events.Leak{Credential: c, Severity: m.severity, Reason: "manual_report", Upstream: events.Upstream{System: "cli"}}}, err
		})
	}
	return cmd
}

func emitManual(g *globals) *cobra.Command {
	m := new(emission)
	cmd := &cobra.Command{Use: "manual", Short: "Rotate because somebody asks", Args: cobra.NoArgs, Long: `Asks for a rotation of one bundle, with the policy for manual rotations.

  rotator emit manual --bundle checkout --reason "quarterly" --wait

` + waitHelp}
	cmd.Flags().StringVar(&m.bundle, "bundle", "", "the `bundle` to rotate")
	cmd.Flags().StringVar(&m.reason, "reason", "asked for by hand", "why")
	m.common(g, cmd)
	_ = cmd.MarkFlagRequired("bundle")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return m.publish(g, cmd, func(cfg *config.Config) (events.Event, error) {
			c, err := m.credential(cfg)
			by := events.Person{Identifiers: []events.Identifier{{Format: "opaque", ID: cmp.Or(os.Getenv("USER"), "unknown")}}}
			return events.Event{Kind: events.KindManual, Manual: &events.Manual{Credential: c, Reason: m.reason, Severity: m.severity, RequestedBy: by}}, err
		})
	}
	return cmd
}

// credential builds the selectors. A bundle that is not configured is a mistake that can be caught here.
func (m *emission) credential(cfg *config.Config) (events.Credential, error) {
	c := events.Credential{Name: m.bundle}
	if m.bundle != "" {
		if err := known(cfg, m.bundle); err != nil {
			return c, err
		}
	}
	if m.path != "" {
		mount, rest, ok := strings.Cut(strings.Trim(m.path, "/"), "/")
		if !ok {
			return c, fmt.Errorf("--path %q must be mount/path", m.path)
		}
		c.Vault = &events.VaultPath{Mount: mount, Path: rest, Key: m.key}
	} else if m.key != "" {
		return c, errors.New("--key needs --path")
	}
	if m.target != "" {
		c.Action = m.target
		if !strings.HasPrefix(c.Action, "/") {
			c.Action = path.Join("/_", m.target)
		}
	}
	if m.fingerprint != "" {
		fp, err := fingerprint(m.fingerprint)
		if err != nil {
			return c, err
		}
		c.Fingerprints = []events.Fingerprint{fp}
	}
	return c, nil
}

func fingerprint(s string) (events.Fingerprint, error) {
	alg, value, ok := strings.Cut(s, ":")
	alg, keyID, _ := strings.Cut(alg, "/")
	if b, err := hex.DecodeString(value); !ok || err != nil || len(b) < 20 || !slices.Contains([]string{"sha256", "sha1", "hmac-sha256"}, alg) {
		return events.Fingerprint{}, errors.New("--fingerprint must be sha256:HEX, sha1:HEX or hmac-sha256/KEYID:HEX; never pass the value itself")
	}
	return events.Fingerprint{Alg: alg, KeyID: keyID, Value: strings.ToLower(value)}, nil
}

// acceptable fails when the service would refuse the event: then it is a mistake in the flags.
func (m *emission) acceptable(cfg *config.Config, ev events.Event) error {
	body, err := events.Encode(ev)
	if err != nil {
		return fmt.Errorf("the flags make no valid event: %w", err)
	}
	if _, err := events.Decode(events.Message{Subject: events.Subject(m.publisher, ev.Kind), Body: body, Now: time.Now()}); err != nil {
		return fmt.Errorf("the flags make no valid event: %w", err)
	}
	if allowed := cfg.Events.Publishers; len(allowed) > 0 && !slices.Contains(allowed, m.publisher) {
		return fmt.Errorf("the service takes no events from publisher %q; add it to events.publishers in %s, or use --publisher with one of: %s", m.publisher, cfg.Path, strings.Join(allowed, ", "))
	}
	if err := cfg.Events.Scopes.Permit(ev); err != nil {
		return fmt.Errorf("the service would refuse the event: %w", err)
	}
	return nil
}

// publish sends the event and, if asked to, waits for what comes of it.
func (m *emission) publish(g *globals, cmd *cobra.Command, build func(*config.Config) (events.Event, error)) error {
	cfg, err := g.load(cmd)
	if err != nil {
		return err
	}
	ev, err := build(cfg)
	if err != nil {
		return coded(exitUsage, err)
	}
	ev.ID, ev.Source, ev.Time, ev.Publisher = cmp.Or(m.id, rand.Text()), "urn:rotator:cli", time.Now().UTC(), m.publisher
	if err := m.acceptable(cfg, ev); err != nil {
		return coded(exitUsage, err)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), m.timeout)
	defer cancel()
	nc, err := service.Dial(ctx, cfg, logger(cmd.ErrOrStderr(), cfg.Log))
	if err != nil {
		return remote(err)
	}
	defer nc.Close()
	seq, duplicate, err := service.Publisher(cfg, nc).Event(ctx, ev)
	if err != nil {
		return remote(fmt.Errorf("publishing the event: %w", err))
	}
	if !m.wait {
		return g.print(cmd.OutOrStdout(), map[string]any{"id": ev.ID, "sequence": seq, "duplicate": duplicate}, func(w io.Writer) {
			fmt.Fprintf(w, "published %s event %s (sequence %d)%s\n", ev.Kind, ev.ID, seq, map[bool]string{true: "; it was there already"}[duplicate])
		})
	}
	return m.follow(ctx, g, cmd, nc, cfg, ev, seq)
}

func (m *emission) follow(ctx context.Context, g *globals, cmd *cobra.Command, nc *nats.Conn, cfg *config.Config, ev events.Event, seq uint64) error {
	f := follower{conn: nc, event: ev, seq: seq, progress: cmd.ErrOrStderr(), quiet: g.json()}
	outcomes, ended := f.run(ctx)
	if ended != nil && len(outcomes) == 0 {
		return remote(ended)
	}
	if err := g.print(cmd.OutOrStdout(), outcomes, func(w io.Writer) { writeOutcomes(w, outcomes) }); err != nil {
		return err
	}
	if ended != nil {
		return remote(ended)
	}
	for _, o := range outcomes {
		if o.Result != events.ResultRotated && o.Result != events.ResultReported {
			return coded(exitFailed, errSaid)
		}
	}
	return nil
}
