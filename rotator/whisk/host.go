package whisk

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// Namespaces returns the namespaces of the key: the cheapest proof that host and credential are right.
func (c *Client) Namespaces(ctx context.Context) ([]string, error) {
	var out []string
	err := c.get(ctx, call{path: "/api/v1/namespaces", read: into(&out)})
	return out, err
}

// Limits are the effective limits of the key; zero means that the host did not say.
type Limits struct {
	ParameterBytes int // largest parameter list of one entity
}

// Limits asks the host for the limits of the key.
func (c *Client) Limits(ctx context.Context) (Limits, error) {
	var w struct {
		MaxParameterSize json.RawMessage `json:"maxParameterSize"`
	}
	if err := c.get(ctx, call{path: c.collection("limits"), read: into(&w)}); err != nil {
		return Limits{}, err
	}
	return Limits{ParameterBytes: byteSize(string(w.MaxParameterSize))}, nil
}

// byteSize reads "1 MB", "1048576 B" or a plain number.
func byteSize(s string) int {
	number, unit, _ := strings.Cut(strings.TrimSpace(strings.Trim(s, `"`)), " ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return 0
	}
	switch strings.ToUpper(unit) {
	case "", "B":
		return n
	case "K", "KB":
		return n << 10
	case "M", "MB":
		return n << 20
	case "G", "GB":
		return n << 30
	}
	return 0
}

// DeprecatedKinds returns the runtimes that the host no longer supports, sorted: it refuses to update actions
// of such a kind.
func (c *Client) DeprecatedKinds(ctx context.Context) ([]string, error) {
	var w struct {
		Runtimes map[string][]struct {
			Kind       string `json:"kind"`
			Deprecated bool   `json:"deprecated"`
		} `json:"runtimes"`
	}
	if err := c.get(ctx, call{path: "/", read: into(&w)}); err != nil {
		return nil, err
	}
	var kinds []string
	for _, family := range w.Runtimes {
		for _, r := range family {
			if r.Deprecated {
				kinds = append(kinds, r.Kind)
			}
		}
	}
	slices.Sort(kinds)
	return kinds, nil
}

// An Activation is one finished run of an action.
type Activation struct {
	ID     string
	Status string       // "success", "application error", "action developer error" or "whisk internal error"
	Result secret.Value // what the action returned; it may repeat its parameters
}

// Success reports that the action returned without an error.
func (a Activation) Success() bool { return a.Status == "success" }

// Invoke runs an action once with this payload and waits for its result. That the action failed is not an
// error but a Status. An action that runs longer than the host waits is an error: its outcome is unknown.
func (c *Client) Invoke(ctx context.Context, name string, payload secret.Set) (Activation, error) {
	path, err := c.entityPath(http.MethodPost, "actions", name)
	if err != nil {
		return Activation{}, err
	}
	var out Activation
	err = c.once(ctx, call{
		method:  http.MethodPost,
		path:    path,
		query:   url.Values{"blocking": {"true"}},
		body:    encodeSet(payload),
		blurred: true,
		accept:  func(status int) bool { return status == http.StatusBadGateway },
		read:    func(status int, body io.Reader) error { return readActivation(&out, status, body) },
	})
	return out, err
}

func readActivation(out *Activation, status int, body io.Reader) error {
	var w struct {
		ID       string `json:"activationId"`
		Response struct {
			Status string          `json:"status"`
			Result json.RawMessage `json:"result"`
		} `json:"response"`
	}
	if err := into(&w)(status, body); err != nil {
		return err
	}
	if status == http.StatusAccepted {
		return &entityError{"the action did not finish while the host waited (activation " + transactionID(json.RawMessage(w.ID)) + ")"}
	}
	if w.Response.Status == "" {
		return &entityError{"the answer is not an activation record"}
	}
	result, err := secret.FromJSON(w.Response.Result)
	if len(w.Response.Result) > 0 && err != nil {
		return fmt.Errorf("reading the result: %w", err)
	}
	*out = Activation{ID: w.ID, Status: w.Response.Status, Result: result}
	return nil
}

func encodeSet(set secret.Set) []byte {
	b := []byte{'{'}
	for key, v := range set {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, secret.FromText(key).Reveal()...)
		b = append(b, ':')
		b = append(b, v.Reveal()...)
	}
	return append(b, '}')
}
