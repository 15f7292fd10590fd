package adapt

import (
	"encoding/json"
	"fmt"

	"github.com/openwhisk-rotator/rotator/events"
)

// partner reads what GitHub sends to a partner of its secret scanning: a list of values that were found in public.
func partner(b *builder, in Native) error {
	var all []json.RawMessage
	if err := decode(in.Body, &all); err != nil {
		return err
	}
	each(b, "", all, func(m struct {
		Token             string
		Type, URL, Source loose[string]
	}) {
		b.found("https://github.com/secret-scanning", m.Token, events.Leak{Credential: events.Credential{SecretType: m.Type.v},
			Evidence: []events.Evidence{{Kind: or(m.Source.v, "unknown"), URL: m.URL.v}}, Upstream: events.Upstream{System: "github-partner"}}, m.Type.v, m.URL.v, fmt.Sprint(b.count))
	})
	nothing(b)
	return nil
}

// revocation reads what GitLab asks to be revoked: values that were found in public projects.
func revocation(b *builder, in Native) error {
	var all []json.RawMessage
	if err := decode(in.Body, &all); err != nil {
		return err
	}
	each(b, "", all, func(m struct {
		Token          string
		Type, Location loose[string]
	}) {
		b.found("urn:gitlab:token_revocation", m.Token, events.Leak{Credential: events.Credential{SecretType: m.Type.v},
			Evidence: []events.Evidence{{Kind: "file", URL: m.Location.v}}, Upstream: events.Upstream{System: "gitlab", Type: "revoke_tokens"}}, m.Type.v, m.Location.v)
	})
	nothing(b)
	return nil
}

// found adds a value that its provider knows to be public.
func (b *builder) found(source, value string, l events.Leak, parts ...string) {
	l.Credential.Fingerprints = b.fingerprints(value)
	if len(l.Credential.Fingerprints) == 0 {
		b.unread("token", "holds no value that could be looked for")
		return
	}
	l.Severity, l.Reason, l.Exposure = "critical", "provider_notice", "public"
	b.leak(source, b.in.Received, l, append(parts, prints(l.Credential.Fingerprints))...)
}

// report reads what a scanner has written, whichever it is.
func report(b *builder, in Native) error {
	got, err := Report("", b.in)
	if err != nil {
		return err
	}
	b.result = got
	nothing(b)
	return nil
}

// nothing says so when there was nothing to read.
func nothing(b *builder) {
	if r := b.result; len(r.Events)+len(r.Ignored)+len(r.Unread) == 0 {
		b.ignore("it holds no findings")
	}
}
