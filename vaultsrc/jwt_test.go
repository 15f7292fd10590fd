package vaultsrc

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

func TestJWTLogin(t *testing.T) {
	f := newFixture(t, false)
	mount := vaulttest.Name("jwt")
	if err := f.vault.EnableAuth(t.Context(), mount, "jwt"); err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pub := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	f.vault.Must(t, http.MethodPost, "auth/"+mount+"/config", map[string]any{"jwt_validation_pubkeys": []string{pub}})
	f.vault.Must(t, http.MethodPost, "auth/"+mount+"/role/rotator", map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "token_policies": []string{"default"},
	})
	cfg := f.cfg
	cfg.Auth = Auth{Method: "jwt", Mount: mount, Role: "rotator", JWTFile: filepath.Join(t.TempDir(), "jwt")}
	c := newClient(t, cfg)
	for audience, want := range map[string]bool{"vault": true, "other": false} {
		jwt := sign(t, key, map[string]any{"sub": "rotator", "aud": audience, "exp": time.Now().Add(time.Minute).Unix()})
		if err := os.WriteFile(cfg.Auth.JWTFile, []byte(jwt), 0o600); err != nil {
			t.Fatal(err)
		}
		err := c.Login(t.Context())
		if (err == nil) != want {
			t.Errorf("audience %s: %v", audience, err)
		}
		if err != nil && contains(err.Error(), jwt) {
			t.Error("the token is in the error")
		}
		if l := c.now(); l != nil {
			c.drop(l)
		}
	}
}

func sign(t *testing.T, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	text := enc([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + enc(body)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + enc(sig)
}
