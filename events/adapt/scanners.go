package adapt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/openwhisk-rotator/rotator/events"
)

// trufflehog reads the JSON lines of TruffleHog 3. Old releases wrote raw values in base64, new ones as they are, and for AWS the
// secret stands in SecretParts or behind the key id in RawV2.
func trufflehog(b *builder, body []byte) error {
	type where struct {
		Commit, File, Email, Repository, Timestamp, Link, Bucket string
		Line                                                     int
	}
	type finding struct {
		SourceMetadata loose[struct{ Data map[string]loose[where] }]
		DetectorName   string
		Verified       loose[bool]
		Raw, RawV2     string
		Redacted       loose[string]
		SecretParts    map[string]string
	}
	n := 0
	for line := range bytes.Lines(body) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		b.next(fmt.Sprintf("line %d", n))
		var f finding
		if err := decode(line, &f); err != nil {
			b.misread(err)
			continue
		}
		if f.DetectorName == "" {
			b.unread("DetectorName", "is missing")
			continue
		}
		var at where
		kind := ""
		for name, w := range f.SourceMetadata.v.Data {
			kind, at = strings.ToLower(name), w.v
		}
		l := events.Leak{Severity: "medium", Reason: "scanner_finding", Validity: "unknown", Upstream: events.Upstream{System: "trufflehog", Type: f.DetectorName},
			Evidence: []events.Evidence{{Kind: or(kind, "file"), Repository: at.Repository, Path: at.File, Line: at.Line, Commit: at.Commit, URL: at.Link, AuthorEmail: at.Email}}}
		if f.Verified.v {
			l.Severity, l.Validity = "critical", "active"
		}
		values := trufflehogValues(f.Raw, f.RawV2, f.SecretParts)
		l.Credential = events.Credential{SecretType: "trufflehog:" + f.DetectorName, Fingerprints: b.fingerprints(values...)}
		if strings.EqualFold(f.DetectorName, "AWS") {
			l.Credential.PublicID = keyID(append([]string{f.Redacted.v}, values...))
		}
		b.leak("urn:trufflehog:"+or(clip(kind, 32), "scan"), when(at.Timestamp), l, f.DetectorName, prints(l.Credential.Fingerprints), at.Repository, at.Commit, at.File, strconv.Itoa(at.Line))
	}
	return nil
}

// awsKeyID is what an access key id looks like. Its secret is longer and has small letters.
var awsKeyID = regexp.MustCompile(`^(AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,28}$`)

// keyID is the first of the values that is an access key id, which is no secret.
func keyID(values []string) string {
	for _, v := range values {
		if awsKeyID.MatchString(v) {
			return v
		}
	}
	return ""
}

func trufflehogValues(raw, rawV2 string, parts map[string]string) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		out = append(out, parts[name])
	}
	if _, secret, ok := strings.Cut(rawV2, ":"); ok && raw != "" && strings.HasPrefix(rawV2, raw) {
		out = append(out, secret)
	}
	out = append(out, rawV2, raw)
	for _, v := range []string{rawV2, raw} {
		if plain, err := base64.StdEncoding.DecodeString(v); err == nil && printable(string(plain)) {
			out = append(out, string(plain))
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

func printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) && !unicode.IsSpace(r) })
}

