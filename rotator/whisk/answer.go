package whisk

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// largestAnswer bounds what is kept of one answer; the code of an action is skipped and does not count.
const largestAnswer = 64 << 20

var (
	errNotJSON  = errors.New("the answer is not JSON; is there a gateway in between?")
	errTooLarge = errors.New("the answer is larger than this client accepts")
)

// into decodes one JSON answer into v, without the code of an action.
func into(v any) func(int, io.Reader) error {
	return func(_ int, body io.Reader) error {
		limited := &io.LimitedReader{R: newCodeSkipper(body), N: largestAnswer}
		err := json.NewDecoder(limited).Decode(v)
		switch {
		case err == nil:
			return nil
		case limited.N <= 0:
			return errTooLarge
		case errors.Is(err, io.EOF):
			return ErrNoBody
		}
		if _, ok := errors.AsType[*json.SyntaxError](err); ok {
			return errNotJSON // the error itself quotes the answer
		}
		return err
	}
}

// bodyError reports a 2xx answer that could not be used: for a write, its outcome is unknown.
func bodyError(q call, status int, err error) *Error {
	e := &Error{Method: q.method, Path: q.path, Status: status, Message: "the answer could not be read"}
	typed, isType := errors.AsType[*json.UnmarshalTypeError](err)
	entity, isEntity := errors.AsType[*entityError](err)
	switch {
	case errors.Is(err, ErrNoBody):
		e.Message, e.is = ErrNoBody.Error(), ErrNoBody
	case errors.Is(err, errNotJSON), errors.Is(err, errTooLarge):
		e.Message = err.Error()
	case isType:
		e.Message = "the answer is not an OpenWhisk entity: field " + typed.Field
	case isEntity:
		e.Message = entity.Error()
	default:
		e.Message = transportError(q.method, q.path, err).Message
		e.is = transportError(q.method, q.path, err).is
	}
	return e
}

// answerError reads {"error","code"}, whatever type code has, and tolerates HTML and nothing at all.
func answerError(q call, resp *http.Response) *Error {
	e := &Error{Method: q.method, Path: q.path, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var body struct {
		Error json.RawMessage `json:"error"`
		Code  json.RawMessage `json:"code"`
	}
	if json.Unmarshal(raw, &body) == nil {
		var text string
		if json.Unmarshal(body.Error, &text) == nil {
			e.Message = harmless(text)
		}
		e.Code = transactionID(body.Code)
	}
	switch {
	case q.blurred && resp.StatusCode == http.StatusBadGateway:
		e.Message = "the action failed"
	case resp.StatusCode/100 == 3:
		e.Message = "the host redirects; configure the address it redirects to as API host"
	case e.Message == "" && len(bytes.TrimSpace(raw)) > 0:
		e.Message = "the answer is not an OpenWhisk error; is there a gateway in between?"
	}
	return e
}

// harmless keeps the host's fixed texts. Details about a malformed body are withheld unless known: hosts
// quote the body in them.
func harmless(text string) string {
	const malformed = "The request content was malformed:"
	head, detail, found := strings.Cut(text, malformed)
	if found && head == "" {
		if d := strings.TrimSpace(detail); d != "parameters malformed!" {
			return malformed + " (detail withheld: it can quote the body)"
		}
	}
	if len(text) > 500 {
		text = strings.ToValidUTF8(text[:500], "") + "..."
	}
	return strings.ReplaceAll(text, "\n", " ")
}

var idRE = regexp.MustCompile(`\A[\w.-]*\z`)

func transactionID(raw json.RawMessage) string {
	id := strings.Trim(string(raw), `"`)
	if len(id) > 64 || !idRE.MatchString(id) || id == "null" {
		return ""
	}
	return id
}

func retryAfter(h string) time.Duration {
	if s, err := strconv.Atoi(strings.TrimSpace(h)); err == nil && s >= 0 {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(h); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
