package adapt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// Errors of Message. Any other error says what is wrong with the form of a message, and nothing of its content.
var (
	ErrSource  = errors.New("unknown source")
	ErrRaw     = errors.New("this source sends raw values, which must not be stored in NATS")
	ErrForeign = errors.New("well-formed, but of no kind that is known")
)

// A Native is a message as its source has sent it.
type Native struct {
	Header   map[string][]string // names in any case
	Body     []byte
	Received time.Time
	Origin   string // who the source is, for messages that do not say, for example "https://example.okta.com"

	// Hash makes a fingerprint of a raw value. Without it the sources that send raw values are refused with ErrRaw.
	Hash func(string) events.Fingerprint

	Method, Path string              // of a SCIM request: PATCH, PUT or DELETE, and /Users/<id>
	Known        []events.Identifier // what else is known of the person whom a SCIM request is about
}

// header returns the first value, whatever the case of the name.
func (n Native) header(name string) string {
	for key, values := range n.Header {
		if strings.EqualFold(key, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

type reading func(*builder, Native) error

// sources are those whose messages hold no raw value.
func sources() map[string]reading {
	return map[string]reading{
		"github": github, "gitguardian": gitguardian, "vault-radar": radar, "aws": aws, "okta": okta, "ssf": ssf, "google": google, "gitlab": gitlabHook,
		"scim": scim, "entra": entra, "slack": slack, "auth0": auth0, "bamboohr": bamboohr,
	}
}

// raws are sources whose messages hold the leaked value itself.
func raws() map[string]reading {
	return map[string]reading{"github-partner": partner, "gitlab-revocation": revocation, "report": report}
}

// Sources are the names that Message takes.
func Sources() []string { return slices.Sorted(maps.Keys(sources())) }

// RawSources are the names that Message takes in addition where it may make fingerprints.
func RawSources() []string { return slices.Sorted(maps.Keys(raws())) }

// Message reads what one of Sources has sent. An authentic message that is about something else - an alert that was resolved,
// somebody who was let in - gives no event, and says why in Ignored. Of a message of many parts, those that are broken are in Unread.
func Message(source string, in Native) (Result, error) {
	adapt, ok := sources()[source]
	if raw, is := raws()[source]; is {
		adapt, ok = raw, in.Hash != nil
	}
	if _, is := raws()[source]; !ok && (is || slices.Contains(Formats(), source)) {
		return Result{}, fmt.Errorf("%q: %w: use rotator report", source, ErrRaw)
	}
	if !ok {
		return Result{}, fmt.Errorf("%w %q; known are: %s", ErrSource, clip(source, 64), strings.Join(Sources(), ", "))
	}
	b := &builder{in: Input{Body: in.Body, Received: in.Received, Hash: in.Hash}, result: Result{Format: source}}
	if err := adapt(b, in); err != nil {
		return Result{}, fmt.Errorf("reading a message of %s: %w", source, err)
	}
	return b.result, nil
}

// event adds an event, whose id its source has given. What cannot be an event is kept apart.
func (b *builder) event(e events.Event) bool {
	if e.Time.IsZero() || e.Time.Year() < 1970 || e.Time.After(b.in.Received) { // a date in the future would be refused
		e.Time = b.in.Received
	}
	switch {
	case e.Leak != nil:
		e.Kind = events.KindLeak
	case e.Offboarding != nil:
		e.Kind = events.KindOffboarding
	case e.Expiring != nil:
		e.Kind = events.KindExpiring
	}
	clean(&e)
	_, err := events.Encode(e)
	if err != nil {
		plain(&e, b.result.Format)
		_, err = events.Encode(e)
	}
	if err != nil {
		b.misread(problem(err))
		return false
	}
	b.result.Events = append(b.result.Events, e)
	return true
}

// plain takes away what only describes where an event comes from: it must not be the reason why nothing is rotated.
func plain(e *events.Event, source string) {
	e.Source = "urn:" + source
	switch {
	case e.Leak != nil:
		e.Leak.Upstream.URL, e.Leak.Evidence = "", e.Leak.Evidence[:min(len(e.Leak.Evidence), 4)]
	case e.Offboarding != nil:
		e.Offboarding.Upstream.URL = ""
	case e.Expiring != nil:
		e.Expiring.Upstream.URL = ""
	}
}

// problem names the field of the event that could not be filled.
func problem(err error) error {
	if bad, ok := errors.AsType[*events.InvalidError](err); ok && len(bad.Problems) > 0 {
		return &misread{bad.Problems[0].Field, bad.Problems[0].Text}
	}
	return &misread{text: "no event can be made of it"}
}

// expiring adds an access token of GitLab that ends soon.
func (b *builder) expiring(token, ends string) {
	at, err := time.Parse(time.DateOnly, ends)
	if err != nil {
		at = when(ends)
	}
	switch {
	case token == "" || token == "0":
		b.unread("object_attributes.id", "is missing")
		return
	case at.IsZero():
		b.unread("object_attributes.expires_at", "is no date")
		return
	}
	b.event(events.Event{ID: digest(token, ends), Source: "urn:gitlab:access_token", Expiring: &events.Expiring{ExpiresAt: at,
		Credential: events.Credential{Provider: "gitlab", PublicID: token}, Upstream: events.Upstream{System: "gitlab", ID: token, Type: "access_token"}}})
}

// digest is an id for a message whose source gives none: the same bytes are the same event.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// A githubUser is one of GitHub's.
type githubUser struct {
	Login string
	ID    ident
}

// github reads secret scanning alerts, and people who are removed from an organisation or a team.
func github(b *builder, in Native) error {
	var m struct {
		Action     string
		Alert      *alert
		Location   loose[map[string]any]
		Repository loose[struct {
			URL      string
			FullName string `json:"full_name"`
		}]
		Organization loose[struct{ Login, URL string }]
		Membership   *struct {
			Organization loose[string] `json:"organization_url"`
			User         githubUser
		}
		Scope  loose[string]
		Member *githubUser
		Team   *struct{ Name, URL loose[string] }
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next("")
	kind, org := in.header("X-GitHub-Event"), m.Organization.v
	id := or(in.header("X-GitHub-Delivery"), digest(string(in.Body)))
	switch {
	case kind == "secret_scanning_alert" && m.Alert == nil:
		return missing("alert")
	case m.Alert == nil && m.Membership == nil && m.Member == nil:
		return fmt.Errorf("%w: alert, membership and member are missing", ErrForeign)
	case m.Action == "":
		return missing("action")
	case m.Alert != nil && kind == "" && len(m.Location.v) > 0:
		b.ignore("it is another place of an alert that was sent already")
	case m.Alert != nil && (kind == "" || kind == "secret_scanning_alert"):
		return b.alert(in, id, m.Action, kind, *m.Alert, m.Repository.v.FullName, m.Repository.v.URL)
	case m.Action == "member_removed" && m.Membership == nil:
		return missing("membership")
	case m.Action == "member_removed" && org.Login == "":
		return missing("organization.login")
	case m.Action == "member_removed":
		b.gone("membership.user", id, or(org.URL, m.Membership.Organization.v), m.Membership.User, events.Offboarding{
			Scope: &events.Scope{Organization: org.Login}, Severity: "high", Reason: "member_removed", InitiatedBy: "admin",
			Upstream: events.Upstream{System: "github", Type: "organization.member_removed"}})
	case m.Action == "removed" && (kind == "membership" || m.Scope.v == "team") && m.Team == nil:
		return missing("team")
	case m.Action == "removed" && m.Team != nil && m.Member == nil:
		return missing("member")
	case m.Action == "removed" && m.Team != nil && m.Team.Name.v == "": // without it the whole organisation would be meant
		return missing("team.name")
	case m.Action == "removed" && m.Team != nil && org.Login == "":
		return missing("organization.login")
	case m.Action == "removed" && m.Team != nil:
		b.gone("member", id, or(m.Team.URL.v, org.URL), *m.Member, events.Offboarding{
			Scope: &events.Scope{Organization: org.Login, Team: m.Team.Name.v}, Severity: "medium", Reason: "membership.removed",
			Upstream: events.Upstream{System: "github", Type: "membership.removed"}})
	default:
		b.ignore(clip(m.Action, 64) + " of GitHub rotates nothing")
	}
	return nil
}

// gone adds somebody who was removed. A login can be taken by somebody else later, the number cannot.
func (b *builder) gone(from, id, source string, u githubUser, o events.Offboarding) {
	var who []events.Identifier
	if u.ID != "" && u.ID != "0" {
		who = append(who, events.Identifier{Format: "iss_sub", Iss: "https://github.com", Sub: string(u.ID)})
	}
	if u.Login != "" {
		who = append(who, events.Identifier{Format: "account", URI: "acct:" + u.Login + "@github.com"})
	}
	person, ok := b.person(from, who...)
	if !ok {
		return
	}
	o.Change, o.Person = "membership_removed", person
	b.event(events.Event{ID: id, Source: or(source, "https://github.com"), Subject: u.Login, Offboarding: &o})
}

// An alert of GitHub's secret scanning. It does not hold the value.
type alert struct {
	Number     loose[int]
	SecretType loose[string] `json:"secret_type"`
	Validity   loose[string]
	Public     loose[bool]   `json:"publicly_leaked"`
	Created    loose[string] `json:"created_at"`
	Updated    loose[string] `json:"updated_at"`
	HTML       loose[string] `json:"html_url"`
	Secret     loose[string] // old servers send it

	Dependency, Rule, Tool json.RawMessage // what GitHub's other alerts have
}

// alert adds an alert. Without the header that says what it is about, it has to say itself that it is about a secret: GitHub's
// alerts look alike.
func (b *builder) alert(in Native, id, action, kind string, a alert, repository, source string) error {
	why, err := a.idle(action)
	switch {
	case err != nil:
		return err
	case why != "":
		b.ignore(why)
	case kind == "" && a.SecretType.v == "" && len(a.Dependency)+len(a.Rule)+len(a.Tool) > 0:
		b.ignore("it is an alert about something else than a secret")
	case kind == "" && a.SecretType.v == "":
		return &misread{"alert.secret_type", "is missing, and so is the header X-GitHub-Event, which says what the alert is about"}
	default:
		l := a.leak(action, repository)
		if in.Hash != nil && a.Secret.v != "" {
			l.Credential.Fingerprints = b.fingerprints(a.Secret.v)
		}
		b.event(events.Event{ID: id, Source: or(source, "https://github.com"), Subject: repository, Time: when(or(a.Updated.v, a.Created.v)), Leak: l})
	}
	return nil
}

// idle says why an action rotates nothing, or "".
func (a alert) idle(action string) (string, error) {
	switch {
	case slices.Contains([]string{"created", "reopened", "publicly_leaked"}, action), action == "validated" && a.Validity.v == "active":
		return "", nil
	case action == "validated" && a.Validity.v == "":
		return "", missing("alert.validity")
	case action == "validated":
		return "the alert was validated as " + clip(a.Validity.v, 32), nil
	}
	return "the alert was " + clip(action, 32) + ", which rotates nothing", nil
}

func (a alert) leak(action, repository string) *events.Leak {
	l := &events.Leak{Reason: "committed", Validity: "unknown", Exposure: "unknown", Credential: events.Credential{SecretType: a.SecretType.v, Provider: "github"},
		Evidence: []events.Evidence{{Kind: "repository", Repository: repository, URL: a.HTML.v}},
		Upstream: events.Upstream{System: "github", ID: fmt.Sprintf("%s#%d", repository, a.Number.v), Type: "secret_scanning_alert." + action}}
	if a.Validity.v == "active" || a.Validity.v == "inactive" {
		l.Validity = a.Validity.v
	}
	public := action == "publicly_leaked" || a.Public.v
	if public {
		l.Exposure, l.Reason = "public", "public_exposure"
	}
	switch {
	case l.Validity == "inactive":
		l.Severity = "low"
	case public:
		l.Severity = "critical"
	case l.Validity == "active":
		l.Severity = "high"
	default:
		l.Severity = "medium"
	}
	return l
}

// gitguardian reads incidents. The console's test message has another shape, and a value in the clear.
func gitguardian(b *builder, in Native) error {
	var m struct {
		Action    string
		Timestamp loose[string]
		Incident  *struct {
			ID       loose[ident]
			Detector loose[struct{ Name string }]
			HMSL     json.RawMessage `json:"hmsl_hash"`
			Validity loose[string]
			Severity loose[string]
			URL      loose[string] `json:"gitguardian_url"`
		}
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next("")
	acts := slices.Contains([]string{"incident_triggered", "new_occurrence", "incident_reopened", "incident_regression", "incident_validity_changed"}, m.Action)
	switch i := m.Incident; {
	case i == nil && acts:
		return missing("incident")
	case i == nil:
		b.ignore("it is about no incident")
		return nil
	case m.Action == "":
		return missing("action")
	case m.Action == "incident_validity_changed" && i.Validity.v == "":
		return missing("incident.validity")
	case !acts, m.Action == "incident_validity_changed" && i.Validity.v != "valid":
		b.ignore(clip(m.Action, 64) + " rotates nothing")
		return nil
	}
	i, id := m.Incident, string(m.Incident.ID.v)
	l := &events.Leak{Severity: word(i.Severity.v), Reason: "scanner_finding", Validity: or(map[string]string{"valid": "active", "invalid": "inactive"}[i.Validity.v], "unknown"),
		Credential: events.Credential{SecretType: i.Detector.v.Name}, Upstream: events.Upstream{System: "gitguardian", ID: id, Type: m.Action, URL: i.URL.v}}
	var hmsl string
	if err := decode(i.HMSL, &hmsl); len(i.HMSL) > 0 && err != nil { // it may still match by what is said of it
		b.misread(below("incident.hmsl_hash", err))
	}
	if raw, err := hex.DecodeString(hmsl); err == nil && len(raw) == 32 {
		l.Credential.Fingerprints = []events.Fingerprint{{Alg: "gg-hmsl", Value: strings.ToLower(hmsl)}}
	}
	if id == "" {
		id = digest(string(in.Body))
	}
	b.event(events.Event{ID: digest(id, m.Action, m.Timestamp.v), Source: "https://dashboard.gitguardian.com", Time: when(m.Timestamp.v), Leak: l})
	return nil
}

// gitlabHook reads vulnerability hooks of secret detection, and access tokens that are about to expire.
func gitlabHook(b *builder, in Native) error {
	var m struct {
		Kind   string `json:"object_kind"`
		Object *struct {
			ID                   loose[ident]
			Expires              loose[string] `json:"expires_at"`
			URL, Title, Severity loose[string]
			State                loose[string]
			Report               loose[string] `json:"report_type"`
			Updated              loose[string] `json:"updated_at"`
			Identifiers          loose[[]struct {
				Type string `json:"external_type"`
				ID   string `json:"external_id"`
			}]
		} `json:"object_attributes"`
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next("")
	o := m.Object
	switch {
	case m.Kind == "":
		return fmt.Errorf("%w: object_kind is missing", ErrForeign)
	case m.Kind != "vulnerability" && m.Kind != "access_token":
		b.ignore(clip(m.Kind, 64) + " rotates nothing")
	case o == nil:
		return missing("object_attributes")
	case m.Kind == "access_token":
		b.expiring(string(o.ID.v), o.Expires.v)
	case o.Report.v == "":
		return missing("object_attributes.report_type")
	case o.Report.v != "secret_detection":
		b.ignore("the vulnerability is no secret")
	case o.State.v != "" && o.State.v != "detected" && o.State.v != "confirmed":
		b.ignore("the vulnerability is " + clip(o.State.v, 32))
	default:
		l := &events.Leak{Severity: word(o.Severity.v), Reason: "scanner_finding", Credential: events.Credential{SecretType: o.Title.v}, Upstream: events.Upstream{System: "gitlab", Type: "vulnerability", URL: o.URL.v}}
		for _, i := range o.Identifiers.v {
			l.Credential.SecretType = strings.ToLower(i.Type + "_" + strings.ReplaceAll(i.ID, " ", "_"))
			break
		}
		id := or(in.header("Idempotency-Key"), digest(o.URL.v, o.State.v, o.Updated.v))
		b.event(events.Event{ID: id, Source: "urn:gitlab:vulnerability", Time: when(o.Updated.v), Leak: l})
	}
	return nil
}
