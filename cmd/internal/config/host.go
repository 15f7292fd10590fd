package config

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Host is one OpenWhisk API host with one namespace. Its key comes from AuthFile, AuthEnv or BearerFile;
// exactly one of them is set. [Host.Credential] reads it.
type Host struct {
	Name        string
	APIHost     string // with scheme, without trailing slash
	Namespace   string // "_" is the namespace of the key
	AuthFile    string // "uuid:key", or a .wskprops file
	AuthEnv     string // variable with "uuid:key"
	BearerFile  string // re-read when it changes
	Parallel    int    // requests at a time
	HidesValues bool   // GET does not return the values; unless the file says otherwise, so it is on Adobe's hosts
	CAFile      string
	Insecure    bool // do not check the host's certificate
	Timeout     time.Duration
}

// adobe are the domains of Adobe's API hosts: of I/O Runtime, its stage, and the deploy service of App Builder.
var adobe = []string{"adobeioruntime.net", "adobe.io"}

// HidesValues reports whether this API host is known to answer GET with something else than the values: what it showed, sent
// back, would become the value.
func HidesValues(apihost string) bool {
	u, ok := hostURL(apihost)
	if !ok {
		return false
	}
	name := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	return slices.ContainsFunc(adobe, func(domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) })
}

// defaultAPIHost is where a key of aio belongs when no host is named. No other key is ever sent there.
const defaultAPIHost = "https://adobeioruntime.net"

func (r *reader) readHosts(top *section) map[string]Host {
	out := make(map[string]Host)
	v, ok := top.require("openwhisk", "name at least one host: openwhisk: {prod: {apihost: ..., auth_file: ...}}")
	if !ok {
		return out
	}
	if !isMapping(v.node) {
		v.section()
		return out
	}
	named := v.section()
	ambient := r.ambient()
	var fromAmbient []value
	for _, name := range named.names() {
		at, _ := named.field(name)
		if !publisher.MatchString(name) {
			at.fail(fmt.Sprintf("%q is no name for a host", show(name)), "use letters, digits, _ and -, at most 64")
		}
		h, borrowed := r.host(name, at, ambient)
		if borrowed {
			fromAmbient = append(fromAmbient, at)
		}
		out[name] = h
	}
	for _, at := range fromAmbient[min(1, len(fromAmbient)):] {
		at.fail("more than one host would take its key from the environment", "name a key with auth_file for each host")
	}
	if len(out) == 0 {
		v.fail("names no host", "name at least one: prod: {apihost: ..., auth_file: ...}")
	}
	return out
}

// names are the keys of a mapping that the operator chooses, in the order of the file.
func (s *section) names() []string {
	out := make([]string, 0, len(s.fields))
	for name, e := range s.fields {
		if e.value.node == nil {
			at := value{r: s.r, path: join(s.path, name), pos: e.pos}
			if name != "" {
				at.fail("is empty", "fill it in or remove the line")
			}
		}
		out = append(out, name)
	}
	slices.SortFunc(out, func(a, b string) int {
		x, y := s.fields[a].pos, s.fields[b].pos
		return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column), cmp.Compare(a, b))
	})
	return out
}

