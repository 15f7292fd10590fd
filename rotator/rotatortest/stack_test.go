package rotatortest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/rotatortest"
)

// shop is a bundle with an AppRole secret-id, which Vault can prove dead, on two actions.
const shop = `
  shop:
    secret: secret/shop
    credentials:
      login:
        generate: auth/approle/role/shop/secret-id
        keys: {secret_id: SECRET_ID}
        probe: {approle: {role_id: "{{ROLE_ID}}", secret_id: "{{SECRET_ID}}"}}
    holders: ["alice@example.com"]
    policy: {offboarding: {overlap: 6s}}
    targets: [{action: checkout}, {action: refund}]`

type login struct{ RoleID, SecretID string }

func seed(first *login) func(context.Context, *rotatortest.Stack) error {
	return func(ctx context.Context, s *rotatortest.Stack) error {
		if err := s.VaultAPI(ctx, http.MethodPost, "sys/auth/approle", map[string]any{"type": "approle"}, nil); err != nil {
			return err
		}
		const role = "auth/approle/role/shop"
		if err := s.VaultAPI(ctx, http.MethodPost, role, map[string]any{"token_ttl": "1m"}, nil); err != nil {
			return err
		}
		var id, secret struct {
			Data struct {
				RoleID   string `json:"role_id"`
				SecretID string `json:"secret_id"`
			}
		}
		if err := s.VaultAPI(ctx, http.MethodGet, role+"/role-id", nil, &id); err != nil {
			return err
		}
		if err := s.VaultAPI(ctx, http.MethodPost, role+"/secret-id", map[string]any{}, &secret); err != nil {
			return err
		}
		*first = login{id.Data.RoleID, secret.Data.SecretID}
		values := map[string]any{"ROLE_ID": first.RoleID, "SECRET_ID": first.SecretID}
		if err := s.VaultAPI(ctx, http.MethodPost, "secret/data/shop", map[string]any{"data": values}, nil); err != nil {
			return err
		}
		for _, name := range []string{"checkout", "refund"} {
			err := s.OpenWhiskAPI(ctx, http.MethodPut, "actions/"+name, map[string]any{
				"exec": map[string]any{"kind": "nodejs:20", "code": "function main() {}"},
				"parameters": []map[string]any{{"key": "ROLE_ID", "value": first.RoleID}, {"key": "SECRET_ID", "value": first.SecretID},
					{"key": "OWN", "value": "kept"}},
			}, nil)
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// bound is what an action holds.
func bound(t *testing.T, s *rotatortest.Stack, action string) map[string]string {
	t.Helper()
	var got struct {
		Parameters []struct{ Key, Value string }
	}
	if err := s.OpenWhiskAPI(t.Context(), http.MethodGet, "actions/"+action, nil, &got); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, p := range got.Parameters {
		out[p.Key] = p.Value
	}
	return out
}

func accepted(t *testing.T, s *rotatortest.Stack, l login) bool {
	t.Helper()
	err := s.VaultAPI(t.Context(), http.MethodPost, "auth/approle/login", map[string]any{"role_id": l.RoleID, "secret_id": l.SecretID}, nil)
	return err == nil
}

// rotated checks the actions after one rotation, and returns what they hold.
func rotated(t *testing.T, s *rotatortest.Stack, old login) login {
	t.Helper()
	now := login{old.RoleID, bound(t, s, "checkout")["SECRET_ID"]}
	for _, action := range []string{"checkout", "refund"} {
		if got := bound(t, s, action); got["SECRET_ID"] != now.SecretID || got["ROLE_ID"] != old.RoleID || got["OWN"] != "kept" {
			t.Errorf("%s does not hold the new credential and what it had", action)
		}
	}
	if now.SecretID == old.SecretID || !accepted(t, s, now) || accepted(t, s, old) {
		t.Error("the new credential is to be accepted, the old one refused")
	}
	return now
}

// TestEventInActionsUpdatedOutcomeOut: two replicas in containers; a leak, and then somebody leaves while one replica after the
// other is stopped in the middle of the rotation, within its grace period. The next start finishes it.
func TestEventInActionsUpdatedOutcomeOut(t *testing.T) {
	var first login
	s := rotatortest.Start(t, rotatortest.Config{Bundles: shop, Seed: seed(&first), Replicas: 2})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	o, err := s.Leak(ctx, "shop")
	if err != nil || o.Result != "rotated" || o.KVVersionFrom != 1 || o.KVVersionTo != 2 {
		t.Fatalf("%v: %+v\n%s", err, o, s.Logs(0))
	}
	second := rotated(t, s, first)

	event, _ := json.Marshal(map[string]any{"specversion": "1.0", "id": "hr-1", "source": "urn:hr", "type": "rotator.principal.offboarded.v1", "time": time.Now().UTC().Format(time.RFC3339),
		"data": map[string]any{"person": map[string]any{"identifiers": []map[string]any{{"format": "email", "email": "alice@example.com"}}}, "change": "terminated", "reason": "admin", "severity": "high", "upstream": map[string]any{"system": "hr"}}})
	if err := s.Publish(ctx, "rotator.events.v1.hr.offboarding", event); err != nil {
		t.Fatal(err)
	}
	for bound(t, s, "refund")["SECRET_ID"] == second.SecretID { // in the middle: bound, and the old one not yet revoked
		if ctx.Err() != nil {
			t.Fatal("the second rotation does not begin")
		}
		time.Sleep(50 * time.Millisecond)
	}
	for replica := range 2 {
		began := time.Now()
		if err := s.Stop(ctx, replica, 30*time.Second); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("replica %d took %s to stop", replica, took)
		}
	}
	if !accepted(t, s, second) {
		t.Error("the old credential was revoked before its overlap was over")
	}
	if err := s.Restart(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if o, err = s.Await(ctx, "shop", "urn:hr hr-1"); err != nil || o.Result != "rotated" || o.KVVersionTo != 3 {
		t.Fatalf("%v: %+v\n%s", err, o, s.Logs(1))
	}
	third := rotated(t, s, second)
	for _, secret := range []string{first.SecretID, second.SecretID, third.SecretID, rotatortest.OpenWhiskKey, s.VaultToken} {
		for replica := range 2 {
			if strings.Contains(s.Logs(replica), secret) {
				t.Errorf("P7: the log of replica %d holds a secret", replica)
			}
		}
	}
}
