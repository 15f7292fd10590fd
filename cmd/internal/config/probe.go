package config

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator"
)

var probeKinds = []string{"postgres", "http", "exec", "action", "approle", "token"}

// probe reads exactly one way to test a credential.
func (r *reader) probe(v value) rotator.Probe {
	s := v.section()
	defer s.done()
	var p rotator.Probe
	var kinds []string
	for _, kind := range probeKinds {
		if at, ok := s.field(kind); ok {
			kinds = append(kinds, kind)
			r.probeKind(kind, at, &p)
		}
	}
	if isMapping(v.node) && len(kinds) == 0 {
		v.fail("says no way to test the credential", "write one of "+strings.Join(probeKinds, ", "))
	}
	if len(kinds) > 1 {
		at, _ := s.field(kinds[1])
		at.fail("a probe has one way, not "+strings.Join(kinds, " and "), "keep one of them")
	}
	p.Timeout = s.duration("timeout", rotator.DefaultProbeTimeout, 100*time.Millisecond, 5*time.Minute)
	if at, ok := s.field("env"); ok {
		if !slices.Contains(kinds, "exec") {
			at.fail("belongs to exec", "remove env")
		}
		p.Env = r.probeEnv(at)
	}
	return p
}

func (r *reader) probeKind(kind string, v value, p *rotator.Probe) {
	switch kind {
	case "postgres":
		p.Postgres, _ = v.template()
	case "http":
		p.HTTP = r.httpProbe(v)
	case "exec":
		p.Exec = r.execProbe(v)
	case "action":
		p.Action = v.hostAction()
	case "approle":
		s := v.section()
		s.literal("write role_id and secret_id as templates: {{ROLE_ID}}, {{SECRET_ID}}", "token")
		a := &rotator.AppRoleProbe{Mount: strings.Trim(s.text("mount", "approle"), "/")}
		if at, ok := s.require("role_id", `write a template: "{{ROLE_ID}}"`); ok {
			a.RoleID, _ = at.template()
		}
		if at, ok := s.require("secret_id", `write a template: "{{SECRET_ID}}"`); ok {
			a.SecretID = at.fromBundle()
		}
		s.done()
		p.AppRole = a
	case "token":
		p.Token = v.fromBundle()
	}
}

// fromBundle is a template of a secret: without a key in it, it would be a secret in clear.
func (v value) fromBundle() rotator.Template {
	t, ok := v.template()
	if ok && len(t.Keys()) == 0 {
		v.fail("is not a template; no secret belongs in this file", "name the key of the bundle that holds it: {{KEY}}")
	}
	return t
}

func (r *reader) httpProbe(v value) *rotator.HTTPProbe {
	h := &rotator.HTTPProbe{Method: http.MethodGet}
	if !isMapping(v.node) {
		h.URL = v.probeURL()
		v.fail("sends no credential", `write {url: ..., headers: {Authorization: "Bearer {{API_KEY}}"}}`)
		return h
	}
	s := v.section()
	defer s.done()
	h.Method = s.choice("method", http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut)
	if at, ok := s.require("url", "write the address that needs the credential"); ok {
		h.URL = at.probeURL()
	}
	headers, ok := s.require("headers", `say how the credential travels: headers: {Authorization: "Bearer {{API_KEY}}"}`)
	if !ok {
		return h
	}
	named := headers.section()
	h.Headers = make(map[string]rotator.Template)
	keys := 0
	for _, name := range named.names() {
		at, ok := named.field(name)
		if !headerName.MatchString(name) {
			at.fail(fmt.Sprintf("%q is no name for a header", show(name)), "use letters, digits and -")
		}
		if t, good := at.template(); ok && good {
			h.Headers[name] = t
			keys += len(t.Keys())
		}
	}
	if keys == 0 && len(h.Headers) == len(named.fields) && isMapping(headers.node) {
		headers.fail("no header names a key of the bundle, so the request proves nothing", `write {{KEY}} where the credential belongs`)
	}
	return h
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func (v value) probeURL() string {
	got := v.nonEmpty("")
	if got == "" {
		return ""
	}
	if strings.Contains(got, "{{") {
		v.fail("an address ends up in logs, so it must not hold a secret", "send the value in a header")
		return ""
	}
	u, ok := probeAddress(got)
	if !ok {
		v.fail(fmt.Sprintf("%q is not an address", show(got)), "write https://host/path")
		return ""
	}
	if u.User != nil {
		v.fail("the address holds a user or password; no secret belongs in this file", `send it in a header: {Authorization: "Basic {{BASIC|base64}}"}`)
		return ""
	}
	return got
}

func (r *reader) execProbe(v value) []rotator.Template {
	var out []rotator.Template
	for _, at := range v.items() {
		t, ok := at.template()
		if ok && len(t.Keys()) > 0 {
			at.fail("arguments can be seen by every process of the machine", "pass the value in env: {NAME: \"{{KEY}}\"}")
		}
		out = append(out, t)
	}
	if len(out) == 0 {
		v.fail("names no program", `write a list: ["/usr/local/bin/check", "--fast"]`)
	}
	return out
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (r *reader) probeEnv(v value) []rotator.EnvVar {
	s := v.section()
	var out []rotator.EnvVar
	for _, name := range s.names() {
		at, ok := s.field(name)
		if !envName.MatchString(name) {
			at.fail(fmt.Sprintf("%q is no name for a variable", show(name)), "use letters, digits and _")
		}
		if t, good := at.template(); ok && good {
			out = append(out, rotator.EnvVar{Name: name, Value: t})
		}
	}
	return out
}

// hostAction is "host:name" of an action; whether the host exists is checked when all hosts are known.
func (v value) hostAction() string {
	got := v.nonEmpty("")
	host, name, ok := strings.Cut(got, ":")
	if got == "" {
		return ""
	}
	if !ok || host == "" || name == "" {
		v.fail(fmt.Sprintf("%q is not host:action", show(got)), "write the name of a host, a colon, and the action: prod:shop/check")
		return ""
	}
	h, known := v.r.hosts[host]
	if !known {
		v.fail(fmt.Sprintf("unknown host %q", show(host)), didYouMean(host, slices.Collect(mapKeys(v.r.hosts))))
		return ""
	}
	clean, ok := v.entityName(rotator.Action, name, h)
	if !ok {
		return ""
	}
	return host + ":" + clean
}
