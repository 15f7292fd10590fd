package events

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Event is one accepted event; exactly the payload named by Kind is not nil.
type Event struct {
	ID     string
	Source string
	Kind   Kind
	// Time is when the thing happened, as the publisher says.
	Time time.Time
	// Publisher comes from the NATS subject, never from the payload; it is
	// empty for an event read from a file.
	Publisher    string
	Subject      string
	DataSchema   string
	TraceParent  string
	RecordedTime time.Time

	Leak        *Leak
	Offboarding *Offboarding
	Expiring    *Expiring
	Manual      *Manual
}

// Key returns a stable token for (publisher, source, id), safe as a Nats-Msg-Id. The publisher belongs to it because it is all that
// NATS vouches for: nobody else can use up the key of its events.
func (e Event) Key() string {
	sum := sha256.Sum256([]byte(e.Publisher + "\n" + e.Source + "\n" + e.ID))
	return hex.EncodeToString(sum[:])
}

// Severity returns the severity the event states, or "medium" when it states none.
func (e Event) Severity() string {
	stated := ""
	switch {
	case e.Leak != nil:
		stated = e.Leak.Severity
	case e.Offboarding != nil:
		stated = e.Offboarding.Severity
	case e.Expiring != nil:
		stated = e.Expiring.Severity
	case e.Manual != nil:
		stated = e.Manual.Severity
	}
	return cmp.Or(stated, "medium")
}

// Leak says that a credential, or a person's login, is known to others.
type Leak struct {
	Credential Credential `json:"credential"`
	Severity   string     `json:"severity"`
	Reason     string     `json:"reason"`
	Detail     string     `json:"detail,omitempty"`
	Validity   string     `json:"validity,omitempty"`
	Exposure   string     `json:"exposure,omitempty"`
	DetectedAt time.Time  `json:"detected_at,omitzero"`
	Evidence   []Evidence `json:"evidence,omitempty"`
	Person     *Person    `json:"person,omitempty"`
	Upstream   Upstream   `json:"upstream"`
}

// Offboarding says that a person lost some or all access.
type Offboarding struct {
	Person      Person    `json:"person"`
	Change      string    `json:"change"`
	Scope       *Scope    `json:"scope,omitempty"`
	EffectiveAt time.Time `json:"effective_at,omitzero"`
	Severity    string    `json:"severity"`
	Reason      string    `json:"reason"`
	Detail      string    `json:"detail,omitempty"`
	InitiatedBy string    `json:"initiated_by,omitempty"`
	Upstream    Upstream  `json:"upstream"`
}

// Expiring says that a credential stops working at a known time.
type Expiring struct {
	Credential Credential `json:"credential"`
	ExpiresAt  time.Time  `json:"expires_at"`
	Severity   string     `json:"severity,omitempty"`
	Detail     string     `json:"detail,omitempty"`
	Upstream   Upstream   `json:"upstream"`
}

// Manual says that a person asks for a rotation.
type Manual struct {
	Credential  Credential `json:"credential"`
	Reason      string     `json:"reason"`
	Detail      string     `json:"detail,omitempty"`
	Severity    string     `json:"severity,omitempty"`
	RequestedBy Person     `json:"requested_by"`
	Ticket      string     `json:"ticket,omitempty"`
	Upstream    *Upstream  `json:"upstream,omitempty"`
}
