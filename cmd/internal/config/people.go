package config

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// People says how persons are known in Vault. Without mounts they are found by holders only.
type People struct {
	ProbeRole string // token role under which Vault is asked what somebody could read; empty: it is not asked
	Mounts    []PeopleMount
	Disable   bool     // the entity of who leaves is disabled, and its tokens revoked
	Never     []string // globs of names whose login is never ended
	PerHour   int      // more logins ended within an hour need approval; 0: any number
}

// A PeopleMount is an auth mount through which people log in.
type PeopleMount struct {
	Path     string
	Issuer   string   // whose subjects the names here are: what else an issuer calls somebody does not count here
	Local    bool     // people are called by what stands before the @ of their address, whatever stands behind it
	Domains  []string // or only of addresses in these domains
	Login    string   // path that tells the policies of a login, with {name} or of a role
	Policies []string // that every login may get
}

// defaultLoginsPerHour bounds how many logins are ended without anybody looking.
const defaultLoginsPerHour = 20

func (r *reader) people(top *section) People {
	s := top.sub("people")
	defer s.done()
	p := People{ProbeRole: s.text("probe_role", ""), Disable: s.flag("disable"), PerHour: s.count("max_per_hour", defaultLoginsPerHour, 0, 1_000_000)}
	never, _ := s.field("never")
	for _, item := range never.items() {
		text := item.nonEmpty("")
		if _, err := path.Match(text, ""); err != nil {
			item.fail("is no pattern", `* stands for anything but /, ? for one character, [ab] for one of them`)
		}
		p.Never = append(p.Never, text)
	}
	v, ok := s.field("mounts")
	for _, item := range v.items() {
		p.Mounts = append(p.Mounts, item.peopleMount())
	}
	if _, there := top.field("people"); there && !ok {
		s.lacks("mounts", "name the auth mounts through which people log in: mounts: [oidc]")
	}
	if ok && p.ProbeRole == "" && !p.Disable {
		v.fail("mounts do nothing by themselves", "set probe_role, so that Vault is asked what somebody could read, or disable: true")
	}
	return p
}

func (v value) peopleMount() PeopleMount {
	m := PeopleMount{}
	if _, text := v.node.(*ast.StringNode); text {
		m.Path = v.nonEmpty("")
	} else {
		s := v.section()
		if at, ok := s.require("path", "write the path of the auth mount"); ok {
			m.Path = at.nonEmpty("")
		}
		m.Local, m.Domains = s.local()
		m.Issuer = s.text("issuer", "")
		if at, ok := s.field("issuer"); ok && m.Issuer != "" {
			if u, err := url.Parse(m.Issuer); err != nil || u.Scheme == "" {
				at.fail(fmt.Sprintf("%q is no issuer", show(m.Issuer)), "write what the tokens and events name in iss, exactly: https://example.okta.com")
			}
		}
		m.Login = strings.Trim(s.text("login", ""), "/")
		if at, ok := s.field("login"); ok && m.Login != "" && !strings.Contains(m.Login, "{name}") && (strings.Count(m.Login, "/") < 3 || strings.HasSuffix(m.Login, "/users")) {
			at.fail("tells the policies of nobody", `write {name} where the name of the person goes, "auth/userpass/users/{name}", or the path of a role, "auth/oidc/role/staff"`)
		}
		policies, _ := s.field("policies")
		for _, item := range policies.items() {
			m.Policies = append(m.Policies, item.nonEmpty(""))
		}
		s.done()
	}
	if m.Path = strings.Trim(strings.TrimPrefix(m.Path, "auth/"), "/"); m.Path == "token" {
		v.fail(fmt.Sprintf("people do not log in through %q", m.Path), "name the mount of their identity system, such as oidc")
	}
	return m
}

// local is true for every address, or the domains whose people are called by what stands before the @.
func (s *section) local() (every bool, domains []string) {
	v, ok := s.field("local")
	if !ok {
		return false, nil
	}
	if b, is := v.node.(*ast.BoolNode); is {
		if b.Value {
			v.warn("alice@evil.example is taken for alice, too", "name the domains of your people: local: example.com")
		}
		return b.Value, nil
	}
	list := []value{v}
	if _, many := v.node.(*ast.SequenceNode); many {
		list = v.items()
	}
	for _, item := range list {
		text := strings.TrimPrefix(item.nonEmpty(""), "@")
		if text != "" && (!strings.Contains(text, ".") || strings.ContainsAny(text, "@/* ")) {
			item.fail(fmt.Sprintf("%q is no domain", show(text)), "write what stands behind the @ of their addresses, example.com, or true for any")
		}
		domains = append(domains, text)
	}
	return false, domains
}
