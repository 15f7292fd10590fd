package adapt

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/openwhisk-rotator/rotator/events"
)

// maxLine bounds one line of JSON lines.
const maxLine = 4 << 20

// trufflehog reads the JSON lines of TruffleHog 3. Old releases wrote raw values in base64, new ones as they are, and for AWS the
// secret stands in SecretParts or behind the key id in RawV2.
func trufflehog(b *builder, body []byte) error {
	type where struct {
		Commit, File, Email, Repository, Timestamp, Link, Bucket string
		Line                                                     int
	}
	type finding struct {
		SourceMetadata           struct{ Data map[string]where }
		SourceName, DetectorName string
		Verified                 bool
		Raw, RawV2               string
		Redacted                 string
		SecretParts              map[string]string
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		b.next()
		var f finding
		if err := json.Unmarshal(line, &f); err != nil {
			return fmt.Errorf("line %d is no finding", b.count)
		}
		if f.DetectorName == "" {
			b.ignore("it names no detector")
			continue
		}
		var at where
		kind := ""
		for name, w := range f.SourceMetadata.Data {
			kind, at = strings.ToLower(name), w
		}
		l := events.Leak{Severity: "medium", Reason: "scanner_finding", Validity: "unknown", Upstream: events.Upstream{System: "trufflehog", Type: f.DetectorName},
			Evidence: []events.Evidence{{Kind: or(kind, "file"), Repository: at.Repository, Path: at.File, Line: at.Line, Commit: at.Commit, URL: at.Link, AuthorEmail: at.Email}}}
		if f.Verified {
			l.Severity, l.Validity = "critical", "active"
		}
		l.Credential = events.Credential{SecretType: "trufflehog:" + f.DetectorName, Fingerprints: b.fingerprints(trufflehogValues(f.Raw, f.RawV2, f.SecretParts)...)}
		if strings.EqualFold(f.DetectorName, "AWS") && strings.HasPrefix(f.Redacted, "A") && !redacted(f.Redacted) {
			l.Credential.PublicID = f.Redacted
		}
		b.leak("urn:trufflehog:"+or(kind, "scan"), when(at.Timestamp), l, f.DetectorName, prints(l.Credential.Fingerprints), at.Repository, at.Commit, at.File, strconv.Itoa(at.Line))
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("after line %d: %w", b.count, err)
	}
	return nil
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
		RuleID, Rule, Description       string
		StartLine, LineNumber           int
		Secret, Offender                string
		File, Commit, Email, Date, Link string
		Repo                            string
		Fingerprint                     string
	}
	var list []json.RawMessage
	if err := decode(body, &list); err != nil {
		return err
	}
	return each(b, list, func(f finding) {
		rule, value, line := or(f.RuleID, f.Rule), or(f.Secret, f.Offender), max(f.StartLine, f.LineNumber)
		l := events.Leak{Severity: "medium", Reason: "scanner_finding", Upstream: events.Upstream{System: "gitleaks", Type: rule, ID: f.Fingerprint, URL: f.Link},
			Credential: events.Credential{SecretType: rule, Fingerprints: b.fingerprints(value)},
			Evidence:   []events.Evidence{{Kind: kindOf(f.Commit), Repository: f.Repo, Path: f.File, Line: line, Commit: f.Commit, AuthorEmail: f.Email}}}
		if redacted(value) {
			b.ignore("its value is redacted, so it cannot be matched: run gitleaks without --redact, into a pipe")
			return
		}
		b.leak("urn:gitleaks:report", when(f.Date), l, rule, prints(l.Credential.Fingerprints), f.Repo, f.Commit, f.File, strconv.Itoa(line))
	})
}

