package intake

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"
)

func ed25519Key(t *testing.T) (public ed25519.PublicKey, sign func(string) []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return public, func(text string) []byte { return ed25519.Sign(private, []byte(text)) }
}

// transmitter signs Security Event Tokens, publishes its keys, and answers polls.
type transmitter struct {
	*testing.T
	*httptest.Server

	mu      sync.Mutex
	key     *rsa.PrivateKey
	id      string
	fetched int
	hang    chan struct{}     // until it is closed no keys are told; nil: they are
	sets    map[string]string // waiting for a poll
	acked   []string
	errs    map[string]setAnswer
}

func newTransmitter(t *testing.T) *transmitter {
	t.Helper()
	tr := &transmitter{T: t, sets: make(map[string]string), errs: make(map[string]setAnswer)}
	tr.roll("k1")
	mux := http.NewServeMux()
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		tr.mu.Lock()
		tr.fetched++
		hang := tr.hang
		tr.mu.Unlock()
		if hang != nil {
			<-hang
		}
		tr.mu.Lock()
		defer tr.mu.Unlock()
		answer(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: tr.key.Public(), KeyID: tr.id, Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /poll", tr.poll)
	tr.Server = httptest.NewServer(mux)
	t.Cleanup(tr.Close)
	return tr
}

func (tr *transmitter) poll(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Ack     []string
		SetErrs map[string]setAnswer
	}
	if r.Header.Get("Authorization") != "Bearer poll-token" || json.NewDecoder(r.Body).Decode(&m) != nil {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for _, jti := range m.Ack {
		tr.acked = append(tr.acked, jti)
		delete(tr.sets, jti)
	}
	for jti, e := range m.SetErrs {
		tr.errs[jti] = e
		delete(tr.sets, jti)
	}
	answer(w, 200, map[string]any{"sets": tr.sets, "moreAvailable": false})
}

func (tr *transmitter) roll(id string) {
	tr.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tr.Fatal(err)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.key, tr.id = key, id
}

func (tr *transmitter) sign(alg jose.SignatureAlgorithm, key any, id, typ, claims string) string {
	tr.Helper()
	opts := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: id}}, opts)
	if err != nil {
		tr.Fatal(err)
	}
	signed, err := s.Sign([]byte(claims))
	if err != nil {
		tr.Fatal(err)
	}
	out, err := signed.CompactSerialize()
	if err != nil {
		tr.Fatal(err)
	}
	return out
}

func (tr *transmitter) set(claims string) string {
	return tr.sign(jose.RS256, tr.key, tr.id, "secevent+jwt", claims)
}

func claimsOf(jti string, iat time.Time, more string) string {
	return fmt.Sprintf(`{"iss":"https://idp.example.com","jti":%q,"iat":%d,"aud":["rotator","other"],"sub_id":{"format":"email","email":"a@example.com"},"events":{%s}}`, jti, iat.Unix(), more)
}

const disabled = `"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{"reason":"hijacking"}`

func (tr *transmitter) source() Source {
	return Source{Name: "idp", Kind: "ssf", Issuer: "https://idp.example.com", Audience: "rotator", Keys: tr.URL + "/jwks"}
}

