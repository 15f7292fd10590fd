package crash

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// httpProxy stands before Vault or OpenWhisk.
func (w *wire) httpProxy(t testing.TB, system, upstream string) string {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		v := pass
		name := httpWrite(system, r)
		if name != "" {
			v = w.judge(name)
		}
		if v == drop {
			w.doom()
			panic(http.ErrAbortHandler)
		}
		if v == freeze {
			w.stop()
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the client went away in the middle: nothing was sent on
		}
		req, err := http.NewRequest(r.Method, upstream+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		req.Header = r.Header.Clone()
		resp, err := client.Do(req)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		answer, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if name != "" {
			w.after(name)
		}
		if v == lose {
			w.doom()
			panic(http.ErrAbortHandler)
		}
		if v == freeze {
			<-w.script.thawed
		}
		for key, values := range resp.Header {
			rw.Header()[key] = values
		}
		rw.WriteHeader(resp.StatusCode)
		_, _ = rw.Write(answer)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close(); client.CloseIdleConnections() })
	return s.URL
}

var random = regexp.MustCompile(`(-[a-z0-9]{10}\b)|\bm[0-9]+x`)

// httpWrite names a request that changes something, or "". Vault has POSTs that only read, and GETs that mint.
func httpWrite(system string, r *http.Request) string {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	mints := strings.Contains(path, "/creds/")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == "LIST" || strings.Contains(path, "lookup") || strings.Contains(path, "capabilities")
	if reads && !mints {
		return ""
	}
	return system + " " + r.Method + " " + random.ReplaceAllString(path, "_")
}
