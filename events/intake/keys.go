package intake

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A keySet is public keys from a URL or a file. A key that is not in it makes it be read again, at most once a minute, so that
// the sender can change its keys and a forger cannot make us ask all the time.
type keySet struct {
	from   string
	client *http.Client
	now    func() time.Time

	mu   sync.Mutex
	read time.Time
	raw  []byte
}

const (
	keysAge  = time.Hour
	keysOnce = time.Minute
)

// errKeys says that the keys cannot be read now: it is our fault, and the sender should try again.
var errKeys = errors.New("the sender's public keys cannot be read")

// lookup finds a key in what was read, reading again when it is old, or does not have the key.
func (k *keySet) lookup(ctx context.Context, find func(raw []byte) (bool, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.raw != nil && k.now().Sub(k.read) < keysAge {
		if ok, err := find(k.raw); ok || err != nil {
			return err
		}
		if k.now().Sub(k.read) < keysOnce {
			return errForged
		}
	}
	raw, err := k.fetch(ctx)
	if err != nil && k.raw == nil {
		return fmt.Errorf("%w: %w", errKeys, err)
	}
	if err == nil {
		k.raw, k.read = raw, k.now()
	}
	ok, err := find(k.raw) // what was read before is better than nothing
	if err == nil && !ok {
		err = errForged
	}
	return err
}

func (k *keySet) fetch(ctx context.Context) ([]byte, error) {
	if !strings.Contains(k.from, "://") {
		return os.ReadFile(k.from)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.from, nil)
	if err != nil {
		return nil, err
	}
	res, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d", req.URL.Host, res.StatusCode)
	}
	return io.ReadAll(io.LimitReader(res.Body, maxBody))
}

// githubKey is one of GitHub's public keys, from its list or from one PEM file.
func (k *keySet) githubKey(ctx context.Context, id string) (key *ecdsa.PublicKey, err error) {
	err = k.lookup(ctx, func(raw []byte) (bool, error) {
		var list struct {
			Keys []struct {
				ID  string `json:"key_identifier"`
				Key string
			} `json:"public_keys"`
		}
		text := ""
		if block, _ := pem.Decode(raw); block != nil {
			text = string(raw)
		} else if json.Unmarshal(raw, &list) != nil {
			return false, fmt.Errorf("%w: neither a list nor PEM", errKeys)
		}
		for _, one := range list.Keys {
			if one.ID == id {
				text = one.Key
			}
		}
		key = parseECDSA(text)
		return key != nil, nil
	})
	return key, err
}

func parseECDSA(text string) *ecdsa.PublicKey {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil
	}
	key, _ := parsed.(*ecdsa.PublicKey)
	return key
}

// verify checks a compact JWS against the set and returns its payload.
func (k *keySet) verify(ctx context.Context, token *jose.JSONWebSignature) (payload []byte, err error) {
	id := token.Signatures[0].Protected.KeyID
	err = k.lookup(ctx, func(raw []byte) (bool, error) {
		var set jose.JSONWebKeySet
		if json.Unmarshal(raw, &set) != nil {
			return false, fmt.Errorf("%w: it is no key set", errKeys)
		}
		for _, key := range set.Keys {
			if (id != "" && key.KeyID != id) || !key.IsPublic() || !key.Valid() || key.Use == "enc" {
				continue
			}
			if got, err := token.Verify(key); err == nil {
				payload = got
				return true, nil
			}
		}
		return false, nil
	})
	return payload, err
}
