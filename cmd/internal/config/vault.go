package config

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Vault says where Vault is and who the rotator is there.
type Vault struct {
	Address        string
	Namespace      string
	CAFile         string
	Auth           Auth
	Owner          string // names this installation in the metadata of what it makes
	Anchor         Anchor
	FingerprintKey string // KV v2 "mount/path" of the key that fingerprints are made with
}

// Auth is one way to log in to Vault.
type Auth struct {
	Method       string // token, approle, kubernetes, jwt or cert
	Mount        string // of the auth method
	Role         string // kubernetes, jwt, cert
	TokenFile    string // token: re-read when it changes (Vault Agent sink)
	TokenEnv     string // token: variable, when there is no file
	RoleID       string // approle; not a secret
	RoleIDFile   string
	SecretIDFile string
	Wrapped      bool   // the file holds a response-wrapped secret-id
	JWTFile      string // kubernetes, jwt: re-read at every login
	CertFile     string // cert
	KeyFile      string
}

// Anchor describes the token that owns the leases of one generation.
type Anchor struct {
	Role    string        // token role to create it with
	TTL     time.Duration // until it is confirmed
	LiveTTL time.Duration // once confirmed; renewed at half of it
}

const kubernetesJWT = "/var/run/secrets/kubernetes.io/serviceaccount/token"

var authMethods = []string{"token", "approle", "kubernetes", "jwt", "cert"}

func (r *reader) vault(top *section) Vault {
	s := top.sub("vault")
	defer s.done()
	s.literal("name a file with vault.auth.token_file, or set VAULT_TOKEN", "token", "password", "secret_id")
	v := Vault{
		Address:   r.vaultAddress(s),
		Namespace: s.optional("namespace", r.env("VAULT_NAMESPACE")),
		CAFile:    cmp.Or(s.file("ca_file"), r.env("VAULT_CACERT")),
		Auth:      r.auth(s),
	}
	v.Owner = s.text("owner", "")
	a := s.sub("anchor")
	v.Anchor = Anchor{
		Role:    a.text("role", "rotator-anchor"),
		TTL:     a.duration("ttl", 15*time.Minute, time.Minute, 24*time.Hour),
		LiveTTL: a.duration("live_ttl", 720*time.Hour, time.Hour, 3650*24*time.Hour),
	}
	if at, ok := a.field("live_ttl"); ok && v.Anchor.LiveTTL <= v.Anchor.TTL {
		at.fail(fmt.Sprintf("is %s, not longer than ttl (%s)", v.Anchor.LiveTTL, v.Anchor.TTL), "a confirmed anchor must live longer than one that is not")
	}
	a.done()
	const key = "secret/rotator/fingerprint"
	v.FingerprintKey = key
	if at, ok := s.field("fingerprint_key"); ok {
		v.FingerprintKey = cmp.Or(at.secretPath(), key)
	}
	return v
}

func (r *reader) vaultAddress(s *section) string {
	at, ok := s.field("address")
	addr := r.env("VAULT_ADDR")
	if ok {
		addr = at.nonEmpty("")
	} else if addr == "" {
		s.lacks("address", "set vault.address, or VAULT_ADDR in the environment")
		return ""
	}
	u, err := url.Parse(addr)
	switch {
	case addr == "":
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		at.fail(fmt.Sprintf("%q is not an address", show(addr)), "write https://vault.example.com:8200")
	case u.User != nil:
		at.fail("the address holds a user or password; no secret belongs in this file", "use vault.auth")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		at.warn("secrets travel to Vault unencrypted", "use https")
	}
	return strings.TrimRight(addr, "/")
}

// auth reads vault.auth. The method may be left out where a file says it.
func (r *reader) auth(vault *section) Auth {
	s := vault.sub("auth")
	defer s.done()
	s.literal("put it into a file and name it with token_file", "token")
	s.literal("put it into a file and name it with secret_id_file", "secret_id", "secret")
	s.literal("put it into a file and name it with jwt_file", "jwt")
	s.literal("use one of the methods "+strings.Join(authMethods, ", "), "password", "username")
	a := Auth{
		Method:    s.text("method", ""),
		Mount:     strings.Trim(s.text("mount", ""), "/"),
		Role:      s.text("role", ""),
		TokenFile: s.secretFile("token_file"), TokenEnv: s.text("token_env", ""),
		RoleID: s.text("role_id", ""), RoleIDFile: s.file("role_id_file"),
		SecretIDFile: s.secretFile("secret_id_file"), Wrapped: s.flag("wrapped"),
		JWTFile:  s.file("jwt_file"),
		CertFile: s.file("cert_file"), KeyFile: s.secretFile("key_file"),
	}
	if a.Method == "" {
		a.Method = r.guessMethod(s)
	}
	s.authFields(a.Method)
	r.completeAuth(s, &a)
	return a
}

