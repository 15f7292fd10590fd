package vaultsrc

import (
	"errors"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// minted reads credential, handles and expiry out of an answer.
func minted(r reply, q MintRequest, now time.Time) (Minted, error) {
	m := Minted{Fields: make(secret.Set, len(r.Data)), Renewable: r.Renewable}
	for field, raw := range r.Data {
		v, err := secret.FromJSON(raw)
		if err != nil {
			return Minted{}, err
		}
		m.Fields[field] = v
	}
	var life int64
	if r.LeaseID != "" {
		life = r.LeaseDuration
		m.Handles = append(m.Handles, Handle{Kind: KindLease, ID: r.LeaseID})
	}
	if role := q.secretIDRole(); role != "" {
		m.Handles = append(m.Handles, Handle{Kind: KindSecretID, ID: r.text("secret_id_accessor"), Path: role})
		life = r.number("secret_id_ttl")
	}
	if r.Auth != nil && r.Auth.ClientToken != "" {
		m.Fields["token"] = secret.FromText(r.Auth.ClientToken)
		m.Fields["accessor"] = secret.FromText(r.Auth.Accessor)
		m.Handles = append(m.Handles, Handle{Kind: KindToken, ID: r.Auth.Accessor})
		m.Renewable, life = r.Auth.Renewable, r.Auth.LeaseDuration
	}
	if len(m.Fields) == 0 {
		return Minted{}, errors.New("the answer holds no field: is this a path that returns a credential?")
	}
	for _, h := range m.Handles {
		if h.ID == "" {
			return Minted{}, errors.New("the answer holds nothing by which the credential could be revoked")
		}
	}
	if life > 0 {
		m.Expires = now.Add(time.Duration(life) * time.Second)
	}
	if at := r.number("expiration"); at > 0 && len(m.Handles) == 0 { // a certificate
		m.Expires = time.Unix(at, 0)
	}
	return m, nil
}
