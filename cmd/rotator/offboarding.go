package main

import (
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/events"
)

const offboardingHelp = `Says that a person left. Every bundle is rotated that lists the person under holders, or that the person could read by
Vault's own policies (people.probe_role). See what that is beforehand: rotator affected --person.

  rotator emit offboarding --person alice@example.com --wait
  rotator emit offboarding --person alice@example.com --person acct:alice@github.com --person https://example.okta.com#00u3m90rx
  rotator emit offboarding --person alice@example.com --change membership_removed --team payments
  rotator emit offboarding --person alice@example.com --effective-at 2026-12-31T18:00:00+01:00

--person may be repeated for names of the same person: an email address, acct:USER@HOST, or ISSUER#SUBJECT. Who leaves a team or an
organization only (membership_removed) keeps the rest: the bundles that have group:NAME among their holders are rotated.

A person whom no bundle concerns is no failure: nothing is rotated, exit code 0.

` + waitHelp

// departed is what the flags say of somebody who leaves.
type departed struct {
	names       []string
	change      string
	team, org   string
	effectiveAt string
}

func emitOffboarding(g *globals) *cobra.Command {
	m, d := new(emission), new(departed)
	cmd := &cobra.Command{Use: "offboarding", Short: "A person left", Args: cobra.NoArgs, Long: offboardingHelp}
	changes := []string{"terminated", "deleted", "deactivated", "suspended", "membership_removed"}
	f := cmd.Flags()
	f.StringArrayVar(&d.names, "person", nil, "the person's `name`: email, acct:user@host or issuer#subject; may be repeated")
	f.StringVar(&d.change, "change", "terminated", "what happened: `terminated`, deleted, deactivated, suspended or membership_removed")
	f.StringVar(&d.team, "team", "", "the `team` that the person left")
	f.StringVar(&d.org, "organization", "", "the `organization` that the person left")
	f.StringVar(&d.effectiveAt, "effective-at", "", "the `time` from which it counts, as 2026-12-31T18:00:00Z; until then the event waits")
	_ = cmd.RegisterFlagCompletionFunc("change", cobra.FixedCompletions(changes, cobra.ShellCompDirectiveNoFileComp))
	m.common(g, cmd)
	_ = cmd.MarkFlagRequired("person")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o, err := d.event(m)
		if err != nil {
			return coded(exitUsage, err)
		}
		return m.publish(g, cmd, func(*config.Config) (events.Event, error) {
			return events.Event{Kind: events.KindOffboarding, Offboarding: o}, nil
		})
	}
	return cmd
}

// event checks what the flags say together.
func (d *departed) event(m *emission) (*events.Offboarding, error) {
	o := &events.Offboarding{Change: d.change, Severity: m.severity, Reason: "reported by hand", Upstream: events.Upstream{System: "cli"}}
	for _, name := range d.names {
		id, ok := identifier(name)
		if !ok {
			return nil, fmt.Errorf("--person %q is no email address, acct:USER@HOST or ISSUER#SUBJECT", name)
		}
		o.Person.Identifiers = append(o.Person.Identifiers, id)
	}
	if d.team+d.org != "" {
		o.Scope = &events.Scope{Team: d.team, Organization: d.org}
	} else if d.change == "membership_removed" {
		return nil, errors.New("--change membership_removed touches only bundles with that group among their holders: say which with --team or --organization")
	}
	if d.effectiveAt == "" {
		return o, nil
	}
	at, err := time.Parse(time.RFC3339, d.effectiveAt)
	if err != nil {
		return nil, fmt.Errorf("--effective-at %q is no time; write it as 2026-12-31T18:00:00Z or 2026-12-31T18:00:00+01:00", d.effectiveAt)
	}
	if m.wait && at.After(time.Now()) {
		return nil, errors.New("--wait would wait for nothing: the event is put off by --effective-at; see: rotator status")
	}
	o.EffectiveAt = at.UTC()
	return o, nil
}

// identifier tells the forms of a person's name apart; ok is false for a bare name.
func identifier(name string) (id events.Identifier, ok bool) {
	hash := strings.LastIndex(name, "#")
	switch {
	case strings.HasPrefix(name, "acct:"):
		return events.Identifier{Format: "account", URI: name}, true
	case hash > 0 && hash+1 < len(name) && strings.Contains(name[:hash], "://"):
		return events.Identifier{Format: "iss_sub", Iss: name[:hash], Sub: name[hash+1:]}, true
	}
	at, err := mail.ParseAddress(name)
	return events.Identifier{Format: "email", Email: name}, err == nil && at.Address == name
}
