package vaultsrc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Holding is one thing in Vault that keeps, or could keep, a credential alive. Revoke ends it by its Handle.
type Holding struct {
	Handle Handle
	Path   string // where it was minted: "database/creds/checkout", the role of a secret-id; empty for anchors
	// Rotation and Bundle come from the metadata. They are empty where Vault keeps none, which is for all leases, and
	// for what this installation did not make.
	Rotation    string
	Bundle      string
	Created     time.Time
	Expires     time.Time // zero: never
	Irrevocable bool      // Vault has given up revoking it: the credential lives although it has expired
}

// A Scope says where to look.
type Scope struct {
	// Paths are the mint paths of all credentials: leases below them, secret-ids of their roles and tokens are listed.
	Paths []string
	// Known is what the journal knew before the call. When these are all tokens that there are, which Vault tells in
	// one call for each token path, the walk over every token in Vault is saved.
	Known []Handle
}

// An Inventory is what was found, sorted by kind, path and id, and what could not be looked at.
type Inventory struct {
	Holdings  []Holding
	Unchecked []Unchecked
}

// Unchecked is a part that was not looked at: nothing is known about it.
type Unchecked struct {
	What   string // "anchors and tokens", "leases of database/creds/app", "secret-ids of auth/approle/role/x"
	Why    error
	Remedy string
}

// width bounds the calls that one inventory has under way, so that it leaves Vault to the rotations.
const width = 8

// Inventory lists the anchors and tokens that this installation made, all leases below the mint paths and all
// secret-ids of their roles, also those of other clients. What vanishes meanwhile is left out. A part that Vault
// refuses is Unchecked and the rest is done; an error means that Vault is away or ctx has ended.
//
// It changes nothing and costs, for P distinct lease paths with L leases (E of them expired) and F folders, R roles
// with S secret-ids, K known and T other tokens in Vault, and A token paths (1 without credentials of that kind):
// P+F+L+E calls for leases, R+S for secret-ids, A+K for tokens, and 1+T more when a token is not known.
func (c *Client) Inventory(ctx context.Context, s Scope) (Inventory, error) {
	var inv Inventory
	for _, p := range c.parts(s) {
		found, err := p.list(ctx)
		switch {
		case err == nil:
			inv.Holdings = append(inv.Holdings, found...)
		case ctx.Err() != nil || away(err):
			return Inventory{}, fmt.Errorf("taking the inventory of Vault: %s: %w", p.what, err)
		default:
			inv.Unchecked = append(inv.Unchecked, Unchecked{What: p.what, Why: err, Remedy: p.remedy(err)})
		}
	}
	slices.SortFunc(inv.Holdings, func(a, b Holding) int {
		return cmp.Or(cmp.Compare(a.Handle.Kind, b.Handle.Kind), cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Handle.ID, b.Handle.ID))
	})
	return inv, nil
}

// A part of an inventory succeeds or fails as a whole.
type part struct {
	what   string
	policy []string // lines that it needs
	list   func(context.Context) ([]Holding, error)
}

// parts are the tokens, and one for each path.
func (c *Client) parts(s Scope) []part {
	tokens := []string{"auth/token/create/" + c.cfg.Anchor.Role}
	var rest []part
	for _, path := range s.paths() {
		q := MintRequest{Path: path}
		switch role := q.secretIDRole(); {
		case q.isToken():
			if !slices.Contains(tokens, path) {
				tokens = append(tokens, path)
			}
		case role != "":
			rest = append(rest, part{
				what: "secret-ids of " + role, list: func(ctx context.Context) ([]Holding, error) { return c.secretIDs(ctx, role) },
				policy: []string{line(role+"/secret-id", "list"), line(role+"/secret-id-accessor/lookup", "update")},
			})
		default:
			rest = append(rest, part{
				what: "leases of " + path, list: func(ctx context.Context) ([]Holding, error) { return c.leases(ctx, path) },
				policy: []string{
					line("sys/leases/lookup/"+path+"/*", "list", "sudo"),
					line("sys/leases/lookup", "update"), line("sys/leases/renew", "update"),
				},
			})
		}
	}
	walk := func(ctx context.Context) ([]Holding, error) { return c.tokens(ctx, tokens, s.Known) }
	return append([]part{{what: "anchors and tokens", list: walk, policy: []string{
		line("auth/token/accessors", "list", "sudo"), line("auth/token/lookup-accessor", "update"),
	}}}, rest...)
}

// paths without repetition; a secret-id has two.
func (s Scope) paths() []string {
	var out []string
	for _, p := range s.Paths {
		p = strings.Trim(p, "/")
		if role := (MintRequest{Path: p}).secretIDRole(); role != "" {
			p = role + "/secret-id"
		}
		if p != "" && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// line of a policy.
func line(path string, capabilities ...string) string {
	return fmt.Sprintf(`path %q { capabilities = ["%s"] }`, path, strings.Join(capabilities, `", "`))
}

func (p part) remedy(err error) string {
	if errors.Is(err, ErrForbidden) {
		return "add to the rotator's policy:\n" + strings.Join(p.policy, "\n")
	}
	return "check that the mount and the role exist; Vault's log says more"
}

// away reports that it is no use to ask on. A plain 500 is about one entry that Vault cannot read.
func away(err error) bool {
	rf, ok := errors.AsType[*refusal](err)
	return errors.Is(err, ErrUnavailable) && (!ok || rf.status != http.StatusInternalServerError)
}

// each calls fn for every id, some at a time, until one fails.
func each(ctx context.Context, ids []string, fn func(context.Context, string) error) error {
	g, sub := errgroup.WithContext(ctx)
	g.SetLimit(width)
	for _, id := range ids {
		if sub.Err() != nil {
			break
		}
		g.Go(func() error { return fn(sub, id) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// claim is the metadata of what this installation made, nil for everything else.
func (c *Client) claim(r reply, field string) map[string]string {
	var m map[string]string
	if json.Unmarshal(r.Data[field], &m) != nil || m["rotator"] != c.cfg.Owner {
		return nil
	}
	return m
}

// time of a reply's data field; zero when there is none.
func (r reply) time(field string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, r.text(field))
	if err != nil {
		return time.Time{}
	}
	return at
}
