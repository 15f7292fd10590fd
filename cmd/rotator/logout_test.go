package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// TestNoLoginIsLeft: whatever logs in to Vault, commands and the service alike, ends its token; one that was given lives on.
func TestNoLoginIsLeft(t *testing.T) {
	path, _ := site(t)
	v := vaulttest.Run(t)
	mount := v.AppRole(t)
	v.Must(t, http.MethodPost, "auth/"+mount+"/role/cli", map[string]any{"token_policies": []string{v.Policy(t, `path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }`)}})
	id, _ := v.Must(t, http.MethodGet, "auth/"+mount+"/role/cli/role-id", nil)["data"].(map[string]any)["role_id"].(string)
	secretID, _ := v.Must(t, http.MethodPost, "auth/"+mount+"/role/cli/secret-id", map[string]any{})["data"].(map[string]any)["secret_id"].(string)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	for name, content := range map[string]string{"rotator.yaml": strings.Replace(string(text), "{method: token, token_file: token}", "{method: approle, mount: "+mount+", role_id: "+id+", secret_id_file: sid}", 1), "sid": secretID} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	logins := func() (n int) { // that live
		for _, accessor := range v.Must(t, "LIST", "auth/token/accessors", nil)["data"].(map[string]any)["keys"].([]any) {
			var out struct{ Data struct{ Path string } }
			if v.API(t.Context(), http.MethodPost, "auth/token/lookup-accessor", map[string]any{"accessor": accessor}, &out) == nil && out.Data.Path == "auth/"+mount+"/login" {
				n++
			}
		}
		return n
	}
	for _, args := range [][]string{{"check"}, {"plan", "--bundle", "app"}, {"affected", "--person", "alice@example.com"}, {"fingerprint"}, {"bundle", "import", "app", "--from-action", "app"}} {
		if code, out, errs := callIn(t, "x", append(args, "-c", path)...); code != exitOK || logins() != 0 {
			t.Errorf("%v: %d, %d logins are left: %s%s", args, code, logins(), out, errs)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var logs output
	go func() { done <- run(ctx, []string{"run", "-c", path}, nil, &logs, &logs) }()
	if code, out, errs := call(t, "emit", "leak", "-c", path, "--bundle", "app", "--wait", "--timeout", "60s"); code != exitOK {
		t.Errorf("emit: %d %s%s%s", code, out, errs, logs.String())
	}
	if logins() == 0 {
		t.Error("the service is not logged in: nothing is tested here")
	}
	stop()
	select {
	case code := <-done:
		if code != exitOK || logins() != 0 {
			t.Errorf("run ended with %d, %d logins are left: %s", code, logins(), logs.String())
		}
	case <-time.After(30 * time.Second):
		t.Fatal("run does not stop")
	}
	if bound, _ := stored(t, path).Set["SECRET_ID"].Text(); bound == "" {
		t.Error("the bundle is gone")
	}
}
