package whisk

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// An Auth returns the Authorization header for one request. It is asked for every request, so that a rotated
// key or token file is picked up.
type Auth func(ctx context.Context) (secret.Value, error)

// Basic is the namespace key, "uuid:key", as `wsk` and `aio` use it.
func Basic(read func(context.Context) (secret.Value, error)) Auth {
	return func(ctx context.Context) (secret.Value, error) {
		key, err := text(ctx, read)
		if err != nil {
			return secret.Value{}, err
		}
		if user, pass, ok := strings.Cut(key, ":"); !ok || user == "" || pass == "" {
			return secret.Value{}, errors.New("the OpenWhisk key is not of the form uuid:key")
		}
		return secret.FromText("Basic " + base64.StdEncoding.EncodeToString([]byte(key))), nil
	}
}

// Bearer is an IMS or other access token, as Adobe's deploy service takes it.
func Bearer(read func(context.Context) (secret.Value, error)) Auth {
	return func(ctx context.Context) (secret.Value, error) {
		token, err := text(ctx, read)
		if err != nil {
			return secret.Value{}, err
		}
		return secret.FromText("Bearer " + token), nil
	}
}

// text reads one line; a header with control characters would be refused by net/http with the value in the error.
func text(ctx context.Context, read func(context.Context) (secret.Value, error)) (string, error) {
	v, err := read(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the OpenWhisk credential: %w", err)
	}
	s, ok := v.Text()
	s = strings.TrimSpace(s)
	if !ok || s == "" {
		return "", errors.New("the OpenWhisk credential is empty or not text")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", errors.New("the OpenWhisk credential holds white space or control characters")
	}
	return s, nil
}
