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
// somebody who was let in - gives no event, and says why in Ignored.
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

// event adds an event of a message, whose id its source has given.
func (b *builder) event(e events.Event) {
	if e.Time.IsZero() || e.Time.After(b.in.Received) {
		e.Time = b.in.Received
	}
	e.ID, e.Subject = clip(e.ID, 256), clip(e.Subject, 256)
	if e.Leak != nil {
		e.Kind = events.KindLeak
		clean(e.Leak)
	} else if e.Offboarding != nil {
		e.Kind = events.KindOffboarding
	} else if e.Expiring != nil {
		e.Kind = events.KindExpiring
	}
	if _, err := events.Encode(e); err != nil {
		b.ignore("it names nothing that an event could be made of" + fieldOf(err))
		return
	}
	b.result.Events = append(b.result.Events, e)
}

// fieldOf names the field of the event that could not be filled.
func fieldOf(err error) string {
	if bad, ok := errors.AsType[*events.InvalidError](err); ok && len(bad.Problems) > 0 && bad.Problems[0].Field != "" {
		return ": " + bad.Problems[0].Field + " " + bad.Problems[0].Text
	}
	return ""
}

// expiring adds an access token of GitLab that ends soon.
func (b *builder) expiring(token int64, ends string) {
	at, err := time.Parse(time.DateOnly, ends)
	if err != nil {
		at = when(ends)
	}
	if at.IsZero() || token == 0 {
		b.ignore("the token has no id, or no end")
		return
	}
	b.event(events.Event{ID: digest(fmt.Sprint(token), ends), Source: "urn:gitlab:access_token", Expiring: &events.Expiring{ExpiresAt: at,
		Credential: events.Credential{Provider: "gitlab", PublicID: fmt.Sprint(token)}, Upstream: events.Upstream{System: "gitlab", ID: fmt.Sprint(token), Type: "access_token"}}})
}

