package intake

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

func standardOrToken(ctx context.Context, s *source, r *http.Request, body []byte, now time.Time) error {
	if r.Header.Get("Webhook-Signature") != "" {
		return standardWebhook(ctx, s, r, body, now)
	}
	return authorization(ctx, s, r, body, now)
}

// standardWebhook checks Standard Webhooks 1.0.0: v1 is HMAC-SHA256 with a key whsec_..., v1a is Ed25519 with a key whpk_....
func standardWebhook(_ context.Context, s *source, r *http.Request, body []byte, now time.Time) error {
	id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
	signed := append([]byte(id+"."+at+"."), body...)
	err := s.anySecret(func(k []byte) bool {
		ok := false
		for one := range strings.FieldsSeq(r.Header.Get("Webhook-Signature")) {
			version, text, _ := strings.Cut(one, ",")
			sig, err := base64.StdEncoding.DecodeString(text)
			if err == nil && webhookSigned(version, string(k), signed, sig) {
				ok = true
			}
		}
		return ok && id != ""
	})
	if err != nil {
		return err
	}
	return near(at, now)
}

// webhookKey tells keys of Standard Webhooks from plain secrets.
func webhookKey(line string) bool {
	return strings.HasPrefix(line, "whpk_") || strings.HasPrefix(line, "whsec_") || strings.HasPrefix(line, "whsk_")
}

func webhookSigned(version, key string, signed, sig []byte) bool {
	if text, ok := strings.CutPrefix(key, "whpk_"); ok {
		public, err := base64.StdEncoding.DecodeString(text)
		return version == "v1a" && err == nil && len(public) == ed25519.PublicKeySize && ed25519.Verify(public, signed, sig)
	}
	secret := []byte(key)
	if text, ok := strings.CutPrefix(key, "whsec_"); ok {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return false
		}
		secret = raw
	}
	return version == "v1" && hmac.Equal(sig, mac(sha256.New, secret, signed))
}
