package crash

import (
	"encoding/json"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// reconcile runs the command of this name, and returns what it found and its exit code: 0 nothing, 1 something.
func (s *shop) reconcile(config string, flags ...string) (found rotator.Reconciliation, code int) {
	out, err := exec.Command(s.program, append([]string{"reconcile", "-c", config, "-o", "json"}, flags...)...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if err != nil && code != 1 {
		s.fail("rotator reconcile: %v", err)
		return found, code
	}
	if err := json.Unmarshal(out, &found); err != nil {
		s.fail("rotator reconcile said %q: %v", out, err)
	}
	return found, code
}

// TestReconcileByHand: somebody has put old values on a target, and a lease on the rotator's own path belongs to nobody. The
// command shows both, mends both, and then finds nothing.
func TestReconcileByHand(t *testing.T) {
	s := newParts(t, vaulttest.Run(t)).newShop(t)
	defer s.report()
	config := s.replica("r1", nil)
	s.spawn(t, s.dir, config)
	if err := s.publish(departure("e1", s.name)); err != nil {
		t.Fatal(err)
	}
	if err := s.finished(60*time.Second, 1); err != nil {
		t.Fatal(err)
	}
	if _, code := s.reconcile(config); code != 0 {
		t.Errorf("after a rotation it ends with %d", code)
	}
	s.whisk.Write("actions", "refund", param.List{text("DB_USER", s.first.user), text("DB_PASSWORD", s.first.password),
		text("ROLE_ID", s.first.roleID), text("SECRET_ID", s.first.secretID), text("RETRIES", "3"), text("OWN", "kept"), {Key: "SEED", Value: text("", "kept too").Value, Init: true}})
	stray, _ := s.vault.Must(t, http.MethodGet, s.db+"/creds/"+s.name, nil)["lease_id"].(string)
	var found rotator.Reconciliation
	err := until(20*time.Second, "the lease is old enough to be nobody's", func() bool {
		found, _ = s.reconcile(config)
		return len(found.Orphans) == 1
	})
	if err != nil || found.Orphans[0].Handle.ID != stray || len(found.Drifted) != 1 || found.Drifted[0].Target.Name != "refund" || found.Drifted[0].Applied {
		t.Fatalf("%v: %+v", err, found)
	}
	shown, err := exec.Command(s.program, "status", "-c", config).Output()
	if err != nil || !strings.Contains(string(shown), "drifted targets: 1, orphans: 1; rotator reconcile") || !strings.Contains(string(shown), "were compared with the journal") {
		t.Errorf("status shows %s (%v)", shown, err)
	}
	if found, code := s.reconcile(config, "--revoke", "--apply"); code != 1 || len(found.Revoked) != 1 || len(found.Drifted) != 1 || !found.Drifted[0].Applied {
		t.Errorf("exit code %d, %+v", code, found)
	}
	if err := s.finished(60*time.Second, 1); err != nil { // the service writes the target
		t.Fatal(err)
	}
	if found, code := s.reconcile(config); code != 0 {
		t.Errorf("exit code %d, %+v", code, found)
	}
	if shown, err := exec.Command(s.program, "status", "-c", config).Output(); err != nil || strings.Contains(string(shown), "drifted") {
		t.Errorf("status still shows %s (%v)", shown, err)
	}
	s.look("the end")
	s.check("", 2) // the rotation, and the target that was written again
}
