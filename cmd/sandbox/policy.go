package main

import (
	"fmt"
	"strings"
)

// rotatorPolicy is all that the rotator's own login may do in Vault: the documented example of least privilege.
// It may not mint a lease itself - only anchor tokens may - so that no lease can come to be that nobody owns.
func rotatorPolicy(v *vaultSide, bundles []*bundle) string {
	var b strings.Builder
	allow := func(path string, caps ...string) {
		fmt.Fprintf(&b, "path %q { capabilities = [\"%s\"] }\n", path, strings.Join(caps, `", "`))
	}
	fmt.Fprintln(&b, "# The key of the fingerprints: made once, then read.")
	allow(v.kv+"/data/rotator/fingerprint", "create", "read")
	fmt.Fprintln(&b, "# Each bundle: read a version, write the next one. No delete.")
	for _, one := range bundles {
		allow(v.kv+"/data/"+one.name, "read", "update")
	}
	fmt.Fprintln(&b, "# Passwords that no backend knows.")
	allow("sys/policies/password/"+v.passwords+"/generate", "read")
	fmt.Fprintln(&b, "# AppRole secret-ids hold no lease: made, looked up and destroyed by their accessor. Switch the lockout of the")
	fmt.Fprintln(&b, "# mount off, or five logins with a dead secret-id lock out the live one for 15 minutes:")
	fmt.Fprintf(&b, "#   vault auth tune -user-lockout-disable=true %s/\n", v.approle)
	for _, role := range v.roles {
		path := "auth/" + v.approle + "/role/" + role + "/secret-id"
		allow(path, "update", "list")
		allow(path+"/lookup", "update")
		allow(path+"-accessor/lookup", "update")
		allow(path+"-accessor/destroy", "update")
	}
	fmt.Fprintln(&b, "# Anchors: orphan tokens, each owning the leases of one generation.")
	allow("auth/token/create/"+v.anchors, "update")
	for _, verb := range []string{"lookup", "renew", "revoke"} {
		allow("auth/token/"+verb+"-accessor", "update")
	}
	fmt.Fprintln(&b, "# The reconciler: which tokens there are. Leave it out, and it says what it could not compare.")
	allow("auth/token/accessors", "list", "sudo")
	fmt.Fprintln(&b, "# Leases: kept alive, ended, and proven gone.")
	for _, verb := range []string{"lookup", "renew", "revoke"} {
		allow("sys/leases/"+verb, "update")
	}
	if v.database != "" {
		allow("sys/leases/lookup/"+v.database+"/creds/*", "list", "sudo")
	}
	return b.String()
}

// anchorPolicy is what an anchor may mint.
func anchorPolicy(v *vaultSide) string {
	if v.database == "" {
		return "# nothing here is minted below an anchor\n"
	}
	return fmt.Sprintf("path %q { capabilities = [\"read\"] }\n", v.database+"/creds/orders")
}

// sessionPolicy is a password policy: 32 letters and digits.
const sessionPolicy = `length = 32
rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
rule "charset" { charset = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" min-chars = 1 }
rule "charset" { charset = "0123456789" min-chars = 1 }
`
