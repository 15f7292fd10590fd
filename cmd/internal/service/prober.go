package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/probe"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/vaultsrc"
)

func newProber(v *vaultsrc.Client, hs hosts) *probe.Runner {
	return probe.New(probe.Config{
		Vault:        v,
		VaultRejects: func(err error) bool { return errors.Is(err, vaultsrc.ErrRejected) },
		Invoke:       hs.invoke,
	})
}

// invoke runs an action with the candidate as its payload.
func (hs hosts) invoke(ctx context.Context, host, action string, payload secret.Set) error {
	h, ok := hs[host]
	if !ok {
		return fmt.Errorf("invoking %s: host %q is not in the configuration: %w", action, host, rotator.ErrPermanent)
	}
	a, err := h.client.Invoke(ctx, action, payload)
	if err != nil {
		return err
	}
	if !a.Success() {
		return fmt.Errorf("action %s answered %s: %w", action, a.Status, rotator.ErrRejected)
	}
	return nil
}
