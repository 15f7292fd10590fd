package service

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// TestNATSPermissionsOfTheREADME rotates on a NATS server of its own, where the rotator and a publisher may do exactly
// what the README gives them.
func TestNATSPermissionsOfTheREADME(t *testing.T) {
	s := newShop(t)
	ours, theirs, edges := nkey(t), nkey(t), nkey(t)
	may := permissions(t)
	conf := s.file("nats.conf", fmt.Sprintf(`
listen: "127.0.0.1:-1"
jetstream { store_dir: %q }
authorization { users: [
  { nkey: %s, permissions: %s }
  { nkey: %s, permissions: %s }
  { nkey: %s, permissions: %s }
] }`, filepath.Join(s.dir, "data"), public(t, theirs), may[0], public(t, ours), may[1], public(t, edges), may[2]))
	opts, err := server.ProcessConfigFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	roleID, old := s.seedBundle("checkout", "checkout")
	s.whisk.Action("a", whisktest.Seed{Parameters: full(roleID, old)})
	cfg := s.config(s.appRoleBundle("checkout", "checkout", "{host: prod, action: a}"))
	cfg.NATS.URL, cfg.NATS.NKeyFile, cfg.NATS.Replicas = srv.ClientURL(), s.file("rotator.nk", seed(t, ours)), 1
	svc, _ := s.start(cfg)

	auth, err := nats.NkeyOptionFromSeed(s.file("github.nk", seed(t, theirs)))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(srv.ClientURL(), auth)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	e := leakOf("checkout")
	e.Source, e.Publisher, e.Time = "urn:github", "github", time.Now().UTC()
	body, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request(events.Subject("github", events.KindLeak), body, 5*time.Second); err != nil {
		t.Fatalf("a publisher on its own subject: %v", err)
	}
	if _, err := nc.Request(events.Subject("okta", events.KindLeak), body, time.Second); err == nil {
		t.Error("a publisher speaks for another")
	}
	if r := s.receipt(svc, "checkout", 1); r.Result != events.ResultRotated {
		t.Fatalf("%s: %s", r.Result, r.Reason)
	}
	s.file("edge.secret", "t")
	alone := *s.withIntake(s.appRoleBundle("checkout", "checkout", "{host: prod, action: a}"), "intake: {listen: \"127.0.0.1:0\", sources: {idp: {kind: scim, secret_file: edge.secret}, okta: {secret_file: edge.secret}, slack: {secret_file: edge.secret}}}\n")
	alone.NATS.URL, alone.NATS.NKeyFile, alone.NATS.Replicas = srv.ClientURL(), s.file("edge.nk", seed(t, edges)), 1
	edge, err := OpenEdge(t.Context(), &alone, zerolog.New(s.logs))
	if err != nil {
		t.Fatal(err)
	}
	defer edge.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- edge.Run(ctx) }()
	token := map[string]string{"Authorization": "t"}
	at := fmt.Sprint(time.Now().Unix())
	strange := `{"no":"message of slack"}`
	mac := hmac.New(sha256.New, []byte("t"))
	io.WriteString(mac, "v0:"+at+":"+strange)
	var made struct{ ID string }
	for _, c := range []struct {
		method, path, body string
		header             map[string]string
		status             int
	}{
		{"POST", "idp/Users", `{"userName":"alice@example.com"}`, token, 201},
		{"POST", "okta", strings.ReplaceAll(`{"source":"https://o.okta.com/x","data":{"events":[`+sample(t, "okta-logevent-user.lifecycle.deactivate-1")+`]}}`, "john.doe@example.com", "alice@example.com"), token, 200},
		{"POST", "slack", strange, map[string]string{"X-Slack-Request-Timestamp": at, "X-Slack-Signature": "v0=" + hex.EncodeToString(mac.Sum(nil))}, 202},
	} {
		status, answer := post(t, c.method, "http://"+edge.Addr()+"/v1/"+c.path, c.body, c.header)
		if status != c.status {
			t.Fatalf("%s: %d %s\n%s", c.path, status, answer, s.logs)
		}
		_ = json.Unmarshal([]byte(answer), &made) // the answer of the SCIM server tells the id
	}
	if r := s.receipt(svc, "checkout", 2); r.Result != events.ResultRotated {
		t.Errorf("%s: %s", r.Result, r.Reason)
	}
	if status, answer := post(t, "DELETE", "http://"+edge.Addr()+"/v1/idp/Users/"+made.ID, "", token); status != 204 {
		t.Errorf("%d %s", status, answer)
	}
	if r := s.receipt(svc, "checkout", 3); r.Result != events.ResultRotated {
		t.Errorf("%s: %s", r.Result, r.Reason)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if strings.Contains(strings.ToLower(s.logs.String()), "permission") {
		t.Errorf("NATS refused something: %s", s.logs)
	}
	s.harmless(srv.ClientURL(), edges)
}

