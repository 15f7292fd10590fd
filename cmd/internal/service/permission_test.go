package service

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// TestNATSPermissionsOfTheREADME rotates on a NATS server of its own, where the rotator and a publisher may do exactly
// what the README gives them.
func TestNATSPermissionsOfTheREADME(t *testing.T) {
	s := newShop(t)
	ours, theirs := nkey(t), nkey(t)
	conf := s.file("nats.conf", fmt.Sprintf(`
listen: "127.0.0.1:-1"
jetstream { store_dir: %q }
authorization { users: [
  { nkey: %s, permissions: { publish: ["rotator.>", "$JS.API.>", "$JS.ACK.>", "$KV.rotator.>"], subscribe: ["_INBOX_rotator.>"] } }
  { nkey: %s, permissions: { publish: ["rotator.events.v1.github.>"], subscribe: ["_INBOX.>"] } }
] }`, filepath.Join(s.dir, "data"), public(t, ours), public(t, theirs)))
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
