package intake

import (
	"context"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A check proves that a message is authentic, over its raw bytes. It fails with errForged, or with another error when that cannot be
// found out now.
type check func(ctx context.Context, s *source, r *http.Request, body []byte, now time.Time) error

var (
	errForged = errors.New("not authentic")
	errStale  = errors.New("its time is too far from now")
)

// tolerance between the clock of a sender and ours, where the sender signs its time.
const tolerance = 5 * time.Minute

// anySecret reports whether one of the secrets proves a message. All of them are tried, so that time tells nothing.
func (s *source) anySecret(proves func(secret []byte) bool) error {
	if s.Secrets == nil {
		return errForged
	}
	secrets, err := s.Secrets()
	if err != nil {
		return err
	}
	ok := false
	for _, secret := range secrets {
		if secret != "" && proves([]byte(secret)) {
			ok = true
		}
	}
	if !ok {
		return errForged
	}
	return nil
}

// anyToken reports whether one of the secrets is among the texts that were sent. A key of Standard Webhooks never is: one half is public, and
// what signs does not travel.
func (s *source) anyToken(sent ...string) error {
	return s.anySecret(func(k []byte) bool {
		ok := false
		for _, text := range sent {
			ok = equal(text, k) || ok
		}
		return ok && !webhookKey(string(k))
	})
}

func mac(h func() hash.Hash, key []byte, parts ...[]byte) []byte {
	m := hmac.New(h, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// hexSigned compares a header "prefix<hex>" with a MAC.
func hexSigned(header, prefix string, sum []byte) bool {
	text, ok := strings.CutPrefix(header, prefix)
	got, err := hex.DecodeString(text)
	return ok && err == nil && hmac.Equal(got, sum)
}

func equal(a string, b []byte) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// near reports whether a time in seconds since 1970 is near now.
func near(text string, now time.Time) error {
	seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return errForged
	}
	if d := now.Sub(time.Unix(seconds, 0)); d > tolerance || d < -tolerance {
		return errStale
	}
	return nil
}

func hub256(_ context.Context, s *source, r *http.Request, body []byte, _ time.Time) error {
	return s.anySecret(func(k []byte) bool {
		return hexSigned(r.Header.Get("X-Hub-Signature-256"), "sha256=", mac(sha256.New, k, body))
	})
}

func gitguardianSigned(_ context.Context, s *source, r *http.Request, body []byte, now time.Time) error {
	at := r.Header.Get("Timestamp")
	err := s.anySecret(func(k []byte) bool {
		return hexSigned(r.Header.Get("Gitguardian-Signature"), "sha256=", mac(sha256.New, append([]byte(at), k...), body))
	})
	if err != nil {
		return err
	}
	return near(at, now)
}

func radarSigned(_ context.Context, s *source, r *http.Request, body []byte, now time.Time) error {
	err := s.anySecret(func(k []byte) bool {
		return hexSigned(r.Header.Get("X-HCP-Radar-Signature"), "sha512=", mac(sha512.New, k, body))
	})
	if at := r.Header.Get("X-HCP-Radar-Timestamp"); err == nil && at != "" { // the MAC does not cover it
		return near(at, now)
	}
	return err
}

func slackSigned(_ context.Context, s *source, r *http.Request, body []byte, now time.Time) error {
	at := r.Header.Get("X-Slack-Request-Timestamp")
	err := s.anySecret(func(k []byte) bool {
		return hexSigned(r.Header.Get("X-Slack-Signature"), "v0=", mac(sha256.New, k, []byte("v0:"+at+":"), body))
	})
	if err != nil {
		return err
	}
	return near(at, now)
}

// bambooSigned takes the MAC of the body followed by the time, or the other way round: the vendor's text leaves it open.
func bambooSigned(_ context.Context, s *source, r *http.Request, body []byte, now time.Time) error {
	at, sig := r.Header.Get("X-BambooHR-Timestamp"), strings.TrimPrefix(r.Header.Get("X-BambooHR-Signature"), "sha256=")
	err := s.anySecret(func(k []byte) bool {
		after, before := hexSigned(sig, "", mac(sha256.New, k, body, []byte(at))), hexSigned(sig, "", mac(sha256.New, k, []byte(at), body))
		return at != "" && (after || before)
	})
	if err != nil {
		return err
	}
	return near(at, now)
}

// authorization is a secret that travels in a header: bare, as a bearer token, as a password, or as an API key.
func authorization(_ context.Context, s *source, r *http.Request, _ []byte, _ time.Time) error {
	_, password, _ := r.BasicAuth()
	return s.anyToken(r.Header.Get("Authorization"), bearerOf(r), password, r.Header.Get("X-Api-Key"))
}

// bearerOf is the Authorization without the word Bearer.
func bearerOf(r *http.Request) string {
	given := r.Header.Get("Authorization")
	if scheme, rest, ok := strings.Cut(given, " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest)
	}
	return given
}

func gitlabToken(ctx context.Context, s *source, r *http.Request, body []byte, now time.Time) error {
	if r.Header.Get("Webhook-Signature") != "" {
		return standardWebhook(ctx, s, r, body, now)
	}
	return s.anyToken(r.Header.Get("X-Gitlab-Token"))
}

// googleToken is the token of a channel that reports are sent on, or that of a push of Pub/Sub, or an agreed one.
func googleToken(ctx context.Context, s *source, r *http.Request, body []byte, now time.Time) error {
	if token := r.Header.Get("X-Goog-Channel-Token"); token != "" {
		return s.anyToken(token)
	}
	if given := bearerOf(r); s.Audience != "" && strings.Count(given, ".") == 2 {
		return s.pushed(ctx, given, now)
	}
	return authorization(ctx, s, r, body, now)
}

// clientState is in every change that Graph notifies of; the audit log and workflows come with an Authorization.
func clientState(ctx context.Context, s *source, r *http.Request, body []byte, now time.Time) error {
	if r.Header.Get("Authorization") != "" || r.Header.Get("X-Api-Key") != "" {
		return authorization(ctx, s, r, body, now)
	}
	var m struct {
		Value []struct{ ClientState string }
	}
	if json.Unmarshal(body, &m) != nil || len(m.Value) == 0 {
		return errForged
	}
	return s.anySecret(func(k []byte) bool {
		all := !webhookKey(string(k))
		for _, v := range m.Value {
			all = equal(v.ClientState, k) && all
		}
		return all
	})
}

// partnerSigned checks GitHub's signature over what it sends to partners: ECDSA P-256 with SHA-256.
func partnerSigned(ctx context.Context, s *source, r *http.Request, body []byte, _ time.Time) error {
	sig, err := base64.StdEncoding.DecodeString(r.Header.Get("Github-Public-Key-Signature"))
	id := r.Header.Get("Github-Public-Key-Identifier")
	if err != nil || id == "" || len(sig) == 0 {
		return errForged
	}
	key, err := s.sets.githubKey(ctx, id)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if !ecdsa.VerifyASN1(key, sum[:], sig) {
		return errForged
	}
	return nil
}

// certified reports whether the client has presented the certificate that the source wants.
func (s *source) certified(r *http.Request) error {
	if s.ClientName == "" {
		return nil
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return errForged
	}
	leaf := r.TLS.VerifiedChains[0][0]
	if leaf.Subject.CommonName == s.ClientName || leaf.VerifyHostname(s.ClientName) == nil {
		return nil
	}
	return errForged
}
