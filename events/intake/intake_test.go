package intake

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
)

const canary = "canary-6d1f-value-of-a-secret"

// memory is a Store in this process, which may be told to fail.
type memory struct {
	mu   sync.Mutex
	all  map[string][]byte
	fail bool
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail {
		return nil, errors.New("no store")
	}
	return m.all[key], nil
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail {
		return errors.New("no store")
	}
	if m.all == nil {
		m.all = make(map[string][]byte)
	}
	m.all[key] = bytes.Clone(value)
	return nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, key)
	return nil
}

// edge is an Intake with everything around it.
type edge struct {
	*testing.T
	in  *Intake
	srv *httptest.Server
	now time.Time

	mu      sync.Mutex
	got     []events.Event
	letters []Letter
	refuse  error // of Publish
	counts  map[string]int
	log     bytes.Buffer
}

func (e *edge) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log.Write(p)
}

func newEdge(t *testing.T, sources ...Source) *edge {
	t.Helper()
	e := &edge{T: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), counts: make(map[string]int)}
	in, err := Open(t.Context(), Config{
		Sources: sources, Seen: &memory{}, People: &memory{}, Log: zerolog.New(e), Now: func() time.Time { return e.now },
		Publish: func(ctx context.Context, ev events.Event) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			if err := cmp.Or(e.refuse, ctx.Err()); err != nil {
				return err
			}
			if _, err := events.Encode(ev); err != nil {
				t.Errorf("an event that would be refused: %v", err)
			}
			e.got = append(e.got, ev)
			return nil
		},
		Count: func(source, result string) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.counts[source+" "+result]++
		},
		Bury: func(_ context.Context, l Letter) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.letters = append(e.letters, l)
			return nil
		},
		Hash: func(context.Context) (func(string) events.Fingerprint, error) {
			return func(v string) events.Fingerprint {
				return events.Fingerprint{Alg: "hmac-sha256", KeyID: "test", Value: hex.EncodeToString(mac(sha256.New, []byte("k"), []byte(v)))}
			}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.in = in
	e.srv = httptest.NewServer(in.Handler())
	t.Cleanup(func() {
		e.srv.Close()
		all, _ := json.Marshal(e.got)
		letters, _ := json.Marshal(e.letters)
		if strings.Contains(e.log.String()+string(all)+string(letters), canary) {
			t.Errorf("the secret is in the log, an event or a dead letter: %s", e.log.String())
		}
	})
	return e
}

func (e *edge) do(method, path, body string, header map[string]string) (status int, answer string) {
	e.Helper()
	req, err := http.NewRequestWithContext(e.Context(), method, e.srv.URL+path, strings.NewReader(body))
	if err != nil {
		e.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := e.srv.Client().Do(req)
	if err != nil {
		e.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		e.Fatal(err)
	}
	if strings.Contains(string(raw), canary) {
		e.Errorf("the answer repeats the secret: %s", raw)
	}
	return res.StatusCode, string(raw)
}

func (e *edge) published() []events.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got
}

func (e *edge) counted(source, result string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts[source+" "+result]
}

func secrets(s ...string) func() ([]string, error) { return func() ([]string, error) { return s, nil } }