// harmless tries what somebody would who has taken an edge over: to read what others publish, to delete it, to speak for them, and to
// listen to the rotator.
func (s *shop) harmless(url string, edge nkeys.KeyPair) {
	s.t.Helper()
	auth, err := nats.NkeyOptionFromSeed(s.file("taken.nk", seed(s.t, edge)))
	if err != nil {
		s.t.Fatal(err)
	}
	refused := make(chan error, 10)
	nc, err := nats.Connect(url, auth, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	expect := func(subject string, err error) {
		s.t.Helper()
		select {
		case got := <-refused:
			if err != nil || !errors.Is(got, nats.ErrPermissionViolation) || !strings.Contains(got.Error(), subject) {
				s.t.Errorf("%s: %v, %v", subject, err, got)
			}
		case <-time.After(5 * time.Second):
			s.t.Errorf("an edge may use %s", subject)
		}
	}
	for _, subject := range []string{
		"$JS.API.STREAM.DELETE.ROTATOR_EVENTS", "$JS.API.STREAM.UPDATE.ROTATOR_EVENTS", "$JS.API.STREAM.MSG.DELETE.ROTATOR_EVENTS", "$JS.API.STREAM.MSG.GET.ROTATOR_EVENTS",
		"$JS.API.CONSUMER.CREATE.ROTATOR_EVENTS.x", "$JS.API.CONSUMER.DELETE.ROTATOR_EVENTS.rotator-leak", "$JS.API.CONSUMER.MSG.NEXT.ROTATOR_EVENTS.rotator-leak", "$JS.API.STREAM.NAMES",
		"$JS.API.STREAM.DELETE.KV_rotator", "$JS.API.DIRECT.GET.KV_rotator.x", "$JS.API.STREAM.CREATE.KV_ROTATOR_PEOPLE", "$JS.API.STREAM.UPDATE.KV_ROTATOR_SEEN", "$JS.API.STREAM.DELETE.KV_ROTATOR_SEEN",
		"$JS.ACK.ROTATOR_EVENTS.rotator-leak.1.1.1.1.1", "$KV.rotator.checkout", "rotator.events.v1.github.leak", "rotator.events.v1.okta.raw.okta", "rotator.outcomes.v1.checkout", "rotator.dead.v1.unmatched", "_INBOX_rotator.x",
	} {
		expect(subject, nc.Publish(subject, []byte("{}")))
	}
	for _, subject := range []string{"_INBOX_rotator.>", "rotator.>", "_INBOX.>", ">"} {
		_, err := nc.SubscribeSync(subject)
		expect(subject, err)
	}
}

// permissions are the three blocks of the README: of a publisher, the rotator, and an edge of its own.
func permissions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s)\n\{ publish: \[[^]]*\],\s+subscribe: \[[^]]*\] \}\n`).FindAllString(string(text), -1)
	if len(blocks) != 3 {
		t.Fatalf("the README has %d blocks of permissions", len(blocks))
	}
	return blocks
}

func nkey(t *testing.T) nkeys.KeyPair {
	t.Helper()
	k, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	p, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func seed(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	b, err := k.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
