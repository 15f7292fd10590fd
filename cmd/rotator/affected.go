package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/inputs"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/adapt"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

const affectedHelp = `Says which bundles and targets a leak or a leaver affects, with the evidence for each, as the service would
find them. Nothing is changed or published.

  rotator affected --person alice@example.com          holder by configuration; could read it, by Vault's policy engine
  rotator affected --fingerprint "$(rotator fingerprint < leaked.txt)"
  rotator affected --value-file - < leaked.txt         bundle that holds it, and every place on the hosts where it is bound
  rotator affected --event event.json                  a canonical event
  rotator affected --event alert.json --source github  a source's own message

A value is searched for in all actions, packages, bindings and triggers of the configured hosts: parameters and annotations, nested
JSON included. It is compared by fingerprint in this process and printed nowhere. --no-search leaves the hosts alone.

Exit codes: 0 something is affected; 1 nothing is; 2 the command line or the input is wrong; 3 a system could not be reached.`

// An affecting is one call of affected.
type affecting struct {
	*globals
	person                   []string
	fp, value, event, source string
	noSearch                 bool
}

// affected is what -o json prints.
type affected struct {
	Bundles  []affectedBundle `json:"bundles"`
	Places   []rotator.Place  `json:"places"`
	Searched int              `json:"searched"`
	Unread   []string         `json:"unread,omitempty"`
	Ignored  []string         `json:"ignored,omitempty"` // why a message rotates nothing
}

type affectedBundle struct {
	Bundle   string        `json:"bundle"`
	Evidence string        `json:"evidence"`
	Targets  []rotator.Ref `json:"targets"`
}

