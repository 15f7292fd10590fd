package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// vaultSide is the Vault with the names of what the sandbox makes there.
type vaultSide struct {
	*vaulttest.Server
	own       bool   // ours alone; otherwise names carry a prefix and everything is removed at the end
	kv        string // mount
	approle   string // mount, without auth/
	database  string // mount; empty without PostgreSQL
	passwords string // password policy
	anchors   string // token role and policy
	policy    string // of the rotator
	roles     []string
	made      []string // API paths to delete, in order of making
	roleID    string   // of the rotator
	secretID  string
}

func startVault(ctx context.Context, progress func(string)) (*vaultSide, error) {
	server, err := vaulttest.Start(ctx, vaulttest.Options{Progress: progress})
	if err != nil {
		return nil, err
	}
	v := &vaultSide{Server: server, own: os.Getenv("VAULT_ADDR") == "" || os.Getenv("VAULT_TOKEN") == "",
		kv: "secret", approle: "approle", passwords: "session", anchors: "rotator-anchor", policy: "rotator"}
	if !v.own {
		p := vaulttest.Name("sandbox") + "-"
		v.kv, v.approle, v.passwords, v.anchors, v.policy = p+v.kv, p+v.approle, p+v.passwords, p+v.anchors, p+v.policy
	}
	if err := v.mounts(ctx); err != nil {
		v.remove()
		v.Stop()
		return nil, fmt.Errorf("preparing vault: %w", err)
	}
	return v, nil
}

func (v *vaultSide) mounts(ctx context.Context) error {
	if !v.own { // a dev server has secret/ from the start
		v.made = append(v.made, "sys/mounts/"+v.kv)
		if err := v.Mount(ctx, v.kv, "kv-v2"); err != nil {
			return err
		}
	}
	v.made = append(v.made, "sys/auth/"+v.approle)
	if err := v.EnableAuth(ctx, v.approle, "approle"); err != nil {
		return err
	}
	// By default five logins with a dead secret-id - the thief's, or a stale container's - lock the role out for
	// a quarter of an hour, with its new secret-id as well.
	calm := map[string]any{"user_lockout_config": map[string]any{"lockout_disable": true}}
	if err := v.API(ctx, http.MethodPost, "sys/auth/"+v.approle+"/tune", calm, nil); err != nil {
		return err
	}
	v.made = append(v.made, "sys/policies/password/"+v.passwords)
	return v.API(ctx, http.MethodPut, "sys/policies/password/"+v.passwords, map[string]any{"policy": sessionPolicy}, nil)
}

// useDatabase points Vault's database engine at pg.
func (v *vaultSide) useDatabase(ctx context.Context, pg *vaulttest.PG) error {
	mount := "database"
	if !v.own {
		mount = vaulttest.Name("sandbox") + "-database"
	}
	v.made = append(v.made, "sys/mounts/"+mount)
	role := vaulttest.DatabaseRole{Name: "orders", DefaultTTL: 24 * time.Hour, MaxTTL: 720 * time.Hour}
	if err := v.EnableDatabase(ctx, mount, pg, role); err != nil {
		return err
	}
	v.database = mount
	return nil
}

// role makes an AppRole role of the shop.
func (v *vaultSide) role(ctx context.Context, name string) error {
	v.roles = append(v.roles, name)
	return v.API(ctx, http.MethodPost, "auth/"+v.approle+"/role/"+name, map[string]any{"token_ttl": "60s"}, nil)
}

// data makes one call as root and returns the texts of its data, and the lease.
func (v *vaultSide) data(ctx context.Context, method, path string, body any) (map[string]string, string, error) {
	var out struct {
		LeaseID string         `json:"lease_id"`
		Data    map[string]any `json:"data"`
	}
	if err := v.API(ctx, method, path, body, &out); err != nil {
		return nil, "", err
	}
	texts := make(map[string]string)
	for key, value := range out.Data {
		if s, ok := value.(string); ok {
			texts[key] = s
		}
	}
	return texts, out.LeaseID, nil
}

// secretIDOf mints a secret-id by hand, as a person would: vault write -f auth/approle/role/NAME/secret-id.
func (v *vaultSide) secretIDOf(ctx context.Context, role string) (roleID, secretID string, err error) {
	path := "auth/" + v.approle + "/role/" + role
	got, _, err := v.data(ctx, http.MethodGet, path+"/role-id", nil)
	if err != nil {
		return "", "", err
	}
	minted, _, err := v.data(ctx, http.MethodPost, path+"/secret-id", map[string]any{})
	return got["role_id"], minted["secret_id"], err
}

// admitRotator gives the rotator its own login with no more rights than it needs, in files below dir.
func (v *vaultSide) admitRotator(ctx context.Context, bundles []*bundle, dir string) error {
	v.made = append(v.made, "sys/policies/acl/"+v.policy, "sys/policies/acl/"+v.anchors, "auth/token/roles/"+v.anchors)
	if err := v.PutPolicy(ctx, v.policy, rotatorPolicy(v, bundles)); err != nil {
		return err
	}
	if err := v.PutPolicy(ctx, v.anchors, anchorPolicy(v)); err != nil {
		return err
	}
	if err := v.AnchorRole(ctx, v.anchors, v.anchors); err != nil {
		return err
	}
	body := map[string]any{"token_policies": []string{v.policy}, "token_ttl": "1h"}
	if err := v.API(ctx, http.MethodPost, "auth/"+v.approle+"/role/rotator", body, nil); err != nil {
		return err
	}
	var err error
	if v.roleID, v.secretID, err = v.secretIDOf(ctx, "rotator"); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "vault-role-id"), []byte(v.roleID+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "vault-secret-id"), []byte(v.secretID+"\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "rotator-policy.hcl"), []byte(rotatorPolicy(v, bundles)), 0o600),
	)
}

// write stores a bundle as a person would: vault kv put.
func (v *vaultSide) write(ctx context.Context, b *bundle) error {
	data := make(map[string]any, len(b.values)+1)
	for key, value := range b.values {
		data[key] = value
	}
	if b.lease != "" {
		data["_rotator"] = map[string]any{"handles": []map[string]string{{"kind": "lease", "id": b.lease}}}
	}
	return v.API(ctx, http.MethodPost, v.kv+"/data/"+b.name, map[string]any{"data": data}, nil)
}

// versions reads what a bundle ever held, oldest first, without the rotator's own key.
func (v *vaultSide) versions(ctx context.Context, name string) ([]map[string]any, error) {
	var head struct {
		Data struct {
			Current int `json:"current_version"`
		} `json:"data"`
	}
	if err := v.API(ctx, http.MethodGet, v.kv+"/metadata/"+name, nil, &head); err != nil {
		return nil, err
	}
	var all []map[string]any
	for n := 1; n <= head.Data.Current; n++ {
		var out struct {
			Data struct {
				Data map[string]any `json:"data"`
			} `json:"data"`
		}
		if err := v.API(ctx, http.MethodGet, fmt.Sprintf("%s/data/%s?version=%d", v.kv, name, n), nil, &out); err != nil {
			return nil, err
		}
		delete(out.Data.Data, "_rotator")
		all = append(all, out.Data.Data)
	}
	return all, nil
}

// remove takes away what was made in a Vault of the user's. The database has to be up still: its mount goes only
// after its leases.
func (v *vaultSide) remove() {
	if v.own {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, path := range v.made {
		_ = v.API(ctx, http.MethodDelete, path, nil, nil) // what is not there was never made
	}
}
