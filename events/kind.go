package events

// Kind says what happened, and so which of the payloads of an Event is set.
type Kind string

// The kinds of event, which are also the last token of the NATS subject.
const (
	KindLeak        Kind = "leak"
	KindOffboarding Kind = "offboarding"
	KindExpiring    Kind = "expiring"
	KindManual      Kind = "manual"
)

const subjectRoot = "rotator.events.v1"

// Type returns the CloudEvents type of the kind, or "" for an unknown kind.
func (k Kind) Type() string {
	name := k.schemaName()
	if name == "" {
		return ""
	}
	return "rotator." + name + ".v1"
}

func (k Kind) schemaName() string {
	switch k {
	case KindLeak:
		return "credential.leaked"
	case KindOffboarding:
		return "principal.offboarded"
	case KindExpiring:
		return "credential.expiring"
	case KindManual:
		return "rotation.requested"
	}
	return ""
}

// dataSchema is the only dataschema an event of this kind may carry.
func (k Kind) dataSchema() string {
	return "urn:rotator:schema:" + k.schemaName() + ":v1"
}

func kinds() []Kind {
	return []Kind{KindLeak, KindOffboarding, KindExpiring, KindManual}
}

func kindOfType(ceType string) (Kind, bool) {
	for _, k := range kinds() {
		if k.Type() == ceType {
			return k, true
		}
	}
	return "", false
}

// Subject returns the NATS subject on which a publisher sends events of a kind.
func Subject(publisher string, k Kind) string {
	return subjectRoot + "." + publisher + "." + string(k)
}
