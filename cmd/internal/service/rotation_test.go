package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// appRoleBundle is the YAML of a bundle whose credential is an AppRole secret-id.
func (s *shop) appRoleBundle(name, role string, targets ...string) string {
	return fmt.Sprintf(`
  %s:
    secret: %s/%s
    credentials:
      login: {generate: auth/%s/role/%s/secret-id, keys: {secret_id: SECRET_ID}, probe: {approle: {mount: %s, role_id: "{{ROLE_ID}}", secret_id: "{{SECRET_ID}}"}}}
    compose: {LOGIN: "{{ROLE_ID}}:{{SECRET_ID}}"}
    holders: ["alice@example.com"]
    policy: {leak: {overlap: 0s}, offboarding: {overlap: 1s}}
    targets:
      - %s
`, name, s.kv, name, s.approle, role, s.approle, strings.Join(targets, "\n      - "))
}

// seedBundle writes version 1 of an AppRole bundle and returns its credential.
func (s *shop) seedBundle(name, role string) (roleID, secretID string) {
	roleID, secretID = s.role(role)
	s.bundle(name, map[string]any{"ROLE_ID": roleID, "SECRET_ID": secretID, "LOGIN": roleID + ":" + secretID, "RETRIES": 3})
	return roleID, secretID
}

// full is what an action holds today: the bundle's keys and some of its own.
func full(roleID, secretID string) param.List {
	l := params("ROLE_ID", roleID, "SECRET_ID", secretID, "LOGIN", roleID+":"+secretID, "OWN", "kept")
	retries, _ := secret.FromJSON([]byte("3"))
	return append(l, param.Entry{Key: "RETRIES", Value: retries}, param.Entry{Key: "SEED", Value: secret.FromText("kept too"), Init: true})
}

func TestLeakEndToEndCostsItsRoundTripsAndNoMore(t *testing.T) {
	for _, n := range []int{1, 12} {
		t.Run(fmt.Sprint(n, " actions"), func(t *testing.T) {
			s := newShop(t)
			roleID, old := s.seedBundle("checkout", "checkout")
			s.whisk.Package("shop", whisktest.Seed{Parameters: params("REGION", "eu")})
			var targets []string
			for i := range n {
				name := fmt.Sprint("shop/a", i)
				s.whisk.Action(name, whisktest.Seed{Parameters: full(roleID, old)})
				targets = append(targets, fmt.Sprintf("{host: prod, action: %s}", name))
			}
			svc, stop := s.start(s.config(s.appRoleBundle("checkout", "checkout", targets...)))
			first := leakOf("checkout")
			first.ID = "warm-up" // what a process does once - login, limits, fingerprint key - is no cost of a rotation
			s.publish(svc, first)
			s.receipt(svc, "checkout", 1)
			_, then := s.values("checkout")
			old = unquote(then["SECRET_ID"])
			s.whisk.ResetRequests()
			s.proxy.reset()
			before := svc.Conn.Stats().OutMsgs
			s.publish(svc, leakOf("checkout"))
			r := s.receipt(svc, "checkout", 2)
			sent := svc.Conn.Stats().OutMsgs - before - 1 // the event itself is the publisher's
			if r.Result != events.ResultRotated {
				t.Fatalf("result %s: %s", r.Result, r.Reason)
			}
			if got := s.whisk.Count("GET", "actions"); got != 2*n {
				t.Errorf("%d GETs of actions, want %d: before the PUTs and before the revocation", got, 2*n)
			}
			if got := s.whisk.Count("PUT", ""); got != n {
				t.Errorf("%d PUTs, want %d", got, n)
			}
			if got := s.whisk.Count("", ""); got != 3*n+2 {
				t.Errorf("%d requests to OpenWhisk, want %d GET + %d PUT + the package twice: %v", got, 2*n, n, s.whisk.Requests())
			}
			calls := s.proxy.seen()
			if len(calls) > 10 {
				t.Errorf("%d calls to Vault, want at most 10: %v", len(calls), calls)
			}
			if sent > 10 {
				t.Errorf("%d messages to NATS, want at most 10", sent)
			}
			t.Log(calls)
			stop()
			_, now := s.values("checkout")
			fresh := unquote(now["SECRET_ID"])
			if s.login(roleID, old) || !s.login(roleID, fresh) {
				t.Error("P4: the old secret-id must be dead and the new one alive")
			}
			for i := range n {
				name := fmt.Sprint("shop/a", i)
				if s.own("actions", name, "SECRET_ID") != fresh || s.own("actions", name, "LOGIN") != roleID+":"+fresh || s.own("actions", name, "OWN") != "kept" {
					t.Errorf("%s does not hold the whole set", name)
				}
				if s.own("actions", name, "REGION") != "" {
					t.Errorf("P1: %s owns an inherited parameter now", name)
				}
			}
			t.Logf("OpenWhisk %d, Vault %d, NATS %d round trips; leak to dead in %s", 3*n+2, len(calls), sent, r.Exposure()["dead"])
			s.canaries(old, fresh)
		})
	}
}

