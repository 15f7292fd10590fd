package rotatortest_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/rotatortest"
)

// In your test: one bundle whose API key comes from a password policy, on one action; its leak is over when Leak returns.
func ExampleStart() {
	var t *testing.T // of your test

	stack := rotatortest.Start(t, rotatortest.Config{
		Bundles: `
  shop:
    secret: secret/shop
    credentials: {key: {generate: {password_policy: shop}, keys: {password: API_KEY}}}
    targets: [{action: checkout}]`,
		Seed: func(ctx context.Context, s *rotatortest.Stack) error {
			policy := map[string]any{"policy": `length = 24
rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" }`}
			if err := s.VaultAPI(ctx, http.MethodPut, "sys/policies/password/shop", policy, nil); err != nil {
				return err
			}
			if err := s.VaultAPI(ctx, http.MethodPost, "secret/data/shop", map[string]any{"data": map[string]any{"API_KEY": "leaked", "REGION": "eu"}}, nil); err != nil {
				return err
			}
			return s.OpenWhiskAPI(ctx, http.MethodPut, "actions/checkout", map[string]any{
				"exec":       map[string]any{"kind": "nodejs:20", "code": "function main() {}"},
				"parameters": []map[string]any{{"key": "API_KEY", "value": "leaked"}, {"key": "LOG_LEVEL", "value": "info"}},
			}, nil)
		},
	})
	outcome, err := stack.Leak(context.Background(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(outcome.Result) // rotated
}
