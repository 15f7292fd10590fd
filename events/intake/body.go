package intake

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// Bodies in hand that are not complete yet. An address that holds many open, or breaks them off, harms nobody but itself.
const (
	maxReading = 256
	maxFromOne = 16
)

// A crowd bounds how many bodies are being read: from one address, and together.
type crowd struct {
	each, all int

	mu    sync.Mutex
	total int
	by    map[string]int
}

func newCrowd(each, all int) *crowd { return &crowd{each: each, all: all, by: make(map[string]int)} }

var (
	errCrowded = errors.New("too many bodies of this address are being read")
	errFull    = errors.New("too many bodies are being read")
)

// enter lets one more in, unless there are too many. alone says that the address is one sender.
func (c *crowd) enter(who string, alone bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case alone && c.by[who] >= c.each:
		return errCrowded
	case c.total >= c.all:
		return errFull
	}
	c.total++
	c.by[who]++
	return nil
}

func (c *crowd) leave(who string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.by[who]--; c.by[who] == 0 {
		delete(c.by, who)
	}
}

// body reads a request to its end, or answers why not. It takes no slot of the source: who has proven nothing may not hold one.
func (in *Intake) body(w http.ResponseWriter, r *http.Request, s *source, now time.Time) (body []byte, ok bool) {
	who, known := in.failures.address(r)
	switch err := in.reading.enter(who, known); {
	case errors.Is(err, errFull): // not the fault of this sender
		in.count(s, unavailable)
		again(w, err.Error())
		return nil, false
	case err != nil:
		in.count(s, throttled)
		tooMany(w)
		return nil, false
	}
	defer in.reading.leave(who)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		return body, true
	}
	in.count(s, refused)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		refuse(w, http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB")
		return nil, false
	}
	in.failures.failed(r, now)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		refuse(w, http.StatusRequestTimeout, "the body takes too long")
		return nil, false
	}
	refuse(w, http.StatusBadRequest, "the body breaks off")
	return nil, false
}

// hurry sets the time in which the body has to be there. It also bounds how long the server waits for the rest of one that is refused
// before it answers.
func (in *Intake) hurry(w http.ResponseWriter, r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(in.times.body)) // a recorder of a test has no deadlines
	}
}
