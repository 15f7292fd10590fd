package whisk_test

import (
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/whisk"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

func TestCertificateIsVerified(t *testing.T) {
	s := whisktest.New(whisktest.Options{})
	s.Action("a", whisktest.Seed{})
	srv := httptest.NewTLSServer(s)
	t.Cleanup(srv.Close)
	srv.Config.ErrorLog = nil
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	for name, tc := range map[string]struct {
		cfg   whisk.Config
		class whisk.Class
	}{
		"unknown authority": {whisk.Config{}, whisk.Unavailable},
		"own authority":     {whisk.Config{RootCAs: pool}, whisk.OK},
		"insecure":          {whisk.Config{Insecure: true}, whisk.OK},
	} {
		t.Run(name, func(t *testing.T) {
			tc.cfg.APIHost, tc.cfg.Auth, tc.cfg.Retries = srv.URL, whisk.Basic(guest), -1
			c, err := whisk.New(tc.cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			if _, err := c.Touch(t.Context(), "a"); whisk.Classify(err) != tc.class {
				t.Errorf("%v is %v, want %v", err, whisk.Classify(err), tc.class)
			}
		})
	}
}

// Adobe's deploy service has the API below a prefix and takes bearer tokens.
func TestPrefix(t *testing.T) {
	s := whisktest.New(whisktest.Options{})
	s.Action("a", whisktest.Seed{})
	mux := http.NewServeMux()
	mux.Handle("/runtime/", http.StripPrefix("/runtime", s))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	for _, host := range []string{srv.URL + "/runtime", srv.URL + "/runtime/", srv.URL + "/runtime/api/v1"} {
		if _, err := client(t, host).GetAction(t.Context(), "a"); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// A body with secrets goes where it was addressed, not where an answer points.
func TestRedirectsAreNotFollowed(t *testing.T) {
	reached := make(chan string, 4)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.Method }))
	t.Cleanup(elsewhere.Close)
	srv := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(srv.Close)
	_, err := client(t, srv.URL).PutAction(t.Context(), "a", whisk.Update{Parameters: secretList()})
	if whisk.Classify(err) != whisk.Permanent || len(reached) != 0 {
		t.Errorf("%v; %d requests reached the other host", err, len(reached))
	}
}

// An answer with something behind its JSON must not cost the connection.
func TestAnswersAreDrained(t *testing.T) {
	var conns atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"name":"a","version":"0.0.1"}` + strings.Repeat(" ", 64<<10)))
	}))
	srv.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	c := client(t, srv.URL)
	for range 4 {
		if _, err := c.Touch(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	if got := conns.Load(); got != 1 {
		t.Errorf("%d connections for 4 requests in a row", got)
	}
}
