package whisktest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
)

const algorithm = "aes-128"

func newLock() cipher.AEAD {
	key := make([]byte, 16)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

// seal locks entries without a mark; an entry with any mark is stored as it is.
func (s *Server) seal(list []entry) []entry {
	if s.opt.Encryption == Off {
		return list
	}
	out := make([]entry, len(list))
	for i, e := range list {
		if e.encryption == "" {
			iv := make([]byte, s.lock.NonceSize())
			_, _ = rand.Read(iv)
			raw := binary.BigEndian.AppendUint32(nil, uint32(len(iv)))
			raw = s.lock.Seal(append(raw, iv...), iv, e.value, nil)
			e.value, _ = json.Marshal(base64.StdEncoding.EncodeToString(raw))
			e.encryption = algorithm
		}
		out[i] = e
	}
	return out
}

// unseal is what the invoker does; a value it cannot open is delivered as it is.
func (s *Server) unseal(list []entry) []entry {
	out := make([]entry, len(list))
	for i, e := range list {
		if plain, ok := s.open(e); ok {
			e.value, e.encryption = plain, ""
		}
		out[i] = e
	}
	return out
}

func (s *Server) open(e entry) (json.RawMessage, bool) {
	var text string
	if e.encryption != algorithm || json.Unmarshal(e.value, &text) != nil {
		return nil, false
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) < 4+s.lock.NonceSize() {
		return nil, false
	}
	plain, err := s.lock.Open(nil, raw[4:4+s.lock.NonceSize()], raw[4+s.lock.NonceSize():], nil)
	return plain, err == nil
}

// shown is the form in which the API gives stored entries away.
func (s *Server) shown(list []entry) []entry {
	if s.opt.Encryption != Hidden {
		return list
	}
	out := make([]entry, len(list))
	for i, e := range list {
		if e.encryption == algorithm {
			e.encryption = ""
		}
		out[i] = e
	}
	return out
}