// canaries looks for values in everything that is not Vault or a PUT body: the log, and every file of JetStream.
func (s *shop) canaries(values ...string) {
	s.t.Helper()
	for _, v := range values {
		if v == "" {
			s.t.Fatal("an empty canary finds nothing")
		}
		if strings.Contains(s.logs.String(), v) {
			s.t.Error("P7: the log holds a value")
		}
	}
	files := 0
	err := filepath.WalkDir(filepath.Join(s.dir, "data"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // a running server replaces its files
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files++
		for _, v := range values {
			if strings.Contains(string(b), v) {
				s.t.Errorf("P7: %s holds a value", d.Name())
			}
		}
		return err
	})
	if err != nil || files == 0 {
		s.t.Errorf("searching the JetStream directory: %d files, %v", files, err)
	}
}

func TestSameEventTwiceRotatesOnce(t *testing.T) {
	s := newShop(t)
	roleID, old := s.seedBundle("checkout", "checkout")
	s.whisk.Action("pay", whisktest.Seed{Parameters: full(roleID, old)})
	svc, _ := s.start(s.config(s.appRoleBundle("checkout", "checkout", "{host: prod, action: pay}")))
	for range 3 {
		s.publish(svc, leakOf("checkout"))
	}
	s.receipt(svc, "checkout", 1)
	other := leakOf("checkout")
	other.ID = "another"
	s.publish(svc, other)
	s.receipt(svc, "checkout", 2)
	if rec := svc.Engine.Records()["checkout"]; rec.Generation != 2 || len(rec.History) != 2 {
		t.Errorf("P6: generation %d after one event thrice and another once, want 2", rec.Generation)
	}
}

func TestOffboardingFindsHoldersDrainsAndShares(t *testing.T) {
	s := newShop(t)
	aRole, aOld := s.seedBundle("one", "one")
	bRole, bOld := s.role("two")
	s.bundle("two", map[string]any{"TWO_ID": bRole, "TWO_SECRET": bOld})
	both := append(full(aRole, aOld), params("TWO_ID", bRole, "TWO_SECRET", bOld)...)
	s.whisk.Action("shared", whisktest.Seed{Parameters: both})
	yaml := s.appRoleBundle("one", "one", "{host: prod, action: shared}") + fmt.Sprintf(`
  two:
    secret: %s/two
    credentials:
      login: {generate: auth/%s/role/two/secret-id, keys: {secret_id: TWO_SECRET}, probe: {approle: {mount: %s, role_id: "{{TWO_ID}}", secret_id: "{{TWO_SECRET}}"}}}
    holders: ["*@example.com"]
    policy: {offboarding: {overlap: 1s}}
    targets: [{host: prod, action: shared}]
`, s.kv, s.approle, s.approle)
	svc, _ := s.start(s.config(yaml))
	s.publish(svc, events.Event{ID: "bye", Kind: events.KindOffboarding, Offboarding: &events.Offboarding{
		Person: events.Person{Identifiers: []events.Identifier{{Format: "email", Email: "Alice@Example.com"}}},
		Change: "terminated", Severity: "high", Reason: "left", Upstream: events.Upstream{System: "test"}}})
	for _, bundle := range []string{"one", "two"} {
		r := s.receipt(svc, bundle, 1)
		if r.Result != events.ResultRotated {
			t.Errorf("%s: %s %s", bundle, r.Result, r.Reason)
		}
		if gap := r.Steps["revoked"].Sub(r.Steps["applied"]); gap < time.Second {
			t.Errorf("P4: %s was revoked %s after the last PUT, the policy says 1s", bundle, gap)
		}
	}
	_, one := s.values("one")
	_, two := s.values("two")
	if s.own("actions", "shared", "SECRET_ID") != unquote(one["SECRET_ID"]) || s.own("actions", "shared", "TWO_SECRET") != unquote(two["TWO_SECRET"]) {
		t.Error("two bundles on one action: each must be at its committed version")
	}
	if s.login(aRole, aOld) || s.login(bRole, bOld) {
		t.Error("P4: an old credential is alive")
	}
	snap, _ := s.whisk.Snapshot("actions", "shared")
	var stamps map[string]rotator.Stamp
	if err := json.Unmarshal(snap.Annotations[rotator.AnnotationKey], &stamps); err != nil || len(stamps) != 2 {
		t.Errorf("the annotation must name both bundles: %s %v", snap.Annotations[rotator.AnnotationKey], err)
	}
}

