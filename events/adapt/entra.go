package adapt

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/openwhisk-rotator/rotator/events"
)

// entra reads what Microsoft Entra has in three forms: change notifications of Graph, records of the directory's audit log, and
// callouts of lifecycle workflows.
func entra(b *builder, in Native) error {
	var m struct {
		Value   []json.RawMessage
		Records []json.RawMessage
		Name    string `json:"activityDisplayName"`
		Data    struct {
			Workflow json.RawMessage
		}
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	switch {
	case len(m.Value) > 0 && strings.Contains(string(m.Value[0]), "activityDisplayName"):
		return each(b, m.Value, b.audited)
	case len(m.Value) > 0:
		return each(b, m.Value, b.notified)
	case len(m.Records) > 0:
		return each(b, m.Records, func(r struct{ Properties audit }) { b.audited(r.Properties) })
	case m.Name != "":
		return each(b, []json.RawMessage{in.Body}, b.audited)
	case len(m.Data.Workflow) > 0:
		return each(b, []json.RawMessage{in.Body}, b.called)
	}
	return fmt.Errorf("%w: neither a notification, nor an audit record, nor a workflow", ErrForeign)
}

// notified reads one change of Graph, which names an object and nothing else: only a deletion says that somebody is gone.
func (b *builder) notified(n struct {
	ID, ChangeType, Resource, TenantID string
	ResourceData                       struct {
		ID   string
		Type string `json:"@odata.type"`
	}
}) {
	switch {
	case !strings.HasPrefix(strings.ToLower(n.Resource), "users") || !strings.EqualFold(n.ResourceData.Type, "#Microsoft.Graph.User"):
		b.ignore("it is about no user")
	case n.ChangeType != "deleted":
		b.ignore(clip(n.ChangeType, 32) + " does not say that somebody has left; subscribe to deleted, and send the audit log for disabled accounts")
	default:
		b.entraGone(or(n.ID, digest(n.ResourceData.ID, n.ChangeType)), n.TenantID, n.ResourceData.ID, nil, "deleted", "users."+n.ChangeType, "", "graph")
	}
}

type audit struct {
	ID, ActivityDisplayName, ActivityDateTime, Result, TenantID string
	TargetResources                                             []struct{ ID, Type, UserPrincipalName string }
	InitiatedBy                                                 struct{ User *struct{ ID string } }
}

func (b *builder) audited(a audit) {
	change := map[string]string{"disable account": "deactivated", "delete user": "deleted", "hard delete user": "deleted"}[strings.ToLower(a.ActivityDisplayName)]
	if change == "" {
		b.ignore(clip(a.ActivityDisplayName, 64) + " rotates nothing")
		return
	}
	if !strings.EqualFold(a.Result, "success") {
		b.ignore(clip(a.ActivityDisplayName, 64) + " did not succeed")
		return
	}
	for _, t := range a.TargetResources {
		if t.Type != "" && !strings.EqualFold(t.Type, "User") {
			continue
		}
		b.entraGone(or(a.ID, digest(t.ID, a.ActivityDateTime)), a.TenantID, t.ID, []string{t.UserPrincipalName}, change, a.ActivityDisplayName, a.ActivityDateTime, "entra-audit")
		return
	}
	b.ignore("it names no user")
}

// called reads the callout of a lifecycle workflow: whoever starts one for leavers means it.
func (b *builder) called(m struct {
	Source string
	Data   struct {
		Subject  struct{ ID, Email, UserPrincipalName string }
		Workflow struct{ DisplayName, Category string }
		Result   struct{ ID, CreatedDateTime string } `json:"taskProcessingResult"`
	}
}) {
	if c := m.Data.Workflow.Category; c != "" && !strings.EqualFold(c, "leaver") {
		b.ignore("it is a workflow for a " + clip(c, 32))
		return
	}
	s := m.Data.Subject
	b.entraGone(or(m.Data.Result.ID, digest(s.ID)), "", s.ID, []string{s.Email, s.UserPrincipalName}, "terminated", or(m.Data.Workflow.DisplayName, "lifecycle workflow"), m.Data.Result.CreatedDateTime, "entra-workflow")
}

func (b *builder) entraGone(id, tenant, object string, emails []string, change, reason, at, system string) {
	o := &events.Offboarding{Change: change, Severity: "high", Reason: reason, InitiatedBy: "admin", Upstream: events.Upstream{System: system, ID: id, Type: reason}}
	if tenant != "" {
		o.Scope = &events.Scope{Tenant: tenant}
		o.Person.Identifiers = append(o.Person.Identifiers, events.Identifier{Format: "iss_sub", Iss: "https://login.microsoftonline.com/" + tenant + "/v2.0", Sub: object})
	} else if object != "" {
		o.Person.Identifiers = append(o.Person.Identifiers, events.Identifier{Format: "opaque", ID: object})
	}
	for i, e := range emails {
		if strings.Contains(e, "@") && (i == 0 || e != emails[0]) {
			o.Person.Identifiers = append(o.Person.Identifiers, events.Identifier{Format: "email", Email: e})
		}
	}
	b.event(events.Event{ID: id, Source: "urn:entra:" + or(tenant, "tenant"), Time: when(at), Offboarding: o})
}
