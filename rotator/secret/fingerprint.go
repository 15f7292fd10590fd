package secret

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/crypto/scrypt"
)

// MinKeyBytes is the least length of a fingerprint key.
const MinKeyBytes = 32

// ErrShortKey says that a fingerprint key is shorter than MinKeyBytes.
var ErrShortKey = errors.New("fingerprint key is too short")

// Key makes keyed fingerprints: HMAC-SHA256 over the exact bytes of a value, so that a stored
// fingerprint of a weak password cannot be guessed without the key. The key lives in Vault.
type Key struct {
	id   string
	open func() []byte
	hmsl *sync.Map // fingerprint -> GitGuardian's hash, which is slow on purpose
}

// NewKey takes the key's public id and at least MinKeyBytes of key material.
func NewKey(id string, material []byte) (Key, error) {
	if len(material) < MinKeyBytes {
		return Key{}, fmt.Errorf("%w: %d bytes, want %d or more", ErrShortKey, len(material), MinKeyBytes)
	}
	m := slices.Clone(material)
	return Key{id: id, open: func() []byte { return m }, hmsl: new(sync.Map)}, nil
}

// ID names the key, never its material.
func (k Key) ID() string { return k.id }

// IsZero reports a Key that was never made with NewKey.
func (k Key) IsZero() bool { return k.open == nil }

// Fingerprint returns 64 hex digits over the text of a JSON string, or over the canonical JSON of
// any other value. It is the event format's alg "hmac-sha256".
func (k Key) Fingerprint(v Value) string { return k.sum(v.plain()) }

// FingerprintSet covers a whole bundle, keys and values; the order of the keys does not matter.
func (k Key) FingerprintSet(s Set) string {
	keys := make([]string, 0, len(s))
	for key := range s {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var b []byte
	for _, key := range keys {
		b = fmt.Appendf(b, "%d:%s=%s\n", len(key), key, k.Fingerprint(s[key]))
	}
	return k.sum(b)
}

func (k Key) sum(b []byte) string {
	if k.open == nil {
		return ""
	}
	h := hmac.New(sha256.New, k.open())
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

// Matches reports whether hexDigest is the digest of v under alg, see Digest. Comparison takes constant time.
func (k Key) Matches(alg, hexDigest string, v Value) bool {
	got := k.Digest(alg, v)
	return got != "" && subtle.ConstantTimeCompare([]byte(got), []byte(hexDigest)) == 1
}

// Digest is "hmac-sha256" with this key, the plain "sha256" or "sha1" that some detectors send, or GitGuardian's "gg-hmsl", in hex; ""
// for any other alg. The last three are for inbound matching only and are never stored; gg-hmsl takes some 6 ms for a value that was
// not seen before.
func (k Key) Digest(alg string, v Value) string {
	switch alg {
	case "hmac-sha256":
		return k.Fingerprint(v)
	case "sha256":
		s := sha256.Sum256(v.plain())
		return hex.EncodeToString(s[:])
	case "sha1":
		s := sha1.Sum(v.plain())
		return hex.EncodeToString(s[:])
	case "gg-hmsl":
		return k.slow(v)
	}
	return ""
}

// slow is the hash of GitGuardian's HasMySecretLeaked: scrypt with a public salt (ggshield, verticals/hmsl/crypto.py).
func (k Key) slow(v Value) string {
	if k.hmsl == nil {
		return ""
	}
	id := k.Fingerprint(v)
	if got, ok := k.hmsl.Load(id); ok {
		return got.(string)
	}
	salt := sha256.Sum256([]byte("GitGuardian"))
	sum, err := scrypt.Key(v.plain(), salt[:], 2048, 8, 1, 32)
	if err != nil {
		return ""
	}
	got := hex.EncodeToString(sum)
	k.hmsl.Store(id, got)
	return got
}
