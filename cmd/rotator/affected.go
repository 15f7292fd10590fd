package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
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
  rotator affected --event event.json                  a canonical event, and what the service would do with it
  rotator affected --event alert.json --source github  a source's own message

A value is searched for in all actions, packages, bindings and triggers of the configured hosts: parameters and annotations, nested
JSON included. It is compared in this process and printed nowhere; a terminal is asked for it without echo. --value-file finds more than a
fingerprint does: the value inside of longer texts (from 8 bytes on), in base64, percent-encoded. Of each place it is said whether a rotation
replaces it. --no-search leaves the hosts alone.

What cannot be asked or read is named, and the rest is shown. A host that hides values (hides_values) cannot be searched; of what the rotator
has written there itself, the annotation tells the version.

Exit codes: 0 something is affected; 1 nothing is, and everything was looked at; 2 the command line or the input is wrong; 3 not everything
could be looked at - a system did not answer, or nothing was found and a host hides values.`

// An affecting is one call of affected.
type affecting struct {
	*globals
	person                              []string
	fp, value, event, source, publisher string
	noSearch                            bool
}

// affected is what -o json prints.
type affected struct {
	Bundles    []affectedBundle  `json:"bundles"`
	Places     []rotator.Place   `json:"places"`
	Searched   int               `json:"searched"`
	Hidden     []rotator.Hidden  `json:"hidden,omitempty"`     // entities that could not be compared
	Unread     []string          `json:"unread,omitempty"`     // entities and hosts that could not be read
	Incomplete []string          `json:"incomplete,omitempty"` // what else could not be asked
	Person     []rotator.Account `json:"person,omitempty"`     // whom Vault knows by these names
	Mounts     []string          `json:"mounts,omitempty"`     // auth mounts that were asked about the person
	Verdicts   []verdict         `json:"verdicts,omitempty"`
	Ignored    []string          `json:"ignored,omitempty"` // why a message rotates nothing
	Notes      []string          `json:"notes,omitempty"`
}

type affectedBundle struct {
	Bundle   string        `json:"bundle"`
	Evidence string        `json:"evidence"`
	Targets  []rotator.Ref `json:"targets"`
	Careful  []string      `json:"careful,omitempty"` // what a rotation by itself does not do
}

func affectedCommand(g *globals) *cobra.Command {
	a := &affecting{globals: g}
	cmd := &cobra.Command{Use: "affected", Short: "Say what a leak or a leaver affects, and why", Long: affectedHelp, Args: cobra.NoArgs, RunE: a.run}
	f := cmd.Flags()
	f.StringArrayVar(&a.person, "person", nil, "`name` of a person: email, acct:user@host, issuer#subject, login, id; may be repeated for the same person")
	f.StringVar(&a.fp, "fingerprint", "", "`alg:hex` of a leaked value, as rotator fingerprint prints it")
	f.StringVar(&a.value, "value-file", "", "`file` with a leaked value, or - for standard input")
	f.StringVar(&a.event, "event", "", "`file` with an event, or - for standard input")
	f.StringVar(&a.source, "source", "", "whose own message --event is: "+strings.Join(adapt.Sources(), ", "))
	f.StringVar(&a.publisher, "publisher", "", "`name` by which --event would be published, for the rules that look at it")
	f.BoolVar(&a.noSearch, "no-search", false, "do not read the hosts")
	cmd.MarkFlagsMutuallyExclusive("person", "fingerprint", "value-file", "event")
	cmd.MarkFlagsOneRequired("person", "fingerprint", "value-file", "event")
	_ = cmd.RegisterFlagCompletionFunc("source", cobra.FixedCompletions(adapt.Sources(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// An inquiry is what an affecting knows while it asks.
type inquiry struct {
	*affecting
	cfg     *config.Config
	preview rotator.Preview
	events  []events.Event
	sought  rotator.Sought // nil: no value is looked for
	out     affected
}

func (a *affecting) run(cmd *cobra.Command, _ []string) error {
	cfg, err := a.load(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Minute)
	defer cancel()
	q := &inquiry{affecting: a, cfg: cfg, out: affected{Bundles: []affectedBundle{}, Places: []rotator.Place{}}}
	if q.preview, err = service.Preview(ctx, cfg, logger(cmd.ErrOrStderr(), cfg.Log)); err != nil {
		return remote(err)
	}
	q.preview.Secrets = &readOnce{Secrets: q.preview.Secrets, got: make(map[string]read)}
	if err := q.ask(ctx, cmd); err != nil {
		return err
	}
	evidence := q.resolve(ctx)
	q.keeps(ctx, evidence)
	q.bundles(evidence)
	q.who()
	if err := q.search(ctx, cmd); err != nil {
		return err
	}
	if err := a.print(cmd.OutOrStdout(), q.out, q.out.write); err != nil {
		return err
	}
	return q.out.exit()
}

// exit decides. Hidden values spoil only a no: a host that hides them always does, and there is nothing to wait for.
func (a affected) exit() error {
	found := len(a.Bundles)+len(a.Places) > 0
	switch {
	case len(a.Unread)+len(a.Incomplete) > 0, !found && len(a.Hidden) > 0:
		return coded(exitRemote, errSaid)
	case !found:
		return coded(exitFailed, errSaid)
	}
	return nil
}

// ask makes what the flags say into events, as the service would get them, and into what is looked for.
func (q *inquiry) ask(ctx context.Context, cmd *cobra.Command) error {
	var value secret.Value
	if q.value != "" {
		var err error
		if value, err = readValue(cmd, q.value); err != nil {
			return coded(exitUsage, fmt.Errorf("--value-file: %w", err))
		}
		q.sought = rotator.Known(value)
		if text, _ := value.Text(); len(strings.TrimSpace(text)) < rotator.LeastPart {
			q.out.Notes = append(q.out.Notes, fmt.Sprintf("the value has less than %d bytes: it was not looked for inside of longer texts", rotator.LeastPart))
		}
	}
	key, err := q.preview.Secrets.Key(ctx)
	switch {
	case err != nil && q.value != "": // the hosts can be searched without Vault
		q.out.Incomplete = append(q.out.Incomplete, fmt.Sprintf("the service's resolver: reading the fingerprint key: %v", err))
		return nil
	case err != nil:
		return remote(fmt.Errorf("reading the fingerprint key: %w", err))
	case q.value != "":
		q.events = leakOf(events.Fingerprint{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(value)})
		return nil
	}
	if q.events, q.out.Ignored, err = q.read(cmd, key); err != nil {
		return coded(exitUsage, err)
	}
	var prints []events.Fingerprint
	for _, e := range q.events {
		if e.Leak != nil {
			prints = append(prints, e.Leak.Credential.Fingerprints...)
		}
	}
	if len(prints) > 0 {
		q.sought = rotator.Prints(key, prints)
	}
	return nil
}

func leakOf(fp events.Fingerprint) []events.Event {
	return []events.Event{{Kind: events.KindLeak, Leak: &events.Leak{Credential: events.Credential{Fingerprints: []events.Fingerprint{fp}}}}}
}

// read makes events of everything but a value.
func (q *inquiry) read(cmd *cobra.Command, key secret.Key) (list []events.Event, ignored []string, err error) {
	switch {
	case len(q.person) > 0:
		var p events.Person
		for _, name := range q.person {
			id, ok := identifier(name)
			if !ok {
				id = events.Identifier{Format: "opaque", ID: name}
			}
			p.Identifiers = append(p.Identifiers, id)
		}
		return []events.Event{{Kind: events.KindOffboarding, Offboarding: &events.Offboarding{Person: p, Change: "terminated"}}}, nil, nil
	case q.fp != "":
		fp, err := fingerprint(q.fp)
		return leakOf(fp), nil, err
	}
	body, err := inputs.Read(q.event, cmd.InOrStdin())
	if err != nil {
		return nil, nil, err
	}
	if q.source == "" {
		e, err := events.DecodeFile(body, time.Now())
		e.Publisher = q.publisher
		return []events.Event{e}, nil, err
	}
	got, err := adapt.Message(q.source, adapt.Native{Body: body, Received: time.Now().UTC(), Hash: func(value string) events.Fingerprint {
		return events.Fingerprint{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(secret.FromText(value))}
	}})
	for _, one := range got.Ignored {
		ignored = append(ignored, one.Why)
	}
	if unread := got.Err(); unread != nil {
		ignored = append(ignored, unread.Error())
	}
	for i := range got.Events {
		got.Events[i].Publisher = q.publisher
	}
	return got.Events, ignored, err
}

// An evidence is why bundles are affected, and what a rotation of them does not do.
type evidence struct{ why, careful map[string][]string }

func (e evidence) add(to map[string][]string, bundle, text string) {
	if !slices.Contains(to[bundle], text) {
		to[bundle] = append(to[bundle], text)
	}
}

// resolve asks what the service would rotate.
func (q *inquiry) resolve(ctx context.Context) evidence {
	found := evidence{make(map[string][]string), make(map[string][]string)}
	for _, e := range q.events {
		t, err := q.preview.Touched(ctx, e)
		if q.event != "" {
			q.out.Verdicts = append(q.out.Verdicts, judge(q.cfg, q.preview, e, t, err))
		}
		q.out.Person = append(q.out.Person, t.Accounts...)
		q.out.Incomplete = append(q.out.Incomplete, t.Refused...)
		q.out.Notes = append(q.out.Notes, t.Notes...)
		if t.Doubt != "" {
			q.out.Notes = append(q.out.Notes, t.Doubt)
		}
		if _, unmatched := errors.AsType[*rotator.UnmatchedError](err); err != nil && !unmatched {
			q.out.Incomplete = append(q.out.Incomplete, "the service's resolver: "+err.Error())
		}
		for _, h := range t.Hits {
			found.add(found.why, h.Bundle, h.Why)
		}
	}
	return found
}

// keeps looks into the bundles in more ways than the service, which compares fingerprints of whole values.
func (q *inquiry) keeps(ctx context.Context, found evidence) {
	if q.sought == nil {
		return
	}
	kept, unread := q.preview.Keeps(ctx, q.sought)
	for _, text := range unread {
		q.out.Incomplete = append(q.out.Incomplete, "what it holds: "+text)
	}
	resolved := maps.Clone(found.why)
	for _, k := range kept {
		how := k.How
		if k.Inside != "" {
			how = strings.TrimSuffix("inside at "+k.Inside+", "+how, ", ")
		}
		if len(resolved[k.Bundle]) == 0 {
			found.add(found.why, k.Bundle, strings.TrimSpace(k.Key+" holds it "+how))
			found.add(found.careful, k.Bundle, "the service does not find it by the fingerprint; name it: rotator emit leak --bundle "+k.Bundle)
		} else if how != "" {
			found.add(found.why, k.Bundle, k.Key+" holds it "+how)
		}
		if !k.Changes {
			found.add(found.careful, k.Bundle, "no rotation mints "+k.Key+": change it in Vault by hand")
		}
	}
}

func (q *inquiry) bundles(found evidence) {
	for _, name := range slices.Sorted(maps.Keys(found.why)) {
		b := affectedBundle{Bundle: name, Evidence: strings.Join(found.why[name], "; "), Careful: found.careful[name]}
		for _, t := range q.cfg.Bundles[name].Targets {
			b.Targets = append(b.Targets, t.Ref)
		}
		q.out.Bundles = append(q.out.Bundles, b)
	}
}

// who says which auth mounts were asked, so that a person whom Vault does not know is told from one that has no access.
func (q *inquiry) who() {
	if !slices.ContainsFunc(q.events, func(e events.Event) bool { return e.Offboarding != nil }) {
		return
	}
	if len(q.cfg.People.Mounts) == 0 {
		q.out.Notes = append(q.out.Notes, "Vault is not asked about persons (people in the configuration): only holders were compared")
		return
	}
	if q.cfg.People.ProbeRole == "" {
		q.out.Notes = append(q.out.Notes, "Vault is not asked what a person could read (people.probe_role in the configuration): only holders were compared")
	}
	for _, m := range q.cfg.People.Mounts {
		q.out.Mounts = append(q.out.Mounts, m.Path)
	}
}

// search looks on the hosts.
func (q *inquiry) search(ctx context.Context, cmd *cobra.Command) error {
	if q.sought == nil || q.noSearch {
		return nil
	}
	w := cmd.ErrOrStderr()
	s, err := service.NewSearch(q.cfg, q.preview.Secrets, progress(w, q.json()))
	if err != nil {
		return err
	}
	found := s.Run(ctx, q.sought)
	if terminal(w) {
		fmt.Fprint(w, "\r\033[K")
	}
	q.out.Places, q.out.Searched, q.out.Hidden, q.out.Unread = found.Places, found.Searched, found.Hidden, found.Unread
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
			shown = done
		case !terminal && !quiet && done-shown >= 1000:
			fmt.Fprintf(w, "searched %d of %d\n", done, total)
			shown = done
		}
	}
}
