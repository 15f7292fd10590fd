package whisk_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/param"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// secretList is what no error may repeat.
func secretList() *param.List {
	return &param.List{{Key: "K", Value: secret.FromText(canary)}}
}

func TestClassifyEveryStatus(t *testing.T) {
	want := map[int]whisk.Class{404: whisk.NotFound, 408: whisk.Unknown, 425: whisk.Throttled, 429: whisk.Throttled}
	for status := 200; status < 600; status++ {
		expect, special := want[status]
		switch {
		case special:
		case status < 300, status >= 500:
			expect = whisk.Unknown
		default:
			expect = whisk.Permanent
		}
		if got := whisk.Classify(fmt.Errorf("wrapped: %w", &whisk.Error{Status: status})); got != expect {
			t.Errorf("%d is %v, want %v", status, got, expect)
		}
	}
	for text, expect := range map[string]whisk.Class{
		whisktest.TextConflict: whisk.Conflict, whisktest.TextExists: whisk.Permanent, whisktest.TextWrongType: whisk.Permanent, "": whisk.Permanent,
	} {
		if got := whisk.Classify(&whisk.Error{Status: 409, Message: text}); got != expect {
			t.Errorf("409 %q is %v, want %v", text, got, expect)
		}
	}
	if whisk.Classify(nil) != whisk.OK || whisk.Classify(errors.New("other")) != whisk.Unknown {
		t.Error("nil is ok, a foreign error unknown")
	}
}

