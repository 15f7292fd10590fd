package events

import "encoding/json"

// Credential selects a managed credential; it never holds the secret itself.
type Credential struct {
	Name         string        `json:"name,omitempty"`
	Vault        *VaultPath    `json:"vault,omitempty"`
	Action       string        `json:"action,omitempty"`
	PublicID     string        `json:"public_id,omitempty"`
	Fingerprints []Fingerprint `json:"fingerprints,omitempty"`
	SecretType   string        `json:"secret_type,omitempty"`
	Provider     string        `json:"provider,omitempty"`
}

// Fingerprint is a one-way hash of a leaked value; KeyID names the HMAC key.
type Fingerprint struct {
	Alg   string `json:"alg"`
	KeyID string `json:"key_id,omitempty"`
	Value string `json:"value"`
}

// VaultPath names a secret in Vault, down to the key and version when known.
type VaultPath struct {
	Addr      string `json:"addr,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Mount     string `json:"mount,omitempty"`
	Path      string `json:"path"`
	Key       string `json:"key,omitempty"`
	Version   int    `json:"version,omitempty"`
}

// Upstream says which system first reported the event, and under which id.
type Upstream struct {
	System     string `json:"system"`
	ID         string `json:"id,omitempty"`
	Type       string `json:"type,omitempty"`
	URL        string `json:"url,omitempty"`
	DeliveryID string `json:"delivery_id,omitempty"`
}

// Evidence is one place where the leak was seen.
type Evidence struct {
	Kind        string `json:"kind,omitempty"`
	Repository  string `json:"repository,omitempty"`
	Path        string `json:"path,omitempty"`
	Line        int    `json:"line,omitempty"`
	Commit      string `json:"commit,omitempty"`
	URL         string `json:"url,omitempty"`
	AuthorEmail string `json:"author_email,omitempty"`
}

// MarshalJSON keeps a credential without any selector valid on the wire: the
// schema asks for one member at least, and an empty name selects nothing.
func (c Credential) MarshalJSON() ([]byte, error) {
	type plain Credential
	if c.Name == "" && c.Vault == nil && c.Action == "" && c.PublicID == "" &&
		len(c.Fingerprints) == 0 && c.SecretType == "" && c.Provider == "" {
		return []byte(`{"name":""}`), nil
	}
	return json.Marshal(plain(c))
}