func (r *reader) guessMethod(s *section) string {
	for _, says := range [][2]string{{"token_file", "token"}, {"token_env", "token"}, {"secret_id_file", "approle"}, {"cert_file", "cert"}} {
		if _, ok := s.field(says[0]); ok {
			return says[1]
		}
	}
	if r.env("VAULT_TOKEN") != "" && s.node == nil {
		return "token"
	}
	s.lacks("method", "write one of "+strings.Join(authMethods, ", "))
	return ""
}

// authFields lists which fields belong to which method.
func (s *section) authFields(method string) {
	belongs := map[string][]string{
		"token":      {"token_file", "token_env"},
		"approle":    {"role_id", "role_id_file", "secret_id_file", "wrapped"},
		"kubernetes": {"role", "jwt_file"},
		"jwt":        {"role", "jwt_file"},
		"cert":       {"role", "cert_file", "key_file"},
	}
	mine, known := belongs[method]
	if !known {
		if at, ok := s.field("method"); ok {
			at.fail(fmt.Sprintf("unknown method %q", show(method)), didYouMean(method, authMethods))
		}
		return
	}
	for _, other := range authMethods {
		for _, field := range belongs[other] {
			if at, ok := s.field(field); ok && !slices.Contains(mine, field) {
				at.fail("does not belong to the method "+method, "remove it, or change the method; "+method+" takes "+strings.Join(mine, ", "))
			}
		}
	}
}

// completeAuth fills in defaults and reports what a method cannot work without.
func (r *reader) completeAuth(s *section, a *Auth) {
	if a.Method != "token" && a.Method != "" {
		a.Mount = cmp.Or(a.Mount, a.Method)
	}
	switch a.Method {
	case "token":
		if _, both := s.field("token_env"); both && a.TokenFile != "" {
			s.place("token_env").fail("token_file and token_env are both set", "keep one of them")
		}
		if _, ok := s.field("token_file"); !ok {
			a.TokenEnv = cmp.Or(a.TokenEnv, "VAULT_TOKEN")
			if r.machine.Env != nil && r.env(a.TokenEnv) == "" {
				s.place("token_file").warn(fmt.Sprintf("the variable %s is not set here", show(a.TokenEnv)), "set it, or name a file with token_file")
			}
		}
	case "approle":
		if a.RoleID == "" && a.RoleIDFile == "" {
			s.lacks("role_id_file", "set role_id or role_id_file")
		} else if a.RoleID != "" && a.RoleIDFile != "" {
			s.place("role_id").fail("role_id and role_id_file are both set", "keep one of them")
		}
		s.require("secret_id_file", "put the secret-id into a file and name it here")
	case "kubernetes":
		s.require("role", "name the role of the auth method")
		a.JWTFile = cmp.Or(a.JWTFile, kubernetesJWT)
	case "jwt":
		s.require("role", "name the role of the auth method")
		s.require("jwt_file", "put the token into a file and name it here")
	case "cert":
		s.require("cert_file", "name the client certificate")
		s.require("key_file", "name the key of the client certificate")
	}
}

// secretPath reads the "mount/path" of a KV v2 secret.
func (v value) secretPath() string {
	p := v.nonEmpty("")
	if p == "" {
		return ""
	}
	mount, rest, ok := strings.Cut(p, "/")
	inner, isAPI := strings.CutPrefix(rest, "data/")
	switch {
	case strings.HasPrefix(p, "v1/"):
		v.fail("the path starts with v1/", "write mount/path without it: "+show(strings.TrimPrefix(p, "v1/")))
	case !ok || mount == "" || strings.Trim(rest, "/") != rest || rest == "" || strings.Contains(p, "//"):
		v.fail(fmt.Sprintf("%q is not the path of a secret", show(p)), "write mount/path, for example secret/checkout")
	case isAPI:
		v.fail(fmt.Sprintf("%q is the path of the API", show(p)), fmt.Sprintf("write %q", show(mount+"/"+inner)))
	default:
		return p
	}
	return ""
}
