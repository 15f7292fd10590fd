package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/openwhisk-rotator/rotator/cmd/internal/config"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// openwhisk is the host, reached as a developer's tools reach it, with a client of its own: what the rotator's
// client believes is not taken for granted.
type openwhisk struct {
	url  string // without trailing slash
	auth func(*http.Request)

	emulator *whisktest.Server // nil: a host of the user's
	fouls    fouls
	made     []string // paths to delete, in order of making
	close    func()
}

// fouls collects what the emulator's referee calls.
type fouls struct {
	mu    sync.Mutex
	texts []string
}

// Helper is part of whisktest.TB.
func (f *fouls) Helper() {}

// Errorf is part of whisktest.TB.
func (f *fouls) Errorf(format string, a ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.texts = append(f.texts, fmt.Sprintf(format, a...))
}

func (f *fouls) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.texts...)
}

func startEmulator() (*openwhisk, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the OpenWhisk emulator: %w", err)
	}
	w := &openwhisk{url: "http://" + listener.Addr().String(), emulator: whisktest.New(whisktest.Options{})}
	w.auth = basicAuth(config.Credential{Text: secret.FromText(whisktest.GuestKey)})
	server := &http.Server{Handler: w.emulator, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with Close
	}()
	w.close = func() {
		_ = server.Close()
		<-done
	}
	return w, nil
}

func basicAuth(c config.Credential) func(*http.Request) {
	return func(r *http.Request) {
		text, _ := c.Text.Text()
		user, key, _ := strings.Cut(text, ":")
		r.SetBasicAuth(user, key)
	}
}

// do sends one request below the namespace of the key; out may be nil.
func (w *openwhisk) do(ctx context.Context, method, path string, body, out any) error {
	return w.send(ctx, method, "/api/v1/namespaces/_/"+path, body, out)
}

// send sends one request; the path begins with a slash.
func (w *openwhisk) send(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, payload)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "rotator-sandbox")
	req.Header.Set("Content-Type", "application/json")
	w.auth(req)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: the host does not answer", method, path)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return fmt.Errorf("%s %s: the answer broke off", method, path)
	}
	switch {
	case resp.StatusCode == http.StatusConflict:
		return fmt.Errorf("%s %s: %w", method, path, errExists)
	case resp.StatusCode >= 300:
		return fmt.Errorf("%s %s: status %d", method, path, resp.StatusCode)
	case out == nil:
		return nil
	}
	return json.Unmarshal(answer, out)
}

var errExists = errors.New("there is one already; the sandbox overwrites nothing")

// create makes something new, never over something that is there.
func (w *openwhisk) create(ctx context.Context, path string, body map[string]any) error {
	if err := w.do(ctx, http.MethodPut, path, body, nil); err != nil {
		return fmt.Errorf("filling the shop: %w", err)
	}
	w.made = append(w.made, path)
	return nil
}

// stop removes what was made on a host of the user's, and ends an own one.
func (w *openwhisk) stop() {
	if w.emulator == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		for i := len(w.made) - 1; i >= 0; i-- {
			_ = w.do(ctx, http.MethodDelete, w.made[i], nil, nil)
		}
	}
	if w.close != nil {
		w.close()
	}
}

// An entity is what one GET shows, with what is its own and what comes from a package told apart.
type entity struct {
	version     string
	updated     time.Time
	merged, own param.List
	notes       map[string]json.RawMessage
}

func collection(k rotator.Kind) string { return k.String() + "s" }

// get reads a target as it is bound at this moment.
func (w *openwhisk) get(ctx context.Context, r rotator.Ref) (entity, error) {
	var doc struct {
		Version     string          `json:"version"`
		Updated     int64           `json:"updated"`
		Parameters  json.RawMessage `json:"parameters"`
		Annotations []struct {
			Key   string          `json:"key"`
			Value json.RawMessage `json:"value"`
		} `json:"annotations"`
	}
	if err := w.do(ctx, http.MethodGet, collection(r.Kind)+"/"+escape(r.Name), nil, &doc); err != nil {
		return entity{}, err
	}
	list, err := param.Parse(doc.Parameters)
	if err != nil {
		return entity{}, fmt.Errorf("reading %s: %w", r, err)
	}
	e := entity{version: doc.Version, updated: time.UnixMilli(doc.Updated), merged: list, own: list, notes: make(map[string]json.RawMessage)}
	for _, a := range doc.Annotations {
		e.notes[a.Key] = a.Value
	}
	return e, nil
}

// look reads a target and tells its own parameters from those of its package or provider.
func (w *openwhisk) look(ctx context.Context, t shopTarget) (entity, error) {
	e, err := w.get(ctx, t.Ref)
	if err != nil || t.above == "" {
		return e, err
	}
	if w.emulator != nil { // knows better than any GET can tell
		held, _ := w.emulator.Snapshot(collection(t.Kind), t.Name)
		e.own = held.Own
		return e, nil
	}
	above, err := w.get(ctx, rotator.Ref{Host: hostName, Kind: rotator.Package, Name: t.above})
	e.own = e.merged.Own(above.merged)
	return e, err
}

func escape(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// texts are the values of a list that are texts.
func texts(list param.List) map[string]string {
	out := make(map[string]string)
	for _, e := range list {
		if s, ok := e.Value.Text(); ok {
			out[e.Key] = s
		}
	}
	return out
}
