package journal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const prefix = "$KV.rotator."

var errKey = errors.New("not a journal key")

// encode writes a key as one NATS token: letters, digits, "_" and "-" stay, every other byte becomes "=" and two
// hex digits.
func encode(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// Key is the name of a record's key as tools for key-value buckets show it.
func Key(bundle string) string { return encode(bundle) }

// decode is the inverse of encode and accepts nothing that encode does not produce.
func decode(token string) (string, error) {
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		if c := token[i]; plain(c) {
			b = append(b, c)
			continue
		}
		if token[i] != '=' || i+2 >= len(token) {
			return "", fmt.Errorf("%w: %q", errKey, token)
		}
		raw, err := hex.DecodeString(token[i+1 : i+3])
		if err != nil {
			return "", fmt.Errorf("%w: %q", errKey, token)
		}
		b = append(b, raw[0])
		i += 2
	}
	if key := string(b); key != "" && encode(key) == token {
		return key, nil
	}
	return "", fmt.Errorf("%w: %q", errKey, token)
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}
