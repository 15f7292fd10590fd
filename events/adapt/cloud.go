package adapt

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/openwhisk-rotator/rotator/events"
)

// radar reads matches of HashiCorp Vault Radar, which knows where in Vault a value lives.
func radar(b *builder, in Native) error {
	var m struct {
		ID         loose[string] `json:"event_id"`
		Type       loose[string] `json:"event_type"`
		Subtype    loose[string] `json:"event_subtype"`
		NewType    loose[string] `json:"type"`
		NewSubtype loose[string] `json:"sub_type"`
		Severity   loose[string]
		Category   loose[string]                    `json:"risk_category"`
		Source     loose[struct{ Resource string }] `json:"data_source"`
		Details    loose[radarDetails]              `json:"event_details"`
		Managed    json.RawMessage                  `json:"managed_locations"`
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next("")
	kind := or(m.Type.v, m.NewType.v)
	switch {
	case m.ID.v == "" && kind == "":
		return fmt.Errorf("%w: event_id and event_type are missing", ErrForeign)
	case m.Category.v != "" && !strings.EqualFold(m.Category.v, "secrets"):
		b.ignore("it is about something else than secrets")
		return nil
	}
	d := m.Details.v
	base := events.Leak{Severity: word(m.Severity.v), Reason: "scanner_finding", Credential: events.Credential{SecretType: or(m.Subtype.v, m.NewSubtype.v)},
		Evidence: []events.Evidence{{Kind: kindOf(d.Commit.v), Repository: m.Source.v.Resource, Path: d.File.v, Commit: d.Commit.v, AuthorEmail: d.Author.email()}},
		Upstream: events.Upstream{System: "vault-radar", ID: m.ID.v, Type: kind}}
	id := or(m.ID.v, in.header("X-HCP-Radar-Message-ID"), digest(string(in.Body)))
	places := b.vaultPlaces("managed_locations", m.Managed)
	for n, at := range places {
		l, one := base, id
		l.Credential.Vault = &at
		if n > 0 {
			one += "/" + strconv.Itoa(n+1)
		}
		b.event(events.Event{ID: one, Source: "urn:vault-radar", Time: when(d.Time.v), Leak: &l})
	}
	if len(places) == 0 { // the configuration may know what it stands for
		b.event(events.Event{ID: id, Source: "urn:vault-radar", Time: when(d.Time.v), Leak: &base})
	}
	return nil
}

// radarDetails differ from one kind of data source to the next.
type radarDetails struct {
	Author author
	Time   loose[string] `json:"author_time"`
	Commit loose[string] `json:"commit_hash"`
	File   loose[string] `json:"repo_file_path"`
}

// author is an address, or an object that has one.
type author struct{ raw json.RawMessage }

// UnmarshalJSON keeps either form.
func (a *author) UnmarshalJSON(raw []byte) error {
	a.raw = append(a.raw[:0], raw...)
	return nil
}

func (a author) email() string {
	var text string
	var object struct{ Email string }
	if json.Unmarshal(a.raw, &text) == nil {
		return text
	}
	_ = json.Unmarshal(a.raw, &object)
	return object.Email
}

// vaultPlaces finds the places in Vault, in an object below hashicorp_vault, as Radar sends them, or in a list, as its documentation
// has it. Beside it there may be other managers.
func (b *builder) vaultPlaces(field string, managed json.RawMessage) (out []events.VaultPath) {
	var members map[string]json.RawMessage
	var all []json.RawMessage
	switch kindOfJSON(managed) {
	case "null":
	case "array":
		_ = json.Unmarshal(managed, &all)
		for i, raw := range all {
			at := fmt.Sprintf("%s[%d]", field, i)
			if json.Unmarshal(raw, &members) == nil && members["location"] == nil {
				out = append(out, b.vaultPlaces(at, raw)...)
			} else {
				out = append(out, b.located(at, raw)...)
			}
			clear(members)
		}
	case "object":
		_ = json.Unmarshal(managed, &members)
		out = b.located(field+".hashicorp_vault", members["hashicorp_vault"])
		if delete(members, "hashicorp_vault"); slices.ContainsFunc(slices.Collect(maps.Values(members)), noList) {
			b.unread(field, "has a member that is no list of locations")
		}
	default:
		b.unread(field, "has another type than expected ("+kindOfJSON(managed)+")")
	}
	return out
}

func noList(raw json.RawMessage) bool { return kindOfJSON(raw) != "array" && kindOfJSON(raw) != "null" }

// located reads one location or a list of them. One in another manager has another scheme, and is passed over.
func (b *builder) located(field string, raw json.RawMessage) (out []events.VaultPath) {
	all := oneOrMany{}
	if err := decode(raw, &all); len(raw) > 0 && err != nil {
		b.misread(below(field, err))
	}
	for i, raw := range all {
		at := field
		if len(all) > 1 {
			at = fmt.Sprintf("%s[%d]", field, i)
		}
		var l struct{ Location string }
		place, known, err := events.VaultPath{}, false, decode(raw, &l)
		if err == nil && l.Location == "" {
			err = missing("location")
		}
		if err == nil {
			place, known, err = vaultPlace(l.Location)
		}
		if err != nil {
			b.misread(below(at, err))
		} else if known {
			out = append(out, place)
		}
	}
	return out
}

// vaultPlace reads vault://host:8200/namespace/mount/path?key=k&version=n. Nothing in it says where the namespace ends and the mount
// begins, nor whether there is a namespace at all: what is behind the host stays together in Path. Whoever knows the address and the
// namespace of a Vault compares the address with Addr, and takes the namespace off the front of Path.
func vaultPlace(location string) (v events.VaultPath, known bool, err error) {
	u, err := url.Parse(location)
	if err != nil || u.Scheme == "" { // the text of the error would be the message's
		return v, false, &misread{"location", "is no URL"}
	}
	if u.Scheme != "vault" {
		return v, false, nil
	}
	where := strings.Trim(u.Path, "/")
	if where == "" || len(where) > maxName || len(u.Host) > maxName {
		return v, false, &misread{"location", "names no place in Vault"}
	}
	q := u.Query()
	v = events.VaultPath{Addr: u.Host, Path: where, Key: clip(q.Get("key"), maxName)}
	if n, err := strconv.Atoi(q.Get("version")); err == nil && n > 0 && n < 1<<31 {
		v.Version = n
	}
	return v, true, nil
}

// aws reads AWS Health risk events as EventBridge delivers them, one event for each access key, and CloudTrail's record of AWS
// putting a key into quarantine.
func aws(b *builder, in Native) error {
	var m struct {
		Source      string
		DetailType  loose[string] `json:"detail-type"`
		ID, Account loose[string]
		Detail      json.RawMessage
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	var trail struct{ EventName json.RawMessage }
	_ = json.Unmarshal(m.Detail, &trail)
	switch {
	case m.Source == "" && len(m.Detail) == 0: // a record of CloudTrail that came without EventBridge
		return cloudtrail(b, in.Body)
	case m.Source == "":
		return missing("source")
	case len(m.Detail) == 0:
		return missing("detail")
	case m.Source == "aws.health":
		return below("detail", health(b, m.Detail, m.ID.v, m.Account.v))
	case len(trail.EventName) > 0 || strings.HasSuffix(m.DetailType.v, "via CloudTrail"):
		return below("detail", cloudtrail(b, m.Detail))
	}
	b.next("")
	b.ignore("it is about no exposed credential")
	return nil
}

// health reads the detail of an event of AWS Health.
func health(b *builder, body []byte, id, account string) error {
	var d struct {
		EventTypeCode                                         string
		EventArn, StartTime, AffectedAccount, CommunicationID loose[string]
		StatusCode                                            loose[string]
		AffectedEntities                                      []json.RawMessage
	}
	if err := decode(body, &d); err != nil {
		return err
	}
	severity := riskOf(d.EventTypeCode)
	b.next("")
	switch {
	case d.EventTypeCode == "":
		return missing("eventTypeCode")
	case severity == "":
		b.ignore("it is about no exposed credential")
		return nil
	case strings.EqualFold(d.StatusCode.v, "closed"):
		b.ignore("AWS has closed it")
		return nil
	case len(d.AffectedEntities) == 0:
		return &misread{"affectedEntities", "names no access key"}
	}
	account = or(d.AffectedAccount.v, account)
	switch {
	case d.CommunicationID.v != "": // the same in every region and account it is sent to
		id = d.CommunicationID.v + ":" + account
	case id == "":
		id = digest(string(body))
	}
	b.count = 0
	each(b, "detail.affectedEntities", d.AffectedEntities, func(e struct{ EntityValue string }) {
		key := e.EntityValue
		if key == "" {
			b.unread("entityValue", "is missing")
			return
		}
		b.event(events.Event{ID: clip(id, 128) + ":" + key, Source: "arn:aws:health:" + account, Subject: key, Time: when(d.StartTime.v),
			Leak: &events.Leak{Severity: severity, Reason: "provider_notice", Exposure: "public", Credential: events.Credential{Provider: "aws", SecretType: "aws_access_key_id", PublicID: key},
				Upstream: events.Upstream{System: "aws-health", ID: d.EventArn.v, Type: d.EventTypeCode}}})
	})
	return nil
}

// riskOf is the severity of an event of AWS Health, or "" for one that is about something else.
func riskOf(code string) string {
	switch {
	case !strings.HasPrefix(code, "AWS_RISK_"):
	case strings.HasSuffix(code, "_CREDENTIALS_EXPOSED"), strings.HasSuffix(code, "_CREDENTIALS_COMPROMISED"), code == "AWS_RISK_IAM_QUARANTINE":
		return "critical"
	case strings.HasSuffix(code, "_CREDENTIALS_EXPOSURE_SUSPECTED"), strings.HasSuffix(code, "_CREDENTIALS_COMPROMISE_SUSPECTED"):
		return "high"
	}
	return ""
}

// cloudtrail reads the moment when AWS takes rights away from the user of a compromised key.
func cloudtrail(b *builder, body []byte) error {
	var m struct {
		EventName          string
		EventID, EventTime loose[string]
		ErrorCode          loose[string]
		Account            loose[string]                                                  `json:"recipientAccountId"`
		Request            loose[struct{ UserName, PolicyArn, PolicyName loose[string] }] `json:"requestParameters"`
	}
	if err := decode(body, &m); err != nil {
		return err
	}
	b.next("")
	r := m.Request.v
	policy := r.PolicyArn.v + r.PolicyName.v
	switch {
	case m.EventName == "":
		return fmt.Errorf("%w: source and eventName are missing: neither of AWS Health nor of CloudTrail", ErrForeign)
	case m.EventName != "AttachUserPolicy" && m.EventName != "PutUserPolicy":
		b.ignore(clip(m.EventName, 64) + " rotates nothing")
	case m.ErrorCode.v != "":
		b.ignore(m.EventName + " did not succeed")
	case policy == "":
		return missing("requestParameters.policyArn")
	case !strings.Contains(policy, "AWSCompromisedKeyQuarantine"):
		b.ignore(m.EventName + " of another policy than the quarantine of a key rotates nothing")
	case r.UserName.v == "":
		return missing("requestParameters.userName")
	default:
		b.event(events.Event{ID: or(m.EventID.v, digest(string(body))), Source: "arn:aws:cloudtrail:" + m.Account.v, Subject: r.UserName.v, Time: when(m.EventTime.v),
			Leak: &events.Leak{Severity: "critical", Reason: "provider_notice", Exposure: "public", Credential: events.Credential{Provider: "aws", SecretType: "aws_iam_user", PublicID: r.UserName.v},
				Upstream: events.Upstream{System: "aws-cloudtrail", ID: m.EventID.v, Type: m.EventName}}})
	}
	return nil
}
