package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/cmd/internal/inputs"
	"github.com/openwhisk-rotator/rotator/cmd/internal/service"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/adapt"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

const reportHelp = `Reads what a secret scanner has found, says which findings are credentials of yours that are in use right now,
and publishes a leak event for those, after asking.

  trufflehog git --json file://. | rotator report -
  gitleaks git -f json -r - | rotator report - --yes
  rotator report gl-secret-detection-report.json --dry-run

Formats, told apart by themselves: TruffleHog (JSON lines), Gitleaks, detect-secrets, ggshield, GitLab, SARIF.
A raw value in a report never leaves this process: it becomes a keyed fingerprint, which is compared with the values
in Vault. Nor does the SHA-1 of detect-secrets, which anybody who guesses the value could check. The same finding
reported twice is one event. A finding whose value is censored, redacted or not there cannot be compared: it is listed
as left out, because it may be one of yours.

Exit codes: 0 nothing of yours was found, or it was published; 1 something was found and not published; 2 the report, or a part of
it, or the command line is wrong; 3 a system could not be reached.`

// A reporting is one call of report.
type reporting struct {
	*globals
	format, publisher string
	yes, dry          bool
}

// reported is what -o json prints: no value, no fingerprint.
type reported struct {
	Format    string          `json:"format"`
	Findings  int             `json:"findings"`
	Ours      []match         `json:"ours"`
	NotOurs   int             `json:"not_ours"`
	Ignored   []adapt.Ignored `json:"ignored,omitempty"` // left out, and why
	Unread    []adapt.Unread  `json:"unread,omitempty"`  // not what findings of this format look like
	Blind     int             `json:"blind"`             // of the ignored, those that may be ours: they hold no value to compare
	Published bool            `json:"published"`
}

// match is a finding that is one of ours.
type match struct {
	Event    string   `json:"event"` // its id
	Finding  string   `json:"finding"`
	Place    string   `json:"place,omitempty"`
	Severity string   `json:"severity"`
	Bundles  []string `json:"bundles"`
	Why      string   `json:"why"`
}

