package service

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
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
	conf := s.file("nats.conf", fmt.Sprintf(`
listen: "127.0.0.1:-1"
jetstream { store_dir: %q }
authorization { users: [
  { nkey: %s, permissions: { publish: ["rotator.>", "$JS.API.>", "$JS.ACK.>", "$KV.rotator.>"], subscribe: ["_INBOX_rotator.>"] } }
  { nkey: %s, permissions: { publish: ["rotator.events.v1.github.>"], subscribe: ["_INBOX.>"] } }
  { nkey: %s, permissions: { publish: ["rotator.events.v1.*.*", "rotator.dead.v1.not-understood", "$JS.API.>", "$KV.ROTATOR_SEEN.>", "$KV.ROTATOR_PEOPLE.>"], subscribe: ["_INBOX_rotator.>"] } }
] }`, filepath.Join(s.dir, "data"), public(t, ours), public(t, theirs), public(t, edges)))
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
	for _, c := range []struct {
		method, path, body string
		header             map[string]string
		status             int
	}{
		{"POST", "idp/Users", `{"userName":"alice@example.com"}`, token, 201},
		{"POST", "okta", strings.ReplaceAll(`{"source":"https://o.okta.com/x","data":{"events":[`+sample(t, "okta-logevent-user.lifecycle.deactivate-1")+`]}}`, "john.doe@example.com", "alice@example.com"), token, 200},
		{"POST", "slack", strange, map[string]string{"X-Slack-Request-Timestamp": at, "X-Slack-Signature": "v0=" + hex.EncodeToString(mac.Sum(nil))}, 202},
	} {
		if status, answer := post(t, c.method, "http://"+edge.Addr()+"/v1/"+c.path, c.body, c.header); status != c.status {
			t.Fatalf("%s: %d %s\n%s", c.path, status, answer, s.logs)
		}
	}
	if r := s.receipt(svc, "checkout", 2); r.Result != events.ResultRotated {
		t.Errorf("%s: %s", r.Result, r.Reason)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if strings.Contains(strings.ToLower(s.logs.String()), "permission") {
		t.Errorf("NATS refused something: %s", s.logs)
	}
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
