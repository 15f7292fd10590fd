package probe_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/probe"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// canary must never be in an error.
const canary = "c4n4ry-p4ssw0rd"

func template(t *testing.T, s string) rotator.Template {
	t.Helper()
	tmpl, err := rotator.ParseTemplate(s)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func bundle(extra map[string]string) secret.Set {
	set := secret.Set{"USER": secret.FromText("u-" + canary), "PASSWORD": secret.FromText(canary)}
	for k, v := range extra {
		set[k] = secret.FromText(v)
	}
	return set
}

type verdict string

const (
	accepted    verdict = "accepted"
	rejected    verdict = "rejected"
	unavailable verdict = "unavailable"
	permanent   verdict = "permanent"
	other       verdict = "other"
)

// judge sorts an answer and fails the test when it repeats a value.
func judge(t *testing.T, err error) verdict {
	t.Helper()
	if err == nil {
		return accepted
	}
	t.Log(err)
	if strings.Contains(err.Error(), canary) {
		t.Errorf("a value is in the error: %v", err)
	}
	switch {
	case errors.Is(err, rotator.ErrRejected):
		return rejected
	case errors.Is(err, rotator.ErrUnavailable):
		return unavailable
	case errors.Is(err, rotator.ErrPermanent):
		return permanent
	}
	return other
}

func want(t *testing.T, err error, w verdict) {
	t.Helper()
	if got := judge(t, err); got != w {
		t.Errorf("%s, want %s (%v)", got, w, err)
	}
}

func TestHTTPStatus(t *testing.T) {
	var asked int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch {
		case r.Header.Get("Authorization") != "Bearer "+canary:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/redirect":
			http.Redirect(w, r, "/200", http.StatusFound)
		case r.URL.Path == "/403":
			http.Error(w, canary, http.StatusForbidden)
		case r.URL.Path == "/429":
			w.WriteHeader(http.StatusTooManyRequests)
		case r.URL.Path == "/500":
			http.Error(w, canary, http.StatusInternalServerError)
		case r.URL.Path == "/204":
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer srv.Close()
	r := probe.New(probe.Config{HTTPClient: srv.Client()})
	good := map[string]rotator.Template{"Authorization": template(t, "Bearer {{PASSWORD}}")}
	bad := map[string]rotator.Template{"Authorization": template(t, "Bearer {{USER}}")}
	for _, c := range []struct {
		path    string
		headers map[string]rotator.Template
		want    verdict
	}{
		{"/200", good, accepted}, {"/204", good, accepted}, {"/200", bad, rejected}, {"/403", good, rejected},
		{"/redirect", good, unavailable}, {"/429", good, unavailable}, {"/500", good, unavailable},
	} {
		asked = 0
		err := r.Probe(t.Context(), rotator.Probe{HTTP: &rotator.HTTPProbe{URL: srv.URL + c.path, Headers: c.headers}}, bundle(nil))
		want(t, err, c.want)
		if asked != 1 {
			t.Errorf("%s: %d requests, want exactly 1", c.path, asked)
		}
	}
}

func TestHTTPFailures(t *testing.T) {
	r := probe.New(probe.Config{})
	hdr := map[string]rotator.Template{"X-Key": template(t, "{{PASSWORD}}")}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()
	ask := func(url string, set secret.Set) error {
		return r.Probe(t.Context(), rotator.Probe{HTTP: &rotator.HTTPProbe{URL: url, Headers: hdr}, Timeout: 5 * time.Second}, set)
	}
	want(t, ask(closed, bundle(nil)), unavailable)
	want(t, ask("http://unresolvable.invalid/", bundle(nil)), unavailable)
	want(t, ask("http://\x7f/", bundle(nil)), permanent)
	want(t, ask(closed, bundle(map[string]string{"PASSWORD": canary + "\r\nX-Evil: 1"})), unavailable)
	want(t, ask(closed, secret.Set{}), permanent)
	want(t, ask(closed, secret.Set{"PASSWORD": secret.FromText("  ")}), permanent)
}

func TestTimeoutIsNoAnswer(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	p := rotator.Probe{HTTP: &rotator.HTTPProbe{URL: srv.URL}, Timeout: 20 * time.Millisecond}
	want(t, probe.New(probe.Config{}).Probe(t.Context(), p, bundle(nil)), unavailable)

	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("shutting down")
	cancel(stop)
	err := probe.New(probe.Config{}).Probe(ctx, p, bundle(nil))
	if !errors.Is(err, stop) || errors.Is(err, rotator.ErrRejected) {
		t.Errorf("a caller that gave up got %v, want the cause", err)
	}
}

func script(t *testing.T, body string) rotator.Template {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a Unix shell")
	}
	path := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return template(t, path)
}

func TestExec(t *testing.T) {
	t.Setenv("ROTATOR_OWN_SECRET", "own")
	r := probe.New(probe.Config{})
	env := []rotator.EnvVar{{Name: "PW", Value: template(t, "{{PASSWORD}}")}}
	for body, w := range map[string]verdict{
		`test "$PW" = ` + canary:                           accepted,
		`echo "$PW"; echo "$PW" >&2; exit 77`:              rejected,
		`echo "$PW" >&2; exit 1`:                           unavailable,
		`kill -9 $$`:                                       unavailable,
		`test -z "$ROTATOR_OWN_SECRET" && test -n "$PATH"`: accepted,
	} {
		t.Log(body)
		want(t, r.Probe(t.Context(), rotator.Probe{Exec: []rotator.Template{script(t, body)}, Env: env}, bundle(nil)), w)
	}
	want(t, r.Probe(t.Context(), rotator.Probe{Exec: []rotator.Template{template(t, "/no/such/program")}}, bundle(nil)), permanent)
	argv := []rotator.Template{script(t, "exit 0"), template(t, "{{PASSWORD}}")}
	want(t, r.Probe(t.Context(), rotator.Probe{Exec: argv}, bundle(nil)), permanent)
	nul := bundle(map[string]string{"PASSWORD": canary + "\x00"})
	if got := judge(t, r.Probe(t.Context(), rotator.Probe{Exec: argv[:1], Env: env}, nul)); got == accepted || got == rejected {
		t.Errorf("a variable that cannot be passed was %s", got)
	}
}

// A program that hangs is ended in time, with what it started.
func TestExecTimeout(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	p := rotator.Probe{
		Exec:    []rotator.Template{script(t, `sleep 600 & echo $! > "$PIDFILE"; wait`)},
		Env:     []rotator.EnvVar{{Name: "PIDFILE", Value: template(t, pid)}},
		Timeout: 500 * time.Millisecond,
	}
	start := time.Now()
	want(t, probe.New(probe.Config{}).Probe(t.Context(), p, bundle(nil)), unavailable)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	data, err := os.ReadFile(pid)
	if err != nil {
		t.Skip("the program was ended before it started its child")
	}
	stat := "/proc/" + strings.TrimSpace(string(data)) + "/stat"
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(5 * time.Millisecond) {
		line, err := os.ReadFile(stat)
		if err != nil || strings.Contains(string(line), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the child of the program is still running")
		}
	}
}

type fakeVault struct{ err error }

func (f fakeVault) TryLogin(_ context.Context, role, id secret.Value, mount string) error {
	if r, _ := role.Text(); r != "role" || mount != "approle" {
		return errors.New("wrong arguments")
	}
	return f.err
}
func (f fakeVault) TryToken(context.Context, secret.Value) error { return f.err }

func TestVault(t *testing.T) {
	no := errors.New("no: " + canary)
	set := bundle(map[string]string{"ROLE": "role"})
	login := rotator.Probe{AppRole: &rotator.AppRoleProbe{Mount: "approle", RoleID: template(t, "{{ROLE}}"), SecretID: template(t, "{{PASSWORD}}")}}
	token := rotator.Probe{Token: template(t, "{{PASSWORD}}")}
	for _, p := range []rotator.Probe{login, token} {
		ask := func(err error) error {
			r := probe.New(probe.Config{Vault: fakeVault{err}, VaultRejects: func(e error) bool { return errors.Is(e, no) }})
			return r.Probe(t.Context(), p, set)
		}
		want(t, ask(nil), accepted)
		want(t, ask(no), rejected)
		want(t, ask(errors.New("sealed "+canary)), unavailable)
		want(t, probe.New(probe.Config{}).Probe(t.Context(), p, set), permanent)
	}
}

func TestAction(t *testing.T) {
	set := bundle(nil)
	p := rotator.Probe{Action: "prod:shop/check"}
	ask := func(err error) error {
		r := probe.New(probe.Config{Invoke: func(_ context.Context, host, action string, payload secret.Set) error {
			if host != "prod" || action != "shop/check" || len(payload) != len(set) {
				t.Errorf("invoked %s %s with %d keys", host, action, len(payload))
			}
			return err
		}})
		return r.Probe(t.Context(), p, set)
	}
	want(t, ask(nil), accepted)
	want(t, ask(errors.Join(rotator.ErrRejected, errors.New(canary))), rejected)
	want(t, ask(errors.Join(rotator.ErrNotFound, errors.New(canary))), permanent)
	want(t, ask(errors.New(canary)), unavailable)
	want(t, probe.New(probe.Config{}).Probe(t.Context(), p, set), permanent)
	want(t, probe.New(probe.Config{}).Probe(t.Context(), rotator.Probe{Action: "check"}, set), permanent)
}

// No probe is no proof: neither of life nor of death.
func TestEmptyProbe(t *testing.T) {
	want(t, probe.New(probe.Config{}).Probe(t.Context(), rotator.Probe{}, bundle(nil)), permanent)
}
