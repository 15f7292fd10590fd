package vaultsrc

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// FingerprintKey returns the key kept in the KV v2 secret at path, and makes one when there is none. Of several
// replicas that make one at once, one wins and the others read it.
func (c *Client) FingerprintKey(ctx context.Context, path string) (secret.Key, error) {
	for range 3 {
		b, err := c.ReadBundle(ctx, path, 0)
		if err == nil {
			return parseKey(path, b.Data)
		}
		if !errors.Is(err, ErrNotFound) {
			return secret.Key{}, fmt.Errorf("fingerprint key: %w", err)
		}
		_, err = c.WriteBundle(ctx, path, newKey(), nil, 0)
		if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknownOutcome) {
			return secret.Key{}, fmt.Errorf("making the fingerprint key: %w", err)
		}
	}
	return secret.Key{}, fmt.Errorf("making the fingerprint key at %q: %w", path, ErrUnknownOutcome)
}

func newKey() secret.Set {
	id, material := make([]byte, 6), make([]byte, secret.MinKeyBytes)
	rand.Read(id) // never fails
	rand.Read(material)
	return secret.Set{
		"id":  secret.FromText(hex.EncodeToString(id)),
		"key": secret.FromText(base64.StdEncoding.EncodeToString(material)),
	}
}

func parseKey(path string, data secret.Set) (secret.Key, error) {
	id, okID := data["id"].Text()
	text, okKey := data["key"].Text()
	material, err := base64.StdEncoding.DecodeString(text)
	if !okID || !okKey || id == "" || err != nil {
		return secret.Key{}, fmt.Errorf("fingerprint key at %q: %w: it must hold a text id and a base64 key", path, ErrInvalid)
	}
	k, err := secret.NewKey(id, material)
	if err != nil {
		return secret.Key{}, fmt.Errorf("fingerprint key at %q: %w", path, err)
	}
	return k, nil
}
