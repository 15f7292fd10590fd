package adapt

import (
	"encoding/json"
	"fmt"

	"github.com/openwhisk-rotator/rotator/events"
)

// partner reads what GitHub sends to a partner of its secret scanning: a list of values that were found in public.
func partner(b *builder, in Native) error {
	var list []json.RawMessage
	if err := decode(in.Body, &list); err != nil {
		return err
	}
	return each(b, list, func(m struct{ Token, Type, URL, Source string }) {
		b.found("https://github.com/secret-scanning", m.Token, events.Leak{Credential: events.Credential{SecretType: m.Type},
			Evidence: []events.Evidence{{Kind: or(m.Source, "unknown"), URL: m.URL}}, Upstream: events.Upstream{System: "github-partner"}}, m.Type, m.URL, fmt.Sprint(b.count))
	})
}

// revocation reads what GitLab asks to be revoked: values that were found in public projects.
func revocation(b *builder, in Native) error {
	var list []json.RawMessage
	if err := decode(in.Body, &list); err != nil {
		return err
	}
	return each(b, list, func(m struct{ Type, Token, Location string }) {
		b.found("urn:gitlab:token_revocation", m.Token, events.Leak{Credential: events.Credential{SecretType: m.Type},
			Evidence: []events.Evidence{{Kind: "file", URL: m.Location}}, Upstream: events.Upstream{System: "gitlab", Type: "revoke_tokens"}}, m.Type, m.Location)
	})
}

// found adds a value that its provider knows to be public.
func (b *builder) found(source, value string, l events.Leak, parts ...string) {
	l.Credential.Fingerprints = b.fingerprints(value)
	if len(l.Credential.Fingerprints) == 0 {
		b.ignore("it holds no value that could be looked for")
		return
	}
	l.Severity, l.Reason, l.Exposure = "critical", "provider_notice", "public"
	b.leak(source, b.in.Received, l, append(parts, prints(l.Credential.Fingerprints))...)
}

// report reads what a scanner has written, whichever it is.
func report(b *builder, in Native) error {
	got, err := Report("", b.in)
	b.result = got
	return err
}
