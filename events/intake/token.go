package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A setError is why a Security Event Token is not taken, in the words of RFC 8935.
type setError struct{ code, text string }

func (e *setError) Error() string { return e.code + ": " + e.text }

// oldest is how long ago a token may have been issued: transmitters retry for days.
const oldest = 14 * 24 * time.Hour

// claims checks a Security Event Token (RFC 8417, as SSF 1.0 profiles it) and returns its claims and its id.
func (s *source) claims(ctx context.Context, compact string, now time.Time) (claims []byte, jti string, err error) {
	algorithms := []jose.SignatureAlgorithm{jose.RS256}
	if len(s.Algorithms) > 0 {
		algorithms = nil
		for _, a := range s.Algorithms {
			algorithms = append(algorithms, jose.SignatureAlgorithm(a))
		}
	}
	token, err := jose.ParseSignedCompact(strings.TrimSpace(compact), algorithms)
	if err != nil || len(token.Signatures) != 1 {
		return nil, "", &setError{"invalid_request", "it is no token that is signed with " + fmt.Sprint(algorithms)}
	}
	if typ, _ := token.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(strings.TrimPrefix(strings.ToLower(typ), "application/"), "secevent+jwt") {
		return nil, "", &setError{"invalid_request", "typ is not secevent+jwt"}
	}
	payload, err := s.sets.verify(ctx, token)
	if errors.Is(err, errForged) {
		return nil, "", &setError{"invalid_key", "no key of the issuer has signed it"}
	}
	if err != nil {
		return nil, "", err
	}
	var m struct {
		Iss, Jti string
		Iat      float64
		Aud      audience
		Sub, Exp json.RawMessage
	}
	if json.Unmarshal(payload, &m) != nil {
		return nil, "", &setError{"invalid_request", "the claims have another shape than expected"}
	}
	at := time.Unix(int64(m.Iat), 0)
	switch {
	case m.Iss != s.Issuer:
		return nil, "", &setError{"invalid_issuer", "iss is another one"}
	case !m.Aud.has(s.Audience):
		return nil, "", &setError{"invalid_audience", "aud is another one"}
	case m.Jti == "":
		return nil, "", &setError{"invalid_request", "jti is missing"}
	case len(m.Exp) > 0:
		return nil, "", &setError{"invalid_request", "exp must not be there"}
	case m.Iat == 0 || at.After(now.Add(tolerance)) || at.Before(now.Add(-oldest)):
		return nil, "", &setError{"invalid_request", "iat is too far from now"}
	}
	return payload, m.Jti, nil
}

// audience is one text or a list of them.
type audience []string

// UnmarshalJSON reads either form.
func (a *audience) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		*a = make(audience, 1)
		return json.Unmarshal(raw, &(*a)[0])
	}
	return json.Unmarshal(raw, (*[]string)(a))
}

func (a audience) has(want string) bool {
	for _, one := range a {
		if one == want {
			return true
		}
	}
	return false
}
