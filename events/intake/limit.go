package intake

import (
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// buckets are one limiter for each address. They are forgotten when there are too many: whoever has that many addresses is
// held back by the number of requests in hand.
type buckets struct {
	limit rate.Limit
	burst int

	mu  sync.Mutex
	all map[string]*rate.Limiter
}

const maxBuckets = 10_000

func newBuckets(limit rate.Limit, burst int) *buckets {
	return &buckets{limit: limit, burst: burst, all: make(map[string]*rate.Limiter)}
}

func (b *buckets) of(r *http.Request) *rate.Limiter {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.all[host]
	if !ok {
		if len(b.all) >= maxBuckets {
			clear(b.all)
		}
		l = rate.NewLimiter(b.limit, b.burst)
		b.all[host] = l
	}
	return l
}

// spent reports whether an address has used up its failures.
func (b *buckets) spent(r *http.Request, now time.Time) bool { return b.of(r).TokensAt(now) < 1 }

// failed counts one.
func (b *buckets) failed(r *http.Request, now time.Time) { b.of(r).AllowN(now, 1) }
