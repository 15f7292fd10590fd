package probe

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// maxBody is how much of an answer is read, so that the connection can be used again.
const maxBody = 64 << 10

func (r *Runner) request(ctx context.Context, p *rotator.HTTPProbe, set secret.Set) error {
	req, err := http.NewRequestWithContext(ctx, cmp.Or(p.Method, http.MethodGet), p.URL, nil)
	if err != nil {
		return permanent("method or address cannot be used")
	}
	for name, t := range p.Headers {
		v, err := render(t, set)
		if err != nil {
			return fmt.Errorf("header %q: %w", name, err)
		}
		text, _ := v.Text()
		req.Header.Set(name, text)
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = text
		}
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return unavailable("the address cannot be reached: %s", cause(err))
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody)
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w (status %d)", rotator.ErrRejected, resp.StatusCode)
	}
	return unavailable("status %d proves nothing", resp.StatusCode)
}
