package vaultsrc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/vault/api"
)

// newAPI makes a client without a token: every call brings its own. Variables of the environment that the
// library would read (VAULT_TOKEN, VAULT_NAMESPACE, VAULT_ADDR) are overruled by the configuration.
func newAPI(cfg Config, rt http.RoundTripper, retries int) (*api.Client, error) {
	c, err := api.NewClient(&api.Config{
		Address:      cfg.Address,
		HttpClient:   &http.Client{Transport: rt},
		MaxRetries:   retries,
		MinRetryWait: 200 * time.Millisecond,
		MaxRetryWait: 2 * time.Second,
	})
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", cfg.Address, err)
	}
	// Every call here has a deadline of its own. The library's would be lifted as soon as the head of an answer is there, and an
	// answer whose body takes longer could not be read any more.
	c.SetClientTimeout(0)
	c.ClearToken()
	c.ClearNamespace()
	if cfg.Namespace != "" {
		c.SetNamespace(cfg.Namespace)
	}
	return c, nil
}

func newTransport(cfg Config) (http.RoundTripper, error) {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CACertFile != "" {
		pem, err := os.ReadFile(cfg.CACertFile)
		if err != nil {
			return nil, fmt.Errorf("reading the CA certificate: %w", err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the CA certificate: %s holds no PEM certificate", cfg.CACertFile)
		}
	}
	if cfg.Auth.Method == "cert" {
		tlsConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cfg.Auth.CertFile, cfg.Auth.KeyFile)
			return &pair, err
		}
	}
	pooled := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   10 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          cfg.MaxCalls,
		MaxIdleConnsPerHost:   cfg.MaxCalls,
		MaxConnsPerHost:       cfg.MaxCalls,
		IdleConnTimeout:       50 * time.Second, // below the usual 60 s of load balancers
		ExpectContinueTimeout: time.Second,
	}
	unpooled := pooled.Clone()
	unpooled.DisableKeepAlives = true
	var rt http.RoundTripper = connections{pooled: pooled, fresh: unpooled}
	if cfg.WrapTransport != nil {
		rt = cfg.WrapTransport(rt)
	}
	return rt, nil
}

// fresh marks requests that must go over a connection of their own.
type fresh struct{}

// noReplay keeps net/http from repeating a request by itself. Its transport repeats a GET when a reused
// connection breaks before the first byte of the answer, and a GET of database/creds/x creates a user. A fresh
// connection is never a reason to repeat, and what fails on it before it stands was certainly not executed.
type noReplay struct{ next http.RoundTripper }

func (t noReplay) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.next.RoundTrip(r.WithContext(context.WithValue(r.Context(), fresh{}, true)))
}

// connections sends marked requests over fresh connections and all others over pooled ones.
type connections struct{ pooled, fresh *http.Transport }

func (t connections) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Context().Value(fresh{}) != nil {
		return t.fresh.RoundTrip(r)
	}
	return t.pooled.RoundTrip(r)
}
