package intake

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// A Source is one sender of messages.
type Source struct {
	Name    string // in the path, and the publisher of its events
	Kind    string // one of Kinds
	Secrets func() ([]string, error)
	Origin  string // who it is, for messages that do not say; of kind github: the host of its API

	ClientName string // of the certificate that the client has to present; empty: none is needed

	Issuer, Audience string   // of Security Event Tokens, and of the tokens that Google's Pub/Sub pushes with
	Algorithms       []string // of their signatures; empty: RS256
	Email            string   // of the service account that Pub/Sub pushes as; empty: any
	Keys             string   // URL or file of the key set (JWKS), or of GitHub's public keys
	PollURL          string   // of a transmitter that is polled (RFC 8936)
	Types            []string // of tokens that GitLab may ask to be revoked; empty: any

	FetchToken func() (string, error) // for GitHub's API, which knows the value that an alert does not tell; nil: it is not asked
}

// A kind says how the messages of a source are authenticated and read.
type kind struct {
	message  string // the adapter's name
	check    check
	static   bool // the secret travels with every message, and the body proves nothing
	dateless bool // messages may be the same bytes and another fact
	secrets  int  // how many secrets it needs at least
	keys     bool
	hash     bool // messages may hold raw values
	strict   bool // the sender of what is not understood is told so with 400, beside the dead letter
}

func kinds() map[string]kind {
	return map[string]kind{
		"github":            {message: "github", check: hub256, secrets: 1, dateless: true},
		"github-partner":    {message: "github-partner", check: partnerSigned, keys: true, hash: true},
		"gitguardian":       {message: "gitguardian", check: gitguardianSigned, secrets: 1},
		"gitlab":            {message: "gitlab", check: gitlabToken, secrets: 1},
		"gitlab-revocation": {message: "gitlab-revocation", check: authorization, static: true, secrets: 1, hash: true, strict: true},
		"vault-radar":       {message: "vault-radar", check: radarSigned, secrets: 1},
		"aws":               {message: "aws", check: authorization, static: true, secrets: 1},
		"okta":              {message: "okta", check: authorization, static: true, secrets: 1},
		"google":            {message: "google", check: googleToken, static: true, secrets: 1},
		"entra":             {message: "entra", check: clientState, static: true, secrets: 1},
		"scim":              {message: "scim", check: authorization, static: true, secrets: 1, strict: true},
		"slack":             {message: "slack", check: slackSigned, secrets: 1},
		"auth0":             {message: "auth0", check: authorization, static: true, secrets: 1},
		"bamboohr":          {message: "bamboohr", check: bambooSigned, secrets: 1},
		"ssf":               {message: "ssf", check: nil, keys: true, strict: true},
		"report":            {message: "report", check: authorization, static: true, secrets: 1, hash: true, strict: true},
		"events":            {check: standardOrToken, secrets: 1, strict: true},
	}
}

// Kinds are the kinds of source there are.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds())) }

// A Need is what a kind cannot do without.
type Need struct {
	Secret, Keys, Issuer, Hash bool
	Signed                     bool // the secret proves the messages themselves: a client certificate does not stand for it
}

// Needs says what a kind cannot do without. A source of kind google with an audience needs no secret.
func Needs(name string) Need {
	k := kinds()[name]
	return Need{Secret: k.secrets > 0, Keys: k.keys, Issuer: name == "ssf", Hash: k.hash, Signed: !k.static}
}

// source is a Source at work.
type source struct {
	Source
	kind
	limit *rate.Limiter
	slots chan struct{} // messages in hand
	sets  *keySet
}

// Rates: a source in its right mind stays far below.
const (
	sourceRate, sourceBurst   = rate.Limit(50), 200
	failureRate, failureBurst = rate.Limit(2), 20
)

func (in *Intake) source(s Source) (*source, error) {
	k, ok := kinds()[s.Kind]
	if !ok {
		return nil, fmt.Errorf("unknown kind %q; known are: %s", s.Kind, strings.Join(Kinds(), ", "))
	}
	pushed := s.Kind == "google" && s.Audience != ""
	switch {
	case pushed:
		k.secrets = 0
	case s.ClientName != "" && k.static && s.Secrets == nil:
		k.check, k.secrets = nil, 0 // the certificate proves it
	}
	switch {
	case k.secrets > 0 && s.Secrets == nil:
		return nil, errors.New("it needs a secret")
	case (s.Kind == "ssf" || pushed) && (s.Issuer == "" || s.Audience == "" || s.Keys == ""):
		return nil, errors.New("it needs issuer, audience and keys")
	case k.hash && in.Hash == nil:
		return nil, errors.New("its messages hold raw values, and there is no fingerprint key")
	case s.Kind == "scim" && in.People == nil:
		return nil, errors.New("it needs a store of people")
	}
	made := &source{Source: s, kind: k, limit: rate.NewLimiter(sourceRate, sourceBurst), slots: make(chan struct{}, maxInFlight)}
	if s.Keys != "" {
		made.sets = &keySet{from: s.Keys, client: in.Client, now: in.Now, limit: in.times.keys}
	}
	return made, nil
}

// replayTime is for how long the same bytes are the same fact. Who is removed from a team a second time looks as the first time.
func (s *source) replayTime() time.Duration {
	if s.dateless {
		return 24 * time.Hour
	}
	return 30 * 24 * time.Hour
}
