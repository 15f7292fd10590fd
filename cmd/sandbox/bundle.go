package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

// hostName is the name of the OpenWhisk host in rotator.yaml.
const hostName = "shop"

// A bundle of the shop: what stands in Vault, what rotator.yaml says about it, and how to prove its credential.
type bundle struct {
	name    string
	values  map[string]string // first content, minted by hand
	lease   string            // of the first credential, if it has one
	yaml    string            // credentials and compose
	targets []rotator.Target
	login   login
	proof   string // what login does, in words
}

func (b *bundle) keys() []string {
	var out []string
	for key := range b.values {
		out = append(out, key)
	}
	return out
}

func ref(kind rotator.Kind, name string) rotator.Ref {
	return rotator.Ref{Host: hostName, Kind: kind, Name: name}
}

// checkoutBundle logs in to a payment service; here that is Vault's own AppRole. A session key that no backend
// knows is in it as well, and a value that is built from two others.
func checkoutBundle(ctx context.Context, v *vaultSide, pre string) (*bundle, error) {
	b, err := approleBundle(ctx, v, "checkout", "PAY")
	if err != nil {
		return nil, err
	}
	session, _, err := v.data(ctx, http.MethodGet, "sys/policies/password/"+v.passwords+"/generate", nil)
	if err != nil {
		return nil, err
	}
	b.values["SESSION_KEY"] = session["password"]
	b.values["PAY_URL"] = "https://pay.example.com/v2"
	b.yaml = strings.Replace(b.yaml, "    compose:", fmt.Sprintf("      session:\n        generate: {password_policy: %q}\n"+
		"        keys: {password: SESSION_KEY}              # a password policy: Vault makes it, no backend knows it\n    compose:", v.passwords), 1)
	b.targets = []rotator.Target{
		{Ref: ref(rotator.Package, pre+"shop"), Keys: []string{"SESSION_KEY"}},
		{Ref: ref(rotator.Package, pre+"shop-eu"), Keys: []string{"PAY_ROLE_ID", "PAY_SECRET_ID"}},
		{Ref: ref(rotator.Action, pre+"shop/checkout")}, // every key; SESSION_KEY comes from the package
		{Ref: ref(rotator.Action, pre+"shop/refund"), Keys: []string{"PAY_ROLE_ID", "PAY_SECRET_ID"},
			Rename: map[string]string{"PAY_SECRET_ID": "REFUND_SECRET_ID"}, Init: []string{"REFUND_SECRET_ID"}},
	}
	return b, nil
}

// approleBundle holds an AppRole credential in the keys PREFIX_ROLE_ID, PREFIX_SECRET_ID and PREFIX_LOGIN.
func approleBundle(ctx context.Context, v *vaultSide, name, prefix string) (*bundle, error) {
	if err := v.role(ctx, name); err != nil {
		return nil, err
	}
	roleID, secretID, err := v.secretIDOf(ctx, name)
	if err != nil {
		return nil, err
	}
	b := &bundle{name: name, proof: "logging in to Vault's AppRole", login: approleLogin(v.Address, v.approle, prefix)}
	b.values = map[string]string{prefix + "_ROLE_ID": roleID, prefix + "_SECRET_ID": secretID, prefix + "_LOGIN": roleID + ":" + secretID}
	b.yaml = strings.NewReplacer("PREFIX", prefix, "MOUNT", v.approle, "ROLE", name).Replace(`    credentials:
      login:
        generate: "auth/MOUNT/role/ROLE/secret-id"
        keys: {secret_id: PREFIX_SECRET_ID}
        probe: {approle: {mount: "MOUNT", role_id: "{{PREFIX_R_ID}}", secret_id: "{{PREFIX_SECRET_ID}}"}}
    compose:
      PREFIX_LOGIN: "{{PREFIX_R_ID}}:{{PREFIX_SECRET_ID}}" # built from others at every rotation
`)
	b.yaml = strings.ReplaceAll(b.yaml, "_R_ID", "_ROLE_ID")
	return b, nil
}

// ordersBundle is a user of a real database, or without PostgreSQL a second AppRole.
func ordersBundle(ctx context.Context, v *vaultSide, pg *vaulttest.PG, pre string) (b *bundle, err error) {
	joined, parts := "DB_URL", []string{"DB_USER", "DB_PASSWORD"}
	if pg != nil {
		b, err = postgresBundle(ctx, v, pg)
	} else {
		joined, parts = "ORDERS_LOGIN", []string{"ORDERS_ROLE_ID", "ORDERS_SECRET_ID"}
		b, err = approleBundle(ctx, v, "orders", "ORDERS")
	}
	if err != nil {
		return nil, err
	}
	b.values["WAREHOUSE"] = "north-2"
	b.targets = []rotator.Target{
		{Ref: ref(rotator.Action, pre+"shop/checkout"), Keys: []string{joined}}, // two bundles on one action
		{Ref: ref(rotator.Action, pre+"newsletter")},
		{Ref: ref(rotator.Trigger, pre+"nightly"), Keys: parts},
	}
	return b, nil
}

func postgresBundle(ctx context.Context, v *vaultSide, pg *vaulttest.PG) (*bundle, error) {
	minted, lease, err := v.data(ctx, http.MethodGet, v.database+"/creds/orders", nil)
	if err != nil {
		return nil, err
	}
	b := &bundle{name: "orders", lease: lease, proof: "connecting to PostgreSQL", login: postgresLogin(pg.DSN)}
	b.values = map[string]string{"DB_USER": minted["username"], "DB_PASSWORD": minted["password"], "DB_URL": pg.DSN(minted["username"], minted["password"])}
	url := fmt.Sprintf("postgres://{{DB_USER|url}}:{{DB_PASSWORD|url}}@%s:%d/%s?sslmode=disable", pg.Host, pg.Port, pg.Database)
	b.yaml = fmt.Sprintf(`    credentials:
      db:
        generate: "%s/creds/orders"
        keys: {username: DB_USER, password: DB_PASSWORD}
        probe: {postgres: %q}
    compose:
      DB_URL: %q # built from others at every rotation
`, v.database, url, url)
	return b, nil
}

// bound picks the bundle's values out of a target's parameters, by their names in the bundle. It reports
// whether a credential is among them.
func (b *bundle) bound(t rotator.Target, params map[string]string) (values map[string]string, whole bool) {
	values = make(map[string]string)
	for key, name := range t.Params(b.keys()) {
		if value, ok := params[name]; ok {
			values[key] = value
		}
	}
	has := func(suffixes ...string) bool {
		for _, s := range suffixes {
			found := false
			for key := range values {
				found = found || strings.HasSuffix(key, s)
			}
			if !found {
				return false
			}
		}
		return true
	}
	return values, has("_LOGIN") || has("_ROLE_ID", "_SECRET_ID") || has("DB_URL") || has("DB_USER", "DB_PASSWORD")
}