// digest is an id for a message whose source gives none: the same bytes are the same event.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// github reads secret scanning alerts, and people who are removed from an organisation or a team.
func github(b *builder, in Native) error {
	type user struct {
		Login string
		ID    int64
	}
	var m struct {
		Action     string
		Alert      *alert
		Repository struct {
			URL      string
			FullName string `json:"full_name"`
		}
		Organization struct{ Login, URL string }
		Membership   *struct {
			URL          string
			Organization string `json:"organization_url"`
			User         user
		}
		Scope  string
		Member *user
		Team   *struct{ Name, URL string }
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next()
	kind := in.header("X-GitHub-Event")
	id := or(in.header("X-GitHub-Delivery"), digest(string(in.Body)))
	switch {
	case m.Alert != nil && (kind == "" || kind == "secret_scanning_alert"):
		if why := m.Alert.idle(m.Action); why != "" {
			b.ignore(why)
			return nil
		}
		l := m.Alert.leak(m.Action, m.Repository.FullName)
		if in.Hash != nil && m.Alert.Secret != "" {
			l.Credential.Fingerprints = b.fingerprints(m.Alert.Secret)
		}
		b.event(events.Event{ID: id, Source: or(m.Repository.URL, "https://github.com"), Subject: m.Repository.FullName, Time: when(or(m.Alert.Updated, m.Alert.Created)), Leak: l})
	case m.Membership != nil && m.Action == "member_removed":
		b.event(gone(id, or(m.Organization.URL, m.Membership.Organization), m.Membership.User.Login, m.Membership.User.ID, events.Offboarding{
			Scope: &events.Scope{Organization: m.Organization.Login}, Severity: "high", Reason: "member_removed", InitiatedBy: "admin",
			Upstream: events.Upstream{System: "github", Type: "organization.member_removed"}}))
	case m.Member != nil && m.Team != nil && m.Action == "removed":
		b.event(gone(id, or(m.Team.URL, m.Organization.URL), m.Member.Login, m.Member.ID, events.Offboarding{
			Scope: &events.Scope{Organization: m.Organization.Login, Team: m.Team.Name}, Severity: "medium", Reason: "membership.removed",
			Upstream: events.Upstream{System: "github", Type: "membership.removed"}}))
	case m.Alert == nil && m.Membership == nil && m.Member == nil:
		return fmt.Errorf("%w: neither a secret scanning alert nor about a member", ErrForeign)
	default:
		b.ignore(fmt.Sprintf("%s of GitHub rotates nothing", clip(or(m.Action, kind), 64)))
	}
	return nil
}

func gone(id, source, login string, user int64, o events.Offboarding) events.Event {
	o.Change = "membership_removed"
	o.Person = events.Person{Identifiers: []events.Identifier{
		{Format: "iss_sub", Iss: "https://github.com", Sub: fmt.Sprint(user)}, {Format: "account", URI: "acct:" + login + "@github.com"}}}
	return events.Event{ID: id, Source: source, Subject: login, Offboarding: &o}
}

// An alert of GitHub's secret scanning. It does not hold the value.
type alert struct {
	Number     int
	SecretType string `json:"secret_type"`
	Validity   string
	Public     *bool  `json:"publicly_leaked"`
	Created    string `json:"created_at"`
	Updated    string `json:"updated_at"`
	HTML       string `json:"html_url"`
	Secret     string // old servers send it
}

// idle says why an action rotates nothing, or "".
func (a alert) idle(action string) string {
	switch {
	case slices.Contains([]string{"created", "reopened", "publicly_leaked"}, action), action == "validated" && a.Validity == "active":
		return ""
	case action == "validated":
		return "the alert was validated as " + or(clip(a.Validity, 32), "unknown")
	}
	return "the alert was " + or(clip(action, 32), "changed") + ", which rotates nothing"
}

func (a alert) leak(action, repository string) *events.Leak {
	l := &events.Leak{Reason: "committed", Validity: "unknown", Exposure: "unknown", Credential: events.Credential{SecretType: a.SecretType, Provider: "github"},
		Evidence: []events.Evidence{{Kind: "repository", Repository: repository, URL: a.HTML}},
		Upstream: events.Upstream{System: "github", ID: fmt.Sprintf("%s#%d", repository, a.Number), Type: "secret_scanning_alert." + action}}
	if a.Validity == "active" || a.Validity == "inactive" {
		l.Validity = a.Validity
	}
	public := action == "publicly_leaked" || a.Public != nil && *a.Public
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
		Action, Timestamp string
		Incident          *struct {
			ID       int64
			Detector struct{ Name string }
			HMSL     string `json:"hmsl_hash"`
			Validity string
			Severity string
			URL      string `json:"gitguardian_url"`
		}
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next()
	acts := []string{"incident_triggered", "new_occurrence", "incident_reopened", "incident_regression"}
	switch {
	case m.Incident == nil:
		b.ignore("it is about no incident")
		return nil
	case !slices.Contains(acts, m.Action) && (m.Action != "incident_validity_changed" || m.Incident.Validity != "valid"):
		b.ignore(clip(m.Action, 64) + " rotates nothing")
		return nil
	}
	l := &events.Leak{Severity: word(m.Incident.Severity), Reason: "scanner_finding", Validity: or(map[string]string{"valid": "active", "invalid": "inactive"}[m.Incident.Validity], "unknown"),
		Credential: events.Credential{SecretType: m.Incident.Detector.Name}, Upstream: events.Upstream{System: "gitguardian", ID: fmt.Sprint(m.Incident.ID), Type: m.Action, URL: m.Incident.URL}}
	if raw, err := hex.DecodeString(m.Incident.HMSL); err == nil && len(raw) == 32 {
		l.Credential.Fingerprints = []events.Fingerprint{{Alg: "gg-hmsl", Value: strings.ToLower(m.Incident.HMSL)}}
	}
	b.event(events.Event{ID: digest(fmt.Sprint(m.Incident.ID), m.Action, m.Timestamp), Source: "https://dashboard.gitguardian.com", Time: when(m.Timestamp), Leak: l})
	return nil
}

// unwrapped is the message inside a Pub/Sub push.
func unwrapped(body []byte) []byte {
	var m struct{ Message struct{ Data []byte } }
	if json.Unmarshal(body, &m) == nil && len(m.Message.Data) > 0 {
		return m.Message.Data
	}
	return body
}

// google reads leaked passwords from the Alert Center, and people who are suspended or deleted from admin reports.
func google(b *builder, in Native) error {
	var m struct {
		AlertID, Type, StartTime string
		Data                     struct{ Email string }
		Metadata                 struct{ Severity string }
		ID                       struct{ Time, UniqueQualifier string }
		Events                   oneOrMany[struct {
			Name       string
			Parameters []struct {
				Name  string
				Value any // a text, or something we do not look at
			}
		}]
	}
	if err := decode(unwrapped(in.Body), &m); err != nil {
		return err
	}
	b.next()
	if m.Type == "Leaked password" {
		b.event(events.Event{ID: or(m.AlertID, digest(string(in.Body))), Source: "urn:google:alertcenter", Time: when(m.StartTime), Leak: &events.Leak{Severity: word(m.Metadata.Severity), Reason: "credential_compromise",
			Credential: events.Credential{SecretType: "google:password"}, Person: &events.Person{Identifiers: []events.Identifier{{Format: "email", Email: m.Data.Email}}},
			Upstream: events.Upstream{System: "google", ID: m.AlertID, Type: m.Type}}})
		return nil
	}
	changes := map[string]string{"SUSPEND_USER": "suspended", "DELETE_USER": "deleted", "ARCHIVE_USER": "deactivated"}
	for i, e := range m.Events {
		change, ok := changes[e.Name]
		if !ok {
			b.ignore(clip(e.Name, 64) + " rotates nothing")
			continue
		}
		for _, p := range e.Parameters {
			if email, _ := p.Value.(string); p.Name == "USER_EMAIL" {
				id := fmt.Sprintf("%s/%s/%d", m.ID.Time, m.ID.UniqueQualifier, i)
				b.event(events.Event{ID: id, Source: "urn:google:admin", Time: when(m.ID.Time), Offboarding: &events.Offboarding{Change: change, Severity: "high", Reason: e.Name, InitiatedBy: "admin",
					Person: events.Person{Identifiers: []events.Identifier{{Format: "email", Email: email}}}, Upstream: events.Upstream{System: "google", ID: id, Type: e.Name}}})
			}
		}
	}
	if len(m.Events) == 0 {
		return fmt.Errorf("%w: neither an alert nor an admin report", ErrForeign)
	}
	return nil
}

// oneOrMany is a list, or one element that stands for a list of one.
type oneOrMany[T any] []T

// UnmarshalJSON reads either form.
func (o *oneOrMany[T]) UnmarshalJSON(raw []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(raw)), "[") || string(raw) == "null" {
		return json.Unmarshal(raw, (*[]T)(o))
	}
	*o = make([]T, 1)
	return json.Unmarshal(raw, &(*o)[0])
}

