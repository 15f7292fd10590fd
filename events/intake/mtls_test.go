package intake

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/openwhisk-rotator/rotator/events"
)

// authority issues certificates.
type authority struct {
	*testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{T: t}
	pair := a.issue("ca")
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

func (a *authority) issue(name string) tls.Certificate {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.Fatal(err)
	}
	a.next++
	c := &x509.Certificate{SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name, "127.0.0.1"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: a.cert == nil, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	parent, signer := c, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// TestClientCertificates: a source may be known by its certificate, alone or beside its secret; nobody else's will do. Shutting
// down lets the request in hand finish.
func TestClientCertificates(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	published := 0
	entered, release := make(chan struct{}, 10), make(chan struct{}, 10)
	in, err := Open(t.Context(), Config{Listen: "127.0.0.1:0", Log: zerolog.Nop(), Seen: &memory{}, Bury: func(context.Context, Letter) error { return errors.New("not expected") },
		TLS:     &tls.Config{Certificates: []tls.Certificate{ours.issue("edge.example.com")}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven},
		Sources: []Source{{Name: "aws", Kind: "aws", ClientName: "aws.example.com"}, {Name: "both", Kind: "aws", ClientName: "aws.example.com", Secrets: secrets("t")}},
		Publish: func(context.Context, events.Event) error {
			entered <- struct{}{}
			<-release
			published++
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	body := sample(t, "aws-health-risk-1.json")
	send := func(path, key string, certs ...tls.Certificate) int {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "edge.example.com", Certificates: certs}, DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+in.Addr()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Api-Key", key)
		res, err := client.Do(req)
		if err != nil {
			return 0 // the handshake was refused
		}
		res.Body.Close()
		return res.StatusCode
	}
	good := ours.issue("aws.example.com")
	release <- struct{}{}
	release <- struct{}{}
	for name, got := range map[string]int{"the right one": send("/v1/aws", "", good), "with the secret": send("/v1/both", "t", good)} {
		if got != 200 {
			t.Errorf("%s: %d", name, got)
		}
	}
	for name, got := range map[string]int{
		"none": send("/v1/aws", ""), "another name": send("/v1/aws", "", ours.issue("evil.example.com")), "another authority": send("/v1/aws", "", theirs.issue("aws.example.com")),
		"without the secret": send("/v1/both", "", good), "the secret alone": send("/v1/both", "t"),
	} {
		if got != 401 && got != 0 {
			t.Errorf("%s: %d", name, got)
		}
	}
	if published != 2 {
		t.Errorf("%d events", published)
	}
	<-entered
	<-entered
	last := make(chan int, 1)
	go func() { last <- send("/v1/aws", "", good) }()
	<-entered
	cancel()
	release <- struct{}{}
	if status := <-last; status != 200 {
		t.Errorf("the request in hand was answered with %d", status)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