func reportCommand(g *globals) *cobra.Command {
	r := &reporting{globals: g}
	cmd := &cobra.Command{Use: "report FILE", Short: "Take what a secret scanner has found", Long: reportHelp, Args: cobra.ExactArgs(1), RunE: r.run}
	f := cmd.Flags()
	f.StringVar(&r.format, "format", "", "`name` of the format, if it is not recognised: "+strings.Join(adapt.Formats(), ", "))
	f.StringVar(&r.publisher, "publisher", "cli", "publisher `name` in the subject")
	f.BoolVar(&r.yes, "yes", false, "publish without asking")
	f.BoolVar(&r.dry, "dry-run", false, "only show")
	cmd.MarkFlagsMutuallyExclusive("yes", "dry-run")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(adapt.Formats(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (r *reporting) run(cmd *cobra.Command, args []string) error {
	cfg, err := r.load(cmd)
	if err != nil {
		return err
	}
	body, err := inputs.Read(args[0], cmd.InOrStdin())
	if err != nil {
		return coded(exitUsage, err)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Minute)
	defer cancel()
	preview, err := service.Preview(ctx, cfg, logger(cmd.ErrOrStderr(), cfg.Log))
	if err != nil {
		return remote(err)
	}
	preview.Secrets = &readOnce{Secrets: preview.Secrets, got: make(map[string]read)}
	key, err := preview.Secrets.Key(ctx)
	if err != nil {
		return remote(fmt.Errorf("reading the fingerprint key: %w", err))
	}
	found, err := adapt.Report(r.format, adapt.Input{Body: body, Received: time.Now().UTC(), Hash: func(value string) events.Fingerprint {
		return events.Fingerprint{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(secret.FromText(value))}
	}})
	clear(body)
	if err != nil {
		return coded(exitUsage, fmt.Errorf("%s: %w", args[0], err))
	}
	answer, ours, err := sort(ctx, preview, key, found)
	if err != nil {
		return remote(err)
	}
	return r.decide(ctx, cmd, cfg, answer, ours, args[0] == "-")
}

// sort tells which findings are ours.
func sort(ctx context.Context, preview rotator.Preview, key secret.Key, found adapt.Result) (answer reported, ours []events.Event, err error) {
	answer = reported{Format: found.Format, Findings: len(found.Events) + len(found.Ignored) + len(found.Unread), Ignored: found.Ignored, Unread: found.Unread, Ours: []match{}}
	for _, one := range found.Ignored {
		if one.Blind {
			answer.Blind++
		}
	}
	for _, e := range found.Events {
		hits, err := preview.Resolve(ctx, e)
		if _, unmatched := errors.AsType[*rotator.UnmatchedError](err); unmatched || err == nil && len(hits) == 0 {
			if blind, ok := found.Blind[e.ID]; ok {
				answer.Ignored, answer.Blind = append(answer.Ignored, blind), answer.Blind+1
			} else {
				answer.NotOurs++
			}
			continue
		}
		if err != nil {
			return answer, nil, err
		}
		if err := keyed(ctx, preview, key, hits, e.Leak); err != nil {
			return answer, nil, err
		}
		m := match{Event: e.ID, Finding: e.Leak.Credential.SecretType, Severity: e.Leak.Severity, Why: hits[0].Why}
		for _, h := range hits {
			m.Bundles = append(m.Bundles, h.Bundle)
		}
		if len(e.Leak.Evidence) > 0 {
			at := e.Leak.Evidence[0]
			m.Place = at.Path
			if at.Line > 0 {
				m.Place += fmt.Sprint(":", at.Line)
			}
			m.Place += strings.TrimSuffix(" "+at.Commit, " ")
		}
		answer.Ours = append(answer.Ours, m)
		ours = append(ours, e)
	}
	return answer, ours, nil
}

// keyed puts our own fingerprint in the place of plain hashes, now that we know whose they are: who reads the events could guess
// values until one fits.
func keyed(ctx context.Context, preview rotator.Preview, key secret.Key, hits []rotator.Hit, l *events.Leak) error {
	var out []events.Fingerprint
	for _, fp := range l.Credential.Fingerprints {
		if fp.Alg == "hmac-sha256" {
			out = append(out, fp)
			continue
		}
		for _, h := range hits {
			s, err := preview.Secrets.Read(ctx, preview.Bundles[h.Bundle].Secret, 0)
			if err != nil && !errors.Is(err, rotator.ErrNotFound) {
				return fmt.Errorf("reading bundle %s for a fingerprint: %w", h.Bundle, err)
			}
			for _, v := range s.Set {
				if own := (events.Fingerprint{Alg: "hmac-sha256", KeyID: key.ID(), Value: key.Fingerprint(v)}); key.Matches(fp.Alg, fp.Value, v) && !slices.Contains(out, own) {
					out = append(out, own)
				}
			}
		}
	}
	l.Credential.Fingerprints = out
	return nil
}

// decide shows, asks, publishes.
func (r *reporting) decide(ctx context.Context, cmd *cobra.Command, cfg *config.Config, answer reported, ours []events.Event, piped bool) error {
	if !r.json() {
		writeReported(cmd.OutOrStdout(), answer)
	}
	publish := len(ours) > 0 && !r.dry
	if publish && !r.yes {
		publish = !r.json() && !piped && ask(cmd.InOrStdin(), cmd.OutOrStdout(), fmt.Sprintf("publish %d leak events", len(ours)))
	}
	if publish {
		if err := r.publish(ctx, cmd, cfg, ours); err != nil {
			return err
		}
		answer.Published = true
	}
	err := r.print(cmd.OutOrStdout(), answer, func(w io.Writer) {
		switch {
		case answer.Published:
			fmt.Fprintln(w, "Published. See what becomes of it: rotator status")
		case len(ours) > 0 && !r.dry:
			fmt.Fprintln(w, "Nothing was published; add --yes.")
		case len(ours) > 0:
			fmt.Fprintln(w, "Nothing was published.")
		}
	})
	if err != nil {
		return err
	}
	if len(ours) > 0 && !answer.Published {
		return coded(exitFailed, errSaid)
	}
	if len(answer.Unread) > 0 {
		return coded(exitUsage, errSaid)
	}
	return nil
}

func (r *reporting) publish(ctx context.Context, cmd *cobra.Command, cfg *config.Config, ours []events.Event) error {
	m := &emission{publisher: r.publisher}
	nc, err := service.Dial(ctx, cfg, logger(cmd.ErrOrStderr(), cfg.Log))
	if err != nil {
		return remote(err)
	}
	defer nc.Close()
	for _, e := range ours {
		e.Publisher = r.publisher
		if err := m.acceptable(cfg, e); err != nil {
			return coded(exitUsage, err)
		}
		if _, _, err := service.Publisher(cfg, nc).Event(ctx, e); err != nil {
			return remote(fmt.Errorf("publishing the event: %w", err))
		}
	}
	return nil
}

// maxShown bounds what is listed of each sort.
const maxShown = 5

func writeReported(w io.Writer, a reported) {
	if a.Findings == 0 {
		fmt.Fprintln(w, "The report holds no findings. If the scanner should have written some: has it run to its end?")
		return
	}
	fmt.Fprintf(w, "%s report: %d findings; %d of yours, %d not, %d left out", a.Format, a.Findings, len(a.Ours), a.NotOurs, len(a.Ignored))
	if len(a.Unread) > 0 {
		fmt.Fprintf(w, ", %d not understood", len(a.Unread))
	}
	fmt.Fprintln(w)
	if len(a.Ours) > 0 {
		tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "SEVERITY\tFINDING\tWHERE\tBUNDLES\tWHY")
		for _, m := range a.Ours {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", m.Severity, cmp.Or(m.Finding, "-"), dash(m.Place), strings.Join(m.Bundles, ","), m.Why)
		}
		_ = tw.Flush()
	}
	for i, one := range a.Ignored {
		if i == maxShown {
			fmt.Fprintf(w, "  and %d more left out; see -o json\n", len(a.Ignored)-i)
			break
		}
		fmt.Fprintf(w, "  left out: finding %d: %s\n", one.Number, one.Why)
	}
	for i, one := range a.Unread {
		if i == maxShown {
			fmt.Fprintf(w, "  and %d more not understood; see -o json\n", len(a.Unread)-i)
			break
		}
		fmt.Fprintf(w, "  not understood: finding %d: %s\n", one.Number, one.Why)
	}
	if a.Blind > 0 {
		fmt.Fprintf(w, "CAREFUL: %d of them hold no value to compare, and may be yours.\n", a.Blind)
	}
}

// readOnce reads every bundle once for a whole report.
type readOnce struct {
	rotator.Secrets
	mu  sync.Mutex
	got map[string]read
}

type read struct {
	snapshot rotator.Snapshot
	err      error
}

// Read answers from the first answer.
func (o *readOnce) Read(ctx context.Context, path string, version int) (rotator.Snapshot, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := fmt.Sprint(path, "@", version)
	r, ok := o.got[id]
	if !ok {
		r.snapshot, r.err = o.Secrets.Read(ctx, path, version)
		o.got[id] = r
	}
	return r.snapshot, r.err
}
