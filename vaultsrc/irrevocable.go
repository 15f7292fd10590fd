package vaultsrc

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// A RevokeError says that a lease is still there because its backend refuses to end the credential, or because Vault
// has given up on it. It is ErrNotGone, and ErrIrrevocable too once Vault has given up. A lease that is revoked again
// after its backend was repaired goes, also an irrevocable one.
type RevokeError struct {
	Handle      Handle
	Text        string // the backend's reason; names and whatever could be a value are left out
	Irrevocable bool   // Vault has given up: it tries again once a day, or when it is asked to
}

func (e *RevokeError) Error() string {
	if !e.Irrevocable {
		return fmt.Sprintf("%v: the backend refuses: %s: Vault goes on trying for some minutes", ErrNotGone, e.Text)
	}
	return fmt.Sprintf("%v: %s: the credential is still alive: repair the backend, then revoke again (by hand: "+
		"vault lease revoke -sync %s); only after deleting the credential in the backend yourself: "+
		"vault lease revoke -force -prefix %s", ErrIrrevocable, e.Text, e.Handle.ID, e.Handle.ID)
}

// Unwrap gives the classes.
func (e *RevokeError) Unwrap() []error {
	if e.Irrevocable {
		return []error{ErrNotGone, ErrIrrevocable}
	}
	return []error{ErrNotGone}
}

// givenUp reports that Vault has given up revoking a lease. Only for leases that are expired: it asks for a renewal,
// which Vault refuses with the reason. Unlike sys/leases?type=irrevocable that needs no right that the rotator has not
// got anyway, and knows no limit.
func (c *Client) givenUp(ctx context.Context, lease string) (bool, error) {
	_, err := c.do(ctx, request{write: true, path: "sys/leases/renew", body: map[string]any{"lease_id": lease}})
	if errors.Is(err, ErrForbidden) || errors.Is(err, ErrUnavailable) {
		return false, err
	}
	return said(err, "failed previous revocation attempts"), nil
}

// queue asks Vault to revoke a lease in the background. One that is expired is in the queue already, or given up: to
// queue it again would use up one of Vault's six attempts at once.
func (c *Client) queue(ctx context.Context, h Handle) error {
	r, err := c.do(ctx, request{write: true, path: "sys/leases/lookup", body: map[string]any{"lease_id": h.ID}})
	if said(err, "invalid lease") {
		return nil
	}
	if err != nil || r.text("expire_time") != "" && r.number("ttl") < 0 {
		return err
	}
	body := map[string]any{"lease_id": h.ID, "sync": false} // left out, it means true
	_, err = c.do(ctx, request{write: true, path: "sys/leases/revoke", body: body})
	return err
}

// stuck tells apart what Vault still works on from what it has given up; leases are expired.
func (c *Client) stuck(ctx context.Context, leases []string) error {
	for _, id := range leases {
		if ctx.Err() != nil {
			break
		}
		if dead, _ := c.givenUp(ctx, id); dead {
			h := Handle{Kind: KindLease, ID: id}
			return &RevokeError{Handle: h, Text: "Vault's log has the reason", Irrevocable: true}
		}
	}
	return fmt.Errorf("%w: Vault is still working on it", ErrNotGone)
}

// reason is what Vault says about a failed revocation. The backend speaks there, and may name the user.
func reason(err error) string {
	text := err.Error()
	if rf, ok := errors.AsType[*refusal](err); ok && len(rf.messages) > 0 {
		text = strings.Join(rf.messages, "; ")
	}
	return redact(text)
}

var (
	quotation = regexp.MustCompile("\"[^\"]*(\"|$)|'[^']*('|$)|`[^`]*(`|$)")
	longWord  = regexp.MustCompile(`[\w+/=~-]{16,}`)
)

// redact leaves out quotations and generated words: user names, key ids, tokens.
func redact(text string) string {
	text = quotation.ReplaceAllString(text, "<...>")
	return longWord.ReplaceAllStringFunc(text, func(w string) string {
		if len(w) >= 24 || strings.ContainsFunc(w, unicode.IsDigit) {
			return "<...>"
		}
		return w
	})
}
