package events

import "encoding/json"

// Person is one human, known under one or more identifiers.
type Person struct {
	Identifiers []Identifier `json:"identifiers"`
}

// Identifier names a person in one of the RFC 9493 formats; Format says which fields are set.
type Identifier struct {
	Format      string
	Email       string
	Iss         string
	Sub         string
	URI         string
	ID          string
	ExternalID  string
	PhoneNumber string
	Company     string
}

// Scope says what an offboarded person lost when it was not everything.
type Scope struct {
	Tenant       string `json:"tenant,omitempty"`
	Organization string `json:"organization,omitempty"`
	Team         string `json:"team,omitempty"`
	Application  string `json:"application,omitempty"`
}

// identifierField ties a member name on the wire to its place in Identifier.
type identifierField struct {
	name     string
	required bool
	rule     textRule
	place    func(*Identifier) *string
}

// identifierFields lists what each format carries; nil means an unknown format.
func identifierFields(format string) []identifierField {
	id := func(i *Identifier) *string { return &i.ID }
	uri := func(i *Identifier) *string { return &i.URI }
	switch format {
	case "email":
		return []identifierField{{"email", true, textRule{max: 320}, func(i *Identifier) *string { return &i.Email }}}
	case "iss_sub":
		return []identifierField{
			{"iss", true, textRule{}, func(i *Identifier) *string { return &i.Iss }},
			{"sub", true, textRule{}, func(i *Identifier) *string { return &i.Sub }},
		}
	case "account":
		return []identifierField{{"uri", true, textRule{pattern: acctPattern, looks: `a URI that starts with "acct:"`}, uri}}
	case "opaque":
		return []identifierField{{"id", true, textRule{}, id}}
	case "phone_number":
		return []identifierField{{"phone_number", true, textRule{}, func(i *Identifier) *string { return &i.PhoneNumber }}}
	case "scim":
		return []identifierField{
			{"uri", true, textRule{}, uri},
			{"externalId", false, textRule{}, func(i *Identifier) *string { return &i.ExternalID }},
		}
	case "employee":
		return []identifierField{
			{"company", false, textRule{}, func(i *Identifier) *string { return &i.Company }},
			{"id", true, textRule{}, id},
		}
	}
	return nil
}

func identifierFormats() []string {
	return []string{"email", "iss_sub", "account", "opaque", "phone_number", "scim", "employee"}
}

// MarshalJSON writes only the members that belong to the format.
func (i Identifier) MarshalJSON() ([]byte, error) {
	out := map[string]string{"format": i.Format}
	for _, f := range identifierFields(i.Format) {
		if v := *f.place(&i); v != "" || f.required {
			out[f.name] = v
		}
	}
	return json.Marshal(out)
}
