package vaultsrc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

func wrappedToken(t *testing.T, r io.Reader) string {
	t.Helper()
	var out struct {
		Wrap struct {
			Token string `json:"token"`
		} `json:"wrap_info"`
	}
	if err := json.NewDecoder(r).Decode(&out); err != nil || out.Wrap.Token == "" {
		t.Fatalf("no wrapping token: %v", err)
	}
	return out.Wrap.Token
}

const canary = "c4n4ry-s3cr3t<&>"

// TestNoValueInErrorsOrLogs talks to a server that puts what it got into every message, in several shapes.
func TestNoValueInErrorsOrLogs(t *testing.T) {
	shape := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.HasSuffix(r.URL.Path, "/lookup-self") && r.Header.Get("X-Vault-Token") == "mine" {
			io.WriteString(w, `{"data":{"ttl":0}}`)
			return
		}
		echo := canary + " " + string(body) + r.Header.Get("X-Vault-Token")
		switch shape {
		case 0:
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(map[string]any{"errors": []string{echo, "harmless"}})
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, echo)
		case 2:
			io.WriteString(w, `{"data": "`+canary)
		}
	}))
	defer srv.Close()
	var logs bytes.Buffer
	c := newClient(t, Config{
		Address: srv.URL, Timeout: 300 * time.Millisecond, Auth: staticAuth("mine"), Logger: zerolog.New(&logs).Level(zerolog.TraceLevel),
	})
	v := secret.FromText(canary)
	obj, err := secret.FromJSON([]byte(`{"nested":"` + canary + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for shape = range 3 {
		calls := map[string]error{}
		_, calls["write"] = c.WriteBundle(ctx, "kv/a", secret.Set{"A": v, "B": obj}, nil, 1)
		_, calls["adopt"] = c.Adopt(ctx, MintRequest{Path: "auth/approle/role/x/secret-id"}, secret.Set{"secret_id": v})
		calls["try login"] = c.TryLogin(ctx, v, v, "approle")
		calls["try token"] = c.TryToken(ctx, v)
		if shape == 2 { // answers that hold values
			_, calls["read"] = c.ReadBundle(ctx, "kv/a", 0)
			_, calls["mint"] = c.Mint(ctx, Anchor{Accessor: "a", token: v}, MintRequest{Path: "db/creds/x"})
		}
		for name, err := range calls {
			if err == nil {
				t.Errorf("%s, shape %d: no error", name, shape)
			}
			if text := fmt.Sprintf("%v %+v %#v", err, err, err); contains(text, "c4n4ry") {
				t.Errorf("%s, shape %d: the value is in the error: %v", name, shape, err)
			}
		}
	}
	a := Anchor{Accessor: "acc", token: v}
	if text := fmt.Sprintf("%v %+v %#v", a, a, Minted{Fields: secret.Set{"x": v}}); contains(text, "c4n4ry") {
		t.Errorf("printed: %s", text)
	}
	if contains(logs.String(), "c4n4ry") {
		t.Errorf("in the logs: %s", logs.String())
	}
}