// gitleaks reads the reports of versions 8 and 7, which name the same things differently.
func gitleaks(b *builder, body []byte) error {
	type finding struct {
		RuleID, Rule                    loose[string]
		StartLine, LineNumber           loose[int]
		Secret, Offender                string
		File, Commit, Email, Date, Link loose[string]
		Repo                            loose[string]
		Fingerprint                     loose[string]
	}
	var all []json.RawMessage
	if err := decode(body, &all); err != nil {
		return err
	}
	each(b, "", all, func(f finding) {
		rule, value, line := or(f.RuleID.v, f.Rule.v), or(f.Secret, f.Offender), max(f.StartLine.v, f.LineNumber.v)
		if redacted(value) {
			b.blind("no value to compare: it is redacted; run gitleaks without --redact, into a pipe")
			return
		}
		l := events.Leak{Severity: "medium", Reason: "scanner_finding", Upstream: events.Upstream{System: "gitleaks", Type: rule, ID: f.Fingerprint.v, URL: f.Link.v},
			Credential: events.Credential{SecretType: rule, Fingerprints: b.fingerprints(value)},
			Evidence:   []events.Evidence{{Kind: kindOf(f.Commit.v), Repository: f.Repo.v, Path: f.File.v, Line: line, Commit: f.Commit.v, AuthorEmail: f.Email.v}}}
		b.leak("urn:gitleaks:report", when(f.Date.v), l, rule, prints(l.Credential.Fingerprints), f.Repo.v, f.Commit.v, f.File.v, strconv.Itoa(line))
	})
	return nil
}

// detectSecrets reads a baseline: a state, whose values are SHA-1. Anybody who can guess a value can check it against that: an id is
// made of a keyed fingerprint of it, and whoever publishes the event should put one in its place, once the value is known.
func detectSecrets(b *builder, body []byte) error {
	type finding struct {
		Type, Filename loose[string]
		Hash           string      `json:"hashed_secret"`
		Verified       loose[bool] `json:"is_verified"`
		Line           loose[int]  `json:"line_number"`
		Secret         *bool       `json:"is_secret"`
	}
	var report struct {
		Results   map[string]json.RawMessage
		Generated loose[string] `json:"generated_at"`
	}
	if err := decode(body, &report); err != nil {
		return err
	}
	if report.Results == nil {
		return missing("results")
	}
	for _, file := range slices.Sorted(maps.Keys(report.Results)) {
		var all []json.RawMessage
		if decode(report.Results[file], &all) != nil || all == nil {
			b.next("results.*")
			b.unread("", "has another type than expected ("+kindOfJSON(report.Results[file])+")")
			continue
		}
		each(b, "results.*", all, func(f finding) {
			hash := strings.ToLower(f.Hash)
			if f.Secret != nil && !*f.Secret {
				b.ignore("a person has marked it as no secret")
				return
			}
			if !sha1Hex.MatchString(hash) {
				b.unread("hashed_secret", "is no SHA-1")
				return
			}
			name := or(f.Filename.v, file)
			l := events.Leak{Severity: "low", Reason: "scanner_finding", Validity: "unknown", Upstream: events.Upstream{System: "detect-secrets", Type: f.Type.v},
				Credential: events.Credential{SecretType: f.Type.v, Fingerprints: []events.Fingerprint{{Alg: "sha1", Value: hash}}},
				Evidence:   []events.Evidence{{Kind: "file", Path: name, Line: f.Line.v}}}
			if f.Verified.v {
				l.Severity, l.Validity = "high", "active"
			}
			b.leak("urn:detect-secrets:baseline", when(report.Generated.v), l, name, b.in.Hash(hash).Value, f.Type.v)
		})
	}
	return nil
}

var sha1Hex = regexp.MustCompile(`^[0-9a-f]{40}$`)

// A shieldScan is one scan of ggshield, which may be of several.
type shieldScan struct {
	ID, Type loose[string]
	Scans    []json.RawMessage
	Entities []json.RawMessage             `json:"entities_with_incidents"`
	Extra    loose[struct{ Email string }] `json:"extra_info"`
	Total    loose[*int]                   `json:"total_incidents"`
}

// A shieldFile is one of its files.
type shieldFile struct {
	Filename  loose[string]
	Incidents []json.RawMessage
}