func TestEveryKindOfTarget(t *testing.T) {
	s := newShop(t)
	roleID, old := s.seedBundle("checkout", "checkout")
	inPackage := params("REGION", "eu", "SECRET_ID", old)
	s.whisk.Package("shop", whisktest.Seed{Parameters: inPackage, Annotations: map[string]any{"whisk-managed": map[string]any{"project": "x"}}})
	s.whisk.Package("init", whisktest.Seed{Parameters: param.List{{Key: "SECRET_ID", Value: secret.FromText(old), Init: true}}})
	s.whisk.Action("shop/pay", whisktest.Seed{Parameters: params("OWN", "1")})
	s.whisk.Action("init/job", whisktest.Seed{Parameters: params("OWN", "2")})
	s.whisk.Binding("bound", "shop", whisktest.Seed{Parameters: params("SECRET_ID", old+"x")})
	s.whisk.Trigger("tick", whisktest.Seed{Parameters: params("SECRET_ID", old), Annotations: map[string]any{"note": "keep"}})
	s.whisk.Rule("r", "tick", "shop/pay")
	svc, _ := s.start(s.config(s.appRoleBundle("checkout", "checkout",
		"{host: prod, package: shop, keys: [SECRET_ID]}", "{host: prod, package: init, keys: [SECRET_ID]}", "{host: prod, package: bound, keys: [SECRET_ID]}",
		"{host: prod, action: shop/pay, keys: [SECRET_ID]}", "{host: prod, trigger: tick, keys: [SECRET_ID]}")))
	s.whisk.Inject(whisktest.Fault{Method: "PUT", Collection: "actions", Name: "init/job", Status: 500, Text: whisktest.TextInternal})
	s.publish(svc, leakOf("checkout"))
	if r := s.receipt(svc, "checkout", 1); r.Result != events.ResultRotated {
		t.Fatalf("%s: %s", r.Result, r.Reason)
	}
	_, now := s.values("checkout")
	fresh := unquote(now["SECRET_ID"])
	for _, e := range [][2]string{{"packages", "shop"}, {"packages", "init"}, {"packages", "bound"}, {"triggers", "tick"}} {
		if s.own(e[0], e[1], "SECRET_ID") != fresh {
			t.Errorf("%s %s does not hold the new value", e[0], e[1])
		}
	}
	if s.own("actions", "shop/pay", "SECRET_ID") != "" {
		t.Error("P1: the action inherits the new value from its package and must not own a copy")
	}
	if s.own("packages", "bound", "REGION") != "" {
		t.Error("P1: the provider's parameter was copied into the binding")
	}
	for collection, want := range map[string][2]string{"packages": {"shop", "whisk-managed"}, "triggers": {"tick", "note"}} {
		if snap, _ := s.whisk.Snapshot(collection, want[0]); snap.Annotations[want[1]] == nil {
			t.Errorf("%s %s lost its annotation %s", collection, want[0], want[1])
		}
	}
	snap, _ := s.whisk.Snapshot("packages", "init")
	if e, _ := snap.Own.Get("SECRET_ID"); !e.Init {
		t.Error("the init mark is gone")
	}
	if snap, _ := s.whisk.Snapshot("actions", "init/job"); snap.Version == "0.0.1" {
		t.Error("containers keep init parameters of the package: its action must be restarted")
	}
	if s.login(roleID, old) {
		t.Error("P4: the old credential is alive")
	}
}

