package rotator

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/events"
)

// A Name is what an event calls a person. One that an issuer has given counts only where that issuer's people log in: two systems
// may call different people the same.
type Name struct {
	Text   string `json:"name"`
	Issuer string `json:"issuer,omitempty"`
}

// An Account is one way of a person into Vault.
type Account struct {
	Mount    string `json:"mount"`
	Name     string `json:"name"`
	ID       string `json:"entity_id,omitempty"` // of the entity; empty: nobody has ever logged in by that name
	Entity   string `json:"entity,omitempty"`    // its name
	Disabled bool   `json:"disabled,omitempty"`
}

// String is what people read: "alice on userpass".
func (a Account) String() string { return a.Name + " on " + a.Mount }

// A Right is a capability on a path of Vault's API.
type Right struct{ Path, Capability string }

// Reach is what Vault says of one person.
type Reach struct {
	Accounts []Account
	May      map[Right]string // what it may, and how that is known
	Refused  []string         // what could not be found out, and never will by itself
}

// People is what Vault knows of persons.
type People interface {
	// Reach finds the accounts of the person that these names mean, and which of the rights one of them has.
	Reach(ctx context.Context, names []Name, rights []Right) (Reach, error)
	// Disable ends what an account can do, and tells what it did. It may be repeated.
	Disable(ctx context.Context, a Account) (done string, err error)
}

// Touched is what an event touches, and what there is to say about how that was found.
type Touched struct {
	Hits     []Hit
	Accounts []Account // of the person that the event is about
	Refused  []string  // what Vault does not tell of that person: bundles may be missing
	Notes    []string  // what else of theirs somebody should look at
	Doubt    string    // why the event may be about two persons
}

// IncompleteError comes beside the bundles that could be found: there may be more.
type IncompleteError struct{ Refused []string }

// Error is one line for people.
func (e *IncompleteError) Error() string {
	return "Vault does not tell all that the person could read: " + strings.Join(e.Refused, "; ")
}

// touched finds everything an event is about: what it says of a credential, and then the person.
func (r *resolver) touched(ctx context.Context, ev events.Event) (Touched, error) {
	if ev.Offboarding != nil {
		return r.person(ctx, *ev.Offboarding)
	}
	hits, err := r.resolve(ctx, ev)
	if err != nil && unmatched(err) && ev.Leak != nil && ev.Leak.Person != nil { // their login was taken over
		return r.person(ctx, events.Offboarding{Person: *ev.Leak.Person})
	}
	return Touched{Hits: hits}, err
}

// person compares every identifier with the holders, and asks Vault. Leaving a team counts for the holders that name that team; anything
// else counts for everything the person held.
func (r *resolver) person(ctx context.Context, o events.Offboarding) (Touched, error) {
	reach, err := r.reach(ctx, o)
	if err != nil {
		return Touched{}, err
	}
	t := Touched{Accounts: reach.Accounts, Refused: reach.Refused, Doubt: doubt(reach.Accounts)}
	plain, exact := identities(o)
	plain = append(plain, groups(o)...)
	for _, name := range slices.Sorted(maps.Keys(r.bundles)) {
		b := r.bundles[name]
		var why []string
		if holder, ok := held(b.Holders, plain, exact); ok {
			why = append(why, "holder "+holder)
		}
		if how := reach.May[b.reads()]; how != "" {
			why = append(why, "could read "+b.Secret+": "+how)
		}
		minted := b.minting(reach.May)
		switch {
		case len(why) > 0:
			t.Hits = append(t.Hits, Hit{Bundle: name, Why: strings.Join(append(why, minted...), "; ")})
		case len(minted) > 0:
			t.Notes = append(t.Notes, fmt.Sprintf("bundle %s: %s; a rotation does not end what somebody has minted for themselves", name, strings.Join(minted, "; ")))
		}
	}
	return t, nil
}

// reach asks Vault. Who only leaves a team keeps the login.
func (r *resolver) reach(ctx context.Context, o events.Offboarding) (Reach, error) {
	names := called(o.Person)
	if r.people == nil || o.Change == "membership_removed" || len(names) == 0 {
		return Reach{}, nil
	}
	rights := make(map[Right]bool)
	for _, b := range r.bundles {
		rights[b.reads()] = true
		for _, c := range b.Credentials {
			rights[c.Generate.right()] = true
		}
	}
	delete(rights, Right{})
	got, err := r.people.Reach(ctx, names, slices.SortedFunc(maps.Keys(rights), func(a, b Right) int { return strings.Compare(a.Path+" "+a.Capability, b.Path+" "+b.Capability) }))
	if err != nil {
		return Reach{}, fmt.Errorf("asking Vault what a person could read: %w", err)
	}
	for _, text := range got.Refused {
		r.log.Error().Str("reason", text).Str("remedy", "rotator check").Msg("Vault does not tell all that a person could read")
	}
	return got, nil
}