func TestFaultsOfPut(t *testing.T) {
	for name, tc := range map[string]struct {
		fault   whisktest.Fault
		class   whisk.Class
		text    string
		written bool
	}{
		"conflict":       {whisktest.Fault{Status: 409, Text: whisktest.TextConflict}, whisk.Conflict, "Concurrent", false},
		"exists":         {whisktest.Fault{Status: 409, Text: whisktest.TextExists}, whisk.Permanent, "already exists", false},
		"wrong type":     {whisktest.Fault{Status: 409, Text: whisktest.TextWrongType}, whisk.Permanent, "collection", false},
		"500":            {whisktest.Fault{Status: 500, Text: whisktest.TextInternal}, whisk.Unknown, "internal", false},
		"502 html":       {whisktest.Fault{Status: 502, HTML: "<html>" + canary + "</html>"}, whisk.Unknown, "gateway", false},
		"503":            {whisktest.Fault{Status: 503, RetryAfter: "7"}, whisk.Unknown, "", false},
		"429":            {whisktest.Fault{Status: 429, RetryAfter: "7"}, whisk.Throttled, "", false},
		"html 200":       {whisktest.Fault{Status: 200, HTML: "<html>" + canary + "</html>", AfterCommit: true}, whisk.Unknown, "not JSON", true},
		"numeric code":   {whisktest.Fault{Status: 400, Text: "bad", NumericCode: true}, whisk.Permanent, "transaction 42", false},
		"dropped before": {whisktest.Fault{Drop: whisktest.BeforeCommit}, whisk.Unknown, "closed", false},
		"dropped after":  {whisktest.Fault{Drop: whisktest.AfterCommit}, whisk.Unknown, "closed", true},
		"truncated":      {whisktest.Fault{Truncate: true}, whisk.Unknown, "closed", true},
		"504 after":      {whisktest.Fault{Status: 504, AfterCommit: true}, whisk.Unknown, "", true},
		"empty":          {whisktest.Fault{Empty: true}, whisk.Unknown, "without a body", true},
		"echo":           {whisktest.Fault{Status: 400, Text: "parameters malformed: [" + canary + "]"}, whisk.Permanent, "withheld", false},
		"excerpt":        {whisktest.Fault{Status: 400, Text: whisktest.TextMalformed + "at \"" + canary[:6]}, whisk.Permanent, "withheld", false},
		"redirect":       {whisktest.Fault{Status: 307}, whisk.Permanent, "redirect", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := serve(t, whisktest.Options{})
			s.Action("a", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"K","value":"old"}]`)})
			if _, err := c.GetAction(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			tc.fault.Method = http.MethodPut
			s.Inject(tc.fault)
			_, err := c.PutAction(t.Context(), "a", whisk.Update{Parameters: secretList()})
			if whisk.Classify(err) != tc.class || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%v: %v, want %v with %q", whisk.Classify(err), err, tc.class, tc.text)
			}
			noCanary(t, err)
			e, typed := errors.AsType[*whisk.Error](err)
			if !typed || tc.fault.RetryAfter != "" && e.RetryAfter != 7*time.Second {
				t.Errorf("error %#v, want a typed one with Retry-After", e)
			}
			if n := s.Count(http.MethodPut, ""); n != 1 {
				t.Errorf("%d PUTs, want one: the caller decides about another", n)
			}
			if got, _ := s.Snapshot("actions", "a"); (got.Version == "0.0.2") != tc.written {
				t.Errorf("version %s, written should be %t", got.Version, tc.written)
			}
			if errors.Is(err, whisk.ErrNoBody) != tc.fault.Empty {
				t.Errorf("ErrNoBody: %v", err)
			}
		})
	}
}

func noCanary(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			text := fmt.Sprintf(verb, e)
			if strings.Contains(text, canary[:6]) || strings.Contains(text, "123zO3x") || strings.Contains(text, "MjNiYzQ2Yj") {
				t.Errorf("%s of the error shows a secret: %s", verb, text)
			}
		}
	}
}

func TestHostThatIsNotThere(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	c, err := whisk.New(whisk.Config{APIHost: srv.URL, Auth: whisk.Basic(guest), Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PutAction(t.Context(), "a", whisk.Update{Parameters: secretList()})
	if whisk.Classify(err) != whisk.Unavailable {
		t.Errorf("nobody listens: %v is %v, want unavailable: nothing was sent", err, whisk.Classify(err))
	}
	noCanary(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = c.GetAction(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	c, err := whisk.New(whisk.Config{APIHost: srv.URL, Auth: whisk.Basic(guest), Timeout: 20 * time.Millisecond, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.PutAction(t.Context(), "a", whisk.Update{Parameters: secretList()})
	if whisk.Classify(err) != whisk.Unknown || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("time-out: %v is %v", err, whisk.Classify(err))
	}
	noCanary(t, err)
}

func TestCredential(t *testing.T) {
	read := func(text string, err error) func(context.Context) (secret.Value, error) {
		return func(context.Context) (secret.Value, error) { return secret.FromText(text), err }
	}
	srv := httptest.NewServer(whisktest.New(whisktest.Options{Tokens: map[string]string{"tok": "guest"}}))
	t.Cleanup(srv.Close)
	for name, tc := range map[string]struct {
		auth  whisk.Auth
		class whisk.Class
	}{
		"key":          {whisk.Basic(read(whisktest.GuestKey+"\n", nil)), whisk.OK},
		"bearer":       {whisk.Bearer(read(" tok\n", nil)), whisk.OK},
		"wrong":        {whisk.Basic(read("u:"+canary, nil)), whisk.Permanent},
		"no colon":     {whisk.Basic(read(canary, nil)), whisk.Unavailable},
		"two lines":    {whisk.Bearer(read(canary+"\nx", nil)), whisk.Unavailable},
		"empty":        {whisk.Bearer(read("", nil)), whisk.Unavailable},
		"source fails": {whisk.Bearer(read("", errors.New("no file"))), whisk.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := whisk.New(whisk.Config{APIHost: srv.URL, Auth: tc.auth, Retries: -1})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Namespaces(t.Context())
			if whisk.Classify(err) != tc.class || err == nil && got[0] != "guest" {
				t.Errorf("%v: %v, want %v", whisk.Classify(err), err, tc.class)
			}
			noCanary(t, err)
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, host := range []string{"", "ftp://h", "https://u:" + canary + "@h", "http://", "https://h/?x=" + canary, "::" + canary} {
		_, err := whisk.New(whisk.Config{APIHost: host, Auth: whisk.Basic(guest)})
		if err == nil {
			t.Errorf("host %q is accepted", host)
		}
		noCanary(t, err)
	}
	for _, host := range []string{"h", "h:3233", "http://h/", "https://h/runtime", "https://h/api/v1/"} {
		if _, err := whisk.New(whisk.Config{APIHost: host, Auth: whisk.Basic(guest)}); err != nil {
			t.Errorf("host %q: %v", host, err)
		}
	}
	if _, err := whisk.New(whisk.Config{APIHost: "h"}); err == nil {
		t.Error("no credential is accepted")
	}
}

func TestReadsAreRepeated(t *testing.T) {
	for name, fault := range map[string]whisktest.Fault{
		"503":         {Status: 503, Times: 2},
		"429":         {Status: 429, RetryAfter: "0", Times: 2},
		"html":        {Status: 502, HTML: "<html>", Times: 1},
		"dropped":     {Drop: whisktest.BeforeCommit, Times: 1},
		"retry after": {Status: 503, RetryAfter: "1", Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := serve(t, whisktest.Options{})
			s.Action("a", whisktest.Seed{})
			s.Inject(fault)
			if _, err := c.GetAction(t.Context(), "a"); err != nil {
				t.Errorf("after %d requests: %v", s.Count("", ""), err)
			}
		})
	}
	s, c := serve(t, whisktest.Options{})
	s.Inject(whisktest.Fault{Status: 503, Times: -1})
	if _, err := c.GetAction(t.Context(), "a"); whisk.Classify(err) != whisk.Unknown || s.Count("", "") != 4 {
		t.Errorf("%d requests, want 4: %v", s.Count("", ""), err)
	}
	s.ClearFaults()
	s.ResetRequests()
	s.Inject(whisktest.Fault{Status: 503, RetryAfter: "3600", Times: -1})
	if _, err := c.GetAction(t.Context(), "a"); err == nil || s.Count("", "") != 1 {
		t.Errorf("%d requests; a host that asks for an hour is for the caller to decide: %v", s.Count("", ""), err)
	}
}

func TestStaleReadAndInvoke(t *testing.T) {
	s, c := serve(t, whisktest.Options{})
	s.Action("a", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"K","value":1}]`)})
	s.Write("actions", "a", whisktest.Params(`[{"key":"K","value":2}]`))
	s.Inject(whisktest.Fault{Method: http.MethodGet, Stale: true})
	if a, err := c.GetAction(t.Context(), "a"); err != nil || a.Version != "0.0.1" {
		t.Errorf("stale read: version %s, %v", a.Version, err)
	}
	s.Handle("a", func(call whisktest.Call) (any, error) {
		if string(call.Args["K"]) != "7" {
			return nil, errors.New("wrong K: " + canary)
		}
		return map[string]any{"ok": true}, nil
	})
	good, err := c.Invoke(t.Context(), "a", secret.Set{"K": must(secret.FromJSON([]byte("7")))})
	if err != nil || !good.Success() || string(good.Result.Reveal()) != `{"ok":true}` {
		t.Errorf("invoke: %q, %v", good.Status, err)
	}
	bad, err := c.Invoke(t.Context(), "a", nil)
	if err != nil || bad.Success() || bad.Status != "application error" {
		t.Errorf("failing invoke: %q, %v", bad.Status, err)
	}
	if strings.Contains(fmt.Sprintf("%+v", bad), canary) {
		t.Error("an activation prints its result")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
