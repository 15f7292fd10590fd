package service

import (
	"context"
	"fmt"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/vaultsrc"
)

// KnownAs is whom Vault knows by one of a person's names, on one auth mount.
type KnownAs struct {
	Mount    string `json:"mount"`
	Alias    string `json:"alias"` // the name
	Entity   string `json:"entity"`
	Disabled bool   `json:"disabled,omitempty"`
}

// Known asks every auth mount of the configuration about a person. mounts are those that were asked, notAsked those that could not be, with
// the reason.
func Known(ctx context.Context, p rotator.People, names []string) (found []KnownAs, mounts, notAsked []string) {
	vault, ok := p.(people)
	if !ok {
		return nil, nil, nil
	}
	for _, door := range vault.doors {
		entities, err := vault.client.Entities(ctx, []vaultsrc.Door{door}, names)
		if err != nil {
			notAsked = append(notAsked, fmt.Sprintf("auth mount %s, who this is: %v", door.Mount, err))
			continue
		}
		mounts = append(mounts, door.Mount)
		for _, e := range entities {
			found = append(found, KnownAs{Mount: e.Mount, Alias: e.Alias, Entity: e.Name, Disabled: e.Disabled})
		}
	}
	return found, mounts, notAsked
}