func TestPush(t *testing.T) {
	tr := newTransmitter(t)
	e := newEdge(t, tr.source())
	header := map[string]string{"Content-Type": "application/secevent+jwt"}
	token := tr.set(claimsOf("j1", e.now, disabled))
	if status, answer := e.do("POST", "/v1/idp", token, header); status != 202 || answer != "" || len(e.published()) != 1 {
		t.Fatal(status, answer)
	}
	if ev := e.published()[0]; ev.ID != "j1" || ev.Offboarding.Severity != "critical" || ev.Offboarding.Person.Identifiers[0].Email != "a@example.com" {
		t.Errorf("%+v", ev)
	}
	again := tr.set(claimsOf("j1", e.now.Add(time.Second), disabled)) // another token with the same id
	for _, one := range []string{token, again} {
		if status, _ := e.do("POST", "/v1/idp", one, header); status != 202 || len(e.published()) != 1 {
			t.Error("the same jti twice:", status)
		}
	}
	old := *tr.key
	tr.roll("k2")
	if status, answer := e.do("POST", "/v1/idp", tr.set(claimsOf("j2", e.now, disabled)), header); status != 503 || tr.fetched != 1 {
		t.Error("a key may be new, and the keys were just read:", status, answer, tr.fetched)
	}
	e.now = e.now.Add(2 * time.Minute)
	if status, answer := e.do("POST", "/v1/idp", tr.set(claimsOf("j2", e.now, disabled)), header); status != 202 || len(e.published()) != 2 || tr.fetched != 2 {
		t.Error("after the transmitter has changed its key:", status, answer, tr.fetched)
	}
	e.now = e.now.Add(2 * time.Minute)
	if status, answer := e.do("POST", "/v1/idp", tr.sign(jose.RS256, &old, "k1", "secevent+jwt", claimsOf("j3", e.now, disabled)), header); status != 400 || !strings.Contains(answer, `"err":"invalid_key"`) {
		t.Error("the old key:", status, answer)
	}
	for name, token := range map[string]string{
		"a verification":  tr.set(claimsOf("v1", e.now, `"https://schemas.openid.net/secevent/ssf/event-type/verification":{"state":"x"}`)),
		"a paused stream": tr.set(claimsOf("v2", e.now, `"https://schemas.openid.net/secevent/ssf/event-type/stream-updated":{"status":"paused"}`)),
		"a session":       tr.set(claimsOf("v3", e.now, `"https://schemas.openid.net/secevent/caep/event-type/session-revoked":{}`)),
	} {
		if status, answer := e.do("POST", "/v1/idp", token, header); status != 202 || len(e.published()) != 2 {
			t.Error(name, status, answer)
		}
	}
	if !strings.Contains(e.log.String(), "leavers are missed") {
		t.Error("a paused stream is not said aloud")
	}
}

