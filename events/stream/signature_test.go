package stream

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
)

func seedFile(t *testing.T) (file, public string) {
	t.Helper()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := key.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = key.PublicKey(); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "seed.nk")
	if err := os.WriteFile(file, append(seed, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, public
}

// TestSignedEvents: of a publisher that has to sign, nothing but its own events, unchanged, on their own subject, are taken.
func TestSignedEvents(t *testing.T) {
	b := newBench(t)
	ours, public := seedFile(t)
	theirs, foreign := seedFile(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	set := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(set, jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got heard
	done := make(chan error, 1)
	go func() {
		done <- Subscriber{Conn: b.nc, Workers: 1, Signers: Signers{"gh": {NKeys: []string{public}}, "idp": {JWKS: set}}, Log: zerolog.New(b.log)}.Run(ctx, got.take)
	}()
	subject := "rotator.events.v1.gh.leak"
	body, err := events.Encode(leak("1"))
	if err != nil {
		t.Fatal(err)
	}
	sign := func(file, subject string, body []byte) string {
		t.Helper()
		sig, err := NewPublisher(b.nc).SignWith(file).sign(subject, body)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	detached := func(alg jose.SignatureAlgorithm, key any, signed []byte) string {
		t.Helper()
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		token, err := s.Sign(signed)
		if err != nil {
			t.Fatal(err)
		}
		out, err := token.DetachedCompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	mine := sign(ours, subject, body)
	idp := strings.Replace(subject, ".gh.", ".idp.", 1)
	for i, c := range []struct{ name, subject, sig, body, reason string }{
		{"unsigned", subject, "", string(body), "unsigned"},
		{"one byte changed", subject, mine, strings.Replace(string(body), `"id":"1"`, `"id":"2"`, 1), "bad-signature"},
		{"another subject", "rotator.events.v1.gh.raw.github", mine, string(body), "bad-signature"},
		{"another key", subject, sign(theirs, subject, body), string(body), "bad-signature"},
		{"another key that says it is ours", subject, strings.Replace(sign(theirs, subject, body), foreign, public, 1), string(body), "bad-signature"},
		{"nonsense", subject, public + "," + base64.RawURLEncoding.EncodeToString([]byte("x")), string(body), "bad-signature"},
		{"no base64", subject, public + ",!", string(body), "bad-signature"},
		{"a JWS where none is known", subject, detached(jose.RS256, key, Signed(subject, body)), string(body), "bad-signature"},
		{"a shared secret", idp, detached(jose.HS256, []byte(strings.Repeat("k", 32)), Signed(idp, body)), string(body), "bad-signature"},
		{"a JWS of another event", idp, detached(jose.RS256, key, Signed(subject, body)), string(body), "bad-signature"},
		{"an nkey where a JWS is wanted", idp, mine, string(body), "bad-signature"},
		{"a secret, unsigned", subject, "", `{"token":"` + canary + `"}`, "unsigned"},
	} {
		h := nats.Header{}
		if c.sig != "" {
			h.Set("rotator-signature", c.sig)
		}
		b.raw(c.subject, c.body, h)
		if d := b.letters(i + 1)[0]; d.Reason != c.reason || d.Remedy == "" || (c.name == "a secret, unsigned") != (d.Bytes == 0) {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
	if len(got.events()) > 0 {
		t.Fatal("something unproven was taken")
	}
	binary := nats.Header{SignatureHeader: {sign(ours, subject, []byte("{}"))}, "ce-id": {"1"}}
	b.raw(subject, "{}", binary)
	if d := b.letters(13)[0]; d.Reason != "bad-signature" || !strings.Contains(d.Problem, "structured") {
		t.Errorf("binary mode: %+v", d)
	}
	b.raw(idp, string(body), nats.Header{SignatureHeader: {detached(jose.RS256, key, Signed(idp, body))}})
	if _, _, err := NewPublisher(b.nc).SignWith(ours).Event(t.Context(), leak("2")); err != nil {
		t.Fatal(err)
	}
	b.publish(manual("3")) // of a publisher that need not sign
	b.eventually("three events", func() bool { return len(got.events()) == 3 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	b.absent(canary)
	if _, _, err := NewPublisher(b.nc).SignWith(set).Event(t.Context(), leak("4")); err == nil || strings.Contains(err.Error(), "kty") {
		t.Errorf("signing with something else: %v", err)
	}
}

// A signature covers the body. So a signed message of a source is one event, however often its headers are changed; and a publisher that
// has to sign has to do so on mapped subjects too.
func TestSignedMessagesOfSources(t *testing.T) {
	b := newBench(t)
	file, public := seedFile(t)
	alert := sample(t, "github-secret_scanning_alert-reopened-1")
	var got heard
	b.subscribe(Subscriber{Signers: Signers{"github": {NKeys: []string{public}}}, Publishers: []string{"github", "other"},
		Taps: map[string]string{"security.github": "github", "security.aws": "aws"}}, got.take)
	b.eventually("the mapped subjects", func() bool { _, err := b.js.Stream(t.Context(), Intake); return err == nil })
	for _, subject := range []string{"rotator.events.v1.github.raw.github", "security.github"} {
		sig, err := NewPublisher(b.nc).SignWith(file).sign(subject, []byte(alert))
		if err != nil {
			t.Fatal(err)
		}
		for _, delivery := range []string{"d-1", "d-2"} {
			b.raw(subject, alert, nats.Header{"X-GitHub-Delivery": {delivery}, "Idempotency-Key": {delivery}, SignatureHeader: {sig}})
		}
	}
	b.eventually("what was signed", func() bool { return len(got.events()) == 4 })
	for _, e := range got.events() {
		if e.Key() != got.events()[0].Key() || e.Publisher != "github" {
			t.Errorf("a header makes another event of it: %+v", e)
		}
	}
	b.raw("security.github", alert, nil)
	if d := b.letters(1)[0]; d.Reason != "unsigned" || d.OriginalSubject != "security.github" {
		t.Errorf("%+v", d)
	}
	b.raw("security.aws", sample(t, "aws-health-risk-1"), nil)
	if d := b.letters(2)[0]; d.Reason != "publisher-mismatch" || d.OriginalSubject != "security.aws" {
		t.Errorf("%+v", d)
	}
}

// FuzzSignature: no header is believed that no listed key has made, and none breaks the reader.
func FuzzSignature(f *testing.F) {
	f.Add("UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4,AAAA", []byte("{}"))
	f.Add("eyJhbGciOiJub25lIn0..", []byte("{}"))
	f.Add("eyJhbGciOiJFZERTQSJ9..AAAA", []byte("x"))
	set := filepath.Join(f.TempDir(), "jwks.json")
	if err := os.WriteFile(set, []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`), 0o600); err != nil {
		f.Fatal(err)
	}
	s := Signers{"p": {NKeys: []string{"UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"}, JWKS: set}}
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		if err := s.verify("p", "rotator.events.v1.p.leak", nats.Header{SignatureHeader: {header}}, body); err == nil {
			t.Errorf("%q was believed", header)
		}
	})
}
