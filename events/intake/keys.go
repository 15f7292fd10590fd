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

// A keySet is public keys from a URL or a file. A key that is not in it makes it be read again, at most once in keysOnce, whoever asks
// and whatever comes of it: the sender can change its keys, a forger cannot make us ask all the time, and who does not answer holds
// up a few requests at most.
type keySet struct {
	from   string
	client *http.Client
	now    func() time.Time
	limit  time.Duration // of one reading

	mu      sync.Mutex
	raw     []byte
	read    time.Time     // when raw was
	tried   time.Time     // when it was last asked for
	failed  error         // why there was no answer then
	flight  chan struct{} // is closed when the reading under way is over; nil: there is none
	waiting int           // for it
}

const (
	keysAge     = time.Hour
	keysOnce    = 20 * time.Second
	keysWaiting = 8
)

// errKeys says that the keys cannot be read now: it is our fault, and the sender should try again.
var errKeys = errors.New("the sender's public keys cannot be read")

// A newKeyError is a key that may be younger than what was read of the set. It will be known then.
type newKeyError struct{ after time.Duration }

func (e *newKeyError) Error() string {
	return fmt.Sprintf("the key is not known; the sender's keys are read again in %s", e.after.Round(time.Second))
}

// A match is what a set knows of a signature.
type match int

const (
	noKey match = iota // none of that name
	wrongKey
	rightKey
)

// lookup finds a key in what was read, reading again when it is old, or does not have the key.
func (k *keySet) lookup(ctx context.Context, find func(raw []byte) (match, error)) error {
	raw, fresh := k.held()
	if fresh {
		if got, err := find(raw); got == rightKey || err != nil {
			return err
		}
	}
	current := k.renew(ctx)
	raw, _ = k.held()
	if raw == nil {
		return k.away()
	}
	got, err := find(raw) // what was read before is better than nothing
	switch {
	case err != nil || got == rightKey:
		return err
	case got == wrongKey || current:
		return errForged
	}
	return &newKeyError{after: k.next()}
}

func (k *keySet) held() (raw []byte, fresh bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.raw, k.raw != nil && k.now().Sub(k.read) < keysAge
}

// away is why there are no keys at all.
func (k *keySet) away() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed == nil {
		return errKeys
	}
	return fmt.Errorf("%w: %w", errKeys, k.failed)
}

// next is how long it takes until the set may be read again.
func (k *keySet) next() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(keysOnce-k.now().Sub(k.tried), time.Second)
}

// renew reads the set, or waits for the reading under way, and reports whether it was read after the call. The lock is not held
// meanwhile, and only a few wait: the others go on with what there is.
func (k *keySet) renew(ctx context.Context) (current bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	first := k.flight == nil
	if first {
		if k.now().Sub(k.tried) < keysOnce {
			return false
		}
		k.tried, k.flight = k.now(), make(chan struct{})
		go k.fly(context.WithoutCancel(ctx), k.flight)
	}
	if k.waiting >= keysWaiting {
		return false
	}
	flight := k.flight
	k.waiting++
	k.mu.Unlock()
	over := false
	select {
	case <-flight:
		over = true
	case <-ctx.Done():
	}
	k.mu.Lock()
	k.waiting--
	return first && over && k.failed == nil
}

func (k *keySet) fly(ctx context.Context, over chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, k.limit)
	defer cancel()
	raw, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed = err; err == nil {
		k.raw, k.read = raw, k.now()
	}
	k.flight = nil
	close(over)
}

// fetch does not take a proxy's page for a set: what was read before is better. A set without keys is one.
func (k *keySet) fetch(ctx context.Context) ([]byte, error) {
	raw, err := k.get(ctx)
	if err != nil {
		return nil, err
	}
	var m struct {
		Keys   []json.RawMessage
		Public []json.RawMessage `json:"public_keys"`
	}
	if block, _ := pem.Decode(raw); block == nil && (json.Unmarshal(raw, &m) != nil || m.Keys == nil && m.Public == nil) {
		return nil, errors.New("what is there is neither a key set nor PEM")
	}
	return raw, nil
}

func (k *keySet) get(ctx context.Context) ([]byte, error) {
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
	err = k.lookup(ctx, func(raw []byte) (match, error) {
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
			return noKey, fmt.Errorf("%w: neither a list nor PEM", errKeys)
		}
		for _, one := range list.Keys {
			if one.ID == id {
				text = one.Key
			}
		}
		if key = parseECDSA(text); key == nil {
			return noKey, nil
		}
		return rightKey, nil
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
	err = k.lookup(ctx, func(raw []byte) (got match, err error) {
		var set jose.JSONWebKeySet
		if json.Unmarshal(raw, &set) != nil {
			return noKey, fmt.Errorf("%w: it is no key set", errKeys)
		}
		for _, key := range set.Keys {
			if (id != "" && key.KeyID != id) || !key.IsPublic() || !key.Valid() || key.Use == "enc" {
				continue
			}
			if payload, err = token.Verify(key); err == nil {
				return rightKey, nil
			}
			if id != "" { // without a name it may be one that we do not know
				got = wrongKey
			}
		}
		return got, nil
	})
	return payload, err
}
