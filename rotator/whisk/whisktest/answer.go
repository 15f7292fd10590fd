package whisktest

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
)

// answer is what a request gets; a nil body means none.
type answer struct {
	status int
	body   any
	header http.Header
}

func ok(body any) *answer { return &answer{status: http.StatusOK, body: body} }

// failure is the body of an error; the transaction id is filled in when it is written.
type failure struct{ text string }

func fail(status int, format string, args ...any) *answer {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	return &answer{status: status, body: failure{text}}
}

func (a *answer) write(w http.ResponseWriter, id string, numericCode bool) {
	h := w.Header()
	h.Set("X-Request-ID", id)
	h.Set("Access-Control-Allow-Origin", "*")
	maps.Copy(h, a.header)
	switch b := a.body.(type) {
	case nil:
		w.WriteHeader(a.status)
		return
	case string: // not JSON: a gateway, or ping
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, b)
		return
	case failure:
		var code any = id
		if numericCode {
			code = 42
		}
		a.body = map[string]any{"error": b.text, "code": code}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a.body); err != nil {
		panic(err)
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_, _ = w.Write(buf.Bytes())
}

// truncated announces the whole answer and cuts the connection after half of it.
type truncated struct{ http.ResponseWriter }

// WriteHeader waits for the length.
func (*truncated) WriteHeader(int) {}

// Write sends the first half.
func (t *truncated) Write(p []byte) (int, error) {
	t.Header().Set("Content-Length", strconv.Itoa(len(p)))
	_, _ = t.ResponseWriter.Write(p[:len(p)/2])
	_ = http.NewResponseController(t.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

func newID() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}
