package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/vaultsrc"
)

// checkPeople looks whether Vault can be asked about persons: at the first leaver it would be too late. Rights are looked at elsewhere.
func checkPeople(ctx context.Context, p config.People, client *vaultsrc.Client, report func(Finding)) {
	if len(p.Mounts) == 0 {
		return
	}
	ok := true
	fail := func(subject string, err error, remedy string) {
		ok = false
		report(Finding{Subject: subject, Text: err.Error(), Remedy: remedy})
	}
	mounts, err := client.AuthMounts(ctx)
	if err != nil && !errors.Is(err, vaultsrc.ErrForbidden) { // which is among the rights
		fail("people", err, "check that Vault is there, and try again")
	}
	mounts = slices.DeleteFunc(mounts, func(m string) bool { return m == "token" })
	for _, m := range p.Mounts {
		if err == nil && !slices.Contains(mounts, strings.Trim(m.Path, "/")) {
			fail("people "+m.Path, errors.New("Vault has no auth mount of this name"), "correct people.mounts; Vault has: "+strings.Join(mounts, ", "))
		}
	}
	text := fmt.Sprintf("persons are known by %d auth mounts", len(p.Mounts))
	if p.ProbeRole != "" {
		text += "; the probe of what they could read works"
		if remedy, err := client.TryProbe(ctx, p.ProbeRole); err != nil {
			fail("people, role "+p.ProbeRole, err, remedy)
		}
	}
	if ok && err == nil {
		report(Finding{OK: true, Subject: "people", Text: text})
	}
}
