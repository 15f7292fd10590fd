package rotator

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// departurePrefix begins the journal keys of departures. No bundle can have such a name.
const departurePrefix = "_leave-"

// departureKept is how long the journal remembers a departure that is over: longer than the stream keeps the event.
const departureKept = 31 * 24 * time.Hour

// A Departure is what the journal keeps of one event about somebody who leaves. It is written before anything is done: what is found
// out about a person changes as soon as the login is ended, by us or by somebody else, so that it is found out once. Ending the login
// waits for no rotation, and no rotation for more than that.
type Departure struct {
	V        int         `json:"v"`
	Event    string      `json:"event"` // events.Event.Key
	ID       string      `json:"id"`    // its source and id, for people
	Kind     events.Kind `json:"kind"`
	Severity string      `json:"severity,omitempty"`
	Stored   time.Time   `json:"stored"` // when the stream stored it
	Taken    time.Time   `json:"taken"`  // when it came into the journal
	By       string      `json:"by"`     // replica that took it

	Hits      []Hit     `json:"hits,omitempty"` // every bundle it touches
	Refused   []string  `json:"refused,omitempty"`
	Notices   []string  `json:"notices,omitempty"`  // what else somebody should look at
	Asks      string    `json:"asks,omitempty"`     // why it needed approval when it came; a bundle that takes it late needs it as well
	Effective time.Time `json:"effective,omitzero"` // nothing is done before

	Names    []Name    `json:"names,omitempty"`    // what the person is called; empty: no login is to be ended
	Accounts []Account `json:"accounts,omitempty"` // as last found
	Held     string    `json:"held,omitempty"`     // why ending the login waits for approval
	Approval *Approval `json:"approval,omitempty"`
	Done     time.Time `json:"done,omitzero"`
	Notes    []string  `json:"notes,omitempty"` // what became of the login
}

// DepartureKey is the journal key of an event's departure.
func DepartureKey(event string) string { return departurePrefix + event }

// IsDeparture reports whether a journal key is that of a departure.
func IsDeparture(key string) bool { return strings.HasPrefix(key, departurePrefix) }

// DecodeDeparture reads a departure. It fails like DecodeRecord.
func DecodeDeparture(raw []byte) (Departure, error) {
	var form struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(raw, &form); err != nil {
		return Departure{}, fmt.Errorf("%w: it is no JSON object", ErrBadRecord)
	}
	if form.V > RecordVersion {
		return Departure{}, fmt.Errorf("%w: it has format %d, this program knows %d; start the newer program", ErrNewerRecord, form.V, RecordVersion)
	}
	var d Departure
	if err := json.Unmarshal(raw, &d); err != nil {
		return Departure{}, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	if d.V < 1 || d.Event == "" {
		return Departure{}, fmt.Errorf("%w: version %d, event %q do not make sense", ErrBadRecord, d.V, d.Event)
	}
	return d, nil
}

// Encode writes the departure.
func (d Departure) Encode() ([]byte, error) {
	d.V = RecordVersion
	return json.Marshal(d)
}

// fit keeps the record well below what NATS takes in one message: how bundles were found is cut short when there are thousands.
func (d Departure) fit() Departure {
	for _, most := range []int{200, 60, 0} {
		if raw, err := d.Encode(); err != nil || len(raw) <= maxRecord {
			return d
		}
		d.Hits = slices.Clone(d.Hits)
		for i := range d.Hits {
			d.Hits[i].Why = d.Hits[i].Why[:min(len(d.Hits[i].Why), most)]
		}
	}
	return d
}

// Waits reports whether somebody has to decide whether the login is ended.
func (d Departure) Waits() bool { return d.Held != "" && d.open() }

// open reports whether a login is still to be ended.
func (d Departure) open() bool { return len(d.Names) > 0 && d.Done.IsZero() }

// Ends says whose login the departure ends, for people.
func (d Departure) Ends() string {
	var out []string
	for _, a := range d.Accounts {
		text := a.String()
		if a.Entity != "" {
			text += " (Vault entity " + a.Entity + ")"
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	if len(out) == 0 {
		for _, n := range d.Names {
			if text := strings.TrimPrefix(n.Issuer+" "+n.Text, " "); !slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, text) }) {
				out = append(out, text)
			}
		}
	}
	return strings.Join(out, ", ")
}

// Approve lets the login be ended. It is pure, as Record.Approve is.
func (d Departure) Approve(a Approval) (Departure, error) {
	if !d.Waits() {
		return d, fmt.Errorf("%w: no login waits for approval", ErrNotPossible)
	}
	d.Held, d.Approval = "", &a
	return d, nil
}

// Deny leaves the login alone for good.
func (d Departure) Deny(by string, now time.Time) (Departure, error) {
	if !d.Waits() {
		return d, fmt.Errorf("%w: no login waits for approval", ErrNotPossible)
	}
	d.Done, d.Notes = now, append(slices.Clone(d.Notes), "the login of "+d.Ends()+" stays: denied by "+by)
	return d, nil
}

// due reports whether the login is to be ended now.
func (d Departure) due(now time.Time) bool {
	return d.open() && d.Held == "" && !d.Effective.After(now)
}

// renewed takes in what was found of the person meanwhile. strange says why somebody has to decide about it.
func (d Departure) renewed(found []Account) (next Departure, strange string) {
	here := func(all []Account, a Account) bool {
		return slices.ContainsFunc(all, func(o Account) bool { return o.Mount == a.Mount && strings.EqualFold(o.Name, a.Name) })
	}
	all := slices.Clone(found)
	for _, a := range d.Accounts { // a name that is not found any more still had its entity
		if !here(found, a) {
			all = append(all, a)
		}
	}
	if why := doubt(all); why != "" && slices.ContainsFunc(all, func(a Account) bool { return !here(d.Accounts, a) }) {
		strange = why
	}
	d.Accounts = all
	return d, strange
}

// logins counts whose logins are ended.
func (d Departure) logins() int {
	var ids []string
	for _, a := range d.Accounts {
		if a.ID != "" && !slices.Contains(ids, a.ID) {
			ids = append(ids, a.ID)
		}
	}
	if len(d.Names) == 0 {
		return 0
	}
	return max(len(ids), 1)
}

// spared names the pattern by which a login must never be ended: that of an account, of its entity, or of any name of the event.
func (d Departure) spared(all []Account, never []string) string {
	var names []string
	for _, a := range all {
		names = append(names, a.Name, a.Entity)
	}
	for _, n := range d.Names {
		names = append(names, n.Text)
	}
	for _, pattern := range never {
		if slices.ContainsFunc(names, func(n string) bool {
			ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(n))
			return n != "" && err == nil && ok
		}) {
			return pattern
		}
	}
	return ""
}