// detectSecrets reads a baseline: a state, whose values are SHA-1.
func detectSecrets(b *builder, body []byte) error {
	type finding struct {
		Type, Filename string
		Hash           string `json:"hashed_secret"`
		Verified       bool   `json:"is_verified"`
		Line           int    `json:"line_number"`
		Secret         *bool  `json:"is_secret"`
	}
	var report struct {
		Results   map[string][]json.RawMessage
		Generated string `json:"generated_at"`
	}
	if err := decode(body, &report); err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(report.Results)) {
		err := each(b, report.Results[file], func(f finding) {
			if f.Secret != nil && !*f.Secret {
				b.ignore("a person has marked it as no secret")
				return
			}
			l := events.Leak{Severity: "low", Reason: "scanner_finding", Validity: "unknown", Upstream: events.Upstream{System: "detect-secrets", Type: f.Type},
				Credential: events.Credential{SecretType: f.Type, Fingerprints: []events.Fingerprint{{Alg: "sha1", Value: strings.ToLower(f.Hash)}}},
				Evidence:   []events.Evidence{{Kind: "file", Path: or(f.Filename, file), Line: f.Line}}}
			if f.Verified {
				l.Severity, l.Validity = "high", "active"
			}
			b.leak("urn:detect-secrets:baseline", when(report.Generated), l, or(f.Filename, file), f.Hash, f.Type)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ggshield reads the report of a scan, whose matches are censored unless --show-secrets is given.
func ggshield(b *builder, body []byte) error {
	type incident struct {
		Type, Validity string
		Ignore         string `json:"ignore_sha"`
		Occurrences    []struct {
			Match string
			Line  *int `json:"line_start"`
		}
	}
	type scan struct {
		ID, Type string
		Entities []struct {
			Filename  string
			Incidents []incident
		} `json:"entities_with_incidents"`
		Extra struct{ Email string } `json:"extra_info"`
	}
	var report struct {
		scan
		Scans []scan
	}
	if err := decode(body, &report); err != nil {
		return err
	}
	scans := report.Scans
	if len(report.Entities) > 0 {
		scans = append(scans, report.scan)
	}
	for _, s := range scans {
		for _, entity := range s.Entities {
			for _, i := range entity.Incidents {
				b.next()
				at := events.Evidence{Kind: or(s.Type, "file"), Path: entity.Filename, AuthorEmail: s.Extra.Email}
				if s.Type == "commit" {
					at.Commit = s.ID
				}
				var values []string
				for _, o := range i.Occurrences {
					values = append(values, o.Match)
					if o.Line != nil && at.Line == 0 {
						at.Line = *o.Line
					}
				}
				l := events.Leak{Severity: "medium", Reason: "scanner_finding", Upstream: events.Upstream{System: "ggshield", ID: i.Ignore}, Evidence: []events.Evidence{at},
					Credential: events.Credential{SecretType: i.Type, Fingerprints: b.fingerprints(values...)}}
				l.Validity = map[string]string{"valid": "active", "invalid": "inactive"}[i.Validity]
				b.leak("urn:ggshield:"+clip(or(report.ID, "scan"), 128), b.in.Received, l, i.Type, i.Ignore, at.Commit, at.Path)
			}
		}
	}
	return nil
}

// gitlab reads gl-secret-detection-report.json.
func gitlab(b *builder, body []byte) error {
	type finding struct {
		ID, Name, Severity string
		Raw                string `json:"raw_source_code_extract"`
		Location           struct {
			File      string
			StartLine int `json:"start_line"`
			Commit    struct{ Sha, Date string }
		}
		Identifiers []struct{ Type, Value string }
	}
	var report struct {
		Vulnerabilities []json.RawMessage
		Scan            struct {
			Type string
			End  string `json:"end_time"`
		}
	}
	if err := decode(body, &report); err != nil {
		return err
	}
	if t := report.Scan.Type; t != "" && t != "secret_detection" {
		return fmt.Errorf("it is about something else than secrets: %q", clip(t, 64))
	}
	return each(b, report.Vulnerabilities, func(f finding) {
		kind := f.Name
		for _, i := range f.Identifiers {
			kind = strings.ToLower(i.Type + "_" + strings.ReplaceAll(i.Value, " ", "_"))
			break
		}
		l := events.Leak{Severity: word(f.Severity), Reason: "scanner_finding", Upstream: events.Upstream{System: "gitlab", ID: f.ID, Type: "secret_detection"},
			Credential: events.Credential{SecretType: kind, Fingerprints: b.fingerprints(f.Raw)},
			Evidence:   []events.Evidence{{Kind: kindOf(f.Location.Commit.Sha), Path: f.Location.File, Line: f.Location.StartLine, Commit: f.Location.Commit.Sha}}}
		b.leak("urn:gitlab:secret_detection", when(report.Scan.End), l, f.ID, f.Location.File, prints(l.Credential.Fingerprints))
	})
}

// sarif reads SARIF 2.1. It has no member for the value: the snippet of the region is taken when it is the value alone, as
// secret scanners write it.
func sarif(b *builder, body []byte) error {
	type result struct {
		RuleID, Level string
		Locations     []struct {
			PhysicalLocation struct {
				ArtifactLocation struct{ URI string }
				Region           struct {
					StartLine int
					Snippet   struct{ Text string }
				}
			}
		}
		PartialFingerprints map[string]string
	}
	var report struct {
		Runs []struct {
			Tool    struct{ Driver struct{ Name string } }
			Results []json.RawMessage
		}
	}
	if err := decode(body, &report); err != nil {
		return err
	}
	for _, run := range report.Runs {
		tool := strings.ToLower(clip(run.Tool.Driver.Name, 32))
		err := each(b, run.Results, func(f result) {
			l := events.Leak{Severity: map[string]string{"error": "high", "note": "low"}[f.Level], Reason: "scanner_finding", Upstream: events.Upstream{System: "sarif", Type: path.Join(tool, f.RuleID)},
				Credential: events.Credential{SecretType: f.RuleID}}
			l.Severity = word(l.Severity)
			var values []string
			place := ""
			for _, at := range f.Locations {
				p := at.PhysicalLocation
				l.Evidence = append(l.Evidence, events.Evidence{Kind: kindOf(f.PartialFingerprints["commitSha"]), Path: p.ArtifactLocation.URI, Line: p.Region.StartLine, Commit: f.PartialFingerprints["commitSha"]})
				values = append(values, strings.TrimSpace(p.Region.Snippet.Text))
				place += fmt.Sprint(p.ArtifactLocation.URI, ":", p.Region.StartLine, ";")
			}
			l.Credential.Fingerprints = b.fingerprints(values...)
			b.leak("urn:sarif:"+or(strings.ReplaceAll(tool, " ", "-"), "tool"), b.in.Received, l, f.RuleID, place, prints(l.Credential.Fingerprints))
		})
		if err != nil {
			return err
		}
	}
	return nil
}
