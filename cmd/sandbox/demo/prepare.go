package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// ready bounds the wait for all the systems.
const ready = 3 * time.Minute

// A stage is the set of systems that the demonstration plays on.
type stage struct {
	vault     *vaulttest.Server
	pg        *vaulttest.PG
	openwhisk string
	auth      string
	nats      string
	dir       string
}

// prepare may run again: what is there already is made again with the same content, but the shop gets new credentials.
func prepare(ctx context.Context, env func(string) string, dir string) error {
	s := &stage{
		vault: &vaulttest.Server{Address: env("VAULT_ADDR"), RootToken: env("VAULT_TOKEN")},
		pg: &vaulttest.PG{Host: cmp.Or(env("POSTGRES_HOST"), "postgres"), Port: 5432, User: "postgres", Password: env("POSTGRES_PASSWORD"),
			Database: "postgres"},
		openwhisk: env("OPENWHISK"), auth: cmp.Or(env("OPENWHISK_AUTH"), whisktest.GuestKey), nats: env("NATS_URL"), dir: dir,
	}
	return s.all(ctx)
}

func (s *stage) all(ctx context.Context) error {
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"Vault answers", s.vaultAnswers}, {"OpenWhisk answers", s.openwhiskAnswers}, {"database engine, AppRole and policies are in Vault", s.engines},
		{"the rotator has a login of its own", s.login}, {"the shop's secret and actions are there", s.shop}, {"rotator.yaml is written", s.config},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Println("done:", step.what)
	}
	return nil
}

func (s *stage) vaultAnswers(ctx context.Context) error {
	return patiently(ctx, func(ctx context.Context) error { return s.vault.API(ctx, http.MethodGet, "sys/mounts", nil, nil) })
}

func (s *stage) openwhiskAnswers(ctx context.Context) error {
	return patiently(ctx, func(ctx context.Context) error {
		return call(ctx, http.MethodGet, s.openwhisk+"/api/v1/namespaces", s.auth, nil)
	})
}

