package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator"
)

// A verdict is what the service would do with an event.
type verdict struct {
	Event   string    `json:"event"`
	Verdict string    `json:"verdict"` // rotate, approve, report; nothing: no bundle is touched
	Why     string    `json:"why,omitempty"`
	From    time.Time `json:"effective_at,omitzero"`
	Logins  []string  `json:"ends_logins,omitempty"` // in Vault
	Remedy  string    `json:"remedy,omitempty"`
	Notes   []string  `json:"notes,omitempty"` // what was not looked at here
}

// judge asks the rules and bounds of the configuration.
func judge(cfg *config.Config, preview rotator.Preview, e events.Event, t rotator.Touched, err error) verdict {
	v := verdict{Event: strings.TrimSpace(fmt.Sprintf("%s %s (%s, %s)", e.Source, e.ID, e.Kind, e.Severity()))}
	if u, unmatched := errors.AsType[*rotator.UnmatchedError](err); unmatched {
		v.Verdict, v.Why = "nothing", u.Text+"; it goes to the dead letters"
		_, v.Remedy = u.DeadLetter()
		return v
	}
	if err != nil {
		v.Verdict, v.Why, v.Remedy = "unknown", err.Error(), "ask again when the system answers; the service does so, too"
		return v
	}
	claimed := len(slices.DeleteFunc(slices.Clone(t.Hits), func(h rotator.Hit) bool { return h.Proven }))
	does, why := cfg.Events.Gate.Judge(e, claimed, 0)
	if t.Doubt != "" && does != rotator.Report {
		does, why = rotator.Ask, strings.TrimPrefix(why+"; "+t.Doubt, "; ")
	}
	v.Verdict, v.Why = string(does), why
	if len(t.Hits) == 0 {
		v.Verdict = "nothing"
	}
	if e.Offboarding != nil && e.Offboarding.EffectiveAt.After(time.Now()) {
		v.From = e.Offboarding.EffectiveAt
	}
	if does != rotator.Report {
		v.Logins = preview.Ends(e, t)
	}
	gate := cfg.Events.Gate
	if e.Publisher == "" && slices.ContainsFunc(gate.Rules, func(r rotator.GateRule) bool { return r.Publisher != "" }) {
		v.Notes = append(v.Notes, "rules that name a publisher were not looked at: give --publisher")
	}
	if does == rotator.Allow && len(t.Hits) > 0 && gate.PerHour > 0 {
		v.Notes = append(v.Notes, fmt.Sprintf("it waits for approval if more than %d rotations have begun within the hour before (events.max_per_hour)", max(gate.PerHour-claimed, 0)))
	}
	return v
}

func (v verdict) write(w io.Writer) {
	text := map[string]string{string(rotator.Allow): "is rotated", string(rotator.Ask): "waits for approval", string(rotator.Report): "is only reported", "nothing": "rotates nothing"}[v.Verdict]
	if text == "" {
		text = "cannot be judged now"
	}
	fmt.Fprintf(w, "Event %s %s", v.Event, text)
	if v.Why != "" {
		fmt.Fprintf(w, ": %s", v.Why)
	}
	fmt.Fprintln(w)
	if !v.From.IsZero() {
		fmt.Fprintf(w, "  from    %s\n", v.From.Local().Format(time.DateTime))
	}
	if len(v.Logins) > 0 {
		fmt.Fprintf(w, "  logins  ended in Vault: %s\n", strings.Join(v.Logins, ", "))
	}
	if v.Remedy != "" {
		fmt.Fprintf(w, "  remedy  %s\n", v.Remedy)
	}
	for _, note := range v.Notes {
		fmt.Fprintf(w, "  note    %s\n", note)
	}
}
