package intake

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/adapt"
)

// taken is what the sender is told.
type taken struct {
	Events  []string `json:"events"`            // ids of what was published
	Ignored []string `json:"ignored,omitempty"` // why nothing was
	Seen    bool     `json:"seen_before,omitempty"`
	Kept    bool     `json:"kept,omitempty"` // authentic, and not understood: it is a dead letter
}

// serve answers one request, from the cheapest refusal to the dearest.
func (in *Intake) serve(w http.ResponseWriter, r *http.Request) {
	now := in.Now()
	s, ok := in.sources[r.PathValue("source")]
	if !ok {
		refuse(w, http.StatusNotFound, "no such source; the configuration names them under intake.sources")
		return
	}
	if in.failures.spent(r, now) {
		tooMany(w)
		return
	}
	select {
	case in.slots <- struct{}{}:
		defer func() { <-in.slots }()
	default:
		tooMany(w)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		refuse(w, http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB")
		return
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "the body breaks off")
		return
	}
	defer clear(body)
	if s.Kind == "entra" && r.Method == http.MethodPost && r.URL.Query().Has("validationToken") {
		echo(w, r.URL.Query().Get("validationToken"))
		return
	}
	if err := in.authentic(r, s, body, now); err != nil {
		in.forged(w, r, s, err, now)
		return
	}
	if !s.limit.AllowN(now, 1) {
		tooMany(w)
		return
	}
	in.authenticated(w, r, s, body, now)
}

func (in *Intake) authentic(r *http.Request, s *source, body []byte, now time.Time) error {
	if err := s.certified(r); err != nil {
		return err
	}
	if s.Kind == "ssf" && s.Secrets != nil { // an agreed Authorization, beside the signature of the token
		return authorization(r.Context(), s, r, body, now)
	}
	if s.check == nil {
		return nil
	}
	return s.check(r.Context(), s, r, body, now)
}

func (in *Intake) forged(w http.ResponseWriter, r *http.Request, s *source, err error, now time.Time) {
	if !errors.Is(err, errForged) && !errors.Is(err, errStale) {
		in.Log.Error().Err(err).Str("source", s.Name).Msg("a message cannot be checked now")
		again(w, "the message cannot be checked now")
		return
	}
	in.failures.failed(r, now)
	in.Log.Warn().Str("source", s.Name).Str("address", r.RemoteAddr).Str("reason", err.Error()).Msg("a message was refused")
	if s.Kind == "scim" {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	refuse(w, http.StatusUnauthorized, err.Error())
}

// authenticated goes by the kind of source.
func (in *Intake) authenticated(w http.ResponseWriter, r *http.Request, s *source, body []byte, now time.Time) {
	rest := r.PathValue("rest")
	switch {
	case s.Kind == "scim":
		in.scim(w, r, s, rest, body)
	case s.Kind == "gitlab-revocation" && r.Method == http.MethodGet && strings.HasSuffix(rest, "revocable_token_types"):
		answer(w, http.StatusOK, map[string][]string{"types": s.Types})
	case s.Kind == "gitlab-revocation" && rest != "" && !strings.HasSuffix(rest, "revoke_tokens"), s.Kind != "gitlab-revocation" && rest != "":
		refuse(w, http.StatusNotFound, "nothing is below this source")
	case s.Kind == "okta" && r.Method == http.MethodGet && r.Header.Get("X-Okta-Verification-Challenge") != "":
		answer(w, http.StatusOK, map[string]string{"verification": r.Header.Get("X-Okta-Verification-Challenge")})
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "messages are sent with POST")
	case s.Kind == "slack" && challenge(body) != "":
		echo(w, challenge(body))
	case s.Kind == "ssf":
		in.push(w, r, s, body, now)
	default:
		in.message(w, r, s, body)
	}
}

// message takes one message in its source's form.
func (in *Intake) message(w http.ResponseWriter, r *http.Request, s *source, body []byte) {
	native := adapt.Native{Header: r.Header, Body: unform(r, body), Received: in.Now().UTC(), Origin: s.Origin}
	replay := keyOf(s.Name, string(body))
	if s.static { // nobody without the token could send it again, and the same bytes may be news
		replay = ""
	}
	got, err := in.deliver(r.Context(), s, native, replay)
	switch {
	case err != nil:
		in.failed(w, s, err)
	case s.Kind == "gitlab-revocation":
		w.WriteHeader(http.StatusNoContent)
	case got.Kept:
		answer(w, http.StatusAccepted, got)
	default:
		answer(w, http.StatusOK, got)
	}
}

// errOurs says that it is not the sender's fault, and that the same message may be sent again.
var errOurs = errors.New("it could not be taken now")

