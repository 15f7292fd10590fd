package vaulttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// API makes one call as root. body and out may be nil; out receives the whole answer.
func (s *Server) API(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: encoding the body: %w", method, path, err)
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.Address+"/v1/"+path, payload)
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", s.RootToken)
	req.Header.Set("X-Vault-Request", "true")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: status %d: %s", method, path, resp.StatusCode, strings.TrimSpace(string(answer)))
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// Mount enables a secrets engine: "kv-v2", "database", "pki", "transit", "ssh", ...
func (s *Server) Mount(ctx context.Context, path, engine string) error {
	body := map[string]any{"type": engine}
	if engine == "kv-v2" {
		body = map[string]any{"type": "kv", "options": map[string]string{"version": "2"}}
	}
	if err := s.API(ctx, http.MethodPost, "sys/mounts/"+path, body, nil); err != nil {
		return err
	}
	if engine != "kv-v2" {
		return nil
	}
	return s.awaitKV(ctx, path)
}

// awaitKV waits for the moment's upgrade that a new kv-v2 mount goes through.
func (s *Server) awaitKV(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		err := s.API(ctx, http.MethodGet, path+"/config", nil, nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// EnableAuth enables an auth method such as "approle".
func (s *Server) EnableAuth(ctx context.Context, path, method string) error {
	return s.API(ctx, http.MethodPost, "sys/auth/"+path, map[string]any{"type": method}, nil)
}

// PutPolicy writes an ACL policy.
func (s *Server) PutPolicy(ctx context.Context, name, hcl string) error {
	return s.API(ctx, http.MethodPut, "sys/policies/acl/"+name, map[string]any{"policy": hcl}, nil)
}

// AnchorRole makes a token role fit for anchors: orphans without period that may hold the given policies.
func (s *Server) AnchorRole(ctx context.Context, name string, policies ...string) error {
	return s.API(ctx, http.MethodPost, "auth/token/roles/"+name, map[string]any{
		"orphan": true, "renewable": true, "token_no_default_policy": true, "allowed_policies": policies,
	}, nil)
}

// Token makes a service token with the given policies.
func (s *Server) Token(ctx context.Context, ttl time.Duration, policies ...string) (string, error) {
	var out struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		} `json:"auth"`
	}
	body := map[string]any{"policies": policies, "ttl": ttl.String()}
	err := s.API(ctx, http.MethodPost, "auth/token/create", body, &out)
	return out.Auth.ClientToken, err
}
