package intake

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
)

// slow opens a connection from an address (a proxy on this machine says so) and sends one byte of a body. It returns the answer, once
// there is one.
func (e *edge) slow(from string) (net.Conn, func() (status int, retry string)) {
	e.Helper()
	c, err := net.Dial("tcp", e.srv.Listener.Addr().String())
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { c.Close() })
	if _, err := fmt.Fprintf(c, "POST /v1/okta HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: %s\r\nContent-Length: 1000\r\n\r\n{", from); err != nil {
		e.Fatal(err)
	}
	return c, func() (int, string) {
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			e.Error(err)
			return 0, ""
		}
		res.Body.Close()
		return res.StatusCode, res.Header.Get("Retry-After")
	}
}

// until waits for so many bodies to be in hand.
func (e *edge) until(reading int) {
	e.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		e.in.reading.mu.Lock()
		n := e.in.reading.total
		e.in.reading.mu.Unlock()
		if n == reading {
			return
		}
		if time.Now().After(deadline) {
			e.Fatalf("%d bodies are being read, want %d", n, reading)
		}
	}
}

// okta sends what Okta sends when somebody leaves.
func (e *edge) okta(from string) (status int, retry string) {
	e.Helper()
	body := `{"source":"https://o.okta.com/x","data":{"events":[` + sample(e, "okta-logevent-user.lifecycle.deactivate-1.json") + `]}}`
	req, err := http.NewRequestWithContext(e.Context(), http.MethodPost, e.srv.URL+"/v1/okta", strings.NewReader(body))
	if err != nil {
		e.Fatal(err)
	}
	req.Header.Set("Authorization", "t")
	req.Header.Set("X-Forwarded-For", from)
	res, err := e.srv.Client().Do(req)
	if err != nil {
		e.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header.Get("Retry-After")
}

// TestSlowBodies: whoever sends one byte and waits holds up nobody but itself, and is thrown out.
func TestSlowBodies(t *testing.T) {
	e := newEdge(t, Source{Name: "okta", Kind: "okta", Secrets: secrets("t")})
	e.in.times.body = time.Hour // nobody is thrown out yet
	const addresses = 8
	for i := range addresses * maxFromOne {
		e.slow(fmt.Sprintf("198.51.100.%d", i/maxFromOne))
	}
	e.until(addresses * maxFromOne)
	if addresses*maxFromOne <= maxInFlight {
		t.Fatal("these are too few to prove anything")
	}
	if status, _ := e.okta("203.0.113.1"); status != 200 || len(e.published()) != 1 {
		t.Errorf("Okta, meanwhile: %d", status)
	}
	e.in.times.body = 50 * time.Millisecond
	_, answer := e.slow("198.51.100.1")
	if status, _ := answer(); status != 429 {
		t.Errorf("one more of the same address: %d", status)
	}
	if status, _ := e.okta("198.51.100.1"); status != 429 {
		t.Errorf("the same address: %d", status)
	}
	e.in.reading.all = addresses * maxFromOne
	if status, retry := e.okta("203.0.113.1"); status != 503 || retry == "" {
		t.Errorf("when there are too many of all: %d, Retry-After %q", status, retry)
	}
}

// TestBrokenBodies: a body that does not come in time, or breaks off, is a failure of its address, and of no other.
func TestBrokenBodies(t *testing.T) {
	e := newEdge(t, Source{Name: "okta", Kind: "okta", Secrets: secrets("t")})
	e.in.times.body = 50 * time.Millisecond
	for i := range failureBurst {
		c, answer := e.slow("198.51.100.1")
		if i%2 == 0 {
			if status, _ := answer(); status != 408 {
				t.Fatalf("too slow: %d", status)
			}
			continue
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if status, _ := answer(); status != 400 {
			t.Fatalf("broken off: %d", status)
		}
	}
	e.until(0)
	if status, _ := e.okta("198.51.100.1"); status != 429 {
		t.Errorf("the same address: %d", status)
	}
	if status, _ := e.okta("198.51.100.2"); status != 200 {
		t.Errorf("another one: %d", status)
	}
}

// TestOneSourcesTrouble is not another's: what cannot be published of one holds up that one, which is told to come back.
func TestOneSourcesTrouble(t *testing.T) {
	e := newEdge(t, Source{Name: "okta", Kind: "okta", Secrets: secrets("t")}, Source{Name: "aws", Kind: "aws", Secrets: secrets("t")})
	publish, entered, release := e.in.Publish, make(chan struct{}, maxInFlight), make(chan struct{})
	e.in.Publish = func(ctx context.Context, ev events.Event) error {
		if ev.Publisher == "aws" {
			entered <- struct{}{}
			<-release
		}
		return publish(ctx, ev)
	}
	aws, ended := sample(t, "aws-health-risk-1.json"), make(chan int, maxInFlight)
	send := func() int {
		status, _ := e.do("POST", "/v1/aws", aws, map[string]string{"X-Api-Key": "t"})
		return status
	}
	for range maxInFlight {
		go func() { ended <- send() }()
	}
	for range maxInFlight {
		<-entered
	}
	if status := send(); status != 503 {
		t.Errorf("one more of it: %d", status)
	}
	if status, _ := e.okta("203.0.113.1"); status != 200 {
		t.Errorf("another source: %d", status)
	}
	close(release)
	for range maxInFlight {
		if status := <-ended; status != 200 {
			t.Errorf("what was in hand: %d", status)
		}
	}
}
