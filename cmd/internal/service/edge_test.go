package service

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// aBundle is a bundle with one action, and the credential that the action uses now.
type aBundle struct{ name, roleID, old string }

// seedAction makes bundle and action of this name; more is added to the secret.
func (s *shop) seedAction(name string, more map[string]any) aBundle {
	s.t.Helper()
	roleID, old := s.role(name)
	data := map[string]any{"ROLE_ID": roleID, "SECRET_ID": old, "LOGIN": roleID + ":" + old, "RETRIES": 3}
	for k, v := range more {
		data[k] = v
	}
	s.bundle(name, data)
	s.whisk.Action(name, whisktest.Seed{Parameters: full(roleID, old)})
	return aBundle{name, roleID, old}
}

// rotated waits for receipt n of the bundle and looks whether the action works and the old credential does not.
func (s *shop) rotated(svc *Service, b aBundle, n int) {
	s.t.Helper()
	if r := s.receipt(svc, b.name, n); r.Result != events.ResultRotated {
		s.t.Fatalf("%s: %s: %s", b.name, r.Result, r.Reason)
	}
	if now := s.own("actions", b.name, "SECRET_ID"); now == b.old || !s.login(b.roleID, now) || s.login(b.roleID, b.old) {
		s.t.Errorf("%s: the action does not use a new, living credential, or the old one lives", b.name)
	}
	if s.own("actions", b.name, "OWN") != "kept" {
		s.t.Errorf("%s: a parameter was lost", b.name)
	}
}

