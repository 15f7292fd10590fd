package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
)

// Headers of a dead letter.
const (
	headerReason  = "Rotator-Reason"
	headerField   = "Rotator-Field"
	headerProblem = "Rotator-Problem"
	headerRemedy  = "Rotator-Remedy"
	headerSubject = "Rotator-Subject"
	headerSeq     = "Rotator-Stream-Seq"
	headerBody    = "Rotator-Body"
	kept          = "Rotator-Original-" // before the name of a header that would mean something to the server
)

// A refusal says why a message can never be taken. Its texts contain no bytes of the message.
type refusal struct {
	reason, field, problem, remedy string
	secret                         bool // the message carries a value in the clear
}

// Error gives the reason and the problem.
func (r refusal) Error() string { return r.reason + ": " + r.problem }

func refusalOf(err error) refusal {
	bad, ok := errors.AsType[*events.InvalidError](err)
	if !ok || len(bad.Problems) == 0 {
		return refusal{reason: "invalid", problem: "the message cannot be decoded"}
	}
	r := refusal{reason: string(bad.Reason())}
	for _, p := range bad.Problems {
		r.secret = r.secret || p.Reason == events.ReasonRawSecret
		if r.problem == "" && p.Reason == bad.Reason() {
			r.field, r.problem, r.remedy = p.Field, p.Text, p.Remedy
		}
	}
	if n := len(bad.Problems); n > 1 {
		r.problem += fmt.Sprintf(" (and %d more)", n-1)
	}
	return r
}

// bury stores the dead letter, and only then takes the message off. If the letter is not confirmed the message
// comes back and is buried then; its id keeps it from being stored twice.
func (in *intake) bury(ctx context.Context, m jetstream.Msg, meta Meta, from origin, r refusal, log zerolog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 2*confirmTime)
	defer cancel()
	log = log.With().Str("reason", r.reason).Logger()
	_, source, _ := from.native(published(m.Subject()))
	body := strip(source, m.Data())
	if _, found := events.RawSecret(body); found { // whatever else is wrong with it
		r.secret = true
	}
	err := in.store(ctx, letter(m, body, meta, from, r, in.js.Conn().MaxPayload()), from.letterID(meta.Seq))
	if err == nil && r.secret && from.ours() { // another stream is not ours to change; the letter says what to do
		err = in.erase(ctx, from.stream, meta.Seq)
	}
	if err != nil {
		log.Error().AnErr("cause", err).Msg("a refused event could not be moved to the dead letters; trying again")
		_ = m.NakWithDelay(backoff(meta.Deliveries)) // lost: then it comes back after the acknowledgement time
		return
	}
	if err := m.TermWithReason(token(r.reason)); err != nil {
		log.Warn().AnErr("cause", err).Msg("a refused event could not be taken off; it is refused again")
		return
	}
	log.Warn().Str("field", clean(r.field)).Str("problem", clean(r.problem)).Str("remedy", clean(r.remedy)).Msg("an event was refused; it is among the dead letters")
}

// store publishes a dead letter. Its id can be foreseen, and so used up by others who may publish there.
func (in *intake) store(ctx context.Context, l *nats.Msg, id string) error {
	ack, err := in.js.PublishMsg(ctx, l, jetstream.WithMsgID(id), jetstream.WithExpectStream(Dead))
	if err == nil && ack.Duplicate && !holds(ctx, in.js.Conn(), Dead, ack.Sequence, l) {
		_, err = in.js.PublishMsg(ctx, l, jetstream.WithMsgID(rand.Text()), jetstream.WithExpectStream(Dead))
	}
	return err
}

// erase overwrites the message in a stream of ours.
func (in *intake) erase(ctx context.Context, stream string, seq uint64) error {
	s, err := in.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("erasing a message with a secret in the clear: %w", err)
	}
	err = s.SecureDeleteMsg(ctx, seq)
	if err == nil || errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if _, gerr := s.GetMsg(ctx, seq); errors.Is(gerr, jetstream.ErrMsgNotFound) { // an earlier attempt had done it
		return nil
	}
	return fmt.Errorf("erasing a message with a secret in the clear (is delete denied on stream %s?): %w", stream, err)
}

// maxLetter bounds a dead letter, so that a flood of large ones does not push the others out: the largest event is 64 KiB, and its
// letter has headers of ours.
const maxLetter = 72 << 10

// letter keeps the bytes and headers of a message, unless it carries a secret or is too large. Headers that tell the server what to do
// would do so again; they are kept under another name.
func letter(m jetstream.Msg, body []byte, meta Meta, from origin, r refusal, maxPayload int64) *nats.Msg {
	out := &nats.Msg{Subject: deadPrefix + token(r.reason), Data: body, Header: nats.Header{}}
	for name, values := range m.Headers() {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "nats-") || strings.HasPrefix(lower, "rotator-") {
			name = kept + name
		}
		out.Header[name] = values
	}
	size := len(m.Data())
	if r.secret {
		out.Data, out.Header = nil, nats.Header{}
		out.Header.Set(headerBody, fmt.Sprintf("dropped: %d bytes with a secret in the clear", size))
	}
	r.stamp(out.Header, m, meta)
	if !r.secret && int64(out.Size()) > min(maxLetter, maxPayload) {
		out.Data, out.Header = nil, nats.Header{}
		out.Header.Set(headerBody, fmt.Sprintf("dropped: %d bytes are too large for a dead letter; see message %d of stream %s", size, meta.Seq, from.stream))
		r.stamp(out.Header, m, meta)
	}
	return out
}

func (r refusal) stamp(h nats.Header, m jetstream.Msg, meta Meta) {
	for name, text := range map[string]string{
		headerReason: r.reason, headerField: r.field, headerProblem: r.problem, headerRemedy: r.remedy,
		headerSubject: published(m.Subject()), headerSeq: strconv.FormatUint(meta.Seq, 10),
	} {
		if text = clean(text); text != "" {
			h.Set(name, text)
		}
	}
}

// clean makes a text fit for one header line.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 1000 {
		s = strings.ToValidUTF8(s[:1000], "") + " ..."
	}
	return strings.TrimSpace(s)
}

// token makes a reason or a name fit for one token of a subject.
func token(s string) string {
	t := strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && !strings.ContainsRune(".*>", r) {
			return r
		}
		return '_'
	}, s)
	if t == "" {
		return "_"
	}
	return t
}
