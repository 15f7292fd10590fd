package vaultsrc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// Kinds of Handle.
const (
	KindAnchor   = "anchor"
	KindLease    = "lease"
	KindSecretID = "secret-id"
	KindToken    = "token"
)

// A Handle names one thing in Vault that Revoke can end. It is no secret value, but sensitive.
type Handle struct {
	Kind string
	ID   string // accessor or lease id
	Path string // for secret-id: the role, auth/<mount>/role/<name>
}

// An AnchorRequest says for what an anchor is made. It is kept in the token's metadata.
type AnchorRequest struct {
	Rotation string
	Bundle   string
	Epoch    uint64
}

// An Anchor owns the leases of one generation. The zero Anchor stands for our own login.
type Anchor struct {
	Accessor string
	token    secret.Value
}

// IsZero reports an Anchor that CreateAnchor did not make.
func (a Anchor) IsZero() bool { return a.Accessor == "" }

// CreateAnchor makes the token that will own a generation's leases. It dies after AnchorConfig.TTL, and with it
// everything below it, unless Confirm extends it. It is sent once: after ErrUnknownOutcome an unused token may
// exist, which dies by itself.
func (c *Client) CreateAnchor(ctx context.Context, q AnchorRequest) (Anchor, error) {
	cfg := c.cfg.Anchor
	meta := map[string]string{"rotation": q.Rotation, "bundle": q.Bundle, "epoch": strconv.FormatUint(q.Epoch, 10)}
	if c.cfg.Owner != "" {
		meta["rotator"] = c.cfg.Owner
	}
	body := map[string]any{
		"display_name": q.Rotation,
		"meta":         meta,
		"ttl":          duration(cfg.TTL),
		"renewable":    true,
	}
	if len(cfg.Policies) > 0 {
		body["policies"] = cfg.Policies
	}
	r, err := c.do(ctx, request{once: true, write: true, path: "auth/token/create/" + cfg.Role, body: body})
	if err == nil && (r.Auth == nil || r.Auth.Accessor == "") {
		err = fmt.Errorf("%w: the answer has no accessor: the role must give service tokens", ErrInvalid)
	}
	if err != nil {
		return Anchor{}, fmt.Errorf("creating the anchor of %s: %w", q.Rotation, err)
	}
	a := Anchor{Accessor: r.Auth.Accessor, token: secret.FromText(r.Auth.ClientToken)}
	if wrong := anchorFault(r, cfg); wrong != "" {
		err := fmt.Errorf("creating the anchor of %s: %w: token role %q: %s", q.Rotation, ErrInvalid, cfg.Role, wrong)
		return Anchor{}, errors.Join(err, c.Revoke(ctx, []Handle{{Kind: KindAnchor, ID: a.Accessor}}))
	}
	return a, nil
}

// anchorFault says what makes a token role unfit for anchors, and the remedy.
func anchorFault(r reply, cfg AnchorConfig) string {
	switch {
	case !r.Auth.Orphan:
		return "its tokens die with the rotator's login: set orphan=true"
	case !r.Auth.Renewable:
		return "its tokens cannot be extended: set renewable=true"
	case time.Duration(r.Auth.LeaseDuration)*time.Second > cfg.TTL+time.Second:
		return "its tokens live longer than asked for, which leaves orphans after a crash: remove token_period"
	}
	return ""
}

// A MintRequest says what to mint: a path that returns a credential, or a password policy.
type MintRequest struct {
	Rotation       string
	Path           string // "database/creds/x", "auth/approle/role/r/secret-id", "pki/issue/x", ...
	Method         string // "read", "write", or "" for what the path usually wants
	Data           map[string]any
	PasswordPolicy string // instead of Path
}

// Minted is what one mint returned.
type Minted struct {
	Fields    secret.Set // the data; for answers that are a login: token and accessor
	Handles   []Handle   // without the anchor's
	Expires   time.Time  // zero: never by itself
	Renewable bool
}