// gitlabHook reads vulnerability hooks of secret detection, and access tokens that are about to expire.
func gitlabHook(b *builder, in Native) error {
	var m struct {
		Kind   string `json:"object_kind"`
		Object struct {
			ID                          int64
			Name                        string
			Expires                     string `json:"expires_at"`
			URL, Title, State, Severity string
			Report                      string `json:"report_type"`
			Updated                     string `json:"updated_at"`
			Identifiers                 []struct {
				Name string
				Type string `json:"external_type"`
				ID   string `json:"external_id"`
			}
		} `json:"object_attributes"`
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next()
	switch {
	case m.Kind == "access_token":
		b.expiring(m.Object.ID, m.Object.Expires)
	case m.Kind == "":
		return fmt.Errorf("%w: object_kind is missing", ErrForeign)
	case m.Kind != "vulnerability":
		b.ignore(clip(m.Kind, 64) + " rotates nothing")
	case m.Object.Report != "secret_detection":
		b.ignore("the vulnerability is no secret")
	case m.Object.State != "" && m.Object.State != "detected" && m.Object.State != "confirmed":
		b.ignore("the vulnerability is " + clip(m.Object.State, 32))
	default:
		l := &events.Leak{Severity: word(m.Object.Severity), Reason: "scanner_finding", Credential: events.Credential{SecretType: m.Object.Title}, Upstream: events.Upstream{System: "gitlab", Type: "vulnerability", URL: m.Object.URL}}
		for _, i := range m.Object.Identifiers {
			l.Credential.SecretType = strings.ToLower(i.Type + "_" + strings.ReplaceAll(i.ID, " ", "_"))
			break
		}
		b.event(events.Event{ID: or(in.header("Idempotency-Key"), digest(m.Object.URL, m.Object.State, m.Object.Updated)), Source: "urn:gitlab:vulnerability", Time: when(m.Object.Updated), Leak: l})
	}
	return nil
}
