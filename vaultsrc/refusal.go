package vaultsrc

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// errDeadToken says that Vault does not know the token of a request: it expired or was revoked.
var errDeadToken = errors.New("token is expired or revoked")

// lookupToken looks up a token that it gets in its body; there a bad token is not the one that asks.
const lookupToken = "auth/token/lookup"

// A refusal is Vault's answer with an error status, without anything of the request but its path.
type refusal struct {
	status   int
	path     string
	messages []string
	kinds    []error
	remedy   string
}

func (r *refusal) Error() string {
	s := fmt.Sprintf("%s: %s: status %d", r.path, r.kinds[0], r.status)
	if len(r.messages) > 0 {
		s += ": " + strings.Join(r.messages, "; ")
	}
	if r.remedy != "" {
		s += " (" + r.remedy + ")"
	}
	return s
}

func (r *refusal) Unwrap() []error { return r.kinds }

// sort turns an error of the client library into one of this package's classes.
func (r request) sort(err error) error {
	re, ok := errors.AsType[*api.ResponseError](err)
	if !ok {
		return r.sortNetwork(err)
	}
	out := &refusal{status: re.StatusCode, path: r.path, messages: clean(re, r.values)}
	said := func(s string) bool { return strings.Contains(strings.Join(re.Errors, "\n"), s) }
	switch code := re.StatusCode; {
	case code == http.StatusBadRequest && said("check-and-set"):
		out.kinds = []error{ErrConflict}
	case code == http.StatusForbidden && (said("invalid token") || said("bad token")) && r.path != lookupToken:
		out.kinds = []error{ErrForbidden, errDeadToken}
	case code == http.StatusForbidden:
		out.kinds = []error{ErrForbidden}
		out.remedy = fmt.Sprintf("the policy needs capability %q on %q", r.capability(), r.path)
	case code == http.StatusNotFound:
		out.kinds = []error{ErrNotFound}
	case notExecuted(code, said):
		out.kinds = []error{ErrUnavailable}
	case code >= 500:
		out.kinds = []error{r.lost()}
	default:
		out.kinds = []error{ErrInvalid}
	}
	return out
}

// notExecuted reports answers that a Vault node gives before it looks at the request: rate limits, sealed,
// standby, missing replication state.
func notExecuted(code int, said func(string) bool) bool {
	switch code {
	case http.StatusTooManyRequests, http.StatusPreconditionFailed, 472, 473, 474:
		return true
	case http.StatusServiceUnavailable:
		return said("sealed") || said("standby") || said("overload")
	}
	return false
}

// sortNetwork classes an exchange that got no answer. Only a failed dial proves that nothing was sent.
func (r request) sortNetwork(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err // without the URL, whose query may hold parameters
	}
	class := r.lost()
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		class = ErrUnavailable
	}
	return fmt.Errorf("%s: %w: %w", r.path, class, err)
}

func (r request) capability() string {
	switch {
	case r.creates:
		return "create"
	case r.write:
		return "update"
	case r.query["list"] != nil:
		return "list"
	}
	return "read"
}

// clean keeps the messages that name no value of the request. A body that is not Vault's JSON is dropped: a
// proxy wrote it, and nobody knows what is in it.
func clean(re *api.ResponseError, values []secret.Value) []string {
	if re.RawError {
		return nil
	}
	var out []string
	for _, m := range re.Errors {
		m = strings.Join(strings.Fields(m), " ")
		if m != "" && !slices.ContainsFunc(values, func(v secret.Value) bool { return names(m, v) }) {
			out = append(out, m[:min(len(m), 300)])
		}
	}
	return out
}

func names(message string, v secret.Value) bool {
	if text, ok := v.Text(); ok && text != "" && strings.Contains(message, text) {
		return true
	}
	return v.Len() > 2 && strings.Contains(message, string(v.Reveal()))
}
