package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/events/adapt"
	"github.com/openwhisk-rotator/rotator/events/intake"
)

// Intake says where messages of detectors and identity systems come in, other than as events.
type Intake struct {
	Subjects     map[string]string // NATS subject -> source
	Listen       string            // empty: no listener
	CertFile     string
	KeyFile      string
	ClientCAFile string         // who may connect, by certificate
	Proxies      []netip.Prefix // whose X-Forwarded-For is believed
	Sources      []IntakeSource
}

// Enabled reports whether there is anything for the HTTP edge to do.
func (i Intake) Enabled() bool { return len(i.Sources) > 0 }

// An IntakeSource is one sender of webhooks.
type IntakeSource struct {
	Name, Kind       string
	SecretFile       string // one secret a line; all of them are accepted
	Origin           string
	ClientName       string
	Issuer, Audience string
	Algorithms       []string
	Email            string // of the service account that Google's Pub/Sub pushes as
	Keys             string // URL or file
	Poll             string
	Types            []string
	APITokenFile     string
}

// Secrets reads the secrets anew, so that a changed file is picked up.
func (s IntakeSource) Secrets() ([]string, error) { return lines(s.SecretFile) }

// APIToken reads the token for GitHub's API anew.
func (s IntakeSource) APIToken() (string, error) {
	all, err := lines(s.APITokenFile)
	if err != nil {
		return "", err
	}
	return all[0], nil
}

func lines(file string) (out []string, err error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s is empty", file)
	}
	return out, nil
}

func (r *reader) intake(top *section, e Events) Intake {
	s := top.sub("intake")
	defer s.done()
	var in Intake
	subjects := s.sub("subjects")
	for _, name := range subjects.names() {
		at, _ := subjects.field(name)
		if source := at.nonEmpty(""); at.mapped(name, source) {
			if in.Subjects == nil {
				in.Subjects = make(map[string]string)
			}
			in.Subjects[name] = source
		}
	}
	in.CertFile, in.KeyFile, in.ClientCAFile = s.file("cert_file"), s.secretFile("key_file"), s.file("client_ca_file")
	s.pair("cert_file", "key_file")
	sources := s.sub("sources")
	for _, name := range sources.names() {
		at, _ := sources.field(name)
		in.Sources = append(in.Sources, r.intakeSource(name, at, in.ClientCAFile != ""))
		at.unsigned(name, e)
	}
	in.Proxies = s.prefixes("proxies")
	def := ""
	if len(in.Sources) > 0 {
		def = "127.0.0.1:9181"
	}
	if v, ok := s.field("listen"); ok || def != "" {
		in.Listen = s.address("listen", "127.0.0.1:9181", false)
		r.exposed(v, in)
	}
	if v, ok := s.field("client_ca_file"); ok && in.CertFile == "" {
		v.fail("client_ca_file is set without cert_file", "clients present a certificate over TLS only: set cert_file and key_file")
	}
	return in
}

// unsigned reports a source whose events would be refused: they are published under its name, and whoever has keys listed has to sign.
func (v value) unsigned(name string, e Events) {
	keys, listed := e.Signers[name]
	switch {
	case !listed:
	case e.SignFile == "":
		v.fail(fmt.Sprintf("events.signers.%s is set, and what this source sends is published without a signature: every event of it would be a dead letter", show(name)),
			"set events.sign_file to a seed whose public key is in that list, or remove the signer")
	case len(keys.NKeys) == 0:
		v.fail(fmt.Sprintf("events.signers.%s holds a key set only, and events.sign_file signs with an nkey: every event of this source would be a dead letter", show(name)),
			"add the public key of events.sign_file to that list")
	}
}

// exposed looks at what a listener means.
func (r *reader) exposed(v value, in Intake) {
	if len(in.Sources) == 0 && in.Listen != "" {
		v.fail("there is a listener, but no source to listen to", "name one under intake.sources")
	}
	if host, _, err := net.SplitHostPort(in.Listen); err == nil && !loopback(host) && in.CertFile == "" {
		v.warn("the messages and their tokens arrive unencrypted", "set cert_file and key_file, or let a proxy end TLS on this machine")
	}
}