func TestRefusedBeforeAnyEffect(t *testing.T) {
	s := newShop(t)
	roleID, old := s.seedBundle("checkout", "checkout")
	s.whisk.Action("a", whisktest.Seed{Parameters: full(roleID, old)})
	s.whisk.Action("retired", whisktest.Seed{Kind: "nodejs:6"})
	s.whisk.Sequence("seq", "a")
	svc, _ := s.start(s.config(s.appRoleBundle("checkout", "checkout", "{host: prod, action: a}", "{host: prod, action: seq}", "{host: prod, action: retired}",
		"{host: prod, action: gone}", "{host: prod, package: nopackage}", "{host: prod, trigger: notrigger}")))
	s.publish(svc, events.Event{ID: "by hand", Kind: events.KindManual, Manual: &events.Manual{Credential: events.Credential{Name: "checkout"}, Reason: "test",
		RequestedBy: events.Person{Identifiers: []events.Identifier{{Format: "opaque", ID: "test"}}}}})
	r := s.receipt(svc, "checkout", 1)
	if r.Result != events.ResultRefused {
		t.Fatalf("result %s", r.Result)
	}
	for _, want := range []string{"sequence", "deprecated", "action gone", "package nopackage", "trigger notrigger"} {
		if !strings.Contains(r.Reason, want) {
			t.Errorf("the reason does not name %s: %s", want, r.Reason)
		}
	}
	if s.whisk.Count("PUT", "") != 0 || !s.login(roleID, old) {
		t.Error("P9: a refusal must have no effect")
	}
	if version, _ := s.values("checkout"); version != 1 {
		t.Errorf("P9: the bundle was written: version %d", version)
	}
}

func TestFaultsOfTheHost(t *testing.T) {
	for name, f := range map[string]whisktest.Fault{
		"answer lost after the PUT took effect": {Method: "PUT", Drop: whisktest.AfterCommit},
		"dropped before":                        {Method: "PUT", Drop: whisktest.BeforeCommit},
		"409 of the revision race":              {Method: "PUT", Status: 409, Text: whisktest.TextConflict},
		"500":                                   {Method: "PUT", Status: 500, Text: whisktest.TextInternal},
		"503 twice":                             {Method: "PUT", Status: 503, Times: 2},
		"429 with Retry-After":                  {Method: "PUT", Status: 429, RetryAfter: "1"},
		"HTML from a gateway":                   {Method: "PUT", Status: 502, HTML: "<html>bad gateway</html>"},
		"empty 200":                             {Method: "PUT", Empty: true},
		"503 on reading":                        {Method: "GET", Collection: "actions", Status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			roleID, old := s.seedBundle("checkout", "checkout")
			s.whisk.Action("a", whisktest.Seed{Parameters: full(roleID, old)})
			s.whisk.Action("b", whisktest.Seed{Parameters: full(roleID, old)})
			svc, _ := s.start(s.config(s.appRoleBundle("checkout", "checkout", "{host: prod, action: a}", "{host: prod, action: b}")))
			s.whisk.Inject(f)
			s.publish(svc, leakOf("checkout"))
			if r := s.receipt(svc, "checkout", 1); r.Result != events.ResultRotated {
				t.Fatalf("%s: %s", r.Result, r.Reason)
			}
			_, now := s.values("checkout")
			for _, a := range []string{"a", "b"} {
				if s.own("actions", a, "SECRET_ID") != unquote(now["SECRET_ID"]) {
					t.Errorf("%s does not hold the new value", a)
				}
			}
			if s.login(roleID, old) {
				t.Error("P4: the old credential is alive")
			}
		})
	}
}

