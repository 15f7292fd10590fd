package crash

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// parts are the real systems that all runs of a test share.
type parts struct {
	vault   *vaulttest.Server
	pg      *vaulttest.PG
	db      string // mounts
	approle string
	kv      string
	anchor  string // token role
	roleID  string // of the rotator itself
	secret  string
	program string
}

func newParts(t *testing.T, v *vaulttest.Server) *parts {
	t.Helper()
	p := &parts{vault: v, pg: vaulttest.Postgres(t), kv: v.KV(t), approle: v.AppRole(t)}
	p.db = v.Database(t, p.pg, vaulttest.DatabaseRole{Name: "model", DefaultTTL: time.Hour, MaxTTL: 24 * time.Hour})
	p.anchor = v.Anchors(t, v.Policy(t, fmt.Sprintf(`path "%s/creds/*" { capabilities = ["read"] }
path "auth/%s/role/*" { capabilities = ["create", "update"] }`, p.db, p.approle)))
	own := v.Policy(t, `path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }`)
	v.Must(t, http.MethodPost, "auth/"+p.approle+"/role/rotator", map[string]any{"token_policies": []string{own}, "token_ttl": "1h"})
	p.roleID, p.secret = p.login(t, "rotator")
	p.program = filepath.Join(t.TempDir(), "rotator")
	out, err := exec.Command("go", "build", "-o", p.program, "github.com/openwhisk-rotator/rotator/cmd/rotator").CombinedOutput()
	if err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return p
}

// login makes a secret-id for an AppRole that exists, and returns both halves.
func (p *parts) login(t testing.TB, role string) (roleID, secretID string) {
	t.Helper()
	path := "auth/" + p.approle + "/role/" + role
	roleID = field(p.vault.Must(t, http.MethodGet, path+"/role-id", nil), "role_id")
	return roleID, field(p.vault.Must(t, http.MethodPost, path+"/secret-id", map[string]any{}), "secret_id")
}

func field(answer map[string]any, name string) string {
	data, _ := answer["data"].(map[string]any)
	text, _ := data[name].(string)
	return text
}

// databaseRole makes a role like the model.
func (p *parts) databaseRole(t testing.TB, name string) {
	t.Helper()
	model := p.vault.Must(t, http.MethodGet, p.db+"/roles/model", nil)
	data, _ := model["data"].(map[string]any)
	p.vault.Must(t, http.MethodPost, p.db+"/roles/"+name, map[string]any{
		"db_name": data["db_name"], "creation_statements": data["creation_statements"], "revocation_statements": data["revocation_statements"],
		"default_ttl": data["default_ttl"], "max_ttl": data["max_ttl"],
	})
}

// startNATS runs a nats-server in this process.
func startNATS(t testing.TB) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("nats-server does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// A process is one running rotator.
type process struct {
	cmd  *exec.Cmd
	logs *os.File
	gone chan struct{}
}

// spawn starts the program on a configuration file.
func (p *parts) spawn(t testing.TB, dir, config string) *process {
	t.Helper()
	logs, err := os.OpenFile(filepath.Join(dir, "logs"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(p.program, "run", "-c", config)
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pr := &process{cmd: cmd, logs: logs, gone: make(chan struct{})}
	go func() { _ = cmd.Wait(); _ = logs.Close(); close(pr.gone) }()
	t.Cleanup(pr.kill)
	return pr
}

func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

func (p *process) ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// kill ends the process as a power cut would, and returns when it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}

// until polls a condition, with a deadline.
func until(limit time.Duration, what string, done func() bool) error {
	for deadline := time.Now().Add(limit); !done(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("after %s still not: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond) // the pace of polling; nothing counts on it
	}
	return nil
}

func ask(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}

func indent(text string) string {
	return "\t" + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n\t")
}
