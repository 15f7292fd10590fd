package events

import (
	"fmt"
	"strings"
	"time"
)

// The limits of a message; the CloudEvents text asks consumers to take 64 KiB.
const (
	maxBody = 64 << 10
	// maxAhead allows for clocks that differ.
	maxAhead = 10 * time.Minute
)

// Message is one NATS message as it was stored.
type Message struct {
	Subject string
	Header  map[string][]string
	Body    []byte
	// Now is the time against which a date in the future is judged; zero skips that check.
	Now time.Time
}

// Decode checks a message and returns its event, or an InvalidError with every problem found.
func Decode(m Message) (Event, error) {
	r := &reader{}
	publisher, kind, ok := splitSubject(m.Subject)
	if !ok {
		r.add(ReasonPublisherMismatch, "", "the NATS subject is not "+subjectRoot+".<publisher>.<kind>",
			"publish on the subject the operator gave you; a publisher is a-z, 0-9, - and _")
	}
	n, problem := m.envelope()
	if problem != nil {
		r.problems = append(r.problems, *problem)
		return Event{}, r.verdict(m.Body)
	}
	e := r.event(n, m.Now)
	e.Publisher = publisher
	if ok && e.Kind != "" && e.Kind != kind {
		r.add(ReasonPublisherMismatch, "type", fmt.Sprintf("does not fit a subject that ends in .%s", kind),
			"publish "+e.Kind.Type()+" on "+Subject(publisher, e.Kind))
	}
	if err := r.verdict(m.Body); err != nil {
		return Event{}, err
	}
	return e, nil
}

// DecodeFile checks a structured event that did not come over NATS; its Publisher is empty.
func DecodeFile(body []byte, now time.Time) (Event, error) {
	r := &reader{}
	n, problem := structured(body)
	if problem != nil {
		r.problems = append(r.problems, *problem)
		return Event{}, r.verdict(body)
	}
	e := r.event(n, now)
	if err := r.verdict(body); err != nil {
		return Event{}, err
	}
	return e, nil
}

func splitSubject(subject string) (publisher string, kind Kind, ok bool) {
	rest, found := strings.CutPrefix(subject, subjectRoot+".")
	publisher, last, two := strings.Cut(rest, ".")
	kind = Kind(last)
	if !found || !two || kind.Type() == "" || !publisherPattern.MatchString(publisher) {
		return "", "", false
	}
	return publisher, kind, true
}

// event reads the attributes and the data of an envelope.
func (r *reader) event(n node, now time.Time) Event {
	o := r.object("", n)
	if o == nil {
		return Event{}
	}
	if !r.attributesOfV1(o) {
		return Event{}
	}
	e := r.attributes(o)
	if !now.IsZero() && e.Time.After(now.Add(maxAhead)) {
		r.add(ReasonFuture, "time", "is more than 10 minutes in the future",
			"check the clock of the publisher; a date to come belongs in data")
	}
	data := o.sub("data", true)
	r.extensions(o, &e)
	switch {
	case data != nil && e.Kind != "":
		r.payload(&e, data)
	case data != nil:
		r.rawSecretInside("data", data.node)
	}
	return e
}
