package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/events/adapt"
)

// push takes one Security Event Token as RFC 8935 has it: 202 without a body, or 400 with err and description.
func (in *Intake) push(w http.ResponseWriter, r *http.Request, s *source, body []byte, now time.Time) {
	claims, jti, err := s.claims(r.Context(), string(body), now)
	if claims != nil {
		if !in.allowed(w, s, now) {
			return
		}
		err = in.token(r.Context(), s, claims, jti, err, now)
	}
	bad, isBad := errors.AsType[*setError](err)
	switch {
	case err == nil:
		w.WriteHeader(http.StatusAccepted)
	case isBad:
		if claims == nil {
			in.count(s, refused)
			in.failures.failed(r, now)
		}
		in.Log.Warn().Str("source", s.Name).Str("reason", bad.Error()).Msg("a security event token was refused")
		answer(w, http.StatusBadRequest, setAnswer{bad.code, bad.text})
	default:
		in.unchecked(w, s, err)
	}
}

// token takes what an authentic token says, or keeps it as a dead letter if its form is wrong.
func (in *Intake) token(ctx context.Context, s *source, claims []byte, jti string, wrong error, now time.Time) error {
	if wrong != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.times.publish)
		defer cancel()
		if err := in.bury(ctx, s, adapt.Native{Body: claims}, wrong); err != nil {
			return err
		}
		return wrong
	}
	in.control(s, claims)
	got, err := in.deliver(ctx, s, adapt.Native{Body: claims, Received: now.UTC(), Origin: s.Issuer}, keyOf(s.Name, s.Issuer, jti))
	if err == nil && got.strange() {
		return &setError{"invalid_request", got.Why}
	}
	return err
}

// control says aloud what a transmitter tells of its stream: a silent feed means missed leavers.
func (in *Intake) control(s *source, claims []byte) {
	var m struct {
		Events map[string]struct{ Status, Reason, State string }
	}
	if json.Unmarshal(claims, &m) != nil {
		return
	}
	for uri, e := range m.Events {
		switch {
		case strings.HasSuffix(uri, "/verification"):
			in.Log.Info().Str("source", s.Name).Msg("the transmitter has verified the stream")
		case strings.HasSuffix(uri, "/stream-updated") && e.Status != "enabled":
			in.Log.Error().Str("source", s.Name).Str("status", short(e.Status, 32)).Msg("the transmitter has stopped this stream; leavers are missed until it is enabled again")
		}
	}
}

func short(text string, n int) string {
	return strings.ToValidUTF8(text[:min(len(text), n)], "")
}

const (
	pollMax   = 100
	pollWait  = 60 * time.Second // a transmitter may hold a request open for that long
	pollPause = time.Second
	pollWorst = time.Minute
)

// poll asks a transmitter for tokens (RFC 8936) until ctx ends, and acknowledges them only after they are published.
func (in *Intake) poll(ctx context.Context, s *source) error {
	client := &http.Client{Transport: in.Client.Transport, Timeout: pollWait + 10*time.Second}
	var done answers
	pause := pollPause
	for ctx.Err() == nil {
		more, err := in.pollOnce(ctx, client, s, &done)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			in.Log.Warn().Err(err).Str("source", s.Name).Dur("again_in", pause).Msg("polling a transmitter")
			wait(ctx, pause)
			pause = min(2*pause, pollWorst)
		default:
			pause = pollPause
			if !more && len(done.Ack) == 0 && len(done.Errs) == 0 {
				wait(ctx, pollPause)
			}
		}
	}
	return nil
}

// answers are what a transmitter is told with the next request.
type answers struct {
	Ack  []string
	Errs map[string]setAnswer
}

type setAnswer struct {
	Err         string `json:"err"`
	Description string `json:"description"`
}

func (in *Intake) pollOnce(ctx context.Context, client *http.Client, s *source, done *answers) (more bool, err error) {
	body, err := json.Marshal(map[string]any{"maxEvents": pollMax, "returnImmediately": len(done.Ack)+len(done.Errs) > 0, "ack": append([]string{}, done.Ack...), "setErrs": done.Errs})
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.PollURL, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if s.Secrets != nil {
		secrets, err := s.Secrets()
		if err != nil || len(secrets) == 0 {
			return false, fmt.Errorf("reading the token of the transmitter: %w", err)
		}
		req.Header.Set("Authorization", bearer(secrets[0]))
	}
	res, err := client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the transmitter answers %d", res.StatusCode)
	}
	var got struct {
		Sets map[string]string
		More bool `json:"moreAvailable"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 16*maxBody)).Decode(&got); err != nil {
		return false, errors.New("the answer of the transmitter is not understood")
	}
	*done = answers{Errs: make(map[string]setAnswer)}
	var young error
	for jti, compact := range got.Sets {
		now := in.Now()
		claims, id, err := s.claims(ctx, compact, now)
		if claims != nil {
			err = in.token(ctx, s, claims, id, err, now)
		}
		bad, isBad := errors.AsType[*setError](err)
		_, isYoung := errors.AsType[*newKeyError](err)
		switch {
		case err == nil:
			done.Ack = append(done.Ack, jti)
		case isBad:
			in.Log.Warn().Str("source", s.Name).Str("reason", bad.Error()).Msg("a security event token was refused")
			done.Errs[jti] = setAnswer{bad.code, bad.text}
		case isYoung: // neither taken nor refused: it comes again
			young = err
		default:
			in.Log.Warn().Err(err).Str("source", s.Name).Msg("a security event token could not be taken now; it stays with the transmitter")
			return false, err // what was taken so far is acknowledged next time
		}
	}
	return got.More && young == nil, young
}

func bearer(secret string) string {
	if strings.Contains(secret, " ") {
		return secret
	}
	return "Bearer " + secret
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