// host reads one host; borrowed tells that its key comes from the surroundings.
func (r *reader) host(name string, v value, around ambient) (h Host, borrowed bool) {
	s := v.section()
	defer s.done()
	s.literal("put uuid:key into a file and name it with auth_file", "auth", "key", "api_key", "password")
	s.literal("put it into a file and name it with bearer_file", "token", "bearer")
	h = Host{
		Name:       name,
		Namespace:  s.text("namespace", ""),
		AuthFile:   s.secretFile("auth_file"),
		AuthEnv:    s.text("auth_env", ""),
		BearerFile: s.secretFile("bearer_file"),
		Parallel:   s.count("parallel", 16, 1, 64), HidesValues: s.flag("hides_values"),
		CAFile: s.file("ca_file"), Insecure: s.flag("insecure"),
		Timeout: s.duration("timeout", 30*time.Second, time.Second, 10*time.Minute),
	}
	if v.node == nil {
		return h, false // reported by names
	}
	if at, ok := s.field("apihost"); ok {
		h.APIHost = at.apihost()
	}
	borrowed = r.hostAuth(s, &h, around)
	if h.APIHost == "" {
		if _, ok := s.field("apihost"); !ok {
			s.lacks("apihost", "write apihost: https://...; "+ambientNames+" are understood too")
		}
	}
	if _, ok := s.field("hides_values"); !ok {
		h.HidesValues = HidesValues(h.APIHost)
	}
	h.Namespace = cmp.Or(h.Namespace, "_")
	if strings.Contains(h.Namespace, "/") {
		at, _ := s.field("namespace")
		at.fail(fmt.Sprintf("%q is not a namespace", show(h.Namespace)), "write its name without slashes, or _ for the namespace of the key")
	}
	if at, ok := s.field("insecure"); ok && h.Insecure {
		at.warn("the host's certificate is not checked", "name its CA with ca_file")
	}
	return h, borrowed
}

const ambientNames = "WHISK_APIHOST, AIO_runtime_apihost and ~/.wskprops"

// hostAuth settles where the key comes from, and takes over what else the surroundings say.
func (r *reader) hostAuth(s *section, h *Host, around ambient) (borrowed bool) {
	var set []string
	for _, key := range []string{"auth_file", "auth_env", "bearer_file"} {
		if _, ok := s.field(key); ok {
			set = append(set, key)
		}
	}
	if len(set) > 1 {
		at, _ := s.field(set[1])
		at.fail(strings.Join(set, " and ")+" are both set", "keep one of them")
	}
	if len(set) > 0 {
		h.APIHost = cmp.Or(h.APIHost, around.apihost)
		if at, ok := s.field("auth_env"); ok && r.machine.Env != nil && r.env(h.AuthEnv) == "" {
			at.warn(fmt.Sprintf("the variable %s is not set here", show(h.AuthEnv)), "set it, or name a file with auth_file")
		}
		return false
	}
	switch {
	case around.authEnv == "" && around.authFile == "":
		h.APIHost = cmp.Or(h.APIHost, around.apihost)
		s.lacks("auth_file", "name a file that holds uuid:key (or bearer_file for a bearer token); WHISK_AUTH, AIO_runtime_auth and ~/.wskprops are understood too")
	case h.APIHost != "" && around.apihost != "" && !sameHost(h.APIHost, around.apihost):
		s.place("auth_file").fail(fmt.Sprintf("is missing, and the key in %s belongs to another host", around.source), "name a file that holds uuid:key")
	default:
		h.AuthEnv, h.AuthFile = around.authEnv, around.authFile
		h.APIHost = cmp.Or(h.APIHost, around.apihost)
		if strings.HasPrefix(h.AuthEnv, "AIO_") {
			h.APIHost = cmp.Or(h.APIHost, defaultAPIHost)
		}
		h.Namespace = cmp.Or(h.Namespace, around.namespace)
		return true
	}
	return false
}

func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimRight(a, "/"), strings.TrimRight(b, "/"))
}

// apihost completes a host name to a URL; https where no scheme is given.
func (v value) apihost() string {
	got := v.nonEmpty("")
	if got == "" {
		return ""
	}
	u, ok := hostURL(got)
	switch {
	case !ok:
		v.fail(fmt.Sprintf("%q is not an API host", show(got)), "write https://adobeioruntime.net, or the address of your OpenWhisk")
		return ""
	case u.User != nil:
		v.fail("the address holds a key; no secret belongs in this file", "put uuid:key into a file and name it with auth_file")
		return ""
	case strings.HasPrefix(u.Path, "/api"):
		v.fail("the address goes too deep", "write it without "+show(u.Path))
		return ""
	case u.Scheme == "http" && !loopback(u.Hostname()):
		v.warn("the key and all values travel to this host unencrypted", "use https")
	}
	return strings.TrimRight(u.String(), "/")
}

func hostURL(s string) (*url.URL, bool) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, false
	}
	return u, u.Scheme == "https" || u.Scheme == "http"
}