// deliver publishes what a message says, everything before it returns. replay names the message among those that were taken before.
func (in *Intake) deliver(ctx context.Context, s *source, native adapt.Native, replay string) (taken, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTime)
	defer cancel()
	if again, err := in.before(ctx, s, replay, native.Received); err != nil || again {
		return taken{Events: []string{}, Seen: again}, err
	}
	if in.needsHash(s, native.Body) {
		hash, err := in.Hash(ctx)
		if err != nil {
			return taken{}, errors.Join(errOurs, err)
		}
		native.Hash = hash
	}
	got, err := read(s, native)
	if errors.Is(err, adapt.ErrForeign) {
		return in.bury(ctx, s, native, replay, err)
	}
	if err != nil {
		return taken{}, err
	}
	out := taken{Events: []string{}}
	for _, e := range got.Events {
		e.Publisher = s.Name
		in.complete(ctx, s, native, &e)
		if err := in.Publish(ctx, e); err != nil {
			return taken{}, errors.Join(errOurs, err)
		}
		in.Log.Info().Str("source", s.Name).Str("event", e.ID).Str("kind", string(e.Kind)).Msg("a message became an event")
		out.Events = append(out.Events, e.ID)
	}
	for _, one := range got.Ignored {
		out.Ignored = append(out.Ignored, one.Why)
		level := zerolog.InfoLevel
		if one.Alarm {
			level = zerolog.ErrorLevel
		}
		in.Log.WithLevel(level).Str("source", s.Name).Str("because", one.Why).Msg("a message rotates nothing")
	}
	if unread := got.Err(); unread != nil { // beside what could be read
		kept, err := in.bury(ctx, s, native, replay, unread)
		out.Kept = kept.Kept
		return out, err
	}
	in.remember(ctx, replay, native.Received)
	return out, nil
}

// needsHash reports whether there may be a raw value. Without one Vault, where the key is, may be away.
func (in *Intake) needsHash(s *source, body []byte) bool {
	if in.Hash == nil || s.Kind != "github" {
		return in.Hash != nil && s.hash
	}
	_, raw := events.RawSecret(body)
	return raw || s.FetchToken != nil
}

// read turns a message into events: of kind events it is one already.
func read(s *source, native adapt.Native) (adapt.Result, error) {
	if s.Kind == "events" {
		e, err := events.DecodeFile(native.Body, native.Received)
		return adapt.Result{Events: []events.Event{e}}, err
	}
	return adapt.Message(s.kind.message, native)
}

// before reports whether the same bytes were taken not long ago.
func (in *Intake) before(ctx context.Context, s *source, replay string, now time.Time) (bool, error) {
	if replay == "" {
		return false, nil
	}
	raw, err := in.Seen.Get(ctx, replay)
	if err != nil {
		return false, errors.Join(errOurs, err)
	}
	var at time.Time
	return raw != nil && at.UnmarshalText(raw) == nil && now.Sub(at) < s.replayTime(), nil
}

// remember keeps a delivery. If that fails the same bytes may be published again, which is harmless within a day.
func (in *Intake) remember(ctx context.Context, replay string, now time.Time) {
	if replay == "" {
		return
	}
	raw, err := now.MarshalText()
	if err == nil {
		err = in.Seen.Put(ctx, replay, raw)
	}
	if err != nil {
		in.Log.Warn().Err(err).Msg("a delivery could not be remembered")
	}
}

// bury keeps an authentic message that nobody understands.
func (in *Intake) bury(ctx context.Context, s *source, native adapt.Native, replay string, why error) (taken, error) {
	l := Letter{Source: s.Name, Why: why.Error(), Body: slices.Clone(native.Body), Size: len(native.Body)}
	if _, secret := events.RawSecret(l.Body); secret || s.hash {
		l.Body = nil
	}
	if err := in.Bury(ctx, l); err != nil {
		return taken{}, errors.Join(errOurs, err)
	}
	in.Log.Warn().Str("source", s.Name).Str("reason", l.Why).Msg("an authentic message was not understood; it is among the dead letters")
	in.remember(ctx, replay, native.Received)
	return taken{Events: []string{}, Kept: true}, nil
}

// failed tells the sender of an authentic message why it was not taken.
func (in *Intake) failed(w http.ResponseWriter, s *source, err error) {
	if errors.Is(err, errOurs) {
		in.Log.Error().Err(err).Str("source", s.Name).Msg("a message could not be taken now")
		again(w, "it could not be taken now")
		return
	}
	in.Log.Warn().Err(err).Str("source", s.Name).Msg("a message is malformed")
	refuse(w, http.StatusBadRequest, err.Error())
}

// unform is the JSON inside a form, as GitHub can be told to send it.
func unform(r *http.Request, body []byte) []byte {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/x-www-form-urlencoded" {
		return body
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !form.Has("payload") {
		return body
	}
	return []byte(form.Get("payload"))
}

// challenge of Slack's url_verification.
func challenge(body []byte) string {
	var m struct{ Type, Challenge string }
	if json.Unmarshal(body, &m) == nil && m.Type == "url_verification" {
		return m.Challenge
	}
	return ""
}

// echo answers a handshake with its own text.
func echo(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, text[:min(len(text), 4096)])
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, why string) {
	answer(w, status, map[string]string{"error": why})
}

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "2")
	refuse(w, http.StatusTooManyRequests, "too many requests")
}

func again(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "5")
	refuse(w, http.StatusServiceUnavailable, why)
}