func sample(t testing.TB, name string) string {
	t.Helper()
	body, err := os.ReadFile("../adapt/testdata/messages/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func hexMAC(key string, parts ...string) string {
	m := hmac.New(sha256.New, []byte(key))
	for _, p := range parts {
		io.WriteString(m, p)
	}
	return hex.EncodeToString(m.Sum(nil))
}

// TestVectors: the vendors' own examples.
func TestVectors(t *testing.T) {
	at := func(sec int64) time.Time { return time.Unix(sec, 0) }
	for name, c := range map[string]struct {
		check  check
		secret string
		body   string
		header map[string]string
		now    time.Time
	}{
		"github":           {hub256, "It's a Secret to Everybody", "Hello, World!", map[string]string{"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}, at(0)},
		"gitguardian":      {gitguardianSigned, "foo", "bar", map[string]string{"Timestamp": "0", "Gitguardian-Signature": "sha256=172fe3d694b734aa53dc892fd3b8d62163fc240064de570ba006900bb54a0fc2"}, at(1)},
		"standard webhook": {standardWebhook, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"test": 2432232314}`, map[string]string{"Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "Webhook-Timestamp": "1614265330", "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}, at(1614265330)},
		"slack":            {slackSigned, "8f742231b10e8888abcd99yyyzzz85a5", "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c", map[string]string{"X-Slack-Request-Timestamp": "1531420618", "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"}, at(1531420618)},
	} {
		try := func(secret, body string, header map[string]string, now time.Time) error {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
			for k, v := range header {
				r.Header.Set(k, v)
			}
			return c.check(t.Context(), &source{Source: Source{Secrets: secrets("another", secret)}}, r, []byte(body), now)
		}
		if err := try(c.secret, c.body, c.header, c.now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		changed := []byte(c.body)
		changed[len(changed)/2] ^= 1
		if err := try(c.secret, string(changed), c.header, c.now); !errors.Is(err, errForged) {
			t.Errorf("%s, one byte changed: %v", name, err)
		}
		if err := try(c.secret+"x", c.body, c.header, c.now); !errors.Is(err, errForged) {
			t.Errorf("%s, another secret: %v", name, err)
		}
		if err := try(c.secret, c.body, nil, c.now); !errors.Is(err, errForged) {
			t.Errorf("%s, no signature: %v", name, err)
		}
		if err := try(c.secret, c.body, c.header, c.now.Add(time.Hour)); name != "github" && !errors.Is(err, errStale) {
			t.Errorf("%s, an hour later: %v", name, err)
		}
	}
}

// TestPartnerSample: GitHub's own signed example.
func TestPartnerSample(t *testing.T) {
	e := newEdge(t, Source{Name: "partner", Kind: "github-partner", Keys: "../adapt/testdata/messages/github-partner-signed-2.pub.pem"})
	body := strings.TrimSpace(sample(t, "github-partner-signed-2.json"))
	header := map[string]string{"Github-Public-Key-Identifier": "k", "Github-Public-Key-Signature": strings.TrimSpace(sample(t, "github-partner-signed-2.sig.b64"))}
	if status, answer := e.do("POST", "/v1/partner", body, header); status != 200 || len(e.published()) != 1 {
		t.Fatal(status, answer)
	}
	if l := e.published()[0].Leak; l.Credential.Fingerprints[0].Value == "" || l.Severity != "critical" {
		t.Errorf("%+v", l)
	}
	if status, _ := e.do("POST", "/v1/partner", strings.Replace(body, "some_url", "sOme_url", 1), header); status != 401 {
		t.Error(status)
	}
}

// TestEverySource: each kind takes its own message with its own proof, and refuses it without.
func TestEverySource(t *testing.T) {
	const secret = "s3cr3t-for-tests"
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix()
	at := fmt.Sprint(now)
	radar := func(body string) string {
		m := hmac.New(sha512.New, []byte(secret))
		io.WriteString(m, body)
		return hex.EncodeToString(m.Sum(nil))
	}
	bearer := map[string]string{"Authorization": "Bearer " + secret}
	for kind, c := range map[string]struct {
		body   string
		header map[string]string
		status int
	}{
		"github":            {sample(t, "github-secret_scanning_alert-reopened-1.json"), map[string]string{"X-GitHub-Delivery": "d", "X-Hub-Signature-256": "sha256=" + hexMAC(secret, sample(t, "github-secret_scanning_alert-reopened-1.json"))}, 200},
		"gitguardian":       {sample(t, "gitguardian-incident_triggered-1.json"), map[string]string{"Timestamp": at, "Gitguardian-Signature": "sha256=" + hexMAC(at+secret, sample(t, "gitguardian-incident_triggered-1.json"))}, 200},
		"gitlab":            {`{"object_kind":"vulnerability","object_attributes":{"report_type":"secret_detection","state":"detected","severity":"high","url":"https://g/1","title":"t"}}`, map[string]string{"X-Gitlab-Token": secret}, 200},
		"gitlab-revocation": {strings.Replace(sample(t, "gitlab-token-revocation-1.json"), "glpat--8GMtG8Mf4EnMJzmAWDU", canary, 1), bearer, 204},
		"vault-radar":       {sample(t, "vault-radar-1.json"), map[string]string{"X-HCP-Radar-Signature": "sha512=" + radar(sample(t, "vault-radar-1.json")), "X-HCP-Radar-Timestamp": at}, 200},
		"aws":               {sample(t, "aws-health-risk-1.json"), map[string]string{"X-Api-Key": secret}, 200},
		"okta":              {`{"source":"https://o.okta.com/x","data":{"events":[` + sample(t, "okta-logevent-user.lifecycle.deactivate-1.json") + `]}}`, map[string]string{"Authorization": secret}, 200},
		"google":            {`{"id":{"time":"2025-01-01T00:00:00Z","uniqueQualifier":"1"},"events":[{"name":"SUSPEND_USER","parameters":[{"name":"USER_EMAIL","value":"a@example.com"}]}]}`, map[string]string{"X-Goog-Channel-Token": secret}, 200},
		"entra":             {`{"value":[{"id":"n","clientState":"` + secret + `","changeType":"deleted","resource":"Users/o-1","tenantId":"t-1","resourceData":{"@odata.type":"#Microsoft.Graph.User","id":"o-1"}}]}`, nil, 200},
		"slack":             {`{"event_id":"Ev1","event":{"type":"user_change","user":{"id":"U1","deleted":true,"profile":{"email":"a@example.com"}}}}`, map[string]string{"X-Slack-Request-Timestamp": at, "X-Slack-Signature": "v0=" + hexMAC(secret, "v0:"+at+":", `{"event_id":"Ev1","event":{"type":"user_change","user":{"id":"U1","deleted":true,"profile":{"email":"a@example.com"}}}}`)}, 200},
		"auth0":             {`{"id":"e","type":"user.deleted","source":"urn:auth0:t","data":{"object":{"user_id":"auth0|1"}}}`, bearer, 200},
		"bamboohr":          {`{"type":"employee.deleted","timestamp":"2025-01-31T18:42:00+0000","data":{"companyId":"12","employeeId":"67"}}`, map[string]string{"X-BambooHR-Timestamp": at, "X-BambooHR-Signature": hexMAC(secret, `{"type":"employee.deleted","timestamp":"2025-01-31T18:42:00+0000","data":{"companyId":"12","employeeId":"67"}}`, at)}, 200},
		"report":            {`{"SourceMetadata":{"Data":{"Git":{"file":"f","commit":"c"}}},"DetectorName":"X","Verified":true,"Raw":"` + canary + `"}`, bearer, 200},
		"events":            {strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(sample(t, "aws-health-risk-1.canonical.json")), "["), "]"), bearer, 200},
	} {
		t.Run(kind, func(t *testing.T) {
			name := "my-" + kind
			e := newEdge(t, Source{Name: name, Kind: kind, Secrets: secrets("older", secret)})
			status, answer := e.do("POST", "/v1/"+name, c.body, c.header)
			if status != c.status || len(e.published()) == 0 || e.published()[0].Publisher != name {
				t.Fatalf("%d %s: %v", status, answer, e.published())
			}
			n := len(e.published())
			if status, _ := e.do("POST", "/v1/"+name, strings.Replace(c.body, secret, "forged", 1), nil); status != 401 {
				t.Errorf("without any proof: %d", status)
			}
			forged := map[string]string{}
			for k, v := range c.header {
				forged[k] = v
				if !strings.Contains(strings.ToLower(k), "timestamp") {
					forged[k] = v[:len(v)-1] + map[bool]string{true: "1", false: "0"}[strings.HasSuffix(v, "0")]
				}
			}
			if c.header != nil {
				if status, _ := e.do("POST", "/v1/"+name, c.body, forged); status != 401 {
					t.Errorf("with a forged proof: %d", status)
				}
			}
			if len(e.published()) != n {
				t.Error("what was refused was published")
			}
			if status, _ := e.do("GET", "/v1/"+name, "", c.header); status != 405 && status != 401 { // a signature of the body does not fit an empty one
				t.Errorf("GET: %d", status)
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	e := newEdge(t, Source{Name: "okta", Kind: "okta", Secrets: secrets("t")}, Source{Name: "aws", Kind: "aws", Secrets: secrets("t")})
	token := map[string]string{"Authorization": "t"}
	for name, c := range map[string]struct {
		path, body string
		status     int
		says       string
	}{
		"unknown source": {"/v1/nobody", "{}", 404, "no such source"},
		"another path":   {"/health", "", 404, "sources are at"},
		"below a source": {"/v1/okta/x", "{}", 404, "below"},
		"no JSON":        {"/v1/okta", `{"data":` + canary, 400, "no valid JSON"},
		"nothing":        {"/v1/okta", "", 400, "no valid JSON"},
		"too large":      {"/v1/okta", strings.Repeat("x", maxBody+1), 413, "1 MiB"},
	} {
		if status, answer := e.do("POST", c.path, c.body, token); status != c.status || !strings.Contains(answer, c.says) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	if len(e.published())+len(e.letters) > 0 {
		t.Error("something was published or kept")
	}
}

// TestAuthenticIsNeverLost: a message that nobody understands, or that has a field of another type, is kept - without its body if that holds
// a secret - and the answer names the field. Whoever reads the answer is told with 400, the others as if it were taken: they would not
// send it again. What is not authentic is not kept.
func TestAuthenticIsNeverLost(t *testing.T) {
	const types = "gitleaks_rule_id_gitlab_personal_access_token"
	e := newEdge(t, Source{Name: "okta", Kind: "okta", Secrets: secrets("t")}, Source{Name: "aws", Kind: "aws", Secrets: secrets("t")}, Source{Name: "hr", Kind: "bamboohr", Secrets: secrets("t")},
		Source{Name: "gh", Kind: "github", Secrets: secrets("t")}, Source{Name: "bridge", Kind: "events", Secrets: secrets("t")}, Source{Name: "ci", Kind: "report", Secrets: secrets("t")},
		Source{Name: "lab", Kind: "gitlab-revocation", Secrets: secrets("t"), Types: []string{types}}, Source{Name: "idp", Kind: "scim", Secrets: secrets("t")})
	at := fmt.Sprint(e.now.Unix())
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
		dropped            bool
	}{
		{"POST", "/v1/okta", `{"data":{"events":"later"}}`, 202, "data.events", false},
		{"POST", "/v1/aws", `{"source":"aws.health","detail":{"affectedEntities":"later"}}`, 202, "affected", false},
		{"POST", "/v1/hr", `{"type":["employee.deleted"]}`, 202, "type", false},
		{"POST", "/v1/gh", `{"something":"new"}`, 202, "no kind that is known", false},
		{"POST", "/v1/gh", `{"something":"new","token":"` + canary + `"}`, 202, "no kind that is known", true},
		{"POST", "/v1/bridge", `{"specversion":"1.0","type":"rotator.credential.leaked.v2"}`, 400, "type", false},
		{"POST", "/v1/ci", `{"new":"report"}`, 400, "format", true},
		{"POST", "/v1/lab/v1/revoke_tokens", `[{"type":"` + types + `","token":["` + canary + `"]}]`, 400, "than expected", true},
		{"PATCH", "/v1/idp/Users/1", `{"Operations":[{"op":"replace","path":"active","value":"nein"}]}`, 400, "operations[0].value", false},
		{"PUT", "/v1/idp/Users/1", `{"active":false,"emails":"none"}`, 400, "emails", false},
		{"PATCH", "/v1/idp/Users/1", `[]`, 400, "SCIM patch", false},
	} {
		kept := len(e.letters)
		if status, _ := e.do(c.method, c.path, c.body, map[string]string{"Authorization": "forged"}); status != 401 || len(e.letters) != kept {
			t.Errorf("%s, not authentic: %d, %d letters", c.path, status, len(e.letters)-kept)
		}
		header := map[string]string{"Authorization": "t", "X-Hub-Signature-256": "sha256=" + hexMAC("t", c.body), "X-BambooHR-Timestamp": at, "X-BambooHR-Signature": hexMAC("t", c.body, at)}
		status, answer := e.do(c.method, c.path, c.body, header)
		if status != c.status || !strings.Contains(answer, c.says) || len(e.letters) != kept+1 {
			t.Errorf("%s: %d %s, %d letters", c.path, status, answer, len(e.letters)-kept)
			continue
		}
		if l := e.letters[kept]; !strings.Contains(l.Why, c.says) || !strings.Contains(l.Why, strings.TrimPrefix(c.path, "/v1/idp")) && strings.HasPrefix(c.path, "/v1/idp") || (l.Body == nil) != c.dropped || l.Size != len(c.body) || l.Body != nil && string(l.Body) != c.body {
			t.Errorf("%s: %+v", c.path, l)
		}
	}
	if len(e.published()) != 0 {
		t.Errorf("published: %v", e.published())
	}
}

// TestAReplayIsNotPublishedAgain: not with the same headers, and not with others that nobody has signed.
func TestAReplayIsNotPublishedAgain(t *testing.T) {
	e := newEdge(t, Source{Name: "gh", Kind: "github", Secrets: secrets("t")})
	body := sample(t, "github-secret_scanning_alert-reopened-1.json")
	send := func(delivery string) string {
		status, answer := e.do("POST", "/v1/gh", body, map[string]string{"X-GitHub-Delivery": delivery, "X-Hub-Signature-256": "sha256=" + hexMAC("t", body)})
		if status != 200 {
			t.Fatal(status, answer)
		}
		return answer
	}
	send("1")
	for _, d := range []string{"1", "2"} {
		if answer := send(d); !strings.Contains(answer, `"seen_before":true`) {
			t.Error(answer)
		}
	}
	e.now = e.now.Add(25 * time.Hour) // who is removed from a team twice looks the same
	send("3")
	if n := len(e.published()); n != 2 {
		t.Errorf("%d events", n)
	}
}

// TestNothingIsConfirmedThatIsNotDurable: neither when the event cannot be published nor when the memory does not answer.
func TestNothingIsConfirmedThatIsNotDurable(t *testing.T) {
	e := newEdge(t, Source{Name: "aws", Kind: "aws", Secrets: secrets("t")}, Source{Name: "gh", Kind: "github", Secrets: secrets("t")})
	e.refuse = errors.New("NATS is away")
	aws := sample(t, "aws-health-risk-1.json")
	if status, answer := e.do("POST", "/v1/aws", aws, map[string]string{"X-Api-Key": "t"}); status != 503 || strings.Contains(answer, "NATS") {
		t.Fatal(status, answer)
	}
	e.refuse = nil
	seen := e.in.Seen.(*memory)
	seen.fail = true
	gh := sample(t, "github-secret_scanning_alert-reopened-1.json")
	header := map[string]string{"X-Hub-Signature-256": "sha256=" + hexMAC("t", gh)}
	if status, _ := e.do("POST", "/v1/gh", gh, header); status != 503 || len(e.published()) != 0 {
		t.Fatal(status)
	}
	seen.fail = false
	if status, _ := e.do("POST", "/v1/gh", gh, header); status != 200 || len(e.published()) != 1 {
		t.Fatal(status)
	}
	e.in.sources["aws"].Secrets = func() ([]string, error) { return nil, errors.New("the file is away") }
	if status, _ := e.do("POST", "/v1/aws", aws, map[string]string{"X-Api-Key": "t"}); status != 503 {
		t.Error(status)
	}
}

// TestAnAnswerThatWasLost: the event is in the stream, and we do not know it. The sender tries again, and it is the same event.
func TestAnAnswerThatWasLost(t *testing.T) {
	e := newEdge(t, Source{Name: "gh", Kind: "github", Secrets: secrets("t")}, Source{Name: "ci", Kind: "report", Secrets: secrets("t")})
	publish, lost := e.in.Publish, true
	e.in.Publish = func(ctx context.Context, ev events.Event) error {
		err := publish(ctx, ev)
		if lost {
			return errors.New("the answer was lost")
		}
		return err
	}
	alert := sample(t, "github-secret_scanning_alert-reopened-1.json")
	for i, c := range []struct {
		path, body string
		header     map[string]string
	}{
		{"/v1/gh", alert, map[string]string{"X-Hub-Signature-256": "sha256=" + hexMAC("t", alert)}},
		{"/v1/ci", `{"SourceMetadata":{"Data":{"Git":{"file":"f"}}},"DetectorName":"X","Raw":"` + canary + `"}`, map[string]string{"Authorization": "t"}},
	} {
		for _, want := range []int{503, 200} {
			lost = want == 503
			if status, answer := e.do("POST", c.path, c.body, c.header); status != want {
				t.Errorf("%s: %d %s", c.path, status, answer)
			}
			e.now = e.now.Add(10 * time.Minute)
		}
		if got := e.published(); len(got) != 2*i+2 || got[2*i].Key() != got[2*i+1].Key() {
			t.Errorf("%s: another event: %+v", c.path, got)
		}
	}
	if status, answer := e.do("GET", "/healthz", "", nil); status != 200 || answer != "ok\n" {
		t.Error(status, answer)
	}
	e.in.Ready = func(context.Context) error { return errors.New("away") }
	if status, _ := e.do("GET", "/healthz", "", nil); status != 503 {
		t.Error(status)
	}
}

// TestAFloodIsThrottled: a forger is held back, and others are served; a source that goes mad is held back as well.
func TestAFloodIsThrottled(t *testing.T) {
	e := newEdge(t, Source{Name: "aws", Kind: "aws", Secrets: secrets("t")})
	body := sample(t, "aws-health-risk-1.json")
	count := map[int]int{}
	for range 3 * failureBurst {
		status, _ := e.do("POST", "/v1/aws", body, nil)
		count[status]++
	}
	if count[401] != failureBurst || count[429] != 2*failureBurst {
		t.Errorf("forged: %v", count)
	}
	e.now = e.now.Add(time.Minute)
	count = map[int]int{}
	for range sourceBurst + 50 {
		status, _ := e.do("POST", "/v1/aws", body, map[string]string{"X-Api-Key": "t"})
		count[status]++
	}
	if count[200] != sourceBurst || count[429] != 50 {
		t.Errorf("authentic: %v", count)
	}
}

func TestHandshakes(t *testing.T) {
	e := newEdge(t, Source{Name: "okta", Kind: "okta", Secrets: secrets("t")}, Source{Name: "entra", Kind: "entra", Secrets: secrets("t")},
		Source{Name: "slack", Kind: "slack", Secrets: secrets("t")}, Source{Name: "gitlab", Kind: "gitlab-revocation", Secrets: secrets("t"), Types: []string{"my_token"}}, Source{Name: "google", Kind: "google", Secrets: secrets("t")})
	if status, answer := e.do("GET", "/v1/okta", "", map[string]string{"Authorization": "t", "X-Okta-Verification-Challenge": "c-1"}); status != 200 || answer != `{"verification":"c-1"}`+"\n" {
		t.Error(status, answer)
	}
	if status, answer := e.do("POST", "/v1/entra?validationToken=a%20b", "", nil); status != 200 || answer != "a b" {
		t.Error(status, answer)
	}
	body, at := `{"type":"url_verification","challenge":"c-2"}`, fmt.Sprint(e.now.Unix())
	if status, answer := e.do("POST", "/v1/slack", body, map[string]string{"X-Slack-Request-Timestamp": at, "X-Slack-Signature": "v0=" + hexMAC("t", "v0:"+at+":", body)}); status != 200 || answer != "c-2" {
		t.Error(status, answer)
	}
	if status, answer := e.do("GET", "/v1/gitlab/v1/revocable_token_types", "", map[string]string{"Authorization": "t"}); status != 200 || answer != `{"types":["my_token"]}`+"\n" {
		t.Error(status, answer)
	}
	for body, want := range map[string]struct{ status, events int }{
		`[{"type":"my_token","token":"` + canary + `"}]`:                                                     {204, 1},
		`[{"type":"another","token":"` + canary + `"}]`:                                                      {400, 0},
		`[{"type":"another","token":"` + canary + `"},{"type":"my_token","token":"` + canary + `-another"}]`: {400, 1},
		`[]`: {204, 0},
	} {
		n := len(e.published())
		if status, answer := e.do("POST", "/v1/gitlab/v1/revoke_tokens", body, map[string]string{"Authorization": "t"}); status != want.status || len(e.published()) != n+want.events {
			t.Errorf("%s: %d %s, %d events", body, status, answer, len(e.published())-n)
		}
	}
	for token, want := range map[string]int{"t": 200, "forged": 401} {
		if status, _ := e.do("POST", "/v1/google", "", map[string]string{"X-Goog-Channel-Token": token, "X-Goog-Resource-State": "sync"}); status != want {
			t.Errorf("a channel that is opened: %d", status)
		}
	}
}

// TestAForm: GitHub can be told to send a form; the signature is over its bytes.
func TestAForm(t *testing.T) {
	e := newEdge(t, Source{Name: "gh", Kind: "github", Secrets: secrets("t")})
	body := "payload=" + strings.NewReplacer("%", "%25", "&", "%26", "+", "%2B", " ", "+").Replace(sample(t, "github-membership-removed-1.json"))
	header := map[string]string{"Content-Type": "application/x-www-form-urlencoded", "X-Hub-Signature-256": "sha256=" + hexMAC("t", body)}
	if status, answer := e.do("POST", "/v1/gh", body, header); status != 200 || len(e.published()) != 1 || e.published()[0].Offboarding == nil {
		t.Fatal(status, answer)
	}
}

// TestGitHubIsAskedForTheValue: by its own API only, and the value becomes a fingerprint.
func TestGitHubIsAskedForTheValue(t *testing.T) {
	asked := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("Authorization") != "Bearer gh-token" || r.URL.Query().Get("hide_secret") != "false" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, `{"number":42,"secret":"`+canary+`"}`)
	}))
	defer api.Close()
	e := newEdge(t, Source{Name: "gh", Kind: "github", Secrets: secrets("t"), Origin: api.URL, FetchToken: func() (string, error) { return "gh-token", nil }})
	for i, url := range []string{api.URL + "/repos/o/r/secret-scanning/alerts/42", "https://elsewhere.example/repos/o/r/secret-scanning/alerts/42", api.URL + "/other"} {
		body := fmt.Sprintf(`{"action":"created","alert":{"number":%d,"url":%q,"secret_type":"x"},"repository":{"full_name":"o/r","url":"https://api.github.com/repos/o/r"}}`, i, url)
		if status, answer := e.do("POST", "/v1/gh", body, map[string]string{"X-Hub-Signature-256": "sha256=" + hexMAC("t", body)}); status != 200 {
			t.Fatal(status, answer)
		}
		if fps := e.published()[i].Leak.Credential.Fingerprints; (len(fps) == 1) != (i == 0) {
			t.Errorf("%s: %v", url, fps)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

func TestStandardWebhookWithAPublicKey(t *testing.T) {
	// v1a of Standard Webhooks: Ed25519 over id.timestamp.body.
	public, private := ed25519Key(t)
	key := "whpk_" + base64.StdEncoding.EncodeToString(public)
	e := newEdge(t, Source{Name: "bridge", Kind: "events", Secrets: secrets(key, "plain")})
	body := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(sample(t, "aws-health-risk-1.canonical.json")), "["), "]")
	at := fmt.Sprint(e.now.Unix())
	sig := base64.StdEncoding.EncodeToString(private("m1." + at + "." + body))
	header := map[string]string{"Webhook-Id": "m1", "Webhook-Timestamp": at, "Webhook-Signature": "v1,AAAA v1a," + sig}
	if status, answer := e.do("POST", "/v1/bridge", body, header); status != 200 || len(e.published()) != 1 {
		t.Fatal(status, answer)
	}
	header["Webhook-Id"] = "m2"
	if status, _ := e.do("POST", "/v1/bridge", body, header); status != 401 {
		t.Error(status)
	}
	if status, answer := e.do("POST", "/v1/bridge", `{"token":"`+canary+`"}`, map[string]string{"Authorization": "Bearer plain"}); status != 400 || !strings.Contains(answer, "raw secret") {
		t.Error(status, answer)
	}
}

// TestAKeyIsNoPassword: whoever knows the public half of a key, or has seen the other one, can send nothing with it but signatures.
func TestAKeyIsNoPassword(t *testing.T) {
	for _, key := range []string{"whpk_MCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		var all []Source
		for _, kind := range []string{"events", "gitlab", "okta", "google", "entra"} {
			all = append(all, Source{Name: kind, Kind: kind, Secrets: secrets(key)})
		}
		e := newEdge(t, all...)
		for _, s := range all {
			for name, value := range map[string]string{"Authorization": key, "authorization": "Bearer " + key, "X-Api-Key": key, "X-Gitlab-Token": key, "X-Goog-Channel-Token": key,
				"AUTHORIZATION": "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+key))} {
				e.in.failures = newBuckets(failureRate, failureBurst, nil)
				if status, answer := e.do("POST", "/v1/"+s.Name, `{"value":[{"clientState":"`+key+`"}]}`, map[string]string{name: value}); status != 401 {
					t.Errorf("%s takes %s of %s: %d %s", s.Kind, name, key[:5], status, answer)
				}
			}
		}
	}
}

// TestForgersBehindAProxy: the failures of one do not hold back another, and nobody but a proxy of ours is believed.
func TestForgersBehindAProxy(t *testing.T) {
	b := newBuckets(1, 1, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	for _, c := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:5", "", "192.0.2.1"}, {"192.0.2.1:5", "198.51.100.7", "192.0.2.1"}, {"10.1.2.3:5", "203.0.113.9, 198.51.100.7", "198.51.100.7"},
		{"127.0.0.1:5", "198.51.100.7", "198.51.100.7"}, {"10.1.2.3:5", "nonsense", "10.1.2.3"}, {"[::ffff:10.1.2.3]:5", "2001:db8::1", "2001:db8::/64"}, {"[2001:db8:1:2:3::4]:5", "", "2001:db8:1:2::/64"}, {"@", "x", "@"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		r.RemoteAddr = c.remote
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got, known := b.address(r); got != c.want || known != (got != "127.0.0.1" && got != "10.1.2.3") {
			t.Errorf("%+v: %s, %v", c, got, known)
		}
	}
}

// TestAnAlertIsNotLost: GitHub does not send an alert again, so it becomes an event when Vault or GitHub's API is away or hangs, without a
// fingerprint. What is nothing but its value waits until there is one.
func TestAnAlertIsNotLost(t *testing.T) {
	gone := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-gone }))
	defer hanging.Close()
	defer close(gone)
	e := newEdge(t, Source{Name: "gh", Kind: "github", Secrets: secrets("t"), Origin: hanging.URL, FetchToken: func() (string, error) { return "gh-token", nil }}, Source{Name: "ci", Kind: "report", Secrets: secrets("t")})
	e.in.times.ask, e.in.times.publish = 50*time.Millisecond, time.Second
	hash := e.in.Hash
	asked := fmt.Sprintf(`{"action":"created","alert":{"number":1,"secret_type":"x","url":"%s/repos/o/r/secret-scanning/alerts/1"}}`, hanging.URL)
	for name, c := range map[string]struct {
		body string
		hash func(context.Context) (func(string) events.Fingerprint, error)
	}{
		"GitHub hangs": {asked, hash},
		"Vault is sealed": {asked + " ", func(context.Context) (func(string) events.Fingerprint, error) {
			return nil, errors.New("Vault is sealed")
		}},
		"Vault hangs, deaf": {asked + "  ", func(context.Context) (func(string) events.Fingerprint, error) {
			<-gone
			return nil, errors.New("too late")
		}},
		"an old server's alert": {`{"action":"created","alert":{"number":1,"secret_type":"x","secret":"` + canary + `"}}`, func(context.Context) (func(string) events.Fingerprint, error) {
			return nil, errors.New("Vault is sealed")
		}},
	} {
		e.in.Hash = c.hash
		n, bare := len(e.published()), e.counted("gh", noFingerprint)
		status, answer := e.do("POST", "/v1/gh", c.body, map[string]string{"X-Hub-Signature-256": "sha256=" + hexMAC("t", c.body)})
		if status != 200 || len(e.published()) != n+1 || e.counted("gh", noFingerprint) != bare+1 || len(e.published()[n].Leak.Credential.Fingerprints) != 0 {
			t.Errorf("%s: %d %s, %d events", name, status, answer, len(e.published())-n)
		}
		if name != "GitHub hangs" {
			if status, answer := e.do("POST", "/v1/ci", `{"SourceMetadata":{"Data":{}},"DetectorName":"X","Raw":"`+canary+`"}`, map[string]string{"Authorization": "t"}); status != 503 {
				t.Errorf("%s, a report: %d %s", name, status, answer)
			}
		}
	}
}

// FuzzServe: no request breaks the edge, and none without a proof is taken.
func FuzzServe(f *testing.F) {
	f.Add("POST", "/v1/gh", "{}", "sha256=00")
	f.Add("GET", "/v1/scim/Users?filter=userName+eq+%22a%22", "", "Bearer x")
	f.Add("POST", "/v1/set", "eyJhbGciOiJub25lIn0..", "")
	in, err := Open(f.Context(), Config{Log: zerolog.Nop(), Seen: &memory{}, People: &memory{}, Sources: []Source{
		{Name: "gh", Kind: "github", Secrets: secrets("t")}, {Name: "scim", Kind: "scim", Secrets: secrets("t")},
		{Name: "set", Kind: "ssf", Issuer: "i", Audience: "a", Keys: "testdata/none.json"}, {Name: "entra", Kind: "entra", Secrets: secrets("t")}},
		Publish: func(context.Context, events.Event) error { f.Error("published"); return nil },
		Bury:    func(context.Context, Letter) error { f.Error("kept"); return nil }})
	if err != nil {
		f.Fatal(err)
	}
	h := in.Handler()
	f.Fuzz(func(t *testing.T, method, path, body, proof string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://edge"+path, strings.NewReader(body))
		if err != nil {
			return
		}
		for _, name := range []string{"Authorization", "X-Hub-Signature-256", "X-Goog-Channel-Token"} {
			req.Header.Set(name, proof)
		}
		req.RemoteAddr = "192.0.2.1:1"
		in.failures = newBuckets(1, 1000, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code/100 == 2 && !strings.Contains(path, "validationToken") {
			t.Errorf("%s %s was answered with %d", method, path, w.Code)
		}
	})
}
