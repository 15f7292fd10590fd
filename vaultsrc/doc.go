// Package vaultsrc is the rotator's side of HashiCorp Vault: it logs in, reads and writes bundles, mints
// credentials and ends them.
//
// # Guarantees
//
// Nothing is created twice by accident. Calls that create something are sent at most once, see [Client.Mint];
// neither Vault's client library nor net/http may repeat them. When the answer is lost the caller gets
// [ErrUnknownOutcome], and [Client.Abort] finds and revokes whatever came of it.
//
// A live credential does not depend on this process. Leases hang below an orphan anchor token
// ([Client.CreateAnchor]) that dies within minutes unless [Client.Confirm] extends it, so that neither a
// crash leaves an orphan nor the end of our own login revokes what is in use.
//
// [Client.Logout] ends the token of our own login with the process; one that was given lives on.
//
// Revoked means gone: [Client.Revoke] and [Client.Abort] return nil only when Vault says that nothing is left. What
// the backend refuses to end, or Vault has given up, is a [RevokeError]; revoking it again after a repair ends it.
//
// Nothing is lost sight of: [Client.Inventory] lists what lives in Vault. What carries our metadata and is in no
// journal is astray, and Revoke ends it by its handle. Leases carry none, so that a lease in no journal may as well
// be another client's. Installations that share a Vault need a Config.Owner each; an anchor role each keeps only
// their tokens apart.
//
// Values travel as secret.Value. No error and no log line holds one; messages from Vault that contain a value
// of the request are dropped.
//
// # Failure modes
//
// A sealed, standby, rate limiting or unreachable Vault is [ErrUnavailable]: wait and retry. A login that ended
// is renewed, or replaced by a fresh one, within the call that found out. A rotator that is down for longer than
// half of AnchorConfig.LiveTTL lets live credentials expire.
//
// A mint that Vault still executes while its anchor is revoked leaves a lease that no token owns: Vault does not
// look at the token again (a database that takes longer than a takeover makes this possible). Give the
// engine's role a short default_ttl and a long max_ttl: such a lease then ends by itself, and live ones are
// renewed by [Client.Renew]. A certificate without lease cannot be found after its answer was lost; it expires.
//
// # Rights
//
// To ask what a person could read ([Client.Can]) the login needs read on sys/auth, on identity/group/id/* and where Door.Login points, update
// on identity/lookup/entity, auth/token/create/<probe role>, auth/token/{lookup,revoke}-accessor and sys/capabilities-accessor, delete on
// identity/entity-alias/id/*, and update on identity/entity-alias with allowed_parameters name = rotator-probe-*, mount_accessor = that of
// token/, canonical_id = any. The probe role is a way to any policy, though never to a token: its answers are wrapped, and the wrapping
// token is dropped. Whoever holds this login could unwrap one: give it to the rotator alone, and watch the audit log for the role.
// To end a login ([Client.Disable]) it needs update on identity/entity/id/* with allowed_parameters disabled = true - without that it could
// give any entity any policy - and list with sudo on auth/token/accessors.
//
// The login needs read and update on kv data, update on auth/token/create/<anchor role>, on
// auth/token/{lookup,renew,revoke}-accessor and on sys/leases/{lookup,renew,revoke}, and list with sudo
// on sys/leases/lookup/<mint path>, which is what proves that an aborted mint left nothing. Inventory needs list with
// sudo on auth/token/accessors, too; and with list and sudo on sys/leases/lookup/auth/token/create/<anchor role> it
// need not look at every token in Vault. The login needs no right to mint leases itself: only anchors have it.
package vaultsrc
