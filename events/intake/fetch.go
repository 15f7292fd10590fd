package intake

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/adapt"
)

const githubAPI = "https://api.github.com"

// complete asks GitHub for the value that an alert does not tell, and makes a fingerprint of it. Without an answer, in its own time, the
// event goes on as it is: a rule of the configuration may know whom it concerns.
func (in *Intake) complete(ctx context.Context, s *source, native adapt.Native, e *events.Event) {
	if s.Kind != "github" || e.Leak == nil || len(e.Leak.Credential.Fingerprints) > 0 || !in.needsHash(s, native.Body) {
		return
	}
	if s.FetchToken != nil && native.Hash != nil {
		value, err := in.alertValue(ctx, s, native.Body)
		if err == nil {
			e.Leak.Credential.Fingerprints = []events.Fingerprint{native.Hash(value)}
			return
		}
		in.Log.Warn().Err(err).Str("source", s.Name).Str("event", e.ID).Msg("GitHub does not tell which value has leaked; the event goes on without a fingerprint")
	}
	in.count(s, noFingerprint)
}

// alertValue reads the alert from the API that the source is configured with: a message does not choose where our token goes.
func (in *Intake) alertValue(ctx context.Context, s *source, body []byte) (string, error) {
	var m struct{ Alert struct{ URL string } }
	if err := json.Unmarshal(body, &m); err != nil || m.Alert.URL == "" {
		return "", fmt.Errorf("the alert has no url")
	}
	api := s.Origin
	if api == "" {
		api = githubAPI
	}
	home, err := url.Parse(api)
	if err != nil {
		return "", fmt.Errorf("the origin of the source is no URL: %w", err)
	}
	at, err := url.Parse(m.Alert.URL)
	if err != nil || at.Scheme != home.Scheme || at.Host != home.Host || !strings.Contains(at.Path, "/secret-scanning/alerts/") {
		return "", fmt.Errorf("the url of the alert is not one of %s", home.Host)
	}
	token, err := s.FetchToken()
	if err != nil {
		return "", fmt.Errorf("reading the token for GitHub: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String()+"?hide_secret=false", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/vnd.github+json")
	res, err := in.Client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GitHub answers %d", res.StatusCode)
	}
	var got struct{ Secret string }
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&got); err != nil || got.Secret == "" {
		return "", fmt.Errorf("GitHub's answer holds no value")
	}
	return got.Secret, nil
}
