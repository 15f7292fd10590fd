package service

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/journal"
	"github.com/openwhisk-rotator/rotator/rotator/whisk"
	"github.com/openwhisk-rotator/rotator/vaultsrc"
)

// inventory is what exists in Vault and on the hosts.
type inventory struct {
	vault *vault
	hosts hosts
}

var _ rotator.Inventory = inventory{}

// Holdings lists what Vault keeps.
func (i inventory) Holdings(ctx context.Context, paths []string, known []rotator.Handle) ([]rotator.Holding, []rotator.Unchecked, error) {
	found, err := i.vault.client.Inventory(ctx, vaultsrc.Scope{Paths: paths, Known: vaultHandles(known)})
	if err != nil {
		return nil, nil, vaultError(err)
	}
	var out []rotator.Holding
	for _, h := range found.Holdings {
		out = append(out, rotator.Holding{Handle: rotator.Handle(h.Handle), Path: h.Path, Bundle: h.Bundle, Rotation: h.Rotation, Created: h.Created, Expires: h.Expires, Irrevocable: h.Irrevocable})
	}
	var missing []rotator.Unchecked
	for _, u := range found.Unchecked {
		missing = append(missing, rotator.Unchecked{What: u.What, Why: u.Why.Error(), Remedy: u.Remedy})
	}
	return out, missing, nil
}

// Rows lists one kind of entity on a host.
func (i inventory) Rows(ctx context.Context, host string, kind rotator.Kind) ([]rotator.Row, error) {
	rows, err := i.hosts.list(ctx, host, kind)
	if err != nil {
		return nil, whiskError(err)
	}
	out := make([]rotator.Row, len(rows))
	for n, r := range rows {
		out[n] = rotator.Row{Name: r.Path(), Version: r.Version}
		for _, a := range r.Annotations {
			if a.Key == rotator.AnnotationKey {
				out[n].Annotations = append(out[n].Annotations, rotator.Annotation(a))
			}
		}
	}
	return out, nil
}

// list reads the list of one kind.
func (hs hosts) list(ctx context.Context, host string, kind rotator.Kind) ([]whisk.Row, error) {
	c := hs[host].client
	switch kind {
	case rotator.Action:
		return c.ListActions(ctx)
	case rotator.Package:
		return c.ListPackages(ctx)
	case rotator.Trigger:
		return c.ListTriggers(ctx)
	}
	return nil, fmt.Errorf("listing host %s: no such kind of target", host)
}

// Reconcile compares what exists with the journal once, outside of a running service.
func Reconcile(ctx context.Context, cfg *config.Config, nc *nats.Conn, policy rotator.Reconcile, log zerolog.Logger) (rotator.Reconciliation, error) {
	client, err := Vault(ctx, cfg, log)
	if err != nil {
		return rotator.Reconciliation{}, err
	}
	platform, err := openHosts(cfg.Hosts)
	if err != nil {
		return rotator.Reconciliation{}, err
	}
	store, err := journal.Open(ctx, nc, journal.Config{ReadOnly: true})
	if err != nil {
		return rotator.Reconciliation{}, fmt.Errorf("opening the journal: %w", err)
	}
	e, err := engine(cfg, replicaName(), &vault{client: client, keyPath: cfg.Vault.FingerprintKey}, platform, store, outbox{Publisher(cfg, nc)}, log)
	if err != nil {
		return rotator.Reconciliation{}, err
	}
	if err := client.Login(ctx); err != nil {
		return rotator.Reconciliation{}, fmt.Errorf("logging in to Vault: %w", err)
	}
	return e.Reconcile(ctx, policy)
}
