package whisk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// ErrNoBody says that a PUT was answered 200 without a body: it was accepted, and GET tells what is there now.
var ErrNoBody = errors.New("answered without a body")

// ErrUnstable comes with a complete-as-possible list when entities kept moving while they were listed.
var ErrUnstable = errors.New("the namespace kept changing while it was listed")

// An Error is a failed call. It never holds a body, a parameter value or a credential.
type Error struct {
	Method     string
	Path       string
	Status     int           // 0: there was no answer
	Message    string        // the host's text, or what broke; withheld where it could echo a value
	Code       string        // the host's transaction id, for its operator
	RetryAfter time.Duration // what the host asked for, or 0

	unsent bool  // the request certainly never reached the host
	local  bool  // it was not even tried
	is     error // context error, ErrNoBody: for errors.Is only
}

// Error is one line: call, status, message, transaction id.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Method, e.Path)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", e.Message)
	}
	if e.Code != "" {
		fmt.Fprintf(&b, " (transaction %s)", e.Code)
	}
	return b.String()
}

// Unwrap leads to context.Canceled, context.DeadlineExceeded or ErrNoBody, and to nothing else.
func (e *Error) Unwrap() error { return e.is }

// Class says what the caller of a write may do next.
type Class int

// The classes of an error.
const (
	OK          Class = iota // no error
	Permanent                // the same call will never succeed
	NotFound                 // the entity, its package or the namespace does not exist
	Conflict                 // somebody else wrote in between: read again, decide again
	Throttled                // not done: the host asks to come back later
	Unavailable              // not done: the host could not be reached
	Unknown                  // may or may not have been done: read before deciding
)

// String is the class in lower case.
func (c Class) String() string {
	names := [...]string{"ok", "permanent", "not found", "conflict", "throttled", "unavailable", "unknown"}
	if c < 0 || int(c) >= len(names) {
		return "invalid"
	}
	return names[c]
}

// conflictText is the only one of the host's 409 texts that is worth another try.
const conflictText = "Concurrent modification to resource detected"

// Classify maps an error of this package to what it means for a write. A foreign error is Unknown.
func Classify(err error) Class {
	if err == nil {
		return OK
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return Unknown
	}
	switch {
	case e.Status == 0 && e.unsent:
		return Unavailable
	case e.Status == 0, e.Status < 300, e.Status >= 500, e.Status == http.StatusRequestTimeout:
		return Unknown
	case e.Status == http.StatusNotFound:
		return NotFound
	case e.Status == http.StatusConflict && strings.Contains(e.Message, conflictText):
		return Conflict
	case e.Status == http.StatusTooManyRequests, e.Status == http.StatusTooEarly:
		return Throttled
	}
	return Permanent
}

// transportError describes what broke without repeating it: net/http quotes bytes of the answer and of headers.
func transportError(method, path string, err error) *Error {
	e := &Error{Method: method, Path: path, Message: "no valid HTTP answer"}
	op, isOp := errors.AsType[*net.OpError](err)
	verify, isVerify := errors.AsType[*tls.CertificateVerificationError](err)
	_, isTLS := errors.AsType[tls.RecordHeaderError](err)
	_, isHost := errors.AsType[x509.HostnameError](err)
	dns, isDNS := errors.AsType[*net.DNSError](err)
	timeout, isTimeout := errors.AsType[net.Error](err)
	for _, over := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, over) {
			e.is = over
		}
	}
	switch {
	case isDNS:
		e.Message, e.unsent = "looking up host "+dns.Name+": "+dns.Err, true
	case isVerify:
		e.Message, e.unsent = "verifying the certificate: "+verify.Err.Error(), true
	case errors.Is(err, http.ErrSchemeMismatch):
		e.Message, e.unsent = "the host answers in clear where https was assumed: write http:// before the API host if that is meant", true
	case isTLS, isHost:
		e.Message, e.unsent = "the host does not speak TLS, or not under this name", true
	case isOp && op.Op == "dial":
		e.Message, e.unsent = "connecting: "+opText(op), true
	case e.is == context.Canceled: //nolint:errorlint // set above
		e.Message = "cancelled"
	case e.is == context.DeadlineExceeded: //nolint:errorlint // set above
		e.Message = "timed out"
	case isOp:
		e.Message = op.Op + ": " + opText(op)
	case isTimeout && timeout.Timeout():
		e.Message = "timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Message = "connection closed before the answer was complete"
	}
	return e
}

func opText(op *net.OpError) string {
	if sys, ok := errors.AsType[*os.SyscallError](op.Err); ok {
		return sys.Err.Error()
	}
	if op.Timeout() {
		return "timed out"
	}
	return "connection failed"
}
