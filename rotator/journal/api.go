package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openwhisk-rotator/rotator/rotator"
)

const (
	answerTime = 5 * time.Second        // for one answer of the server
	pause      = 200 * time.Millisecond // between tries while there is no leader
	tries      = 6
)

// A replicated stream refuses a write while another one to the same subject is in its pipeline - also when that one is
// our own last write, whose acknowledgement overtook the book-keeping. Who lost for good is told once that is over.
const (
	raceTries = 20
	racePause = 5 * time.Millisecond
)

var errRace = errors.New("another write is under way")

// wait reports whether it was not cut short.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// Error codes of the server. A lost race has two: the second is given while the winner is not stored yet.
const (
	codeNoMessage     = 10037
	codeWrongSequence = 10071
	codeRace          = 10164
	codeNoStream      = 10059
	codeTooLarge      = 10054 // for max_msg_size of the stream
)

type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

// request sends one message and waits for the answer. While nobody listens, or the connection is down, nothing was
// sent: it tries again for about a second, and then returns ErrUnavailable. Every other failure may mean that the
// message arrived, which is what lost says.
func (s *Store) request(ctx context.Context, m *nats.Msg, lost error) (*nats.Msg, error) {
	for try := 1; ; try++ {
		answer, err := s.once(ctx, m)
		switch {
		case err == nil:
			return answer, nil
		case errors.Is(err, nats.ErrMaxPayload): // the client has kept it back
			return nil, fmt.Errorf("%w: a record of %d bytes, the servers take %d: %w", rotator.ErrTooLarge, len(m.Data), s.nc.MaxPayload(), err)
		case notSent(err) && (errors.Is(err, nats.ErrConnectionClosed) || ctx.Err() != nil):
			return nil, fmt.Errorf("%w: %w", rotator.ErrUnavailable, err)
		case !notSent(err):
			return nil, fmt.Errorf("%w: %w", lost, err)
		case try == tries:
			return nil, fmt.Errorf("%w: NATS has no leader for the journal, or is not connected: %w", rotator.ErrUnavailable, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", rotator.ErrUnavailable, ctx.Err())
		case <-time.After(pause):
		}
	}
}

func (s *Store) once(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(errNotSent, err)
	}
	if s.nc.IsClosed() { // later the same error may mean that the answer was lost
		return nil, errors.Join(errNotSent, nats.ErrConnectionClosed)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return s.nc.RequestMsgWithContext(ctx, m)
}

var errNotSent = errors.New("not sent")

// notSent tells the errors after which nothing can have happened at the server.
func notSent(err error) bool {
	return errors.Is(err, errNotSent) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrReconnectBufExceeded)
}

// A message is one stored message as the server's API returns it.
type message struct {
	Subject string `json:"subject"`
	Seq     uint64 `json:"seq"`
	Header  []byte `json:"hdrs"`
	Data    []byte `json:"data"`
}

// read gets one message from the leader of the stream. query is a body of the API's "message get".
func (s *Store) read(ctx context.Context, query any) (message, error) {
	body, err := json.Marshal(query)
	if err != nil {
		return message{}, err
	}
	answer, err := s.request(ctx, &nats.Msg{Subject: "$JS.API.STREAM.MSG.GET." + Stream, Data: body}, rotator.ErrUnavailable)
	if err != nil {
		return message{}, err
	}
	var r struct {
		Message *message  `json:"message"`
		Error   *apiError `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &r); err != nil {
		return message{}, fmt.Errorf("%w: unreadable answer from NATS: %w", rotator.ErrUnavailable, err)
	}
	switch {
	case r.Error != nil && r.Error.ErrCode == codeNoMessage:
		return message{}, rotator.ErrNotFound
	case r.Error != nil:
		return message{}, fmt.Errorf("%w: %w", rotator.ErrUnavailable, r.Error)
	case r.Message == nil:
		return message{}, fmt.Errorf("%w: empty answer from NATS", rotator.ErrUnavailable)
	}
	return *r.Message, nil
}

// Error says what the server said, and what to do where an operator can do something.
func (e *apiError) Error() string {
	if e.ErrCode == codeNoStream {
		return fmt.Sprintf("stream %s is gone (%s); restart the rotator to create it again", Stream, e.Description)
	}
	return fmt.Sprintf("NATS: %s (code %d)", e.Description, e.ErrCode)
}