// TestForgedTokens: nothing but a token of this issuer, for us, of now, signed as configured, is believed.
func TestForgedTokens(t *testing.T) {
	tr := newTransmitter(t)
	e := newEdge(t, tr.source())
	good := claimsOf("j", e.now, disabled)
	valid := tr.set(good)
	parts := strings.Split(valid, ".")
	flipped := []byte(valid)
	flipped[len(parts[0])+10] ^= 1
	other := newTransmitter(t)
	for name, c := range map[string]struct{ token, code string }{
		"one byte changed": {string(flipped), "invalid_key"},
		"no signature":     {parts[0] + "." + parts[1] + ".", "invalid_"},
		"alg none":         {"eyJhbGciOiJub25lIiwidHlwIjoic2VjZXZlbnQrand0In0." + parts[1] + ".", "invalid_request"},
		"HS256":            {tr.sign(jose.HS256, []byte(strings.Repeat("k", 32)), "k1", "secevent+jwt", good), "invalid_request"},
		"PS256":            {tr.sign(jose.PS256, tr.key, "k1", "secevent+jwt", good), "invalid_request"},
		"another key":      {other.sign(jose.RS256, other.key, "k1", "secevent+jwt", good), "invalid_key"},
		"an access token":  {tr.sign(jose.RS256, tr.key, "k1", "at+jwt", good), "invalid_request"},
		"another issuer":   {tr.set(strings.Replace(good, "idp.example", "evil.example", 1)), "invalid_issuer"},
		"another audience": {tr.set(strings.Replace(good, `"rotator"`, `"someone"`, 1)), "invalid_audience"},
		"yesterday's":      {tr.set(claimsOf("j", e.now.Add(-30*24*time.Hour), disabled)), "invalid_request"},
		"tomorrow's":       {tr.set(claimsOf("j", e.now.Add(time.Hour), disabled)), "invalid_request"},
		"with sub":         {tr.set(strings.Replace(good, `"jti"`, `"sub":"a","jti"`, 1)), "invalid_request"},
		"with exp":         {tr.set(strings.Replace(good, `"jti"`, `"exp":1,"jti"`, 1)), "invalid_request"},
		"without id":       {tr.set(claimsOf("", e.now, disabled)), "invalid_request"},
		"two events":       {tr.set(claimsOf("j", e.now, disabled+`,"x":{}`)), "invalid_request"},
		"no token":         {"hello", "invalid_request"},
	} {
		e.now = e.now.Add(time.Second) // the bucket of failures fills again
		e.in.failures = newBuckets(failureRate, failureBurst, nil)
		if status, answer := e.do("POST", "/v1/idp", c.token, nil); status != 400 || !strings.Contains(answer, `"err":"`+c.code) || !strings.Contains(answer, `"description":"`) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	if len(e.published()) != 0 {
		t.Error("a forged token was believed")
	}
	var why []string
	for _, l := range e.letters {
		why = append(why, strings.TrimPrefix(l.Why, "invalid_request: "))
	}
	slices.Sort(why) // the issuer has signed these, and for us; the claims of all others are nobody's
	if want := []string{"exp must", "iat is", "iat is", "jti is", "reading a message of ssf", "sub must"}; !slices.EqualFunc(why, want, strings.HasPrefix) {
		t.Errorf("kept: %q", why)
	}
	e.in.sources["idp"].limit = rate.NewLimiter(0, 1)
	for range 3 {
		e.do("POST", "/v1/idp", other.sign(jose.RS256, other.key, "k1", "secevent+jwt", good), nil)
	}
	if status, _ := e.do("POST", "/v1/idp", valid, nil); status != 202 {
		t.Error("the one that was not forged, and whose rate the others must not use up:", status)
	}
	e.in.sources["idp"].limit = rate.NewLimiter(sourceRate, sourceBurst)
	tr.Close()
	e.in.sources["idp"].sets.raw = nil
	if status, _ := e.do("POST", "/v1/idp", tr.set(claimsOf("k", e.now, disabled)), nil); status != 503 {
		t.Error("without keys:", status)
	}
}

// TestKeysThatHang: who publishes the keys does not answer. Forged tokens with names of keys that nobody knows make us ask once, hold up no
// token of a known key, and end; then nobody asks again until it is time.
func TestKeysThatHang(t *testing.T) {
	tr := newTransmitter(t)
	e := newEdge(t, tr.source())
	if status, answer := e.do("POST", "/v1/idp", tr.set(claimsOf("j0", e.now, disabled)), nil); status != 202 {
		t.Fatal(status, answer)
	}
	tr.hang = make(chan struct{})
	answered := sync.OnceFunc(func() { close(tr.hang) })
	t.Cleanup(answered)
	e.in.sources["idp"].sets.limit = time.Hour
	e.now = e.now.Add(2 * keysOnce)
	other := newTransmitter(t)
	ended := make(chan int, maxInFlight)
	for i := range maxInFlight {
		go func() {
			status, _ := e.do("POST", "/v1/idp", other.sign(jose.RS256, other.key, "unknown", "secevent+jwt", claimsOf("f", e.now, disabled)), map[string]string{"X-Forwarded-For": fmt.Sprintf("198.51.100.%d", i)})
			ended <- status
		}()
	}
	for range maxInFlight - keysWaiting { // the others wait, and more do not
		select {
		case status := <-ended:
			if status != 503 {
				t.Errorf("forged, meanwhile: %d", status)
			}
		case <-time.After(5 * time.Second): // before the client gives up
			t.Fatal("they all wait for keys that do not come")
		}
	}
	if status, answer := e.do("POST", "/v1/idp", tr.set(claimsOf("j1", e.now, disabled)), nil); status != 202 {
		t.Errorf("a known key, meanwhile: %d %s", status, answer)
	}
	answered()
	for range keysWaiting {
		if status := <-ended; status != 503 && status != 400 {
			t.Errorf("forged, afterwards: %d", status)
		}
	}
	if tr.fetched != 2 {
		t.Errorf("the keys were asked for %d times", tr.fetched)
	}
}

// TestKeysThatNeverCame: without any keys the sender is told to come back, at once, and nobody is asked again until it is time. A page that
// is no key set does not take the place of one.
func TestKeysThatNeverCame(t *testing.T) {
	var mu sync.Mutex
	asked, say := 0, func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		say(w)
	}))
	defer keys.Close()
	tr := newTransmitter(t)
	s := tr.source()
	s.Keys = keys.URL
	e := newEdge(t, s)
	send := func(jti string, want, fetched int) {
		t.Helper()
		status, answer := e.do("POST", "/v1/idp", tr.set(claimsOf(jti, e.now, disabled)), nil)
		mu.Lock()
		defer mu.Unlock()
		if status != want || asked != fetched {
			t.Errorf("%d %s, asked %d times", status, answer, asked)
		}
	}
	send("a", 503, 1)
	send("a", 503, 1)
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: tr.key.Public(), KeyID: tr.id, Algorithm: "RS256", Use: "sig"}}}
	will := func(next func(http.ResponseWriter)) {
		mu.Lock()
		defer mu.Unlock()
		say = next
	}
	will(func(w http.ResponseWriter) { answer(w, 200, set) })
	e.now = e.now.Add(keysOnce)
	send("a", 202, 2)
	will(func(w http.ResponseWriter) { echo(w, "<html>log in to the network</html>") })
	e.now = e.now.Add(keysAge)
	send("b", 202, 3)
	send("c", 202, 3)
}

