package events

import "fmt"

// The readers below take a nil object when the member was absent; that is
// reported already.

func (r *reader) credential(o *object) Credential {
	if o == nil {
		return Credential{}
	}
	if len(o.node.members) == 0 {
		r.add(ReasonMissingField, o.path, "must name the credential in some way",
			"set vault, fingerprints, name, public_id or action")
	}
	out := Credential{
		Name:         o.text("name", false, textRule{max: 256}),
		Vault:        r.vault(o.sub("vault", false)),
		Action:       o.text("action", false, textRule{pattern: actionPattern, looks: "/namespace/action or /namespace/package/action"}),
		PublicID:     o.text("public_id", false, textRule{max: 512}),
		Fingerprints: r.fingerprints(o),
		SecretType:   o.text("secret_type", false, textRule{max: 128}),
		Provider:     o.text("provider", false, textRule{max: 64}),
	}
	o.done()
	return out
}

func (r *reader) vault(o *object) *VaultPath {
	if o == nil {
		return nil
	}
	out := &VaultPath{
		Addr:      o.text("addr", false, textRule{}),
		Namespace: o.text("namespace", false, textRule{}),
		Mount:     o.text("mount", false, textRule{}),
		Path:      o.text("path", true, textRule{min: 1}),
		Key:       o.text("key", false, textRule{}),
		Version:   o.integer("version", 1),
	}
	o.done()
	return out
}

func (r *reader) fingerprints(c *object) []Fingerprint {
	var out []Fingerprint
	for i, n := range c.list("fingerprints", false, 1, 8) {
		o := r.object(fmt.Sprintf("%s[%d]", c.at("fingerprints"), i), n)
		if o == nil {
			continue
		}
		alg := o.text("alg", true, textRule{enum: []string{"hmac-sha256", "sha256", "sha1", "gg-hmsl", "sha256-spki"}})
		out = append(out, Fingerprint{
			Alg:   alg,
			KeyID: o.text("key_id", alg == "hmac-sha256", textRule{min: 1, max: 64}),
			Value: o.text("value", true, textRule{pattern: fingerprintPattern, looks: "40 to 64 lower-case hex digits"}),
		})
		o.done()
	}
	return out
}

func (r *reader) person(o *object) Person {
	if o == nil {
		return Person{}
	}
	var out Person
	for i, n := range o.list("identifiers", true, 1, 16) {
		if id := r.object(fmt.Sprintf("%s[%d]", o.at("identifiers"), i), n); id != nil {
			out.Identifiers = append(out.Identifiers, r.identifier(id))
		}
	}
	o.done()
	return out
}

func (r *reader) identifier(o *object) Identifier {
	out := Identifier{Format: o.text("format", true, textRule{enum: identifierFormats()})}
	if out.Format == "" {
		return out
	}
	for _, f := range identifierFields(out.Format) {
		*f.place(&out) = o.text(f.name, f.required, f.rule)
	}
	o.done()
	return out
}

func (r *reader) upstream(o *object) Upstream {
	if o == nil {
		return Upstream{}
	}
	out := Upstream{
		System:     o.text("system", true, textRule{pattern: systemPattern, looks: "a short lower-case name, like github"}),
		ID:         o.text("id", false, textRule{max: 512}),
		Type:       o.text("type", false, textRule{max: 256}),
		URL:        o.text("url", false, textRule{max: 2048, check: absoluteURL, looks: "an absolute URL, like https://example.org/alerts/1"}),
		DeliveryID: o.text("delivery_id", false, textRule{max: 256}),
	}
	o.done()
	return out
}
