package intake

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// buckets are one limiter for each address. They are forgotten when there are too many: whoever has that many addresses is
// held back by the number of requests in hand.
type buckets struct {
	limit   rate.Limit
	burst   int
	proxies []netip.Prefix

	mu  sync.Mutex
	all map[string]*rate.Limiter
}

const maxBuckets = 10_000

func newBuckets(limit rate.Limit, burst int, proxies []netip.Prefix) *buckets {
	return &buckets{limit: limit, burst: burst, proxies: proxies, all: make(map[string]*rate.Limiter)}
}

// address is who has sent a request: behind a proxy of ours, whom the proxy names. Otherwise one forger would use up the failures of
// everybody behind it. Of an IPv6 address it is the network, which one sender has to itself. known is false for a proxy that names nobody:
// that address is many senders.
func (b *buckets) address(r *http.Request) (who string, known bool) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return host, true
	}
	if !at.IsLoopback() && !slices.ContainsFunc(b.proxies, func(p netip.Prefix) bool { return p.Contains(at.Unmap()) }) {
		return network(at), true
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	if last, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1])); err == nil {
		return network(last), true
	}
	return network(at), false
}

func network(at netip.Addr) string {
	at = at.Unmap()
	if p, err := at.Prefix(64); err == nil && at.Is6() {
		return p.String()
	}
	return at.String()
}

func (b *buckets) of(r *http.Request) *rate.Limiter {
	host, _ := b.address(r)
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
