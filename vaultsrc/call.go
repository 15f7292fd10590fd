package vaultsrc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/hashicorp/vault/api"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// maxAnswer bounds what is read of one answer; Vault itself takes no request above 32 MiB.
const maxAnswer = 32 << 20

// A request is one call to Vault's HTTP API.
type request struct {
	once    bool   // never sent twice
	write   bool   // PUT with body, otherwise GET
	creates bool   // a write of what is not there yet
	remove  bool   // DELETE
	wrap    bool   // the answer goes into a wrapping token, which is thrown away
	path    string // below /v1/
	query   map[string][]string
	body    any            // marshalled with JSON; a json.RawMessage goes out as it is
	token   string         // instead of our own login
	anon    bool           // without any token
	values  []secret.Value // must not come back in an error
}

// A reply is the envelope of Vault's answers, with values left as raw JSON.
type reply struct {
	LeaseID       string                     `json:"lease_id"`
	LeaseDuration int64                      `json:"lease_duration"`
	Renewable     bool                       `json:"renewable"`
	Data          map[string]json.RawMessage `json:"data"`
	Warnings      []string                   `json:"warnings"`
	WrapInfo      *struct {
		Accessor string `json:"wrapped_accessor"`
	} `json:"wrap_info"`
	Auth *struct {
		ClientToken   string `json:"client_token"`
		Accessor      string `json:"accessor"`
		LeaseDuration int64  `json:"lease_duration"`
		Renewable     bool   `json:"renewable"`
		Orphan        bool   `json:"orphan"`
	} `json:"auth"`
}

// do sends a request and decodes the envelope. An answer that cannot be read after a call that creates
// something leaves its outcome unknown.
func (c *Client) do(ctx context.Context, r request) (reply, error) {
	raw, err := c.raw(ctx, r)
	if err != nil {
		return reply{}, err
	}
	var out reply
	if len(bytes.TrimSpace(raw)) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return reply{}, fmt.Errorf("%w: answer is no JSON object (is this address a Vault?)", r.lost())
	}
	return out, nil
}

// raw sends a request with the right token. When our own login turns out to be dead, which Vault says before
// it executes anything, it logs in afresh and sends the request again.
func (c *Client) raw(ctx context.Context, r request) ([]byte, error) {
	if r.anon || r.token != "" {
		return c.send(ctx, r)
	}
	for attempt := 0; ; attempt++ {
		login, err := c.login(ctx)
		if err != nil {
			return nil, err
		}
		r.token = login.token
		raw, err := c.send(ctx, r)
		if !errors.Is(err, errDeadToken) {
			return raw, err
		}
		c.drop(login)
		if attempt > 0 {
			return nil, fmt.Errorf("%w: a fresh login is refused as well", ErrUnavailable)
		}
	}
}

// send makes the HTTP exchange and sorts its errors.
func (c *Client) send(ctx context.Context, r request) ([]byte, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: not sent: %w", ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	client := c.idem
	if r.once {
		client = c.once
	}
	if r.token != "" {
		client = client.WithRequestCallbacks(func(q *api.Request) {
			q.ClientToken = r.token
			if r.wrap {
				q.WrapTTL = "60s"
			}
		})
	}
	var resp *api.Response
	var err error
	switch {
	case r.remove:
		resp, err = client.Logical().DeleteRawWithContext(ctx, r.path)
	case r.write:
		var body []byte
		if body, err = marshal(r.body); err != nil {
			return nil, err
		}
		resp, err = client.Logical().WriteRawWithContext(ctx, r.path, body)
	default:
		resp, err = client.Logical().ReadRawWithDataWithContext(ctx, r.path, r.query)
	}
	var raw []byte
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close()
		var readErr error
		raw, readErr = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err == nil && readErr != nil {
			err = readErr
		}
	}
	if err != nil {
		return raw, r.sort(err)
	}
	return raw, nil
}

// marshal writes JSON without escaping HTML, so that values go out as they came in.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, errors.New("encoding the request failed")
	}
	return b.Bytes(), nil
}

// lost is the class of an error that leaves open whether Vault executed the request.
func (r request) lost() error {
	if r.once {
		return ErrUnknownOutcome
	}
	return ErrUnavailable
}

// list is the request that lists path.
func list(path string) request {
	return request{path: path, query: url.Values{"list": {"true"}}}
}

// seconds of a reply's numeric data field; zero when it is missing.
func (r reply) number(field string) int64 {
	var n json.Number
	if json.Unmarshal(r.Data[field], &n) != nil {
		return 0
	}
	i, err := n.Int64()
	if err != nil {
		return 0
	}
	return i
}

// text of a reply's data field; empty when it is missing or no string.
func (r reply) text(field string) string {
	var s string
	if json.Unmarshal(r.Data[field], &s) != nil {
		return ""
	}
	return s
}
