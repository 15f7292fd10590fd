package intake

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A setError is why a Security Event Token is not taken, in the words of RFC 8935.
type setError struct{ code, text string }

func (e *setError) Error() string { return e.code + ": " + e.text }

// oldest is how long ago a token may have been issued: transmitters retry for days.
const oldest = 14 * 24 * time.Hour

// A signed token, as its issuer has signed it.
type signed struct {
	typ     string
	payload []byte
}

// errNoToken says that it is none that could be checked.
var errNoToken = errors.New("it is no token that is signed with an algorithm of the configuration")

// open checks the signature of a compact JWS with the keys of the source.
func (s *source) open(ctx context.Context, compact string) (signed, error) {
	algorithms := []jose.SignatureAlgorithm{jose.RS256}
	if len(s.Algorithms) > 0 {
		algorithms = nil
		for _, a := range s.Algorithms {
			algorithms = append(algorithms, jose.SignatureAlgorithm(a))
		}
	}
	token, err := jose.ParseSignedCompact(strings.TrimSpace(compact), algorithms)
	if err != nil || len(token.Signatures) != 1 {
		return signed{}, errNoToken
	}
	typ, _ := token.Signatures[0].Protected.ExtraHeaders[jose.HeaderType].(string)
	payload, err := s.sets.verify(ctx, token)
	return signed{strings.TrimPrefix(strings.ToLower(typ), "application/"), payload}, err
}

// claims checks a Security Event Token (RFC 8417, as SSF 1.0 profiles it) and returns its claims and its id. Claims beside an error are
// authentic, and wrong in their form.
func (s *source) claims(ctx context.Context, compact string, now time.Time) (claims []byte, jti string, err error) {
	token, err := s.open(ctx, compact)
	switch {
	case errors.Is(err, errNoToken):
		return nil, "", &setError{"invalid_request", err.Error()}
	case errors.Is(err, errForged):
		return nil, "", &setError{"invalid_key", "no key of the issuer has signed it"}
	case err != nil:
		return nil, "", err
	case token.typ != "secevent+jwt":
		return nil, "", &setError{"invalid_request", "typ is not secevent+jwt"}
	}
	var m struct {
		Iss string
		Aud audience
	}
	switch err := json.Unmarshal(token.payload, &m); {
	case err != nil:
		return nil, "", &setError{"invalid_request", "iss or aud has another shape than expected"}
	case m.Iss != s.Issuer:
		return nil, "", &setError{"invalid_issuer", "iss is another one"}
	case !m.Aud.has(s.Audience):
		return nil, "", &setError{"invalid_audience", "aud is another one"}
	}
	jti, err = profiled(token.payload, now)
	return token.payload, jti, err
}

// profiled holds claims to what SSF 1.0 says of them: sub and exp belong to other tokens, for which this one could be taken.
func profiled(claims []byte, now time.Time) (jti string, err error) {
	var m struct {
		Jti      string
		Iat      float64
		Sub, Exp json.RawMessage
	}
	if json.Unmarshal(claims, &m) != nil {
		return "", &setError{"invalid_request", "the claims have another shape than expected"}
	}
	at := time.Unix(int64(m.Iat), 0)
	switch {
	case m.Jti == "":
		return "", &setError{"invalid_request", "jti is missing"}
	case len(m.Sub) > 0:
		return "", &setError{"invalid_request", "sub must not be there; the subject is sub_id"}
	case len(m.Exp) > 0:
		return "", &setError{"invalid_request", "exp must not be there"}
	case m.Iat == 0 || at.After(now.Add(tolerance)) || at.Before(now.Add(-oldest)):
		return "", &setError{"invalid_request", "iat is too far from now"}
	}
	return m.Jti, nil
}

// pushed checks the OpenID Connect token with which Pub/Sub authenticates a push. Anybody can have Google sign one for any audience:
// the email says for whom.
func (s *source) pushed(ctx context.Context, compact string, now time.Time) error {
	token, err := s.open(ctx, compact)
	if errors.Is(err, errNoToken) {
		return errForged
	}
	if err != nil {
		return err
	}
	var m struct {
		Iss, Email string
		Aud        audience
		Exp        float64
		Verified   bool `json:"email_verified"`
	}
	switch {
	case token.typ != "" && token.typ != "jwt", json.Unmarshal(token.payload, &m) != nil, m.Iss != s.Issuer, !m.Aud.has(s.Audience):
		return errForged
	case s.Email != "" && (m.Email != s.Email || !m.Verified):
		return errForged
	case now.After(time.Unix(int64(m.Exp), 0).Add(tolerance)):
		return errStale
	}
	return nil
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