var subjectPattern = regexp.MustCompile(`^([A-Za-z0-9_$-]+|\*)(\.([A-Za-z0-9_-]+|\*))*(\.>)?$`)

// mapped checks one subject and its source.
func (v value) mapped(subject, source string) bool {
	switch {
	case source == "":
	case !subjectPattern.MatchString(subject):
		v.fail(fmt.Sprintf("%q is not a NATS subject to read from", show(subject)), `write tokens with dots between them, * for one, > at the end for the rest, in quotes: "security.github.>"`)
	case slices.Contains([]string{"rotator", "*", "$JS", "$SYS", "$KV"}, strings.Split(subject, ".")[0]):
		v.fail("this subject is the rotator's own, or the server's", "publish on rotator.events.v1.<publisher>.raw.<source> instead: it needs no mapping")
	case slices.Contains(adapt.Sources(), source):
		return true
	case slices.Contains(adapt.RawSources(), source), slices.Contains(adapt.Formats(), source):
		v.fail(fmt.Sprintf("messages of %s hold raw values, and NATS would store them", show(source)), "send them to intake.sources, or use rotator report")
	default:
		v.fail(fmt.Sprintf("unknown source %q", show(source)), didYouMean(source, adapt.Sources()))
	}
	return false
}

func (r *reader) intakeSource(name string, v value, certificates bool) IntakeSource {
	s := v.section()
	defer s.done()
	s.literal("put it into a file and name it with secret_file", "secret", "token", "password", "key")
	out := IntakeSource{
		Name: name, Kind: s.text("kind", name), SecretFile: s.secretFile("secret_file"), Origin: s.text("origin", ""), ClientName: s.text("client_name", ""),
		Issuer: s.text("issuer", ""), Audience: s.text("audience", ""), Email: s.text("email", ""), Poll: s.url("poll"), APITokenFile: s.secretFile("api_token_file"),
	}
	if !strings.EqualFold(name, strings.ToLower(name)) || !publisher.MatchString(name) || strings.ToLower(name) != name {
		v.fail(fmt.Sprintf("%q is no name for a source", show(name)), "it is the publisher of its events: lower-case letters, digits, - and _")
	}
	if at, ok := s.field("client_name"); ok && !certificates {
		at.fail("client_name is set, and no client certificate is asked for", "set intake.client_ca_file, with cert_file and key_file")
	}
	if at, ok := s.field("keys"); ok {
		if out.Keys = at.nonEmpty(""); strings.Contains(out.Keys, "://") {
			out.Keys = s.url("keys")
		} else if out.Keys != "" {
			out.Keys = s.file("keys")
		}
	}
	out.Algorithms, out.Types = s.words("algorithms"), s.words("types")
	for _, a := range out.Algorithms {
		if !slices.Contains([]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}, a) {
			at, _ := s.field("algorithms")
			at.fail(fmt.Sprintf("%q is no algorithm with a public key", show(a)), "write RS256, PS256, ES256 or EdDSA")
		}
	}
	if !slices.Contains(intake.Kinds(), out.Kind) {
		at := v
		if k, ok := s.field("kind"); ok {
			at = k
		}
		at.fail(fmt.Sprintf("unknown kind %q", show(out.Kind)), didYouMean(out.Kind, intake.Kinds()))
		return out
	}
	s.intakeNeeds(&out)
	return out
}

