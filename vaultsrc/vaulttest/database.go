package vaulttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// DatabaseRole is a role of Vault's database engine that makes PostgreSQL users.
type DatabaseRole struct {
	Name       string
	DefaultTTL time.Duration
	MaxTTL     time.Duration
}

// EnableDatabase mounts the database engine, points it at pg and makes the roles. The users that it makes carry
// the display name of the token that asked, so that a stray one can be told apart, and an end of validity.
func (s *Server) EnableDatabase(ctx context.Context, mount string, pg *PG, roles ...DatabaseRole) error {
	if s.stopMore != nil {
		return errors.New("a Vault in a container cannot reach a PostgreSQL on this machine: put vault on PATH")
	}
	if err := s.registerPostgres(ctx); err != nil {
		return err
	}
	if err := s.Mount(ctx, mount, "database"); err != nil {
		return err
	}
	config := map[string]any{
		"plugin_name": postgresPlugin, "allowed_roles": "*",
		"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@%s:%d/%s?sslmode=disable", pg.Host, pg.Port, pg.Database),
		"username":       pg.User, "password": pg.Password, "password_authentication": "scram-sha-256",
		"username_template": `{{ printf "v-%s-%s-%s" (.DisplayName | truncate 30) (.RoleName | truncate 8) (random 12) | truncate 63 }}`,
	}
	if err := s.API(ctx, http.MethodPost, mount+"/config/pg", config, nil); err != nil {
		return err
	}
	for _, r := range roles {
		role := map[string]any{
			"db_name":     "pg",
			"default_ttl": r.DefaultTTL.String(), "max_ttl": r.MaxTTL.String(),
			"creation_statements": []string{
				`CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';`,
			},
			"revocation_statements": []string{
				`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}';`,
				`DROP ROLE IF EXISTS "{{name}}";`,
			},
		}
		if err := s.API(ctx, http.MethodPost, mount+"/roles/"+r.Name, role, nil); err != nil {
			return err
		}
	}
	return nil
}

// registerPostgres puts the plugin into the catalog unless it is there or built in.
func (s *Server) registerPostgres(ctx context.Context) error {
	const entry = "sys/plugins/catalog/database/" + postgresPlugin
	if s.API(ctx, http.MethodGet, entry, nil, nil) == nil {
		return nil
	}
	if s.opts.PluginDir == "" {
		return errors.New("this Vault has no PostgreSQL plugin: unset VAULT_ADDR to use one that has")
	}
	f, err := os.Open(filepath.Join(s.opts.PluginDir, exe(postgresPlugin)))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	body := map[string]any{"sha256": hex.EncodeToString(sum.Sum(nil)), "command": exe(postgresPlugin)}
	return s.API(ctx, http.MethodPut, entry, body, nil)
}