// ggshield reads the report of a scan, whose matches are censored unless --show-secrets is given.
func ggshield(b *builder, body []byte) error {
	var top shieldScan
	if err := decode(body, &top); err != nil {
		return err
	}
	source := "urn:ggshield:" + clip(or(top.ID.v, "scan"), 128)
	b.shieldFiles(source, "", top)
	for i, raw := range top.Scans {
		at := fmt.Sprintf("scans[%d]", i)
		var s shieldScan
		if err := decode(raw, &s); err != nil {
			b.next(at)
			b.misread(err)
			continue
		}
		b.shieldFiles(source, at, s)
	}
	switch total := top.Total.v; {
	case total == nil && top.Scans == nil && top.Entities == nil:
		return missing("entities_with_incidents")
	case total != nil && *total > b.count:
		b.next("")
		b.unread("total_incidents", "is more than the incidents in scans and entities_with_incidents")
	}
	return nil
}

func (b *builder) shieldFiles(source, at string, s shieldScan) {
	for i, raw := range s.Entities {
		at := join(at, fmt.Sprintf("entities_with_incidents[%d]", i))
		var f shieldFile
		err := decode(raw, &f)
		if err == nil && f.Incidents == nil {
			err = missing("incidents")
		}
		if err != nil {
			b.next(at)
			b.misread(err)
			continue
		}
		each(b, at+".incidents", f.Incidents, func(incident shieldIncident) { b.shielded(source, s, f.Filename.v, incident) })
	}
}

type shieldIncident struct {
	Type, Validity loose[string]
	Ignore         loose[string] `json:"ignore_sha"`
	Occurrences    list[struct {
		Match string
		Line  loose[int] `json:"line_start"`
	}]
}

func (b *builder) shielded(source string, s shieldScan, file string, i shieldIncident) {
	at := events.Evidence{Kind: or(s.Type.v, "file"), Path: file, AuthorEmail: s.Extra.v.Email}
	if s.Type.v == "commit" {
		at.Commit = s.ID.v
	}
	var values []string
	for _, o := range i.Occurrences {
		values = append(values, o.Match)
		at.Line = or(at.Line, o.Line.v)
	}
	l := events.Leak{Severity: "medium", Reason: "scanner_finding", Upstream: events.Upstream{System: "ggshield", ID: i.Ignore.v}, Evidence: []events.Evidence{at},
		Credential: events.Credential{SecretType: i.Type.v, Fingerprints: b.fingerprints(values...)}}
	l.Validity = map[string]string{"valid": "active", "invalid": "inactive"}[i.Validity.v]
	if len(l.Credential.Fingerprints) == 0 {
		b.doubt = "no value to compare: its matches are censored; run ggshield with --show-secrets, into a pipe"
	}
	b.leak(source, b.in.Received, l, i.Type.v, i.Ignore.v, at.Commit, at.Path)
}

// gitlab reads gl-secret-detection-report.json.
func gitlab(b *builder, body []byte) error {
	type finding struct {
		ID, Name, Severity loose[string]
		Raw                string `json:"raw_source_code_extract"`
		Location           loose[struct {
			File      string
			StartLine int `json:"start_line"`
			Commit    struct{ Sha string }
		}]
		Identifiers loose[[]struct{ Type, Value string }]
	}
	var report struct {
		Vulnerabilities []json.RawMessage
		Scan            loose[struct {
			Type string
			End  string `json:"end_time"`
		}]
	}
	if err := decode(body, &report); err != nil {
		return err
	}
	if report.Vulnerabilities == nil {
		return missing("vulnerabilities")
	}
	if t := report.Scan.v.Type; t != "" && t != "secret_detection" {
		return fmt.Errorf("%w: scan.type is about something else than secrets", ErrForeign)
	}
	each(b, "vulnerabilities", report.Vulnerabilities, func(f finding) {
		kind, at := f.Name.v, f.Location.v
		for _, i := range f.Identifiers.v {
			kind = strings.ToLower(i.Type + "_" + strings.ReplaceAll(i.Value, " ", "_"))
			break
		}
		l := events.Leak{Severity: word(f.Severity.v), Reason: "scanner_finding", Upstream: events.Upstream{System: "gitlab", ID: f.ID.v, Type: "secret_detection"},
			Credential: events.Credential{SecretType: kind, Fingerprints: b.fingerprints(f.Raw)},
			Evidence:   []events.Evidence{{Kind: kindOf(at.Commit.Sha), Path: at.File, Line: at.StartLine, Commit: at.Commit.Sha}}}
		b.leak("urn:gitlab:secret_detection", when(report.Scan.v.End), l, f.ID.v, at.File, prints(l.Credential.Fingerprints))
	})
	return nil
}