// engines may find them mounted by an earlier run.
func (s *stage) engines(ctx context.Context) error {
	var mounts, auths map[string]any
	if err := s.vault.API(ctx, http.MethodGet, "sys/mounts", nil, &mounts); err != nil {
		return err
	}
	if err := s.vault.API(ctx, http.MethodGet, "sys/auth", nil, &auths); err != nil {
		return err
	}
	if mounts["database/"] == nil {
		role := vaulttest.DatabaseRole{Name: "shop", DefaultTTL: time.Hour, MaxTTL: 720 * time.Hour}
		err := patiently(ctx, func(ctx context.Context) error { // PostgreSQL may be a moment behind
			err := s.vault.EnableDatabase(ctx, "database", s.pg, role)
			if err != nil {
				_ = s.vault.API(ctx, http.MethodDelete, "sys/mounts/database", nil, nil)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if auths["approle/"] == nil {
		if err := s.vault.EnableAuth(ctx, "approle", "approle"); err != nil {
			return err
		}
	}
	if err := s.vault.PutPolicy(ctx, "rotator-mint", `path "database/creds/shop" { capabilities = ["read"] }`); err != nil {
		return err
	}
	if err := s.vault.PutPolicy(ctx, "rotator", policy); err != nil {
		return err
	}
	return s.vault.AnchorRole(ctx, "rotator-anchor", "rotator-mint")
}

// policy is all that the rotator may do: least privilege, as the README has it.
const policy = `
path "secret/data/shop"                        { capabilities = ["read", "update"] }
path "secret/data/rotator/fingerprint"         { capabilities = ["create", "read"] }
path "auth/token/create/rotator-anchor"        { capabilities = ["update"] }
path "auth/token/lookup-accessor"              { capabilities = ["update"] }
path "auth/token/renew-accessor"               { capabilities = ["update"] }
path "auth/token/revoke-accessor"              { capabilities = ["update"] }
path "auth/token/accessors"                    { capabilities = ["list", "sudo"] }
path "sys/leases/lookup"                       { capabilities = ["update"] }
path "sys/leases/renew"                        { capabilities = ["update"] }
path "sys/leases/revoke"                       { capabilities = ["update"] }
path "sys/leases/lookup/database/creds/shop/*" { capabilities = ["list", "sudo"] }
`

// login makes the rotator's AppRole and puts its two halves where the rotator reads them.
func (s *stage) login(ctx context.Context) error {
	const role = "auth/approle/role/rotator"
	if err := s.vault.API(ctx, http.MethodPost, role, map[string]any{"token_policies": []string{"rotator"}, "token_ttl": "1h"}, nil); err != nil {
		return err
	}
	var id, secret struct {
		Data struct {
			RoleID   string `json:"role_id"`
			SecretID string `json:"secret_id"`
		}
	}
	if err := s.vault.API(ctx, http.MethodGet, role+"/role-id", nil, &id); err != nil {
		return err
	}
	if err := s.vault.API(ctx, http.MethodPost, role+"/secret-id", map[string]any{}, &secret); err != nil {
		return err
	}
	return s.files(map[string]string{"role-id": id.Data.RoleID, "secret-id": secret.Data.SecretID, "openwhisk-auth": s.auth})
}

// shop mints the first credential, as a person would have, and deploys what uses it.
func (s *stage) shop(ctx context.Context) error {
	var minted struct {
		LeaseID string `json:"lease_id"`
		Data    struct{ Username, Password string }
	}
	if err := s.vault.API(ctx, http.MethodGet, "database/creds/shop", nil, &minted); err != nil {
		return err
	}
	values := map[string]any{"DB_USER": minted.Data.Username, "DB_PASSWORD": minted.Data.Password, "REGION": "eu"}
	params := make([]map[string]any, 0, len(values)+1)
	for key, value := range values {
		params = append(params, map[string]any{"key": key, "value": value})
	}
	values["_rotator"] = map[string]any{"handles": []map[string]any{{"kind": "lease", "id": minted.LeaseID}}}
	if err := s.vault.API(ctx, http.MethodPost, "secret/data/shop", map[string]any{"data": values}, nil); err != nil {
		return err
	}
	params = append(params, map[string]any{"key": "LOG_LEVEL", "value": "info"})
	base := s.openwhisk + "/api/v1/namespaces/_/"
	if err := call(ctx, http.MethodPut, base+"packages/shop?overwrite=true", s.auth, map[string]any{}); err != nil {
		return err
	}
	for _, name := range []string{"shop/checkout", "shop/refund"} {
		action := map[string]any{"exec": map[string]any{"kind": "nodejs:20", "code": "function main(p) { return { user: p.DB_USER } }"}, "parameters": params}
		if err := call(ctx, http.MethodPut, base+"actions/"+name+"?overwrite=true", s.auth, action); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) config(context.Context) error {
	text := strings.NewReplacer("NATS", s.nats, "VAULT", s.vault.Address, "OPENWHISK", s.openwhisk, "POSTGRES", fmt.Sprintf("%s:%d", s.pg.Host, s.pg.Port)).Replace(`nats: {url: "NATS"}
vault:
  address: "VAULT"
  auth: {method: approle, role_id_file: role-id, secret_id_file: secret-id}
openwhisk:
  shop: {apihost: "OPENWHISK", auth_file: openwhisk-auth}
ops: {listen: "0.0.0.0:9180"} # compose.yaml publishes it on this machine only
bundles:
  shop:
    secret: secret/shop
    credentials:
      db:
        generate: database/creds/shop
        exclusive: true
        keys: {username: DB_USER, password: DB_PASSWORD}
        probe: {postgres: "postgres://{{DB_USER|url}}:{{DB_PASSWORD|url}}@POSTGRES/postgres?sslmode=disable"}
    holders: ["alice@example.com"]
    policy: {offboarding: {overlap: 10s}, manual: {overlap: 10s}}
    targets:
      - {action: shop/checkout}
      - {action: shop/refund}
`)
	return s.files(map[string]string{"rotator.yaml": text})
}

func (s *stage) files(content map[string]string) error {
	for name, text := range content {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// call makes one request to the OpenWhisk host.
func call(ctx context.Context, method, url, auth string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	user, password, _ := strings.Cut(auth, ":")
	req.SetBasicAuth(user, password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, text)
	}
	return nil
}

// patiently tries until it works, for as long as systems need to start.
func patiently(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()
	for {
		one, stop := context.WithTimeout(ctx, 10*time.Second)
		err := try(one)
		stop()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(500 * time.Millisecond):
		}
	}
}
