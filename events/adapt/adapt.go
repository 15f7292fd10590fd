package adapt

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openwhisk-rotator/rotator/events"
)

// ErrUnknown says that no adapter recognises a report.
var ErrUnknown = errors.New("no known report format")

// Input is a report.
type Input struct {
	Body     []byte
	Received time.Time                       // stands for the time of a finding that has none
	Hash     func(string) events.Fingerprint // of a raw value, which is forgotten afterwards
}

// Result is what a report or a message says. Every part of it is in one of the lists, in its order.
type Result struct {
	Format  string
	Events  []events.Event
	Ignored []Ignored // understood, and nothing has leaked and nobody has left
	Unread  []Unread  // not understood: the caller keeps the message among the dead letters, see Err

	Blind map[string]Ignored // of the events, by id: those that hold no value to compare; they match only by what is said of them
}

// Ignored is a finding of which no event is made.
type Ignored struct {
	Number int    `json:"number"` // from 1, in the order of the report
	Why    string `json:"why"`
	Alarm  bool   `json:"alarm,omitempty"` // somebody has to see it: a feed has gone silent, or tells too little
	Blind  bool   `json:"blind,omitempty"` // it holds no value to compare, so it may be one of ours
}

// Unread is a part that is not what it should be. Events may still be made of the rest.
type Unread struct {
	Number int    `json:"number"`
	Why    string `json:"why"` // begins with the field, and holds nothing of the message
}

// maxTold bounds an error: a message may hold thousands of broken parts.
const maxTold = 5

