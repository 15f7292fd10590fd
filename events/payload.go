package events

import "fmt"

// payload reads the data member into the payload that the kind asks for.
func (r *reader) payload(e *Event, o *object) {
	switch e.Kind {
	case KindLeak:
		e.Leak = r.leak(o)
	case KindOffboarding:
		e.Offboarding = r.offboarding(o)
	case KindExpiring:
		e.Expiring = r.expiring(o)
	case KindManual:
		e.Manual = r.manual(o)
	}
	o.done()
}

func (r *reader) leak(o *object) *Leak {
	out := &Leak{
		Credential: r.credential(o.sub("credential", true)),
		Severity:   o.text("severity", true, textRule{enum: severities()}),
		Reason: o.text("reason", true, textRule{enum: []string{"committed", "public_exposure", "provider_notice",
			"scanner_finding", "credential_compromise", "manual_report"}}),
		Detail:     o.text("detail", false, textRule{max: 1024}),
		Validity:   o.text("validity", false, textRule{enum: []string{"active", "inactive", "unknown"}}),
		Exposure:   o.text("exposure", false, textRule{enum: []string{"public", "internal", "unknown"}}),
		DetectedAt: o.moment("detected_at", false),
		Evidence:   r.evidence(o),
		Upstream:   r.upstream(o.sub("upstream", true)),
	}
	if p := o.sub("person", false); p != nil {
		person := r.person(p)
		out.Person = &person
	}
	return out
}

func (r *reader) offboarding(o *object) *Offboarding {
	out := &Offboarding{
		Person: r.person(o.sub("person", true)),
		Change: o.text("change", true, textRule{enum: []string{"terminated", "deleted", "deactivated",
			"suspended", "membership_removed"}}),
		EffectiveAt: o.moment("effective_at", false),
		Severity:    o.text("severity", true, textRule{enum: severities()}),
		Reason:      o.text("reason", true, textRule{max: 256}),
		Detail:      o.text("detail", false, textRule{max: 1024}),
		InitiatedBy: o.text("initiated_by", false, textRule{enum: []string{"admin", "user", "policy", "system", "unknown"}}),
		Upstream:    r.upstream(o.sub("upstream", true)),
	}
	if s := o.sub("scope", false); s != nil {
		out.Scope = &Scope{
			Tenant:       s.text("tenant", false, textRule{}),
			Organization: s.text("organization", false, textRule{}),
			Team:         s.text("team", false, textRule{}),
			Application:  s.text("application", false, textRule{}),
		}
		s.done()
	}
	return out
}

func (r *reader) expiring(o *object) *Expiring {
	return &Expiring{
		Credential: r.credential(o.sub("credential", true)),
		ExpiresAt:  o.moment("expires_at", true),
		Severity:   o.text("severity", false, textRule{enum: severities()}),
		Detail:     o.text("detail", false, textRule{max: 1024}),
		Upstream:   r.upstream(o.sub("upstream", true)),
	}
}

func (r *reader) manual(o *object) *Manual {
	out := &Manual{
		Credential:  r.credential(o.sub("credential", true)),
		Reason:      o.text("reason", true, textRule{min: 1, max: 256}),
		Detail:      o.text("detail", false, textRule{max: 1024}),
		Severity:    o.text("severity", false, textRule{enum: severities()}),
		RequestedBy: r.person(o.sub("requested_by", true)),
		Ticket:      o.text("ticket", false, textRule{max: 256}),
	}
	if u := o.sub("upstream", false); u != nil {
		upstream := r.upstream(u)
		out.Upstream = &upstream
	}
	return out
}

func (r *reader) evidence(o *object) []Evidence {
	var out []Evidence
	for i, n := range o.list("evidence", false, 0, 32) {
		e := r.object(fmt.Sprintf("%s[%d]", o.at("evidence"), i), n)
		if e == nil {
			continue
		}
		out = append(out, Evidence{
			Kind:        e.text("kind", false, textRule{max: 64}),
			Repository:  e.text("repository", false, textRule{max: 512}),
			Path:        e.text("path", false, textRule{max: 1024}),
			Line:        e.integer("line", 0),
			Commit:      e.text("commit", false, textRule{max: 64}),
			URL:         e.text("url", false, textRule{max: 2048}),
			AuthorEmail: e.text("author_email", false, textRule{max: 320}),
		})
		e.done()
	}
	return out
}
