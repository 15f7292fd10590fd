package service

import (
	"context"
	"fmt"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/vaultsrc"
)

// people makes what Vault knows of persons into what the core asks.
type people struct {
	client *vaultsrc.Client
	doors  []vaultsrc.Door
	role   string // of the probe; empty: Vault is not asked what somebody could read
}

var _ rotator.People = people{}

// newPeople returns nil when the configuration says nothing of people.
func newPeople(client *vaultsrc.Client, cfg config.People) rotator.People {
	if len(cfg.Mounts) == 0 {
		return nil
	}
	p := people{client: client, role: cfg.ProbeRole}
	for _, m := range cfg.Mounts {
		p.doors = append(p.doors, vaultsrc.Door{Mount: m.Path, Local: m.Local, Login: m.Login})
	}
	return p
}

// Readable asks Vault's policy engine.
func (p people) Readable(ctx context.Context, names, secrets []string) (map[string]string, error) {
	if p.role == "" {
		return nil, nil
	}
	found, err := p.client.Entities(ctx, p.doors, names)
	if err != nil {
		return nil, vaultError(err)
	}
	out := make(map[string]string)
	for _, e := range found {
		may, err := p.client.CouldRead(ctx, p.role, e, secrets)
		if err != nil {
			return nil, vaultError(err)
		}
		for secret := range may {
			out[secret] = fmt.Sprintf("could read %s: Vault's policies allow it to entity %s (%s on %s)", secret, e.Name, e.Alias, e.Mount)
		}
	}
	return out, nil
}

// Disable ends what the entities of these names can do.
func (p people) Disable(ctx context.Context, names []string) (done []string, err error) {
	found, err := p.client.Entities(ctx, p.doors, names)
	if err != nil {
		return nil, vaultError(err)
	}
	for _, e := range found {
		n, err := p.client.Disable(ctx, e)
		if err != nil {
			return done, vaultError(err)
		}
		done = append(done, fmt.Sprintf("Vault entity %s (%s on %s) is disabled; %d tokens were revoked with their leases", e.Name, e.Alias, e.Mount, n))
	}
	return done, nil
}