// intakeNeeds reports what the kind of source cannot do without.
func (s *section) intakeNeeds(out *IntakeSource) {
	need := intake.Needs(out.Kind)
	if out.Kind == "google" {
		need = s.pubsub(out, need)
	}
	switch {
	case !need.Secret || out.SecretFile != "":
	case out.ClientName == "":
		s.lacks("secret_file", "name the file with what proves its messages")
	case need.Signed:
		s.lacks("secret_file", "its messages are signed, and a client certificate does not stand for that: name the file with what proves them")
	}
	if out.Kind == "github-partner" && out.Keys == "" {
		out.Keys = "https://api.github.com/meta/public_keys/secret_scanning"
	}
	if need.Keys && out.Keys == "" {
		s.lacks("keys", "name the URL of its key set (jwks_uri), or a file")
	}
	if need.Issuer && out.Issuer == "" {
		s.lacks("issuer", "write the iss of its tokens, exactly")
	}
	if need.Issuer && out.Audience == "" {
		s.lacks("audience", "write the aud that its tokens have for you")
	}
	for key, kinds := range map[string][]string{"poll": {"ssf"}, "types": {"gitlab-revocation"}, "api_token_file": {"github"}, "issuer": {"ssf", "google"}, "audience": {"ssf", "google"},
		"algorithms": {"ssf", "google"}, "email": {"google"}} {
		if v, ok := s.field(key); ok && !slices.Contains(kinds, out.Kind) {
			v.fail("belongs to sources of kind "+strings.Join(kinds, " or "), "remove it")
		}
	}
	if out.Kind == "gitlab-revocation" && len(out.Types) == 0 {
		s.place("types").warn("is missing: GitLab asks which types it may send, is told none, and sends nothing", "name them as GitLab does: gitleaks_rule_id_...")
	}
}

const googleIssuer = "https://accounts.google.com"

// pubsub completes a source that Google's Pub/Sub pushes to: an audience says that it does.
func (s *section) pubsub(out *IntakeSource, need intake.Need) intake.Need {
	if out.Audience == "" {
		for _, key := range []string{"issuer", "keys", "email", "algorithms"} {
			if v, ok := s.field(key); ok {
				v.fail(key+" is set without audience", "set audience to that of the push subscription, or remove this line")
			}
		}
		return need
	}
	need.Secret = false // a channel token beside it is possible
	if out.Issuer == "" {
		out.Issuer = googleIssuer
	}
	if out.Keys == "" {
		out.Keys = "https://www.googleapis.com/oauth2/v3/certs"
	}
	if out.Issuer == googleIssuer && out.Email == "" {
		s.lacks("email", "write the service account of the push subscription: Google signs a token with your audience for anybody")
	}
	return need
}

// prefixes is a list of networks, or of single addresses.
func (s *section) prefixes(key string) (out []netip.Prefix) {
	v, _ := s.field(key)
	for _, item := range v.items() {
		text := item.nonEmpty("")
		p, err := netip.ParsePrefix(text)
		if at, aerr := netip.ParseAddr(text); aerr == nil {
			p, err = netip.PrefixFrom(at, at.BitLen()), nil
		}
		if err != nil && text != "" {
			item.fail(fmt.Sprintf("%q is no network", show(text)), "write 10.0.0.0/8, or one address")
			continue
		}
		out = append(out, p)
	}
	return out
}

// words is a list of texts.
func (s *section) words(key string) (out []string) {
	v, _ := s.field(key)
	for _, item := range v.items() {
		if text := item.nonEmpty(""); text != "" {
			out = append(out, text)
		}
	}
	return out
}

// url is an absolute address without user info.
func (s *section) url(key string) string {
	v, ok := s.field(key)
	if !ok {
		return ""
	}
	text := v.nonEmpty("")
	u, err := url.Parse(text)
	switch {
	case text == "":
		return ""
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		v.fail(fmt.Sprintf("%q is not an address", show(text)), "write https://host/path")
		return ""
	case u.User != nil:
		v.fail("the address holds a user or a token; no secret belongs in this file", "use secret_file")
		return ""
	case u.Scheme == "http" && !loopback(u.Hostname()):
		v.warn("what comes from there can be changed on the way", "use https")
	}
	return text
}
