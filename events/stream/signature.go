package stream

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// SignatureHeader carries the signature of an event: "<public nkey>,<base64url of Ed25519>", or a detached JWS (RFC 7515, appendix F).
// What is signed is [Signed] of subject and body, so that an event cannot be repeated on another subject.
const SignatureHeader = "Rotator-Signature"

// Signed is the text that a publisher signs.
func Signed(subject string, body []byte) []byte {
	sum := sha256.Sum256(body)
	return []byte("rotator-event-v1\n" + subject + "\n" + hex.EncodeToString(sum[:]))
}

// Signers are whose signatures are believed, by publisher. The events of a publisher that is listed have to be signed.
type Signers map[string]Signer

// A Signer is the keys of one publisher.
type Signer struct {
	NKeys []string // public keys, "U..." or "A..." or any other kind
	JWKS  string   // file with a key set; read for every event, so that a changed one is used at once
}

// algorithms that a detached JWS may use: those with a public key.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA}
}

var errUnsigned = errors.New("it is not signed")

// verify checks the events of a publisher that has to sign.
func (s Signers) verify(publisher, subject string, h nats.Header, body []byte) error {
	signer, listed := s[publisher]
	if !listed {
		return nil
	}
	err := signer.verify(subject, h, body)
	if err == nil {
		return nil
	}
	reason := "bad-signature"
	if errors.Is(err, errUnsigned) {
		reason = "unsigned"
	}
	return refusal{reason: reason, field: SignatureHeader, problem: err.Error(), remedy: "sign it with a key that events.signers lists for this publisher; see: rotator emit --help"}
}

func (s Signer) verify(subject string, h nats.Header, body []byte) error {
	given := ""
	for name, values := range h {
		switch lower := strings.ToLower(name); {
		case lower == strings.ToLower(SignatureHeader) && len(values) == 1:
			given = values[0]
		case strings.HasPrefix(lower, "ce-"):
			return errors.New("its attributes are in headers, which no signature covers; send it in structured mode")
		}
	}
	if given == "" {
		return errUnsigned
	}
	if public, sig, ok := strings.Cut(given, ","); ok {
		return s.verifyNKey(public, sig, Signed(subject, body))
	}
	return s.verifyJWS(given, Signed(subject, body))
}

func (s Signer) verifyNKey(public, sig string, signed []byte) error {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(sig, "="))
	if err != nil {
		return errors.New("the signature is no base64url")
	}
	for _, known := range s.NKeys { // the key in the header chooses among the known ones, and is not believed by itself
		if known != public {
			continue
		}
		key, err := nkeys.FromPublicKey(known)
		if err != nil || key.Verify(signed, raw) != nil {
			return errors.New("the signature does not fit the event, or its subject")
		}
		return nil
	}
	return errors.New("it is signed with a key that is not listed for this publisher")
}

func (s Signer) verifyJWS(compact string, signed []byte) error {
	if s.JWKS == "" {
		return errors.New("it is signed with a JWS, and no key set is listed for this publisher")
	}
	token, err := jose.ParseDetached(compact, signed, algorithms())
	if err != nil || len(token.Signatures) != 1 {
		return errors.New("the signature is no detached JWS of a known algorithm")
	}
	raw, err := os.ReadFile(s.JWKS)
	if err != nil {
		return fmt.Errorf("the key set of the publisher cannot be read: %w", err)
	}
	var set jose.JSONWebKeySet
	if json.Unmarshal(raw, &set) != nil {
		return errors.New("the key set of the publisher is none")
	}
	for _, key := range set.Keys {
		if id := token.Signatures[0].Protected.KeyID; id != "" && key.KeyID != id || !key.IsPublic() {
			continue
		}
		if token.DetachedVerify(signed, key) == nil {
			return nil
		}
	}
	return errors.New("no key that is listed for this publisher has signed it")
}

// SignWith makes the publisher sign its events with the nkey seed in a file, which is read anew for every event.
func (p *Publisher) SignWith(seedFile string) *Publisher {
	return &Publisher{nc: p.nc, writeOnly: p.writeOnly, sign: func(subject string, body []byte) (string, error) {
		seed, err := os.ReadFile(seedFile)
		if err != nil {
			return "", fmt.Errorf("reading the key to sign with: %w", err)
		}
		defer clear(seed)
		key, err := nkeys.ParseDecoratedNKey(seed)
		if err != nil {
			return "", fmt.Errorf("%s holds no nkey seed", seedFile)
		}
		defer key.Wipe()
		public, err := key.PublicKey()
		if err != nil {
			return "", err
		}
		sig, err := key.Sign(Signed(subject, body))
		if err != nil {
			return "", err
		}
		return public + "," + base64.RawURLEncoding.EncodeToString(sig), nil
	}}
}
