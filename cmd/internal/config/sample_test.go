package config

import (
	"strings"
	"testing"
)

// The configuration as a person would first write it, in flow style and with little in it.
func TestShortFormLoads(t *testing.T) {
	c, err := Parse("rotator.yaml", []byte(`
nats:      {url: "nats://nats:4222", credentials_file: /etc/rotator/nats.creds, replicas: 3}   # left out: embedded server
vault:     {address: "https://vault:8200", namespace: "", auth: {method: approle, role_id_file: /r, secret_id_file: /s}}
openwhisk:
  prod:    {apihost: "https://adobeioruntime.net", namespace: 1234-shop, auth_file: /a, parallel: 16, hides_values: true}
  numeric: {apihost: adobeioruntime.net, namespace: 0123, bearer_file: /b}
bundles:
  checkout:
    secret: secret/checkout                       # KV v2 mount/path
    credentials:
      db:      {generate: database/creds/checkout, keys: {username: DB_USER, password: DB_PASSWORD}, probe: {postgres: "postgres://{{DB_USER}}:{{DB_PASSWORD}}@db/shop"}}
      cookie:  {generate: {password_policy: strong}, keys: {password: SESSION_KEY}}
    compose:   {DB_URL: "postgres://{{DB_USER}}:{{DB_PASSWORD}}@db/shop"}
    targets:
      - {host: prod, action: shop/checkout}
      - {host: prod, package: shop, keys: [DB_URL]}
      - {host: prod, action: shop/refund, rename: {DB_URL: DATABASE_URL}, init: [DATABASE_URL]}
      - {host: prod, action: /1234-shop/shop/mail, keys: [DB_URL]}
    holders:   ["alice@example.com", "group:payments"]
    policy:    {leak: {overlap: 0s, contain_within: 15m}, offboarding: {overlap: drain}, after_failure: rollback}
`), bare(nil))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	if got := c.Hosts["numeric"].Namespace; got != "0123" {
		t.Errorf("a namespace of digits became %q", got)
	}
	if got := c.Bundles["checkout"].Targets[3].Name; got != "shop/mail" {
		t.Errorf("the host's own namespace was not taken off: %q", got)
	}
	if c.NATS.Listen != "" || c.NATS.Replicas != 3 {
		t.Errorf("nats is %+v", c.NATS)
	}
}

// An editor on Windows changes neither the meaning nor the places.
func TestLineEndsAndByteOrderMark(t *testing.T) {
	plain := strings.Replace(Example(), "level: info", "level: loud", 1)
	vars := bare(map[string]string{"LAB_AUTH": "set"})
	_, want := Parse("r.yaml", []byte(plain), vars)
	_, got := Parse("r.yaml", []byte("\ufeff"+strings.ReplaceAll(plain, "\n", "\r\n")), vars)
	if want == nil || got == nil || got.Error() != want.Error() {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"prd", "prod", 1}, {"tragets", "targets", 1}, {"ab", "", 2}, {"ö", "o", 1}, {"abc", "xyz", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
