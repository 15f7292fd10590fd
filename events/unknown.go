package events

import (
	"fmt"
	"slices"
	"strings"
)

// rawSecretNames are members under which scanners send the secret itself.
func rawSecretNames() []string {
	return []string{
		"token", "token_raw", "secret", "secrets", "raw", "rawv2", "raw_v2", "password", "passwd", "passphrase",
		"value", "secret_value", "secretvalue", "secretparts", "secret_parts", "private_key", "privatekey",
		"client_secret", "api_key", "apikey", "access_token", "match", "matches", "plaintext", "credential_value",
		"raw_source_code_extract",
	}
}

func isRawName(name string) bool {
	return slices.Contains(rawSecretNames(), strings.ToLower(name))
}

const rawSecretRemedy = "never put a secret on NATS: send credential.fingerprints, or hand the report " +
	"to the HTTP edge, which makes the fingerprint; then rotate this secret, the stream has seen it"

// done reports the members nobody asked for. It never repeats their names: a
// name is payload too.
func (o *object) done() { o.doneListing(o.known) }

// doneListing is done with another list of names for the remedy.
func (o *object) doneListing(allowed []string) {
	unknown := 0
	for _, m := range o.node.members {
		if slices.Contains(o.known, m.name) {
			continue
		}
		if o.r.rawSecret(o.path, m) {
			continue
		}
		unknown++
	}
	if unknown == 0 {
		return
	}
	o.r.add(ReasonUnknownField, o.path, fmt.Sprintf("has %d member(s) this version does not know", unknown),
		"names are exact and case-sensitive; allowed here: "+strings.Join(allowed, ", "))
}

// rawSecret reports a member that carries a secret, itself or somewhere inside.
func (r *reader) rawSecret(path string, m member) bool {
	lower := strings.ToLower(m.name)
	if at := slices.Index(rawSecretNames(), lower); at >= 0 {
		field := (&object{path: path}).at(rawSecretNames()[at])
		r.add(ReasonRawSecret, field, "looks like a raw secret and is not accepted", rawSecretRemedy)
		return true
	}
	if lower == "fingerprints" {
		return r.rawSecretInside(path, m.value, "value") // the one place where it is right
	}
	return r.rawSecretInside(path, m.value)
}

func (r *reader) rawSecretInside(path string, n node, fine ...string) bool {
	found := false
	for _, m := range n.members {
		if !slices.Contains(fine, m.name) {
			found = r.rawSecret(path, m) || found
		}
	}
	for _, item := range n.items {
		found = r.rawSecretInside(path, item, fine...) || found
	}
	return found
}