// reads is the right to read a bundle.
func (b Bundle) reads() Right {
	mount, rest, _ := strings.Cut(b.Secret, "/")
	return Right{Path: mount + "/data/" + rest, Capability: "read"}
}

// minting says which credentials of the bundle somebody could have minted for themselves.
func (b Bundle) minting(may map[Right]string) (out []string) {
	for _, c := range b.Credentials {
		if how := may[c.Generate.right()]; how != "" && c.Generate.Path != "" {
			out = append(out, "could mint from "+c.Generate.Path+": "+how)
		}
	}
	return out
}

// right is the one that minting takes; none for a random text.
func (g Generator) right() Right {
	switch {
	case g.Path == "":
		return Right{}
	case g.Method == "read", g.Method == "" && strings.Contains("/"+g.Path, "/creds/"):
		return Right{Path: g.Path, Capability: "read"}
	}
	return Right{Path: g.Path, Capability: "update"}
}

// doubt says why these accounts may be those of two persons: on one auth mount everybody has one. Different mounts that lead to
// different entities are one person with two logins.
func doubt(all []Account) string {
	on := make(map[string]Account)
	for _, a := range all {
		first, seen := on[a.Mount]
		if seen && !first.same(a) {
			return fmt.Sprintf("its identifiers lead to different people: %s and %s", first, a)
		}
		on[a.Mount] = a
	}
	return ""
}

// same reports whether two accounts are one, or doors to one entity.
func (a Account) same(o Account) bool {
	return a.ID == o.ID && (a.ID != "" || a.Mount == o.Mount && strings.EqualFold(a.Name, o.Name))
}

// called lists what a person may be called on an auth mount, as written and in lower case.
func called(p events.Person) (out []Name) {
	add := func(text, issuer string) {
		for _, n := range []Name{{text, issuer}, {strings.ToLower(text), issuer}} {
			if text != "" && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	for _, id := range p.Identifiers {
		add(id.Email, "")
		add(account(id), "")
		add(id.Sub, id.Iss)
		add(id.ID, "")
		add(id.ExternalID, "")
	}
	return out
}

// account is the name in "acct:alice@example.com"; the path of a SCIM resource is none.
func account(id events.Identifier) string {
	if id.Format == "scim" {
		return ""
	}
	return strings.TrimPrefix(id.URI, "acct:")
}

// identities lists what may be written in holders for a person: plainly, in any case, and as "issuer#subject", which is compared
// exactly. Who leaves a team is named by the team only.
func identities(o events.Offboarding) (plain, exact []string) {
	if o.Change == "membership_removed" {
		return nil, nil
	}
	for _, id := range o.Person.Identifiers {
		for _, s := range []string{id.Email, strings.TrimPrefix(id.URI, "acct:"), id.Sub, id.ID, id.ExternalID, id.PhoneNumber} {
			if s != "" {
				plain = append(plain, s)
			}
		}
		if id.Iss != "" && id.Sub != "" {
			exact = append(exact, id.Iss+"#"+id.Sub)
		}
	}
	return plain, exact
}

// groups lists the holders that the scope of an event means. Who leaves a team, or loses an application, stays in the organization.
func groups(o events.Offboarding) (out []string) {
	if o.Scope == nil {
		return nil
	}
	all := []string{o.Scope.Team, o.Scope.Application, o.Scope.Organization}
	if o.Change == "membership_removed" && (o.Scope.Team != "" || o.Scope.Application != "") {
		all = all[:2]
	}
	for _, g := range all {
		if g != "" {
			out = append(out, "group:"+g)
		}
	}
	return out
}

// held finds the holder that means one of these.
func held(holders, plain, exact []string) (string, bool) {
	for _, h := range holders {
		fits := func(who string) bool {
			ok, err := path.Match(strings.ToLower(h), strings.ToLower(who))
			return err == nil && ok
		}
		if slices.Contains(exact, h) || slices.ContainsFunc(plain, fits) {
			return h, true
		}
	}
	return "", false
}
