package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/vaultsrc"
)

// vault makes a vaultsrc.Client into what the core asks of Vault.
type vault struct {
	client  *vaultsrc.Client
	keyPath string

	mu  sync.Mutex
	key secret.Key
}

var (
	_ rotator.Secrets = (*vault)(nil)
	_ rotator.Minter  = (*vault)(nil)
	_ rotator.Revoker = (*vault)(nil)
)

// errIrrevocable is both: not gone, and not going by itself.
var errIrrevocable = fmt.Errorf("%w, %w", rotator.ErrNotGone, rotator.ErrIrrevocable)

// vaultError translates what the client says into what the core decides on. A deleted version counts as missing.
func vaultError(err error) error {
	if err == nil {
		return nil
	}
	for _, m := range []struct{ from, to error }{
		{vaultsrc.ErrUnknownOutcome, rotator.ErrUnknown},
		{vaultsrc.ErrConflict, rotator.ErrConflict},
		{vaultsrc.ErrNotGone, rotator.ErrNotGone},
		{vaultsrc.ErrIrrevocable, errIrrevocable},
		{vaultsrc.ErrUnavailable, rotator.ErrUnavailable},
		{vaultsrc.ErrNotFound, rotator.ErrNotFound},
		{vaultsrc.ErrDeleted, rotator.ErrNotFound},
		{vaultsrc.ErrForbidden, rotator.ErrPermanent},
		{vaultsrc.ErrInvalid, rotator.ErrPermanent},
		{vaultsrc.ErrShortLived, rotator.ErrPermanent},
		{vaultsrc.ErrRejected, rotator.ErrRejected},
	} {
		if errors.Is(err, m.from) {
			return fmt.Errorf("%w (%w)", err, m.to)
		}
	}
	return err
}

func (v *vault) Read(ctx context.Context, path string, version int) (rotator.Snapshot, error) {
	b, err := v.client.ReadBundle(ctx, path, version)
	if err != nil {
		return rotator.Snapshot{Version: b.Version}, vaultError(err) // of a deleted version the number is known
	}
	s := rotator.Snapshot{Version: b.Version, Set: b.Data}
	if len(b.Marker) > 0 {
		// Somebody may have written another thing there; then nothing is known about the generation.
		_ = json.Unmarshal(b.Marker, &s.Marker)
	}
	return s, nil
}

func (v *vault) Write(ctx context.Context, path string, s rotator.Snapshot) (int, error) {
	marker, err := json.Marshal(s.Marker)
	if err != nil {
		return 0, fmt.Errorf("encoding the marker: %w", err)
	}
	version, err := v.client.WriteBundle(ctx, path, s.Set, marker, s.Version)
	return version, vaultError(err)
}

// Key reads the fingerprint key once.
func (v *vault) Key(ctx context.Context) (secret.Key, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.key.IsZero() {
		return v.key, nil
	}
	key, err := v.client.FingerprintKey(ctx, v.keyPath)
	if err != nil {
		return secret.Key{}, vaultError(err)
	}
	v.key = key
	return key, nil
}

func (v *vault) Anchor(ctx context.Context, bundle, rotation string, epoch uint64) (rotator.Anchor, error) {
	a, err := v.client.CreateAnchor(ctx, vaultsrc.AnchorRequest{Rotation: rotation, Bundle: bundle, Epoch: epoch})
	if err != nil {
		return rotator.Anchor{}, vaultError(err)
	}
	return rotator.Anchor{Accessor: a.Accessor, Token: a}, nil
}

func (v *vault) Mint(ctx context.Context, a rotator.Anchor, m rotator.Mint) (rotator.Minted, error) {
	anchor, _ := a.Token.(vaultsrc.Anchor) // the zero anchor mints with the own login: secret-ids and passwords
	got, err := v.client.Mint(ctx, anchor, mintRequest(m))
	if err != nil {
		return rotator.Minted{}, vaultError(err)
	}
	return rotator.Minted{Fields: got.Fields, Handles: handles(got.Handles), Expires: got.Expires}, nil
}

func mintRequest(m rotator.Mint) vaultsrc.MintRequest {
	g := m.Credential.Generate
	return vaultsrc.MintRequest{Rotation: m.Rotation, Path: g.Path, Method: g.Method, Data: g.Data, PasswordPolicy: g.PasswordPolicy}
}

func handles(hs []vaultsrc.Handle) []rotator.Handle {
	out := make([]rotator.Handle, len(hs))
	for i, h := range hs {
		out[i] = rotator.Handle(h)
	}
	return out
}

func vaultHandles(hs []rotator.Handle) []vaultsrc.Handle {
	out := make([]vaultsrc.Handle, len(hs))
	for i, h := range hs {
		out[i] = vaultsrc.Handle(h)
	}
	return out
}

func (v *vault) Confirm(ctx context.Context, accessor string) error {
	return vaultError(v.client.Confirm(ctx, accessor))
}

func (v *vault) Renew(ctx context.Context, hs []rotator.Handle) (next, end time.Time, err error) {
	next, end, err = v.client.RenewUntil(ctx, vaultHandles(hs))
	return next, end, vaultError(err)
}

func (v *vault) Revoke(ctx context.Context, hs []rotator.Handle) error {
	return vaultError(v.client.Revoke(ctx, vaultHandles(hs)))
}

func (v *vault) Abort(ctx context.Context, rotation, anchor string, ms []rotator.Mint) error {
	q := vaultsrc.AbortRequest{Rotation: rotation, Anchor: anchor}
	for _, m := range ms {
		q.Mints = append(q.Mints, mintRequest(m))
	}
	return vaultError(v.client.Abort(ctx, q))
}

// Adopt renames the bundle's keys to the engine's fields and follows them to their handle.
func (v *vault) Adopt(ctx context.Context, c rotator.Credential, set secret.Set) ([]rotator.Handle, error) {
	fields := make(secret.Set)
	for field, key := range c.Keys {
		if value, ok := set[key]; ok {
			fields[field] = value
		}
	}
	hs, err := v.client.Adopt(ctx, mintRequest(rotator.Mint{Credential: c}), fields)
	return handles(hs), vaultError(err)
}
