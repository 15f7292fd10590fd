package adapt

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/openwhisk-rotator/rotator/events"
)

// entra reads what Microsoft Entra has in three forms: change notifications of Graph, records of the directory's audit log, and
// callouts of lifecycle workflows.
func entra(b *builder, in Native) error {
	var m struct {
		Value   []json.RawMessage
		Records []json.RawMessage
		Name    json.RawMessage `json:"activityDisplayName"`
		Data    *callout
	}
	if err := decode(in.Body, &m); err != nil {
		return err
	}
	switch {
	case len(m.Value) > 0:
		each(b, "value", m.Value, b.valued)
	case len(m.Records) > 0:
		each(b, "records", m.Records, b.recorded)
	case len(m.Name) > 0:
		b.next("")
		return b.audited(in.Body, "", "")
	case m.Data != nil && (len(m.Data.Workflow) > 0 || len(m.Data.Subject) > 0):
		b.next("")
		return below("data", b.called(*m.Data))
	default:
		return fmt.Errorf("%w: value, records, activityDisplayName and data.workflow are missing: neither a notification, nor an audit record, nor a workflow", ErrForeign)
	}
	return nil
}

// valued is an element of a list of Graph's: a record of the audit log, or a notification.
func (b *builder) valued(raw json.RawMessage) {
	var is struct {
		Name      json.RawMessage `json:"activityDisplayName"`
		Lifecycle json.RawMessage `json:"lifecycleEvent"`
	}
	err := decode(raw, &is)
	switch {
	case err != nil:
	case len(is.Name) > 0:
		err = b.audited(raw, "", "")
	case len(is.Lifecycle) > 0:
		err = b.silenced(raw)
	default:
		err = b.notified(raw)
	}
	if err != nil {
		b.misread(err)
	}
}

// silenced reads what Graph says of a subscription of ours: notifications are missing, or will be.
func (b *builder) silenced(raw json.RawMessage) error {
	var n struct{ LifecycleEvent string }
	if err := decode(raw, &n); err != nil {
		return err
	}
	switch n.LifecycleEvent {
	case "subscriptionRemoved":
		b.alarm("subscriptionRemoved: Graph has ended the subscription, and leavers are missed: subscribe again")
	case "missed":
		b.alarm("missed: Graph has dropped notifications, and leavers may have been missed: compare with the audit log")
	case "reauthorizationRequired":
		b.alarm("reauthorizationRequired: Graph ends the subscription soon, and leavers will be missed: renew it")
	default:
		b.alarm(clip(n.LifecycleEvent, 64) + ": Graph says something of the subscription; look whether it still works")
	}
	return nil
}

// notified reads one change of Graph, which names an object and nothing else: only a deletion says that somebody is gone.
func (b *builder) notified(raw json.RawMessage) error {
	var n struct {
		ID, TenantID         loose[string]
		ChangeType, Resource string
		ResourceData         loose[struct {
			ID   loose[string]
			Type loose[string] `json:"@odata.type"`
		}]
	}
	if err := decode(raw, &n); err != nil {
		return err
	}
	path := strings.Split(strings.Trim(n.Resource, "/"), "/")
	kind := n.ResourceData.v.Type.v
	switch {
	case n.Resource == "":
		return missing("resource")
	case !strings.EqualFold(path[0], "users"), len(path) > 2, kind != "" && !strings.EqualFold(kind, "#Microsoft.Graph.User"):
		b.ignore("it is about no user")
	case n.ChangeType == "":
		return missing("changeType")
	case n.ChangeType != "deleted":
		b.ignore(clip(n.ChangeType, 32) + " does not say that somebody has left; subscribe to deleted, and send the audit log for disabled accounts")
	default:
		object := n.ResourceData.v.ID.v
		if object == "" && len(path) == 2 {
			object = path[1]
		}
		b.entraGone("resourceData.id", or(n.ID.v, digest(object, n.ChangeType)), n.TenantID.v, object, nil, "deleted", "users."+n.ChangeType, "", "graph")
	}
	return nil
}

// recorded reads a record as it comes through an event hub, where the records of other logs are too.
func (b *builder) recorded(raw json.RawMessage) {
	var r struct {
		Category   loose[string]
		TenantID   loose[string]
		Properties json.RawMessage
	}
	err := decode(raw, &r)
	switch {
	case err != nil:
	case r.Category.v != "" && !strings.EqualFold(r.Category.v, "AuditLogs"):
		b.ignore("it is of the log " + clip(r.Category.v, 64))
		return
	case kindOfJSON(r.Properties) == "null":
		err = missing("properties")
	default:
		err = b.audited(r.Properties, "properties", r.TenantID.v)
	}
	if err != nil {
		b.misread(err)
	}
}

