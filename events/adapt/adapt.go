package adapt

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"slices"
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

// Result is what a report says. Events and Ignored are in its order.
type Result struct {
	Format  string
	Events  []events.Event
	Ignored []Ignored
}

// Ignored is a finding of which no event is made.
type Ignored struct {
	Number int    `json:"number"` // from 1, in the order of the report
	Why    string `json:"why"`
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
		{"ggshield", func(s shape) bool { return s.has("scans") || s.has("entities_with_incidents") }, ggshield},
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

// Report reads a report of the named format, or of the one that it is recognised as if name is empty.
func Report(name string, in Input) (Result, error) {
	shape := look(in.Body)
	for _, f := range formats() {
		if name == f.name || name == "" && f.is(shape) {
			b := &builder{in: in, result: Result{Format: f.name}}
			if err := f.adapt(b, in.Body); err != nil {
				return Result{}, fmt.Errorf("reading a %s report: %w", f.name, err)
			}
			return b.result, nil
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

func look(body []byte) (s shape) {
	d := json.NewDecoder(strings.NewReader(string(body)))
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

// A builder collects the events of one report.
type builder struct {
	in     Input
	result Result
	seen   map[string]bool
	count  int
}

// next begins a finding.
func (b *builder) next() { b.count++ }

func (b *builder) ignore(why string) {
	b.result.Ignored = append(b.result.Ignored, Ignored{Number: b.count, Why: why})
}

// leak adds an event, unless it says what another one has said. parts are what makes a finding itself.
func (b *builder) leak(source string, at time.Time, l events.Leak, parts ...string) {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	id := hex.EncodeToString(sum[:16])
	if b.seen == nil {
		b.seen = make(map[string]bool)
	}
	if b.seen[id] {
		b.ignore("the same as an earlier finding")
		return
	}
	b.seen[id] = true
	if at.IsZero() || at.Year() < 1970 || at.After(b.in.Received) { // a date in the future would be refused
		at = b.in.Received
	}
	clean(&l)
	e := events.Event{ID: id, Source: source, Kind: events.KindLeak, Time: at, Leak: &l}
	if _, err := events.Encode(e); err != nil {
		b.ignore("it makes no valid event")
		return
	}
	b.result.Events = append(b.result.Events, e)
}

// fingerprints hashes raw values; redacted and tiny ones are left out: they would match by accident.
func (b *builder) fingerprints(values ...string) (out []events.Fingerprint) {
	seen := make(map[string]bool)
	for _, v := range values {
		if seen[v] || redacted(v) || len(out) == 8 {
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
func clean(l *events.Leak) {
	l.Credential.SecretType = clip(l.Credential.SecretType, 128)
	l.Credential.PublicID = clip(l.Credential.PublicID, 512)
	l.Upstream.ID, l.Upstream.Type, l.Upstream.URL = clip(l.Upstream.ID, 512), clip(l.Upstream.Type, 256), clip(l.Upstream.URL, 2048)
	l.Evidence = l.Evidence[:min(len(l.Evidence), 32)]
	for i := range l.Evidence {
		e := &l.Evidence[i]
		e.Kind, e.Repository, e.Path, e.Commit, e.URL = clip(e.Kind, 64), clip(e.Repository, 512), clip(e.Path, 1024), clip(e.Commit, 64), clip(e.URL, 2048)
		if a, err := mail.ParseAddress(e.AuthorEmail); err != nil || a.Address != e.AuthorEmail || len(a.Address) > 320 {
			e.AuthorEmail = ""
		}
		e.Line = max(e.Line, 0)
	}
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

// each reads the elements of a JSON list one by one; broken ones end it.
func each[T any](b *builder, list []json.RawMessage, do func(T)) error {
	for _, raw := range list {
		b.next()
		var one T
		if err := json.Unmarshal(raw, &one); err != nil {
			return fmt.Errorf("finding %d has another shape than expected", b.count)
		}
		do(one)
	}
	return nil
}

// decode reads a whole document, and says nothing of its content when it cannot.
func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		if s, ok := errors.AsType[*json.SyntaxError](err); ok {
			return fmt.Errorf("it is no valid JSON after %d bytes", s.Offset)
		}
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && t.Field != "" { // a name of ours, not of the message
			return fmt.Errorf("field %s has another type than expected", strings.ToLower(t.Field))
		}
		return errors.New("it has another shape than expected")
	}
	return nil
}

func or(a ...string) string { return cmp.Or(a...) }
