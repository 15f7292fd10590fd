package whisk

import (
	"bytes"
	"io"
)

// A guardedBody asks before every part of it whether it may still be sent. A process that was stopped in the middle of a
// request, and is continued long after somebody else took its work over, does not complete the request then: the host
// discards a body that ends early.
type guardedBody struct {
	left  io.Reader
	still func() error
}

func (q call) reader() (io.ReadCloser, error) {
	if q.still == nil {
		return io.NopCloser(bytes.NewReader(q.body)), nil
	}
	return guardedBody{bytes.NewReader(q.body), q.still}, nil
}

// Read gives the next part, if it may still be sent.
func (b guardedBody) Read(p []byte) (int, error) {
	if err := b.still(); err != nil {
		return 0, err
	}
	return b.left.Read(p)
}

// Close has nothing to release.
func (guardedBody) Close() error { return nil }
