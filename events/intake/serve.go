package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events/adapt"
)

// taken is what the sender is told.
type taken struct {
	Events  []string `json:"events"`            // ids of what was published
	Ignored []string `json:"ignored,omitempty"` // why nothing was
	Seen    bool     `json:"seen_before,omitempty"`
	Kept    bool     `json:"kept,omitempty"` // authentic, and not understood: it is a dead letter
	Why     string   `json:"why,omitempty"`  // it was not understood
}

// strange says that nothing of a message was understood.
func (t taken) strange() bool { return t.Kept && len(t.Events) == 0 }

// serve answers one request, from the cheapest refusal to the dearest.
func (in *Intake) serve(w http.ResponseWriter, r *http.Request) {
	now := in.Now()
	s, ok := in.sources[r.PathValue("source")]
	if !ok {
		refuse(w, http.StatusNotFound, "no such source; the configuration names them under intake.sources")
		return
	}
	in.hurry(w, r)
	if in.failures.spent(r, now) {
		in.count(s, throttled)
		tooMany(w)
		return
	}
	body, ok := in.body(w, r, s, now)
	if !ok {
		return
	}
	defer clear(body)
	if s.Kind == "entra" && r.Method == http.MethodPost && r.URL.Query().Has("validationToken") {
		echo(w, r.URL.Query().Get("validationToken"))
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		in.count(s, unavailable)
		again(w, "too many messages of this source are in hand")
		return
	}
	if err := in.authentic(r, s, body, now); err != nil {
		in.forged(w, r, s, err, now)
		return
	}
	if s.Kind != "ssf" && !in.allowed(w, s, now) { // of ssf the token proves who has sent it, and that is not known yet
		return
	}
	in.authenticated(w, r, s, body, now)
}

// allowed holds back a source that goes mad. Only what is authentic counts: a forger does not use up what is the source's.
func (in *Intake) allowed(w http.ResponseWriter, s *source, now time.Time) bool {
	if s.limit.AllowN(now, 1) {
		return true
	}
	in.count(s, throttled)
	tooMany(w)
	return false
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
		in.unchecked(w, s, err)
		return
	}
	in.count(s, refused)
	in.failures.failed(r, now)
	in.Log.Warn().Str("source", s.Name).Str("address", r.RemoteAddr).Str("reason", err.Error()).Msg("a message was refused")
	switch s.Kind {
	case "ssf": // the words of RFC 8935
		answer(w, http.StatusBadRequest, setAnswer{"authentication_failed", "the Authorization, or the client certificate, is not the agreed one"})
		return
	case "scim":
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	refuse(w, http.StatusUnauthorized, err.Error())
}

// unchecked tells the sender of what may be authentic to come back.
func (in *Intake) unchecked(w http.ResponseWriter, s *source, err error) {
	in.count(s, unavailable)
	if young, ok := errors.AsType[*newKeyError](err); ok {
		in.Log.Warn().Err(err).Str("source", s.Name).Msg("a message cannot be checked yet")
		later(w, young.after, "the key is not known yet")
		return
	}
	in.Log.Error().Err(err).Str("source", s.Name).Msg("a message cannot be checked now")
	again(w, "the message cannot be checked now")
}

// authenticated goes by the kind of source.
func (in *Intake) authenticated(w http.ResponseWriter, r *http.Request, s *source, body []byte, now time.Time) {
	rest := r.PathValue("rest")
	switch {
	case s.Kind == "scim":
		in.scim(w, r, s, rest, body)
	case s.Kind == "gitlab-revocation" && r.Method == http.MethodGet && strings.HasSuffix(rest, "revocable_token_types"):
		answer(w, http.StatusOK, map[string][]string{"types": append([]string{}, s.Types...)})
	case s.Kind == "gitlab-revocation" && rest != "" && !strings.HasSuffix(rest, "revoke_tokens"), s.Kind != "gitlab-revocation" && rest != "":
		refuse(w, http.StatusNotFound, "nothing is below this source")
	case s.Kind == "okta" && r.Method == http.MethodGet && r.Header.Get("X-Okta-Verification-Challenge") != "":
		answer(w, http.StatusOK, map[string]string{"verification": r.Header.Get("X-Okta-Verification-Challenge")})
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "messages are sent with POST")
	case s.Kind == "google" && len(body) == 0 && r.Header.Get("X-Goog-Resource-State") == "sync":
		answer(w, http.StatusOK, taken{Events: []string{}, Ignored: []string{"a channel was opened"}})
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
	unsupported := 0
	if s.Kind == "gitlab-revocation" {
		native.Body, unsupported = s.supported(native.Body)
		defer clear(native.Body)
	}
	replay := keyOf(s.Name, string(body))
	if s.static { // nobody without the token could send it again, and the same bytes may be news
		replay = ""
	}
	got, err := in.deliver(r.Context(), s, native, replay)
	switch {
	case err != nil:
		in.failed(w, s, err)
	case s.strict && got.strange():
		refuse(w, http.StatusBadRequest, got.Why)
	case unsupported > 0: // GitLab does not send it again
		in.Log.Warn().Str("source", s.Name).Int("values", unsupported).Msg("values of a type that is not among the types of this source were not taken")
		in.count(s, refused)
		refuse(w, http.StatusBadRequest, fmt.Sprintf("field type is none of %s, %d times", strings.Join(s.Types, ", "), unsupported))
	case s.Kind == "gitlab-revocation":
		w.WriteHeader(http.StatusNoContent)
	case got.Kept:
		answer(w, http.StatusAccepted, got)
	default:
		answer(w, http.StatusOK, got)
	}
}

// failed tells the sender of an authentic message why it was not taken.
func (in *Intake) failed(w http.ResponseWriter, s *source, err error) {
	if errors.Is(err, errOurs) {
		in.count(s, unavailable)
		in.Log.Error().Err(err).Str("source", s.Name).Msg("a message could not be taken now")
		again(w, "it could not be taken now")
		return
	}
	in.count(s, refused)
	in.Log.Warn().Err(err).Str("source", s.Name).Msg("a message is malformed")
	refuse(w, http.StatusBadRequest, err.Error())
}

// supported leaves out what GitLab asks to be revoked although it is of none of the types that it was told.
func (s *source) supported(body []byte) (rest []byte, unsupported int) {
	var all []json.RawMessage
	if len(s.Types) == 0 || json.Unmarshal(body, &all) != nil {
		return body, 0
	}
	ours := slices.DeleteFunc(slices.Clone(all), func(one json.RawMessage) bool {
		var m struct{ Type string }
		return json.Unmarshal(one, &m) == nil && !slices.Contains(s.Types, m.Type)
	})
	rest, err := json.Marshal(ours)
	if err != nil || len(ours) == len(all) {
		return body, 0
	}
	return rest, len(all) - len(ours)
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

func again(w http.ResponseWriter, why string) { later(w, 5*time.Second, why) }

func later(w http.ResponseWriter, after time.Duration, why string) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	refuse(w, http.StatusServiceUnavailable, why)
}
