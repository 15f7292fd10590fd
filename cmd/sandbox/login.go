package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// errDead says that a credential was presented and refused.
var errDead = errors.New("login refused")

// A login proves a credential by using it, with nothing of the rotator's own code. Its errors hold no value.
type login func(ctx context.Context, values map[string]string) error

// approleLogin logs in to Vault with a role id and a secret-id, or with the two joined by a colon.
func approleLogin(address, mount, prefix string) login {
	return func(ctx context.Context, values map[string]string) error {
		role, id := values[prefix+"_ROLE_ID"], values[prefix+"_SECRET_ID"]
		if joined := values[prefix+"_LOGIN"]; joined != "" {
			role, id, _ = strings.Cut(joined, ":")
		}
		body, err := json.Marshal(map[string]string{"role_id": role, "secret_id": id})
		if err != nil {
			return err
		}
		resp, err := vaultPost(ctx, address+"/v1/auth/"+mount+"/login", "", body)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusBadRequest: // 403 is a role that is locked out
			return errDead
		case resp.StatusCode != http.StatusOK:
			return fmt.Errorf("vault answered the login with status %d", resp.StatusCode)
		}
		return dropToken(ctx, address, resp)
	}
}

// dropToken ends the session that a login opened.
func dropToken(ctx context.Context, address string, resp *http.Response) error {
	var out struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		} `json:"auth"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.Auth.ClientToken == "" {
		return errors.New("vault's answer to the login holds no token")
	}
	end, err := vaultPost(ctx, address+"/v1/auth/token/revoke-self", out.Auth.ClientToken, nil)
	if err == nil {
		end.Body.Close()
	}
	return nil // the login was the proof
}

func vaultPost(ctx context.Context, url, token string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	return http.DefaultClient.Do(req)
}

// postgresLogin connects with a URL, or with a user and a password, and makes one round trip.
func postgresLogin(dsn func(user, password string) string) login {
	return func(ctx context.Context, values map[string]string) error {
		url := values["DB_URL"]
		if url == "" {
			url = dsn(values["DB_USER"], values["DB_PASSWORD"])
		}
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return postgresError(err)
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		var one int
		if err := conn.QueryRow(ctx, "select 1").Scan(&one); err != nil {
			return postgresError(err)
		}
		return nil
	}
}

// postgresError keeps the code only: PostgreSQL's texts name the user.
func postgresError(err error) error {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok:
		return errors.New("postgres did not answer")
	case pgErr.Code == "28P01" || pgErr.Code == "28000":
		return errDead
	}
	return fmt.Errorf("postgres answered SQLSTATE %s", pgErr.Code)
}
