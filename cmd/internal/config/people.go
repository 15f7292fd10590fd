package config

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// People says how persons are known in Vault. Without mounts they are found by holders only.
type People struct {
	ProbeRole string // token role under which Vault is asked what somebody could read; empty: it is not asked
	Mounts    []PeopleMount
	Disable   bool // the entity of who leaves is disabled, and its tokens revoked
}

// A PeopleMount is an auth mount through which people log in.
type PeopleMount struct {
	Path  string
	Local bool   // people are called by what stands before the @ of their address
	Login string // path with {name} that tells the policies of a login
}

func (r *reader) people(top *section) People {
	s := top.sub("people")
	defer s.done()
	p := People{ProbeRole: s.text("probe_role", ""), Disable: s.flag("disable")}
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
		m.Local = s.flag("local")
		m.Login = strings.Trim(s.text("login", ""), "/")
		if at, ok := s.field("login"); ok && !strings.Contains(m.Login, "{name}") {
			at.fail("does not say where the name of the person goes", `write it with {name}: "auth/userpass/users/{name}"`)
		}
		s.done()
	}
	if m.Path = strings.Trim(strings.TrimPrefix(m.Path, "auth/"), "/"); m.Path == "token" {
		v.fail(fmt.Sprintf("people do not log in through %q", m.Path), "name the mount of their identity system, such as oidc")
	}
	return m
}