// audited reads a record of the audit log, which is the field within of what was sent.
func (b *builder) audited(raw json.RawMessage, within, tenant string) error {
	type target struct{ Type, ID, UserPrincipalName string }
	var a struct {
		ActivityDisplayName            string
		ID, ActivityDateTime, TenantID loose[string]
		Result                         loose[string]
		TargetResources                list[target]
		TargetResource                 list[target] // as the documentation misspells it
	}
	if err := decode(raw, &a); err != nil {
		return below(within, err)
	}
	change := map[string]string{"disable account": "deactivated", "delete user": "deleted", "hard delete user": "deleted"}[strings.ToLower(a.ActivityDisplayName)]
	targets := append(a.TargetResources, a.TargetResource...)
	switch {
	case a.ActivityDisplayName == "":
		return below(within, missing("activityDisplayName"))
	case change == "":
		b.ignore(clip(a.ActivityDisplayName, 64) + " rotates nothing")
		return nil
	case a.Result.v == "":
		return below(within, missing("result"))
	case !strings.EqualFold(a.Result.v, "success"):
		b.ignore(clip(a.ActivityDisplayName, 64) + " did not succeed")
		return nil
	}
	for i, t := range targets {
		if t.Type != "" && !strings.EqualFold(t.Type, "User") {
			continue
		}
		b.entraGone(join(within, fmt.Sprintf("targetResources[%d]", i)), or(a.ID.v, digest(t.ID, a.ActivityDateTime.v)), or(a.TenantID.v, tenant), t.ID, []string{t.UserPrincipalName}, change,
			a.ActivityDisplayName, a.ActivityDateTime.v, "entra-audit")
		return nil
	}
	if len(targets) > 0 {
		b.ignore("it is about no user")
		return nil
	}
	return below(within, &misread{"targetResources", "names no user"})
}

// A callout is what a task of a lifecycle workflow sends.
type callout struct {
	Subject, Workflow json.RawMessage
	Task              struct{ DisplayName string }
	Result            loose[struct{ ID, CreatedDateTime string }] `json:"taskProcessingResult"`
}

// Names that somebody gives only to a workflow for those who leave, and what says that they have not left.
var (
	leaving = regexp.MustCompile(`(?i)\b(off-?board(ing|s|ed)?|leavers?|terminat(e|es|ed|ion|ions))\b`)
	staying = regexp.MustCompile(`(?i)\b(on-?board(ing|s|ed)?|pre-?off-?boarding|joiners?|movers?|new hires?|cancel(s|led)?)\b`)
)

// called reads the callout of a lifecycle workflow. There are some for those who come, too.
func (b *builder) called(c callout) error {
	var s struct{ ID, Email, UserPrincipalName string }
	var w struct{ DisplayName, Category string }
	if err := decode([]byte(or(string(c.Workflow), "{}")), &w); err != nil {
		return below("workflow", err)
	}
	names := w.DisplayName + "; " + c.Task.DisplayName
	switch category := w.Category; {
	case category != "" && !strings.EqualFold(category, "leaver"):
		b.ignore("it is a workflow for a " + clip(category, 32))
		return nil
	case category == "" && (!leaving.MatchString(names) || staying.MatchString(names)):
		b.alarm("nothing says that this workflow is for those who leave: call the workflow or its task so (Offboard ...), or add data.workflow.category")
		return nil
	}
	if err := decode([]byte(or(string(c.Subject), "{}")), &s); err != nil {
		return below("subject", err)
	}
	b.where = "data"
	b.entraGone("subject", or(c.Result.v.ID, digest(s.ID, s.Email, s.UserPrincipalName, b.in.Received.Format("2006-01-02"))), "", s.ID, []string{s.Email, s.UserPrincipalName}, "terminated",
		or(w.DisplayName, "lifecycle workflow"), c.Result.v.CreatedDateTime, "entra-workflow")
	return nil
}

func (b *builder) entraGone(from, id, tenant, object string, emails []string, change, reason, at, system string) {
	var who []events.Identifier
	if tenant != "" {
		who = append(who, events.Identifier{Format: "iss_sub", Iss: "https://login.microsoftonline.com/" + tenant + "/v2.0", Sub: object})
	} else {
		who = append(who, events.Identifier{Format: "opaque", ID: object})
	}
	for _, e := range emails {
		if strings.Contains(e, "@") {
			who = append(who, events.Identifier{Format: "email", Email: e})
		}
	}
	person, ok := b.person(from, who...)
	if !ok {
		return
	}
	o := &events.Offboarding{Person: person, Change: change, Severity: "high", Reason: reason, InitiatedBy: "admin", Upstream: events.Upstream{System: system, ID: id, Type: reason}}
	if tenant != "" {
		o.Scope = &events.Scope{Tenant: tenant}
	}
	b.event(events.Event{ID: id, Source: "urn:entra:" + or(tenant, "tenant"), Time: when(at), Offboarding: o})
}
