package conformance

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Target is a host to test.
type Target struct {
	URL  string // "http://host:port", without /api/v1
	Key  string // "uuid:key"
	Kind string // a runtime for JavaScript; empty: "nodejs:default"
	// Code gives an action of these names the code that is in its exec; nil on a host that runs it itself.
	Code func(names ...string)
	// Encrypted says that the host locks the values of actions and packages.
	Encrypted bool
	// Invoke says that actions can run; a host without container runtime answers everything else.
	Invoke bool
}

// echo is the code of every action here: it returns its arguments and the environment it was started with.
const echo = `function main(args) { return { args: args, E: process.env.E } }`

// host is one target with the names of one test.
type host struct {
	*testing.T
	Target
	ns, pre string
}

func newHost(t *testing.T, target Target) *host {
	t.Helper()
	raw := make([]byte, 4)
	_, _ = rand.Read(raw)
	if target.Kind == "" {
		target.Kind = "nodejs:default"
	}
	h := &host{T: t, Target: target, pre: fmt.Sprintf("rotator-conformance-%x-", raw)}
	var names []string
	r := h.do("GET", "/api/v1/namespaces", "")
	if err := json.Unmarshal(r.raw, &names); err != nil || len(names) != 1 {
		t.Fatalf("GET namespaces: status %d, want the one namespace of the key", r.status)
	}
	h.ns = names[0]
	return h
}

// reply is one answer, decoded as far as it can be.
type reply struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
}

func (r reply) text() string {
	s, _ := r.body["error"].(string)
	return s
}

// do sends one request; a path that does not begin with a slash is below the namespace.
func (h *host) do(method, path, body string) reply {
	h.Helper()
	return h.send(method, path, body, http.Header{
		"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(h.Key))},
		"Content-Type":  {"application/json"},
	})
}

func (h *host) send(method, path, body string, header http.Header) reply {
	h.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/api/v1/namespaces/_/" + path
	}
	req, err := http.NewRequestWithContext(h.Context(), method, h.URL+path, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	req.Header = header
	if body == "" {
		req.Header.Del("Content-Type")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, header: resp.Header}
	if r.raw, err = io.ReadAll(resp.Body); err != nil {
		h.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(r.raw))
	dec.UseNumber()
	_ = dec.Decode(&r.body) // lists and empty answers are no objects
	return r
}

// put writes one of our own entities, and has it removed in the end.
func (h *host) put(path, body string) reply {
	h.Helper()
	return h.do("PUT", path+"?overwrite=true", body)
}

// create is put for setting up; "@" in path and body stands for our prefix.
func (h *host) create(path, body string) reply {
	h.Helper()
	path = h.at(path)
	r := h.put(path, strings.NewReplacer("@", h.pre, "NS", h.ns, "EXEC", h.exec()).Replace(body))
	if r.status != http.StatusOK {
		h.Fatalf("setting up %s: %d %s", path, r.status, r.text())
	}
	if h.Code != nil && strings.HasPrefix(path, "actions/") {
		h.Code(strings.TrimPrefix(path, "actions/"))
	}
	// Cleanups run last in, first out: actions go before their package.
	h.Cleanup(func() { h.remove(path) })
	return r
}

// remove outlives the test's context.
func (h *host) remove(path string) {
	req, err := http.NewRequest(http.MethodDelete, h.URL+"/api/v1/namespaces/_/"+path, nil)
	if err != nil {
		h.Error(err)
		return
	}
	user, pass, _ := strings.Cut(h.Key, ":")
	req.SetBasicAuth(user, pass)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Error(err)
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound {
		h.Errorf("%s is left behind: DELETE answered %d", path, resp.StatusCode)
	}
}

func (h *host) at(path string) string { return strings.ReplaceAll(path, "@", h.pre) }

func (h *host) exec() string {
	code, _ := json.Marshal(echo)
	return fmt.Sprintf(`{"kind":%q,"code":%s}`, h.Kind, code)
}

// params renders parameters as "A=1 E=\"x\"(init)", sorted; locked values as "locked".
func (r reply) params() string {
	list, _ := r.body["parameters"].([]any)
	out := make(map[string]string)
	for _, item := range list {
		e, _ := item.(map[string]any)
		raw, _ := json.Marshal(e["value"])
		text := fmt.Sprintf("%s=%s", e["key"], raw)
		if e["encryption"] != nil {
			text = fmt.Sprintf("%s=locked", e["key"])
		}
		if e["init"] == true {
			text += "(init)"
		}
		out[text] = text
	}
	return strings.Join(slices.Sorted(maps.Keys(out)), " ")
}

func (r reply) annotation(key string) any {
	list, _ := r.body["annotations"].([]any)
	for _, item := range list {
		if e, _ := item.(map[string]any); e["key"] == key {
			return e["value"]
		}
	}
	return nil
}

func (h *host) wantParams(what string, r reply, want string) {
	h.Helper()
	if r.status != http.StatusOK || r.params() != want {
		h.Errorf("%s: status %d, parameters %s; want %s", what, r.status, r.params(), want)
	}
}

func (h *host) wantFail(what string, r reply, status int, text string) {
	h.Helper()
	if r.status != status || !strings.Contains(r.text(), text) {
		h.Errorf("%s: %d %q; want %d %q", what, r.status, r.text(), status, text)
	}
}
