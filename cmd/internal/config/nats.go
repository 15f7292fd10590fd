package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

const defaultListen = "127.0.0.1:4223"

var embeddedWithURL = []string{"credentials_file", "nkey_file", "ca_file", "cert_file", "key_file"}

func (r *reader) nats(top *section) NATS {
	s := top.sub("nats")
	defer s.done()
	s.literal("put it into a file and name it with credentials_file or nkey_file", "token", "password", "pass", "nkey", "seed", "jwt", "credentials", "creds")
	n := NATS{
		CredentialsFile: s.secretFile("credentials_file"),
		NKeyFile:        s.secretFile("nkey_file"),
		CAFile:          s.file("ca_file"),
		CertFile:        s.file("cert_file"),
		KeyFile:         s.secretFile("key_file"),
		Replicas:        s.count("replicas", 1, 1, 5),
	}
	if v, ok := s.field("url"); ok {
		n.URL = v.natsURL()
		r.cluster(s, n)
		return n
	}
	n.Listen = s.address("listen", defaultListen, true)
	if v, ok := s.field("replicas"); ok && n.Replicas != 1 {
		v.fail("the embedded server is one node and cannot keep replicas", "set nats.url to a cluster, or remove replicas")
	}
	for _, key := range embeddedWithURL {
		if v, ok := s.field(key); ok {
			v.fail("belongs to a NATS server, but nats.url is not set", "set nats.url, or remove this line to use the embedded server")
		}
	}
	return n
}

// cluster checks what only makes sense with a server of one's own.
func (r *reader) cluster(s *section, n NATS) {
	if v, ok := s.field("replicas"); ok && (n.Replicas == 2 || n.Replicas == 4) {
		v.fail(fmt.Sprintf("is %d; an even number of replicas survives no more than one less", n.Replicas), "write 1, 3 or 5")
	}
	if v, ok := s.field("listen"); ok {
		v.fail("belongs to the embedded server, but nats.url is set", "remove listen, or remove url")
	}
	if v, ok := s.field("nkey_file"); ok && n.CredentialsFile != "" {
		v.fail("credentials_file and nkey_file are both set", "keep one of them")
	}
	s.pair("cert_file", "key_file")
}

// pair reports one of two fields that only work together.
func (s *section) pair(a, b string) {
	va, okA := s.field(a)
	vb, okB := s.field(b)
	switch {
	case okA && !okB:
		va.fail(a+" is set without "+b, "set both or none")
	case okB && !okA:
		vb.fail(b+" is set without "+a, "set both or none")
	}
}

// natsURL accepts a list of server addresses without user info.
func (v value) natsURL() string {
	all := v.nonEmpty("")
	if all == "" {
		return ""
	}
	for one := range strings.SplitSeq(all, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			v.fail(fmt.Sprintf("%q is not a NATS address", show(one)), "write nats://host:4222 or tls://host:4222; several are separated by commas")
			return ""
		case u.User != nil:
			v.fail("the address holds a user or a token; no secret belongs in this file", "use credentials_file or nkey_file")
			return ""
		}
	}
	return all
}