// Err is what could not be read, nil if everything was.
func (r Result) Err() error {
	if len(r.Unread) == 0 {
		return nil
	}
	var all []string
	for _, u := range r.Unread[:min(len(r.Unread), maxTold)] {
		all = append(all, u.Why)
	}
	if more := len(r.Unread) - maxTold; more > 0 {
		all = append(all, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("a part of it could not be read: %s", strings.Join(all, "; "))
}

// A format is one kind of report.
type format struct {
	name  string
	is    func(shape) bool
	adapt func(*builder, []byte) error
}

// formats are asked in this order.
func formats() []format {
	return []format{
		{"sarif", func(s shape) bool { return s.has("runs") && (s.has("version") || s.has("$schema")) }, sarif},
		{"gitlab", func(s shape) bool { return s.has("vulnerabilities") && s.has("version") }, gitlab},
		{"detect-secrets", func(s shape) bool { return s.has("results") && (s.has("plugins_used") || s.has("generated_at")) }, detectSecrets},
		{"ggshield", func(s shape) bool {
			return s.has("scans") || s.has("entities_with_incidents") || s.has("total_incidents")
		}, ggshield},
		{"trufflehog", func(s shape) bool { return s.has("DetectorName") && s.has("SourceMetadata") }, trufflehog},
		{"gitleaks", func(s shape) bool {
			return s.list && (s.empty || s.has("RuleID") && s.has("File") || s.has("offender") && s.has("rule"))
		}, gitleaks},
	}
}

// Formats are the names that Report takes.
func Formats() (names []string) {
	for _, f := range formats() {
		names = append(names, f.name)
	}
	return names
}

// Report reads a report of the named format, or of the one that it is recognised as if name is empty. A scanner that has found
// nothing may have written nothing: an empty report is no error.
func Report(name string, in Input) (Result, error) {
	text := bytes.TrimSpace(in.Body)
	if empty := len(text) == 0 || string(text) == "null"; empty && (name == "" || slices.Contains(Formats(), name)) {
		return Result{Format: name}, nil
	}
	for shape := range looks(text) {
		for _, f := range formats() {
			if name == f.name || name == "" && f.is(shape) {
				b := &builder{in: in, result: Result{Format: f.name}}
				if err := f.adapt(b, in.Body); err != nil {
					return Result{}, fmt.Errorf("reading a %s report: %w", f.name, err)
				}
				return b.result, nil
			}
		}
	}
	return Result{}, fmt.Errorf("%w; known are: %s", ErrUnknown, strings.Join(Formats(), ", "))
}

// shape is the outside of a report: the member names of its first object.
type shape struct {
	list, empty bool
	names       map[string]json.RawMessage
}

func (s shape) has(name string) bool { _, ok := s.names[name]; return ok }

// looks are the shapes that a report may have: that of its first document, and of lines behind a first one that is odd.
func looks(body []byte) iter.Seq[shape] {
	return func(yield func(shape) bool) {
		if !yield(look(body)) {
			return
		}
		n := 0
		for line := range bytes.Lines(body) {
			if n++; n > 100 || !yield(look(line)) {
				return
			}
		}
	}
}

func look(body []byte) (s shape) {
	d := json.NewDecoder(bytes.NewReader(body))
	var first json.RawMessage
	if d.Decode(&first) != nil {
		return s
	}
	var list []json.RawMessage
	if json.Unmarshal(first, &list) == nil {
		if s.list, s.empty = true, len(list) == 0; s.empty {
			return s
		}
		first = list[0]
	}
	_ = json.Unmarshal(first, &s.names)
	return s
}

// A builder collects the events of one report or message.
type builder struct {
	in     Input
	result Result
	seen   map[string]bool
	count  int
	where  string // what is read now, as a field
	doubt  string // why a finding that matches nothing may still be one of ours
}

// next begins a finding, or an element of a message.
func (b *builder) next(where string) { b.count, b.where, b.doubt = b.count+1, where, "" }

func (b *builder) ignore(why string) {
	b.result.Ignored = append(b.result.Ignored, Ignored{Number: b.count, Why: why})
}

// alarm is ignore for what somebody has to see.
func (b *builder) alarm(why string) {
	b.result.Ignored = append(b.result.Ignored, Ignored{Number: b.count, Why: why, Alarm: true})
}

// blind is ignore for a finding that may be one of ours.
func (b *builder) blind(why string) {
	b.result.Ignored = append(b.result.Ignored, Ignored{Number: b.count, Why: why, Blind: true})
}

// unread keeps apart what an element lacks. field is within it.
func (b *builder) unread(field, text string) {
	b.misread(&misread{field, text})
}

func (b *builder) misread(err error) {
	b.result.Unread = append(b.result.Unread, Unread{Number: b.count, Why: clip(below(b.where, err).Error(), 256)})
}

// maxPrints is how many fingerprints an event holds.
const maxPrints = 8

// leak adds the event of a finding, unless it says what another one has said. parts are what makes a finding itself. One with more
// values than an event can hold becomes several.
func (b *builder) leak(source string, at time.Time, l events.Leak, parts ...string) {
	all := l.Credential.Fingerprints
	for n := 0; n == 0 || n*maxPrints < len(all); n++ {
		l.Credential.Fingerprints = all[min(n*maxPrints, len(all)):min((n+1)*maxPrints, len(all))]
		if n > 0 {
			parts = append(parts, strconv.Itoa(n))
		}
		b.finding(source, at, l, digest(parts...))
	}
}

func (b *builder) finding(source string, at time.Time, l events.Leak, id string) {
	if b.seen == nil {
		b.seen = make(map[string]bool)
	}
	if b.seen[id] {
		b.ignore("the same as an earlier finding")
		return
	}
	b.seen[id] = true
	l.Evidence = slices.Clone(l.Evidence)
	if !b.event(events.Event{ID: id, Source: source, Time: at, Leak: &l}) {
		return
	}
	if len(l.Credential.Fingerprints) == 0 && l.Credential.PublicID == "" {
		b.doubt = or(b.doubt, "no value to compare: it holds none")
	}
	if b.doubt != "" {
		if b.result.Blind == nil {
			b.result.Blind = make(map[string]Ignored)
		}
		b.result.Blind[id] = Ignored{Number: b.count, Why: b.doubt, Blind: true}
	}
}

// fingerprints hashes raw values; redacted and tiny ones are left out: they would match by accident.
func (b *builder) fingerprints(values ...string) (out []events.Fingerprint) {
	seen := make(map[string]bool)
	for _, v := range values {
		if seen[v] || redacted(v) {
			continue
		}
		seen[v] = true
		out = append(out, b.in.Hash(v))
	}
	return out
}

func redacted(v string) bool {
	return len(v) < 4 || strings.Contains(v, "REDACTED") || strings.HasSuffix(v, "...") || strings.Contains(v, "***") || !utf8.ValidString(v)
}

// prints joins fingerprints for an id.
func prints(fps []events.Fingerprint) string {
	var all []string
	for _, f := range fps {
		all = append(all, f.Value)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// clean cuts what is longer than the schema allows, and drops what only looks like an address.
func clean(e *events.Event) {
	up := func(u *events.Upstream) {
		u.ID, u.Type = clip(u.ID, 512), clip(u.Type, 256)
		if at, err := url.Parse(u.URL); err != nil || !at.IsAbs() || at.Host == "" || len(u.URL) > 2048 {
			u.URL = ""
		}
	}
	if l := e.Leak; l != nil {
		l.Credential.SecretType, l.Credential.PublicID = clip(l.Credential.SecretType, 128), clip(l.Credential.PublicID, 512)
		up(&l.Upstream)
		l.Evidence = l.Evidence[:min(len(l.Evidence), 32)]
		for i := range l.Evidence {
			cleanEvidence(&l.Evidence[i])
		}
	}
	if o := e.Offboarding; o != nil {
		o.Reason = clip(o.Reason, 256)
		up(&o.Upstream)
		if s := o.Scope; s != nil {
			s.Tenant, s.Organization, s.Team = clip(s.Tenant, 512), clip(s.Organization, 512), clip(s.Team, 512)
		}
	}
	if x := e.Expiring; x != nil {
		up(&x.Upstream)
	}
	e.ID, e.Subject, e.Source = clip(e.ID, 256), clip(e.Subject, 256), clip(e.Source, 512)
}

func cleanEvidence(e *events.Evidence) {
	e.Kind, e.Repository, e.Path, e.Commit, e.URL = clip(e.Kind, 64), clip(e.Repository, 512), clip(e.Path, 1024), clip(e.Commit, 64), clip(e.URL, 2048)
	if a, err := mail.ParseAddress(e.AuthorEmail); err != nil || a.Address != e.AuthorEmail || len(a.Address) > 320 {
		e.AuthorEmail = ""
	}
	e.Line = min(max(e.Line, 0), 1<<31-1)
}

func clip(s string, n int) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s), "")
	for len(s) > n {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// when reads the dates that scanners write; the zero time is "unknown".
func when(text string) time.Time {
	text = strings.TrimSpace(text)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05-07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05",
		"Mon Jan 2 15:04:05 2006 -0700", "Mon, 02 Jan 2006 15:04:05 MST"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
		if fields := strings.Fields(text); strings.Count(layout, " ") == 2 && len(fields) == 4 { // "... -0700 PDT", as Go prints it
			if t, err := time.Parse(layout, strings.Join(fields[:3], " ")); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}

// word is a severity in our words.
func word(text string) string {
	text = strings.ToLower(strings.TrimSpace(text))
	if slices.Contains([]string{"critical", "high", "medium", "low", "info"}, text) {
		return text
	}
	return "medium"
}

func kindOf(commit string) string {
	return map[bool]string{true: "commit", false: "file"}[commit != ""]
}

func or[T comparable](a ...T) T { return cmp.Or(a...) }
