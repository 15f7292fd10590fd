package whisk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Config says which host and namespace, and how to speak to it.
type Config struct {
	APIHost   string // "https://host[:port][/prefix]"; https is assumed when no scheme is given
	Namespace string // empty: "_", the namespace of the key
	Auth      Auth   // Basic or Bearer

	Parallel int           // requests under way at a time, whoever makes them; 0: 16
	Timeout  time.Duration // of one request; 0: 70s, a little more than the host takes to give up
	Retries  int           // how often a read is repeated; 0: 3, negative: never
	RootCAs  *x509.CertPool
	Insecure bool // do not verify the certificate: only for a test host

	Transport http.RoundTripper // replaces the transport and the four settings of it above
}

// Client speaks to one namespace of one host. It is safe for concurrent use.
type Client struct {
	base    string // scheme, host and prefix, without a slash at the end
	ns      string
	auth    Auth
	http    *http.Client
	timeout time.Duration
	retries int
	slots   chan struct{} // one per request under way
}

// New checks the configuration; it connects to nothing.
func New(cfg Config) (*Client, error) {
	base, err := baseURL(cfg.APIHost)
	if err != nil {
		return nil, err
	}
	if cfg.Auth == nil {
		return nil, errors.New("no credential for the OpenWhisk host: give a key (uuid:key) or a bearer token")
	}
	c := &Client{base: base, ns: cfg.Namespace, auth: cfg.Auth, timeout: cfg.Timeout, retries: max(cfg.Retries, 0)}
	if cfg.Parallel <= 0 {
		cfg.Parallel = 16
	}
	c.slots = make(chan struct{}, cfg.Parallel)
	if c.ns == "" {
		c.ns = "_"
	}
	if !validName(c.ns) {
		return nil, fmt.Errorf("namespace %q is not a valid name", c.ns)
	}
	if c.timeout <= 0 {
		c.timeout = 70 * time.Second
	}
	if cfg.Retries == 0 {
		c.retries = 3
	}
	rt := cfg.Transport
	if rt == nil {
		rt = transport(cfg)
	}
	c.http = &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func transport(cfg Config) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   cfg.Parallel,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		TLSClientConfig:       &tls.Config{RootCAs: cfg.RootCAs, InsecureSkipVerify: cfg.Insecure}, //nolint:gosec // only when asked for
	}
}

func baseURL(host string) (string, error) {
	if host == "" {
		return "", errors.New("no OpenWhisk API host: give one such as https://adobeioruntime.net")
	}
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	u, err := url.Parse(host)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("the OpenWhisk API host is not an http or https address")
	case u.User != nil:
		return "", errors.New("the OpenWhisk API host holds a user or key: give the key by itself, not in the address")
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("API host %q: a query or fragment does not belong there", u.Host)
	}
	prefix := strings.TrimSuffix(strings.TrimSuffix(u.EscapedPath(), "/"), "/api/v1")
	return u.Scheme + "://" + u.Host + prefix, nil
}

var nameRE = regexp.MustCompile(`\A(\w|\w[\w@ .&-]{0,254}[\w@.&-])\z`)

// validName is the host's own rule for the names of entities.
func validName(s string) bool { return len(s) <= 256 && nameRE.MatchString(s) }

// call is one request; read takes the body of a 2xx answer.
type call struct {
	method, path string // path begins below the base and is escaped
	query        url.Values
	body         []byte
	still        func() error // see Update
	read         func(status int, body io.Reader) error
	accept       func(status int) bool // nil: 2xx
	blurred      bool                  // the host's error text may repeat what an action said
}

// get repeats a read a bounded number of times.
func (c *Client) get(ctx context.Context, q call) error {
	q.method = http.MethodGet
	for attempt := 0; ; attempt++ {
		err := c.once(ctx, q)
		wait, again := c.again(err, attempt)
		if !again || ctx.Err() != nil {
			return err
		}
		if sleep(ctx, wait) != nil {
			return err
		}
	}
}

// longestWait is how long a read waits by itself; a host that asks for more gets its answer passed up.
const longestWait = 10 * time.Second

func (c *Client) again(err error, attempt int) (time.Duration, bool) {
	e, ok := errors.AsType[*Error](err)
	if !ok || attempt >= c.retries || e.RetryAfter > longestWait || e.local {
		return 0, false
	}
	switch e.Status {
	case 0, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		return 0, false
	}
	backoff := 100 * time.Millisecond << min(attempt, 6)
	return e.RetryAfter + backoff/2 + rand.N(backoff), true
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once makes one request. The connection is drained so that it can be used again.
func (c *Client) once(ctx context.Context, q call) error {
	select {
	case c.slots <- struct{}{}: // the time limit of a request begins when it may be sent
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return unsent(q, "waiting for a free connection", ctx.Err())
	}
	if q.still != nil {
		if err := q.still(); err != nil {
			return unsent(q, "not sent", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(ctx, q)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return transportError(q.method, q.path, err)
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, resp.Body, 256<<10)
		_ = resp.Body.Close()
	}()
	if ok := resp.StatusCode/100 == 2 || q.accept != nil && q.accept(resp.StatusCode); !ok {
		return answerError(q, resp)
	}
	if err := q.read(resp.StatusCode, resp.Body); err != nil {
		return bodyError(q, resp.StatusCode, err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, q call) (*http.Request, error) {
	header, err := c.auth(ctx)
	if err != nil {
		return nil, unsent(q, "authenticating", err)
	}
	address := c.base + q.path
	if len(q.query) > 0 {
		address += "?" + q.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, q.method, address, nil)
	if err != nil {
		return nil, unsent(q, "making the request", err)
	}
	if q.body != nil {
		req.ContentLength = int64(len(q.body))
		req.GetBody = q.reader // net/http sends it again only when nothing of it was written
		req.Body, _ = q.reader()
		req.Header.Set("Content-Type", "application/json")
	}
	value, _ := header.Text()
	req.Header.Set("Authorization", value)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "openwhisk-rotator")
	return req, nil
}

// unsent is an error before anything was sent: certainly not applied.
func unsent(q call, message string, err error) error {
	return fmt.Errorf("%w: %w", &Error{Method: q.method, Path: q.path, Message: message, unsent: true, local: true}, err)
}