// TestAgreedAuthorization: beside the signature of the token, in the words of RFC 8935.
func TestAgreedAuthorization(t *testing.T) {
	tr := newTransmitter(t)
	s := tr.source()
	s.Secrets = secrets("agreed")
	e := newEdge(t, s)
	token := tr.set(claimsOf("j", e.now, disabled))
	for _, header := range []map[string]string{nil, {"Authorization": "Bearer another"}} {
		if status, answer := e.do("POST", "/v1/idp", token, header); status != 400 || !strings.Contains(answer, `"err":"authentication_failed"`) || len(e.published()) > 0 {
			t.Error(status, answer)
		}
	}
	if status, answer := e.do("POST", "/v1/idp", token, map[string]string{"Authorization": "Bearer agreed"}); status != 202 {
		t.Error(status, answer)
	}
}

// TestPubSub: a push of Google's Pub/Sub is known by a token that Google has signed, for us and for one account, and by nothing else.
func TestPubSub(t *testing.T) {
	tr := newTransmitter(t)
	const account = "push@project.iam.gserviceaccount.com"
	e := newEdge(t, Source{Name: "alerts", Kind: "google", Issuer: "https://accounts.google.com", Audience: "https://edge.example.com", Email: account, Keys: tr.URL + "/jwks"})
	claims := func(aud, email string, verified bool, exp time.Time) string {
		return fmt.Sprintf(`{"iss":"https://accounts.google.com","aud":%q,"email":%q,"email_verified":%v,"exp":%d,"sub":"1"}`, aud, email, verified, exp.Unix())
	}
	later := e.now.Add(time.Hour)
	good := claims("https://edge.example.com", account, true, later)
	alert, err := json.Marshal(map[string]any{"message": map[string]any{"data": []byte(`{"alertId":"a1","type":"Leaked password","data":{"email":"a@example.com"}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	other := newTransmitter(t)
	for name, token := range map[string]string{
		"another audience":      tr.sign(jose.RS256, tr.key, "k1", "JWT", claims("https://else.example.com", account, true, later)),
		"another account":       tr.sign(jose.RS256, tr.key, "k1", "JWT", claims("https://edge.example.com", "evil@project.iam.gserviceaccount.com", true, later)),
		"an unverified account": tr.sign(jose.RS256, tr.key, "k1", "JWT", claims("https://edge.example.com", account, false, later)),
		"another issuer":        tr.sign(jose.RS256, tr.key, "k1", "JWT", strings.Replace(good, "accounts.google", "accounts.evil", 1)),
		"yesterday's":           tr.sign(jose.RS256, tr.key, "k1", "JWT", claims("https://edge.example.com", account, true, e.now.Add(-time.Hour))),
		"another key":           other.sign(jose.RS256, other.key, "k1", "JWT", good),
		"HS256":                 tr.sign(jose.HS256, []byte(strings.Repeat("k", 32)), "k1", "JWT", good),
		"an event token":        tr.sign(jose.RS256, tr.key, "k1", "secevent+jwt", good),
		"no token":              "a.b.c",
		"none":                  "",
	} {
		if status, answer := e.do("POST", "/v1/alerts", string(alert), map[string]string{"Authorization": "Bearer " + token}); status != 401 || len(e.published()) > 0 {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	if status, answer := e.do("POST", "/v1/alerts", string(alert), map[string]string{"Authorization": "Bearer " + tr.sign(jose.RS256, tr.key, "k1", "JWT", good)}); status != 200 || len(e.published()) != 1 {
		t.Fatal(status, answer)
	}
	if p := e.published()[0].Leak.Person; p == nil || p.Identifiers[0].Email != "a@example.com" {
		t.Errorf("%+v", p)
	}
}

// TestPoll: what was published is acknowledged, what is forged is refused by name, what could not be published stays.
func TestPoll(t *testing.T) {
	tr := newTransmitter(t)
	s := tr.source()
	s.PollURL, s.Secrets = tr.URL+"/poll", secrets("poll-token")
	e := newEdge(t, s)
	tr.sets["a"] = tr.set(claimsOf("a", e.now, disabled))
	tr.sets["b"] = tr.set(strings.Replace(claimsOf("b", e.now, disabled), "idp.example", "evil.example", 1))
	e.refuse = errors.New("NATS is away")
	var done answers
	ctx := t.Context()
	src := e.in.sources["idp"]
	if _, err := e.in.pollOnce(ctx, http.DefaultClient, src, &done); err == nil || len(done.Ack) > 0 {
		t.Fatal("nothing was published, and it was acknowledged:", err, done)
	}
	e.mu.Lock()
	e.refuse = nil
	e.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- e.in.poll(ctx, src) }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		tr.mu.Lock()
		over := len(tr.sets) == 0
		tr.mu.Unlock()
		if over || time.Now().After(deadline) {
			break
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !slices.Equal(tr.acked, []string{"a"}) || tr.errs["b"].Err != "invalid_issuer" || len(e.published()) != 1 {
		t.Errorf("acked %v, errors %v, published %d", tr.acked, tr.errs, len(e.published()))
	}
}

// TestPollWithANewKey: a token of a key that may just be new is neither acknowledged nor refused, and the others are taken. Once the keys
// were read again it is one or the other.
func TestPollWithANewKey(t *testing.T) {
	tr := newTransmitter(t)
	s := tr.source()
	s.PollURL, s.Secrets = tr.URL+"/poll", secrets("poll-token")
	e := newEdge(t, s)
	tr.sets["a"] = tr.set(claimsOf("a", e.now, disabled))
	var done answers
	poll := func(young bool) {
		t.Helper()
		if _, err := e.in.pollOnce(t.Context(), http.DefaultClient, e.in.sources["idp"], &done); (err != nil) != young {
			t.Error(err)
		}
	}
	poll(false)
	tr.sets["b"] = tr.set(claimsOf("b", e.now, disabled))
	tr.roll("k2")
	tr.sets["c"] = tr.set(claimsOf("c", e.now, disabled))
	other := newTransmitter(t)
	tr.sets["d"] = other.sign(jose.RS256, other.key, "k9", "secevent+jwt", claimsOf("d", e.now, disabled))
	poll(true)
	if !slices.Equal(done.Ack, []string{"b"}) || len(done.Errs) != 0 {
		t.Errorf("before the keys are read again: %+v", done)
	}
	for range 3 { // whichever of the two comes first makes the keys be read
		e.now = e.now.Add(keysOnce)
		_, _ = e.in.pollOnce(t.Context(), http.DefaultClient, e.in.sources["idp"], &done)
	}
	if !slices.Equal(tr.acked, []string{"a", "b", "c"}) || len(tr.errs) != 1 || tr.errs["d"].Err != "invalid_key" || len(e.published()) != 3 {
		t.Errorf("acked %v, refused %v, %d events", tr.acked, tr.errs, len(e.published()))
	}
}

var _ crypto.Signer = (*rsa.PrivateKey)(nil)
