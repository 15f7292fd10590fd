package adapt

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/openwhisk-rotator/rotator/events"
)

// radar reads matches of HashiCorp Vault Radar, which knows where in Vault a value lives.
func radar(b *builder, in Native) error {
	var m struct {
		EventID, Type, SubType string
		ID                     string `json:"event_id"`
		EventType              string `json:"event_type"`
		EventSubtype           string `json:"event_subtype"`
		NewSubtype             string `json:"sub_type"`
		Severity               string
		Category               string                                `json:"risk_category"`
		DataSource             struct{ Type, Name, Resource string } `json:"data_source"`
		Details                struct {
			Author string
			Time   string `json:"author_time"`
			Commit string `json:"commit_hash"`
			File   string `json:"repo_file_path"`
		} `json:"event_details"`
		Managed struct {
			Vault []struct{ Location string } `json:"hashicorp_vault"`
		} `json:"managed_locations"`
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	b.next()
	if m.Category != "" && m.Category != "secrets" {
		b.ignore("it is about something else than secrets")
		return nil
	}
	kind := or(m.EventType, m.Type)
	base := events.Leak{Severity: word(m.Severity), Reason: "scanner_finding", Credential: events.Credential{SecretType: or(m.EventSubtype, m.NewSubtype)},
		Evidence: []events.Evidence{{Kind: kindOf(m.Details.Commit), Repository: m.DataSource.Resource, Path: m.Details.File, Commit: m.Details.Commit, AuthorEmail: m.Details.Author}},
		Upstream: events.Upstream{System: "vault-radar", ID: m.ID, Type: kind}}
	id := or(m.ID, in.header("X-HCP-Radar-Message-ID"), digest(string(in.Body)))
	places := 0
	for _, at := range m.Managed.Vault {
		v, ok := vaultPlace(at.Location)
		if !ok {
			continue
		}
		places++
		l := base
		l.Credential.Vault = &v
		one := id
		if places > 1 {
			one += "/" + strconv.Itoa(places)
		}
		b.event(events.Event{ID: one, Source: "urn:vault-radar", Time: when(m.Details.Time), Leak: &l})
	}
	if places == 0 {
		b.event(events.Event{ID: id, Source: "urn:vault-radar", Time: when(m.Details.Time), Leak: &base})
	}
	return nil
}

// vaultPlace reads vault://host:8200/namespace/mount?key=k&version=n.
func vaultPlace(location string) (v events.VaultPath, ok bool) {
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "vault" || strings.Trim(u.Path, "/") == "" {
		return v, false
	}
	v = events.VaultPath{Addr: u.Host, Path: strings.Trim(u.Path, "/"), Key: u.Query().Get("key")}
	v.Version, _ = strconv.Atoi(u.Query().Get("version"))
	return v, true
}

// aws reads AWS Health risk events as EventBridge delivers them, one event for each access key, and CloudTrail's record of AWS
// putting a key into quarantine.
func aws(b *builder, in Native) error {
	var m struct {
		ID, Source, Account string
		DetailType          string `json:"detail-type"`
		Detail              json.RawMessage
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	if m.Source == "" && len(m.Detail) == 0 { // a record of CloudTrail that came without EventBridge
		return cloudtrail(b, in.Body)
	}
	if strings.HasSuffix(m.DetailType, "via CloudTrail") {
		return cloudtrail(b, m.Detail)
	}
	var d struct {
		EventArn, Service, EventTypeCode, StartTime, AffectedAccount string
		AffectedEntities                                             []struct{ EntityValue string }
	}
	if err := decode(m.Detail, &d); err != nil {
		return err
	}
	severity := riskOf(m.Source, d.Service, d.EventTypeCode)
	if severity == "" {
		b.next()
		b.ignore("it is about no exposed credential")
		return nil
	}
	for _, entity := range d.AffectedEntities {
		b.next()
		key := entity.EntityValue
		b.event(events.Event{ID: or(m.ID, digest(string(in.Body))) + ":" + key, Source: "arn:aws:health:" + or(d.AffectedAccount, m.Account), Subject: key, Time: when(d.StartTime),
			Leak: &events.Leak{Severity: severity, Reason: "provider_notice", Exposure: "public", Credential: events.Credential{Provider: "aws", SecretType: "aws_access_key_id", PublicID: key},
				Upstream: events.Upstream{System: "aws-health", ID: d.EventArn, Type: d.EventTypeCode}}})
	}
	return nil
}

// riskOf is the severity of an event of AWS Health, or "" for one that is about something else.
func riskOf(source, service, code string) string {
	switch {
	case source != "aws.health" || service != "RISK":
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
		EventID, EventTime, EventName string
		Account                       string                                           `json:"recipientAccountId"`
		Request                       struct{ UserName, PolicyArn, PolicyName string } `json:"requestParameters"`
	}
	if err := decode(body, &m); err != nil {
		return err
	}
	b.next()
	if m.EventName == "" {
		return fmt.Errorf("%w: neither of AWS Health nor of CloudTrail", ErrForeign)
	}
	if (m.EventName != "AttachUserPolicy" && m.EventName != "PutUserPolicy") || !strings.Contains(m.Request.PolicyArn+m.Request.PolicyName, "AWSCompromisedKeyQuarantine") {
		b.ignore(clip(m.EventName, 64) + " rotates nothing")
		return nil
	}
	b.event(events.Event{ID: or(m.EventID, digest(string(body))), Source: "arn:aws:cloudtrail:" + m.Account, Subject: m.Request.UserName, Time: when(m.EventTime),
		Leak: &events.Leak{Severity: "critical", Reason: "provider_notice", Exposure: "public", Credential: events.Credential{Provider: "aws", SecretType: "aws_iam_user", PublicID: m.Request.UserName},
			Upstream: events.Upstream{System: "aws-cloudtrail", ID: m.EventID, Type: m.EventName}}})
	return nil
}