// Mint makes one credential below an anchor, or with our own login below the zero Anchor. Unless it is a
// password policy, which stores nothing, it is sent once. After any error but ErrUnavailable something may exist,
// and only Abort may follow.
func (c *Client) Mint(ctx context.Context, a Anchor, q MintRequest) (Minted, error) {
	r, err := q.request(c.cfg.Owner)
	if err != nil {
		return Minted{}, fmt.Errorf("minting: %w", err)
	}
	if q.PasswordPolicy == "" && !a.IsZero() {
		r.token, _ = a.token.Text()
	}
	out, err := c.do(ctx, r)
	if err != nil {
		return Minted{}, fmt.Errorf("minting: %w", err)
	}
	m, err := minted(out, q, time.Now())
	if err != nil {
		return Minted{}, fmt.Errorf("minting at %s: %w: %w", r.path, ErrInvalid, err)
	}
	return m, nil
}

// request translates q. What has no lease gets the rotation's id attached, so that Abort and Inventory can find it.
func (q MintRequest) request(owner string) (request, error) {
	if q.PasswordPolicy != "" {
		return request{path: "sys/policies/password/" + q.PasswordPolicy + "/generate"}, nil
	}
	path := strings.Trim(q.Path, "/")
	if path == "" || strings.ContainsAny(path, "?#%") {
		return request{}, fmt.Errorf("%w: path %q", ErrInvalid, q.Path)
	}
	r := request{once: true, write: q.writes(), path: path}
	data := maps.Clone(q.Data)
	if data == nil {
		data = map[string]any{}
	}
	var err error
	switch {
	case q.secretIDRole() != "":
		data["metadata"], err = secretIDMetadata(data["metadata"], q.Rotation, owner)
	case q.isToken():
		data["meta"], err = mergeMeta(data["meta"], q.Rotation, owner)
	}
	if err != nil {
		return request{}, err
	}
	if r.write {
		r.body = data
		return r, nil
	}
	r.query = make(map[string][]string, len(data))
	for k, v := range data {
		r.query[k] = []string{fmt.Sprint(v)}
	}
	return r, nil
}

func (q MintRequest) writes() bool {
	if q.Method != "" {
		return q.Method != "read"
	}
	path := "/" + strings.Trim(q.Path, "/")
	return !strings.Contains(path, "/creds/") && !strings.Contains(path, "/static-creds/")
}

// secretIDRole is the AppRole role ("auth/approle/role/x") when q mints a secret-id.
func (q MintRequest) secretIDRole() string {
	path := strings.Trim(q.Path, "/")
	for _, end := range []string{"/secret-id", "/custom-secret-id"} {
		if role, ok := strings.CutSuffix(path, end); ok && strings.HasPrefix(path, "auth/") && strings.Contains(role, "/role/") {
			return role
		}
	}
	return ""
}

func (q MintRequest) isToken() bool {
	path := strings.Trim(q.Path, "/")
	return strings.HasPrefix(path, "auth/token/create")
}

// secretIDMetadata adds the rotation; this API wants a JSON object inside a string.
func secretIDMetadata(given any, rotation, owner string) (string, error) {
	if text, ok := given.(string); ok && text != "" {
		var m map[string]any
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			return "", fmt.Errorf("%w: metadata must be a JSON object", ErrInvalid)
		}
		given = m
	} else if ok {
		given = nil
	}
	merged, err := mergeMeta(given, rotation, owner)
	if err != nil {
		return "", err
	}
	out, err := marshal(merged)
	return strings.TrimSpace(string(out)), err
}

func mergeMeta(given any, rotation, owner string) (map[string]any, error) {
	out := map[string]any{}
	switch m := given.(type) {
	case nil:
	case map[string]any:
		out = maps.Clone(m)
	default:
		return nil, fmt.Errorf("%w: meta must be an object", ErrInvalid)
	}
	out["rotation"] = rotation
	if owner != "" {
		out["rotator"] = owner
	}
	return out, nil
}

// duration as Vault reads it.
func duration(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) + "s" }