// A sarifResult is one finding of SARIF.
type sarifResult struct {
	RuleID, Level       loose[string]
	Kind, BaselineState loose[string]
	Suppressions        list[struct{ Status string }]
	Locations           list[struct {
		PhysicalLocation struct {
			ArtifactLocation loose[struct{ URI string }]
			Region           struct {
				StartLine loose[int]
				Snippet   struct{ Text string }
			}
		}
	}]
	PartialFingerprints loose[map[string]string]
}

// idle says why a result does not count, or "". A suppression that is still talked about is none yet.
func (r sarifResult) idle() string {
	open := func(s struct{ Status string }) bool { return s.Status == "underReview" || s.Status == "rejected" }
	switch {
	case r.BaselineState.v == "absent":
		return "it is gone since the last run"
	case r.Kind.v == "pass" || r.Kind.v == "notApplicable":
		return "it is no finding: " + r.Kind.v
	case len(r.Suppressions) > 0 && !slices.ContainsFunc(r.Suppressions, open):
		return "it is suppressed"
	}
	return ""
}

// sarif reads SARIF 2.1. It has no member for the value: the snippet of the region is taken when it is the value alone, as
// secret scanners write it.
func sarif(b *builder, body []byte) error {
	var report struct{ Runs []json.RawMessage }
	if err := decode(body, &report); err != nil {
		return err
	}
	if report.Runs == nil {
		return missing("runs")
	}
	for i, raw := range report.Runs {
		at := fmt.Sprintf("runs[%d]", i)
		var run struct {
			Tool    loose[struct{ Driver struct{ Name string } }]
			Results []json.RawMessage
		}
		if err := decode(raw, &run); err != nil {
			b.next(at)
			b.misread(err)
			continue
		}
		if run.Results == nil { // not even an empty list: the scanner has not run to its end
			b.next(at)
			b.unread("results", "is missing")
			continue
		}
		tool := strings.ToLower(clip(run.Tool.v.Driver.Name, 32))
		each(b, at+".results", run.Results, func(f sarifResult) { b.sarif(tool, f) })
	}
	return nil
}

func (b *builder) sarif(tool string, f sarifResult) {
	if why := f.idle(); why != "" {
		b.ignore(why)
		return
	}
	rule, commit := f.RuleID.v, f.PartialFingerprints.v["commitSha"]
	l := events.Leak{Severity: word(map[string]string{"error": "high", "note": "low"}[f.Level.v]), Reason: "scanner_finding", Upstream: events.Upstream{System: "sarif", Type: path.Join(tool, rule)},
		Credential: events.Credential{SecretType: rule}}
	var values []string
	place := ""
	for _, at := range f.Locations {
		p := at.PhysicalLocation
		uri, line, text := p.ArtifactLocation.v.URI, p.Region.StartLine.v, strings.TrimSpace(p.Region.Snippet.Text)
		l.Evidence = append(l.Evidence, events.Evidence{Kind: kindOf(commit), Path: uri, Line: line, Commit: commit})
		values = append(values, text)
		place += fmt.Sprint(uri, ":", line, ";")
		if strings.ContainsFunc(text, unicode.IsSpace) && !strings.HasPrefix(text, "-----BEGIN") {
			b.doubt = "the snippet holds more than the value, so it could not be compared"
		}
	}
	if l.Credential.Fingerprints = b.fingerprints(values...); len(l.Credential.Fingerprints) == 0 {
		b.doubt = "no value to compare: it has no snippet; take the scanner's own format"
	}
	b.leak("urn:sarif:"+or(strings.ReplaceAll(tool, " ", "-"), "tool"), b.in.Received, l, rule, place, prints(l.Credential.Fingerprints))
}