func TestDatabaseCredential(t *testing.T) {
	pg := vaulttest.Postgres(t)
	s := newShop(t)
	db := s.vault.Database(t, pg, vaulttest.DatabaseRole{Name: "orders", DefaultTTL: time.Hour, MaxTTL: 24 * time.Hour})
	anchor := s.anchor(db + "/creds/orders")
	var lease struct {
		LeaseID string `json:"lease_id"`
		Data    map[string]string
	}
	s.api("GET", db+"/creds/orders", nil, &lease)
	s.bundle("orders", map[string]any{"DB_USER": lease.Data["username"], "DB_PASSWORD": lease.Data["password"], "COOKIE": "first-cookie",
		"_rotator": map[string]any{"handles": []map[string]string{{"kind": "lease", "id": lease.LeaseID}}}})
	s.whisk.Action("orders", whisktest.Seed{Parameters: params("DB_USER", lease.Data["username"], "DB_PASSWORD", lease.Data["password"], "COOKIE", "first-cookie")})
	s.api("PUT", "sys/policies/password/"+strings.TrimSuffix(anchor, "/"), map[string]any{"policy": `length=24 rule "charset" { charset = "abcdefghijklmnop" }`}, nil)
	cfg := s.config(fmt.Sprintf(`
  orders:
    secret: %s/orders
    credentials:
      db: {generate: %s/creds/orders, keys: {username: DB_USER, password: DB_PASSWORD}, probe: {postgres: "postgres://{{DB_USER|url}}:{{DB_PASSWORD|url}}@%s:%d/%s?sslmode=disable"}}
      cookie: {generate: {password_policy: %s}, keys: {password: COOKIE}}
    policy: {leak: {overlap: 0s}}
    targets: [{host: prod, action: orders}]
`, s.kv, db, pg.Host, pg.Port, pg.Database, anchor))
	cfg.Vault.Anchor.Role = anchor
	svc, _ := s.start(cfg)
	warm := leakOf("orders")
	warm.ID = "warm-up"
	s.publish(svc, warm)
	s.receipt(svc, "orders", 1)
	if conn, err := pgx.Connect(t.Context(), pg.DSN(lease.Data["username"], lease.Data["password"])); err == nil {
		_ = conn.Close(t.Context())
		t.Error("P4: the database user put there by hand is alive")
	}
	s.proxy.reset()
	s.publish(svc, leakOf("orders"))
	r := s.receipt(svc, "orders", 2)
	if r.Result != events.ResultRotated || r.Steps["proven-dead"].IsZero() {
		t.Fatalf("%s: %s", r.Result, r.Reason)
	}
	if calls := s.proxy.seen(); len(calls) > 10 {
		t.Errorf("%d calls to Vault, want at most 10: %v", len(calls), calls)
	} else {
		t.Logf("Vault calls: %v", calls)
	}
	if user := s.own("actions", "orders", "DB_USER"); user == "" || user == lease.Data["username"] {
		t.Error("the action does not hold the new user")
	}
	if c := s.own("actions", "orders", "COOKIE"); len(c) != 24 {
		t.Error("the action does not hold a cookie of the password policy")
	}
	s.canaries(lease.Data["password"], s.own("actions", "orders", "DB_PASSWORD"), s.own("actions", "orders", "COOKIE"))
}

// anchor makes a token role whose tokens may read one path, and returns its name.
func (s *shop) anchor(path string) string {
	s.t.Helper()
	policy := vaulttest.Name("mint")
	s.api("PUT", "sys/policies/acl/"+policy, map[string]any{"policy": fmt.Sprintf("path %q { capabilities = [\"read\"] }", path)}, nil)
	return s.vault.Anchors(s.t, policy)
}

func TestBadEventsAreKeptAndTheServiceGoesOn(t *testing.T) {
	s := newShop(t)
	roleID, old := s.seedBundle("checkout", "checkout")
	s.whisk.Action("a", whisktest.Seed{Parameters: full(roleID, old)})
	svc, _ := s.start(s.config(s.appRoleBundle("checkout", "checkout", "{host: prod, action: a}")))
	if err := svc.Conn.Publish("rotator.events.v1.test.leak", []byte(`{"specversion":"1.0"`)); err != nil {
		t.Fatal(err)
	}
	unknown := leakOf("nobody")
	unknown.ID = "unknown"
	s.publish(svc, unknown)
	s.publish(svc, leakOf("checkout"))
	if r := s.receipt(svc, "checkout", 1); r.Result != events.ResultRotated {
		t.Fatalf("%s: %s", r.Result, r.Reason)
	}
	var letters []stream.DeadLetter
	for deadline := time.Now().Add(20 * time.Second); len(letters) < 2 && time.Now().Before(deadline); {
		var err error
		if letters, err = stream.DeadLetters(t.Context(), svc.Conn, 10); err != nil {
			t.Fatal(err)
		}
	}
	reasons := make(map[string]bool)
	for _, d := range letters {
		reasons[d.Reason] = true
		if d.Problem == "" || d.Remedy == "" {
			t.Errorf("dead letter without problem or remedy: %+v", d)
		}
	}
	if !reasons["malformed"] || !reasons["unmatched"] {
		t.Errorf("dead letters %v, want malformed and unmatched", reasons)
	}
}