func affectedCommand(g *globals) *cobra.Command {
	a := &affecting{globals: g}
	cmd := &cobra.Command{Use: "affected", Short: "Say what a leak or a leaver affects, and why", Long: affectedHelp, Args: cobra.NoArgs, RunE: a.run}
	f := cmd.Flags()
	f.StringArrayVar(&a.person, "person", nil, "`name` of a person: email, login, id; may be repeated for the same person")
	f.StringVar(&a.fp, "fingerprint", "", "`alg:hex` of a leaked value, as rotator fingerprint prints it")
	f.StringVar(&a.value, "value-file", "", "`file` with a leaked value, or - for standard input")
	f.StringVar(&a.event, "event", "", "`file` with an event, or - for standard input")
	f.StringVar(&a.source, "source", "", "whose own message --event is: "+strings.Join(adapt.Sources(), ", "))
	f.BoolVar(&a.noSearch, "no-search", false, "do not read the hosts")
	cmd.MarkFlagsMutuallyExclusive("person", "fingerprint", "value-file", "event")
	cmd.MarkFlagsOneRequired("person", "fingerprint", "value-file", "event")
	_ = cmd.RegisterFlagCompletionFunc("source", cobra.FixedCompletions(adapt.Sources(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *affecting) run(cmd *cobra.Command, _ []string) error {
	cfg, err := a.load(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Minute)
	defer cancel()
	preview, err := service.Preview(ctx, cfg, logger(cmd.ErrOrStderr(), cfg.Log))
	if err != nil {
		return remote(err)
	}
	key, err := preview.Secrets.Key(ctx)
	if err != nil {
		return remote(fmt.Errorf("reading the fingerprint key: %w", err))
	}
	list, ignored, err := a.events(cmd, key)
	if err != nil {
		return coded(exitUsage, err)
	}
	out := affected{Bundles: []affectedBundle{}, Places: []rotator.Place{}, Ignored: ignored}
	if err := a.resolve(ctx, cfg, preview, list, &out); err != nil {
		return remote(err)
	}
	if err := a.search(ctx, cmd, cfg, preview.Secrets, key, list, &out); err != nil {
		return remote(err)
	}
	if err := a.show(cmd, out); err != nil {
		return err
	}
	if len(out.Bundles)+len(out.Places) == 0 {
		return coded(exitFailed, errSaid)
	}
	return nil
}

// events are what the flags say, as the service would get it.
func (a *affecting) events(cmd *cobra.Command, key secret.Key) (list []events.Event, ignored []string, err error) {
	leak := func(fp events.Fingerprint) []events.Event {
		return []events.Event{{Kind: events.KindLeak, Leak: &events.Leak{Credential: events.Credential{Fingerprints: []events.Fingerprint{fp}}}}}
	}
	hash := func(value string) events.Fingerprint {
		return events.Fingerprint{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(secret.FromText(value))}
	}
	switch {
	case len(a.person) > 0:
		var p events.Person
		for _, name := range a.person {
			id := events.Identifier{Format: "opaque", ID: name}
			if strings.Contains(name, "@") {
				id = events.Identifier{Format: "email", Email: name}
			}
			p.Identifiers = append(p.Identifiers, id)
		}
		return []events.Event{{Kind: events.KindOffboarding, Offboarding: &events.Offboarding{Person: p, Change: "terminated"}}}, nil, nil
	case a.fp != "":
		fp, err := fingerprint(a.fp)
		return leak(fp), nil, err
	case a.value != "":
		raw, err := inputs.Read(a.value, cmd.InOrStdin())
		if err != nil {
			return nil, nil, err
		}
		defer clear(raw)
		value := bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
		if len(value) == 0 || len(value) > maxValue {
			return nil, nil, errors.New("--value-file must hold one value, at most 1 MiB")
		}
		return leak(hash(string(value))), nil, nil
	}
	body, err := inputs.Read(a.event, cmd.InOrStdin())
	if err != nil {
		return nil, nil, err
	}
	if a.source == "" {
		e, err := events.DecodeFile(body, time.Now())
		return []events.Event{e}, nil, err
	}
	got, err := adapt.Message(a.source, adapt.Native{Body: body, Received: time.Now().UTC(), Hash: hash})
	for _, one := range got.Ignored {
		ignored = append(ignored, one.Why)
	}
	return got.Events, ignored, err
}

// resolve asks what the service would rotate.
func (a *affecting) resolve(ctx context.Context, cfg *config.Config, preview rotator.Preview, list []events.Event, out *affected) error {
	evidence := make(map[string][]string)
	for _, e := range list {
		hits, err := preview.Resolve(ctx, e)
		if _, unmatched := errors.AsType[*rotator.UnmatchedError](err); unmatched {
			continue
		}
		if err != nil {
			return err
		}
		for _, h := range hits {
			if !slices.Contains(evidence[h.Bundle], h.Why) {
				evidence[h.Bundle] = append(evidence[h.Bundle], h.Why)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(evidence)) {
		b := affectedBundle{Bundle: name, Evidence: strings.Join(evidence[name], "; ")}
		for _, t := range cfg.Bundles[name].Targets {
			b.Targets = append(b.Targets, t.Ref)
		}
		out.Bundles = append(out.Bundles, b)
	}
	return nil
}

// search looks on the hosts for the values that the events have fingerprints of.
func (a *affecting) search(ctx context.Context, cmd *cobra.Command, cfg *config.Config, secrets rotator.Secrets, key secret.Key, list []events.Event, out *affected) error {
	var fps []events.Fingerprint
	for _, e := range list {
		if e.Leak != nil {
			fps = append(fps, e.Leak.Credential.Fingerprints...)
		}
	}
	if len(fps) == 0 || a.noSearch {
		return nil
	}
	s, err := service.NewSearch(cfg, secrets, progress(cmd.ErrOrStderr(), a.json()))
	if err != nil {
		return err
	}
	found := s.Run(ctx, rotator.Prints(key, fps))
	out.Places, out.Searched, out.Unread = found.Places, found.Searched, found.Unread
	if out.Places == nil {
		out.Places = []rotator.Place{}
	}
	return nil
}

// progress shows how far a search is: in place on a terminal, otherwise every thousand entities.
func progress(w io.Writer, quiet bool) func(done, total int) {
	f, isFile := w.(*os.File)
	terminal := isFile && term.IsTerminal(int(f.Fd()))
	var mu sync.Mutex
	shown := 0
	return func(done, total int) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case done < shown:
		case terminal && (done == total || done-shown >= 20):
			fmt.Fprintf(w, "\rsearched %d of %d", done, total)
			if shown = done; done == total {
				fmt.Fprint(w, "\r\033[K")
			}
		case !terminal && !quiet && done-shown >= 1000:
			fmt.Fprintf(w, "searched %d of %d\n", done, total)
			shown = done
		}
	}
}

func (a *affecting) show(cmd *cobra.Command, out affected) error {
	return a.globals.print(cmd.OutOrStdout(), out, func(w io.Writer) {
		for _, why := range out.Ignored {
			fmt.Fprintf(w, "The message rotates nothing: %s\n", why)
		}
		if len(out.Bundles) == 0 {
			fmt.Fprintln(w, "No bundle is affected.")
		} else {
			tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
			fmt.Fprintln(tw, "BUNDLE\tEVIDENCE\tTARGETS")
			for _, b := range out.Bundles {
				for i, t := range b.Targets {
					if i > 0 {
						b.Bundle, b.Evidence = "", ""
					}
					fmt.Fprintf(tw, "%s\t%s\t%s\n", b.Bundle, b.Evidence, t)
				}
			}
			_ = tw.Flush()
		}
		if out.Searched > 0 {
			fmt.Fprintf(w, "\nThe value is in %d places of %d actions, packages, bindings and triggers\n", len(out.Places), out.Searched)
		}
		for _, p := range out.Places {
			managed := "no bundle delivers it: a rotation does not reach it"
			if len(p.Bundles) > 0 {
				managed = "target of " + strings.Join(p.Bundles, ", ")
			} else if p.Inherited {
				managed = "see the package"
			}
			fmt.Fprintf(w, "  %s; %s\n", p, managed)
		}
		for _, text := range out.Unread {
			fmt.Fprintf(w, "  could not be read: %s\n", text)
		}
	})
}