func sample(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("../../../events/adapt/testdata/messages", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func post(t *testing.T, method, url, body string, header map[string]string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

// withIntake adds sources to a configuration, and a rule or holders to some bundles.
func (s *shop) withIntake(bundles, intake string) *config.Config {
	s.t.Helper()
	cfg := s.config(bundles)
	text, err := os.ReadFile(cfg.Path)
	if err != nil {
		s.t.Fatal(err)
	}
	cfg, err = config.Load(s.file("rotator.yaml", string(text)+intake), config.ThisMachine())
	if err != nil {
		s.t.Fatal(err)
	}
	return cfg
}

// TestFromBytesToADeadCredential: what six kinds of senders put on the wire, as they put it, ends with updated actions and a dead
// credential.
func TestFromBytesToADeadCredential(t *testing.T) {
	s := newShop(t)
	var yaml string
	all := make(map[string]aBundle)
	for _, name := range []string{"github", "trufflehog", "okta", "scim", "risc", "aws", "raw", "tapped"} {
		more := map[string]any{}
		if name == "aws" {
			more["AWS_ACCESS_KEY_ID"] = "AKIAIOSFODNN7EXAMPLE"
		}
		all[name] = s.seedAction(name, more)
		y := s.appRoleBundle(name, name, "{host: prod, action: "+name+", keys: [SECRET_ID, LOGIN]}")
		y = strings.Replace(y, `holders: ["alice@example.com"]`, `holders: ["`+name+`@example.com"]`, 1)
		if name == "github" || name == "raw" || name == "tapped" {
			y += "    detected_as: [{source: github, repository: acme/" + name + "}]\n"
		}
		yaml += y
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.file("jwks.json", string(jwks))
	s.file("edge.secret", "an-older-one\nedge-secret\n")
	cfg := s.withIntake(yaml, `
intake:
  listen: 127.0.0.1:0
  subjects: {"security.github": github}
  sources:
    github: {secret_file: edge.secret}
    ci: {kind: report, secret_file: edge.secret}
    okta: {secret_file: edge.secret}
    idp: {kind: scim, secret_file: edge.secret}
    aws: {secret_file: edge.secret}
    risc: {kind: ssf, issuer: "https://idp.example.com", audience: rotator, keys: jwks.json}
`)
	cfg.Ops.Listen = "127.0.0.1:0"
	svc, _ := s.start(cfg)
	edge := "http://" + svc.IntakeAddr() + "/v1/"
	token := map[string]string{"Authorization": "Bearer edge-secret"}
	send := func(want int, method, path, body string, header map[string]string) string {
		t.Helper()
		status, answer := post(t, method, edge+path, body, header)
		if status != want {
			t.Fatalf("%s: %d %s\n%s", path, status, answer, s.logs)
		}
		return answer
	}
	alert := func(repository string) string {
		return strings.ReplaceAll(sample(t, "github-secret_scanning_alert-reopened-1"), "Codertocat/Hello-World", "acme/"+repository)
	}
	m := hmac.New(sha256.New, []byte("edge-secret"))
	io.WriteString(m, alert("github"))
	send(200, "POST", "github", alert("github"), map[string]string{"X-GitHub-Event": "secret_scanning_alert", "X-GitHub-Delivery": "d1", "X-Hub-Signature-256": "sha256=" + hex.EncodeToString(m.Sum(nil))})
	send(200, "POST", "ci", fmt.Sprintf(`{"SourceMetadata":{"Data":{"Git":{"commit":"abc","file":"config.js","line":4}}},"DetectorName":"Vault","Verified":true,"Raw":%q}`, all["trufflehog"].old), token)
	send(200, "POST", "okta", strings.ReplaceAll(`{"eventType":"com.okta.event_hook","source":"https://o.okta.com/x","data":{"events":[`+sample(t, "okta-logevent-user.lifecycle.deactivate-1")+`]}}`, "john.doe@example.com", "okta@example.com"), token)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(send(201, "POST", "idp/Users", `{"userName":"scim@example.com","active":true}`, token)), &made); err != nil {
		t.Fatal(err)
	}
	send(200, "PATCH", "idp/Users/"+made.ID, sample(t, "scim-entra-patch-deactivate-legacy-2"), token)
	send(200, "POST", "aws", strings.ReplaceAll(sample(t, "aws-health-risk-1"), awsKey(t), "AKIAIOSFODNN7EXAMPLE"), token)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, (&jose.SignerOptions{}).WithType("secevent+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := signer.Sign(fmt.Appendf(nil, `{"iss":"https://idp.example.com","jti":"j","iat":%d,"aud":"rotator","sub_id":{"format":"email","email":"risc@example.com"},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{"reason":"hijacking"}}}`, time.Now().Unix()))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := set.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	send(202, "POST", "risc", compact, map[string]string{"Content-Type": "application/secevent+jwt"})
	for subject, name := range map[string]string{"rotator.events.v1.bridge.raw.github": "raw", "security.github": "tapped"} {
		if _, err := svc.Conn.RequestMsg(&nats.Msg{Subject: subject, Data: []byte(alert(name)), Header: nats.Header{"X-GitHub-Delivery": {name}}}, 5*time.Second); err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
	}
	send(401, "POST", "okta", "{}", nil)
	_, metrics := post(t, "GET", "http://"+svc.ops.Addr()+"/metrics", "", nil)
	for _, line := range []string{`rotator_intake_messages_total{result="published",source="okta"} 1`, `rotator_intake_messages_total{result="refused",source="okta"} 1`} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, b := range all {
		s.rotated(svc, b, 1)
	}
	for name, b := range all {
		if strings.Contains(s.logs.String(), b.old) {
			t.Errorf("the old credential of %s is in the log", name)
		}
	}
}

// awsKey is the key that the sample is about.
func awsKey(t *testing.T) string {
	t.Helper()
	var m struct {
		Detail struct {
			AffectedEntities []struct{ EntityValue string }
		}
	}
	if err := json.Unmarshal([]byte(sample(t, "aws-health-risk-1")), &m); err != nil {
		t.Fatal(err)
	}
	return m.Detail.AffectedEntities[0].EntityValue
}

// TestTheEdgeAlone: on a machine of its own the edge needs NATS, and Vault for the fingerprint key; the service takes what it has
// published. Without Vault a source that needs it is told to come back.
func TestTheEdgeAlone(t *testing.T) {
	s := newShop(t)
	b := s.seedAction("shop", nil)
	s.file("edge.secret", "edge-secret")
	cfg := s.withIntake(s.appRoleBundle("shop", "shop", "{host: prod, action: shop, keys: [SECRET_ID, LOGIN]}"), `
intake:
  listen: 127.0.0.1:0
  sources:
    ci: {kind: report, secret_file: edge.secret}
`)
	alone := *cfg
	cfg.NATS.Listen, cfg.Intake = "127.0.0.1:0", config.Intake{}
	svc, _ := s.start(cfg)
	alone.NATS.URL = svc.server.URL()
	e, err := OpenEdge(t.Context(), &alone, zerolog.New(s.logs))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	body := fmt.Sprintf(`{"SourceMetadata":{"Data":{"Git":{"file":"config.js","line":4}}},"DetectorName":"Vault","Verified":true,"Raw":%q}`, b.old)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		status, answer := post(t, "POST", "http://"+e.Addr()+"/v1/ci", body, map[string]string{"Authorization": "edge-secret"})
		if status == 200 {
			break
		}
		if status != 503 || time.Now().After(deadline) {
			t.Fatal(status, answer)
		}
	}
	s.rotated(svc, b, 1)
	if _, err := OpenEdge(t.Context(), cfg, zerolog.Nop()); err != ErrNoSource {
		t.Error(err)
	}
}

// TestCheckOfSources: what proves the messages of a source is missing, and check says which.
func TestCheckOfSources(t *testing.T) {
	keys := httptest.NewServer(http.NotFoundHandler())
	defer keys.Close()
	here := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(here, []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	ours, theirs := nkey(t), nkey(t)
	seedFile := here + ".seed"
	if err := os.WriteFile(seedFile, []byte(seed(t, ours)), 0o600); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	checkIntake(t.Context(), &config.Config{Events: config.Events{SignFile: seedFile, Signers: stream.Signers{"fine": {NKeys: []string{public(t, theirs), public(t, ours)}}, "unlisted": {NKeys: []string{public(t, theirs)}}}}, Intake: config.Intake{Sources: []config.IntakeSource{
		{Name: "fine", Kind: "okta", SecretFile: here}, {Name: "unlisted", Kind: "okta", SecretFile: here}, {Name: "file", Kind: "okta", SecretFile: here + "-gone"}, {Name: "keys", Kind: "ssf", Keys: keys.URL}, {Name: "token", Kind: "github", SecretFile: here, APITokenFile: "/dev/null"},
	}}}, func(f Finding) { found[f.Subject] = fmt.Sprint(f.OK, " ", f.Text) })
	for subject, want := range map[string]string{"intake fine": "true kind okta", "intake unlisted": "false events.sign_file signs with a key", "intake file": "no such file", "intake keys": "answers 404", "intake token": "is empty"} {
		if !strings.Contains(found[subject], want) {
			t.Errorf("%s: %s", subject, found[subject])
		}
	}
}