func TestRestartInTheDrainChangesNothing(t *testing.T) {
	s := newShop(t)
	roleID, old := s.seedBundle("checkout", "checkout")
	s.whisk.Action("a", whisktest.Seed{Parameters: full(roleID, old)})
	cfg := s.config(strings.ReplaceAll(s.appRoleBundle("checkout", "checkout", "{host: prod, action: a}"), "offboarding: {overlap: 1s}", "manual: {overlap: 4s}"))
	svc, stop := s.start(cfg)
	s.publish(svc, events.Event{ID: "m", Kind: events.KindManual, Manual: &events.Manual{Credential: events.Credential{Name: "checkout"}, Reason: "test",
		RequestedBy: events.Person{Identifiers: []events.Identifier{{Format: "opaque", ID: "me"}}}}})
	for deadline := time.Now().Add(30 * time.Second); svc.Engine.Records()["checkout"].State != rotator.Draining; {
		if time.Now().After(deadline) {
			t.Fatalf("never drained: %s", s.logs)
		}
	}
	stop()
	if !s.login(roleID, old) {
		t.Error("P4: revoked during the overlap")
	}
	svc, _ = s.start(cfg)
	if r := s.receipt(svc, "checkout", 1); r.Result != events.ResultRotated {
		t.Fatalf("%s: %s", r.Result, r.Reason)
	}
	if s.login(roleID, old) {
		t.Error("P4: never revoked")
	}
	if got := s.whisk.Count("PUT", ""); got != 1 {
		t.Errorf("%d PUTs, want 1: a restart causes none", got)
	}
}

func TestAVaultThatIsNotThereIsWaitedFor(t *testing.T) {
	s := newShop(t)
	roleID, old := s.seedBundle("checkout", "checkout")
	s.whisk.Action("a", whisktest.Seed{Parameters: full(roleID, old)})
	s.proxy.setDown(true)
	cfg := s.config(s.appRoleBundle("checkout", "checkout", "{host: prod, action: a}"))
	cfg.Ops.Listen = "127.0.0.1:0"
	svc, _ := s.start(cfg)
	s.publish(svc, leakOf("checkout"))
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		resp, err := http.Get("http://" + svc.ops.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s while Vault is away: %d, want %d", path, resp.StatusCode, want)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(s.logs.String(), "Vault"); {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say what is waited for: %s", s.logs)
		}
	}
	if err := svc.ready(t.Context()); err == nil {
		t.Error("ready without Vault")
	}
	s.proxy.setDown(false)
	if r := s.receipt(svc, "checkout", 1); r.Result != events.ResultRotated {
		t.Fatalf("%s: %s", r.Result, r.Reason)
	}
	if err := svc.ready(t.Context()); err != nil {
		t.Errorf("not ready with Vault: %v", err)
	}
}

func TestAVaultThatSealsInTheMiddle(t *testing.T) {
	s := newShop(t)
	roleID, old := s.seedBundle("checkout", "checkout")
	s.whisk.Action("a", whisktest.Seed{Parameters: full(roleID, old)})
	svc, _ := s.start(s.config(s.appRoleBundle("checkout", "checkout", "{host: prod, action: a}")))
	s.whisk.Inject(whisktest.Fault{Method: "PUT", Hook: func() { s.proxy.setDown(true) }})
	s.publish(svc, leakOf("checkout"))
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(s.logs.String(), "will try again"); {
		if time.Now().After(deadline) {
			t.Fatalf("no word about trying again: %s", s.logs)
		}
	}
	if !s.login(roleID, old) {
		t.Error("P3: the old credential died while Vault was away")
	}
	s.proxy.setDown(false)
	if r := s.receipt(svc, "checkout", 1); r.Result != events.ResultRotated {
		t.Fatalf("%s: %s", r.Result, r.Reason)
	}
	if s.login(roleID, old) {
		t.Error("P4: the old credential is alive")
	}
}
