package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/vaultsrc"
)

// people makes what Vault knows of persons into what the core asks.
type people struct {
	client *vaultsrc.Client
	mounts []config.PeopleMount
	role   string // of the probe; empty: Vault is not asked what somebody could read
}

var _ rotator.People = people{}

// newPeople returns nil when the configuration says nothing of people.
func newPeople(client *vaultsrc.Client, cfg config.People) rotator.People {
	if len(cfg.Mounts) == 0 {
		return nil
	}
	return people{client: client, mounts: cfg.Mounts, role: cfg.ProbeRole}
}

// Reach finds a person's accounts, and asks Vault's policy engine about each.
func (p people) Reach(ctx context.Context, names []rotator.Name, rights []rotator.Right) (out rotator.Reach, err error) {
	found, refused, err := p.client.Accounts(ctx, p.doors(names))
	if err != nil {
		return out, vaultError(err)
	}
	for _, err := range refused {
		out.Refused = append(out.Refused, err.Error())
	}
	out.May = make(map[rotator.Right]string)
	for _, a := range found {
		out.Accounts = append(out.Accounts, rotator.Account{Mount: a.Mount, Name: a.Name, ID: a.Entity.ID, Entity: a.Entity.Name, Disabled: a.Entity.Disabled})
		if p.role == "" || len(rights) == 0 {
			continue
		}
		may, err := p.client.Can(ctx, p.role, a, vaultRights(rights))
		if errors.Is(err, vaultsrc.ErrForbidden) || errors.Is(err, vaultsrc.ErrInvalid) {
			out.Refused = append(out.Refused, fmt.Sprintf("%s on %s: %v", a.Name, a.Mount, err))
			continue
		}
		if err != nil {
			return out, vaultError(err)
		}
		for _, r := range may {
			if right := rotator.Right(r); !strings.Contains(out.May[right], how(a)) {
				out.May[right] = strings.TrimPrefix(out.May[right]+"; ", "; ") + how(a)
			}
		}
	}
	return out, nil
}

func vaultRights(rights []rotator.Right) (out []vaultsrc.Right) {
	for _, r := range rights {
		out = append(out, vaultsrc.Right(r))
	}
	return out
}

// how is the evidence: by which of their accounts somebody has a right.
func how(a vaultsrc.Account) string {
	text := fmt.Sprintf("Vault's policies allow it to entity %s (%s on %s)", a.Entity.Name, a.Name, a.Mount)
	switch {
	case a.Entity.ID == "":
		return fmt.Sprintf("Vault's policies allow it to %s on %s, who has never logged in", a.Name, a.Mount)
	case a.Entity.Disabled:
		return text + ", which is disabled already, so that rules with templates could not be asked"
	}
	return text
}

// doors says what the person is called on each auth mount.
func (p people) doors(names []rotator.Name) (out []vaultsrc.Door) {
	for _, m := range p.mounts {
		d := vaultsrc.Door{Mount: m.Path, Login: m.Login, Policies: m.Policies}
		for _, n := range names {
			d.Names = append(d.Names, calledOn(m, n)...)
		}
		slices.Sort(d.Names)
		d.Names = slices.Compact(d.Names)
		out = append(out, d)
	}
	return out
}

// calledOn is what a name is on one mount: nothing when another issuer has given it, and beside an address what stands before the @
// where the people of its domain are called by that.
func calledOn(m config.PeopleMount, n rotator.Name) []string {
	if n.Issuer != "" && n.Issuer != m.Issuer {
		return nil
	}
	local, domain, address := strings.Cut(n.Text, "@")
	if n.Issuer == "" && address && local != "" && (m.Local || slices.ContainsFunc(m.Domains, func(d string) bool { return strings.EqualFold(d, domain) })) {
		return []string{n.Text, local}
	}
	return []string{n.Text}
}

// Disable ends what an entity can do. A name without one cannot be disabled.
func (p people) Disable(ctx context.Context, a rotator.Account) (string, error) {
	if a.ID == "" {
		return "", fmt.Errorf("%w: nobody has ever logged in by that name, so there is no entity to disable; take the user away%s", rotator.ErrPermanent, p.where(a))
	}
	n, err := p.client.Disable(ctx, a.ID)
	if errors.Is(err, vaultsrc.ErrNotFound) {
		return fmt.Sprintf("Vault entity %s (%s) does not exist any more", a.Entity, a), nil
	}
	if err != nil {
		return "", vaultError(err)
	}
	return fmt.Sprintf("Vault entity %s (%s) is disabled; %d tokens were revoked with their leases", a.Entity, a, n), nil
}

// where a user is configured, for the remedy.
func (p people) where(a rotator.Account) string {
	for _, m := range p.mounts {
		if m.Path == a.Mount && strings.Contains(m.Login, "{name}") {
			return ": vault delete " + strings.ReplaceAll(m.Login, "{name}", a.Name)
		}
	}
	return ""
}
