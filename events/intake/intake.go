package intake

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/openwhisk-rotator/rotator/events"
)

const (
	maxBody     = 1 << 20
	maxInFlight = 64 // of one source, so that the trouble of one is not that of another
)

// times bound what others may take.
type times struct {
	body    time.Duration // for a body to be there
	keys    time.Duration // for a key set to be read
	ask     time.Duration // for what an alert does not tell, and for its fingerprint
	publish time.Duration // from an authentic message to its event, all in all: GitHub waits for 10 s
}

func usual() times {
	return times{body: 5 * time.Second, keys: 3 * time.Second, ask: 2500 * time.Millisecond, publish: 8 * time.Second}
}

// Results of messages, as Config.Count is told them.
const (
	published        = "published"
	ignoredOnPurpose = "ignored"
	kept             = "kept"           // a dead letter
	refused          = "refused"        // not authentic, or no message at all
	throttled        = "throttled"      // the sender's excess
	unavailable      = "unavailable"    // ours: the sender should try again
	noFingerprint    = "no_fingerprint" // beside published: nobody could say which value has leaked
)

// A Store keeps small values. Get returns nil for a key that is not there. Keys are hexadecimal.
type Store interface {
	Get(ctx context.Context, key string) ([]byte, error)
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
}

// A Letter is an authentic message that nobody understands.
type Letter struct {
	Source string
	Why    string
	Body   []byte // nil: it carries what looks like a secret, and was dropped
	Size   int
}

// Config is what an Intake is made of. Hash may be nil when no source needs it; People when none is of kind scim.
type Config struct {
	Listen  string // host:port; empty: no listener, only polling
	TLS     *tls.Config
	Sources []Source
	Publish func(context.Context, events.Event) error // returns when the event is durable
	Bury    func(context.Context, Letter) error
	Hash    func(context.Context) (func(string) events.Fingerprint, error) // for raw values
	Seen    Store                                                          // deliveries; entries may expire after 30 days
	People  Store                                                          // whom a SCIM id stands for
	Client  *http.Client                                                   // for key sets, polling and fetching; default: a client with a timeout of 10 s
	Ready   func(context.Context) error                                    // whether messages can be taken; may be nil
	Proxies []netip.Prefix                                                 // whose X-Forwarded-For is believed, beside this machine's
	Count   func(source, result string)                                    // what became of a message, in one word of a few; may be nil
	Log     zerolog.Logger
	Now     func() time.Time
}

// An Intake is one listener with its sources.
type Intake struct {
	Config
	listener net.Listener
	sources  map[string]*source
	failures *buckets
	reading  *crowd
	times    times
}

// Open checks the sources and takes the port.
func Open(ctx context.Context, cfg Config) (*Intake, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 10 * time.Second}
	}
	in := &Intake{Config: cfg, sources: make(map[string]*source), failures: newBuckets(failureRate, failureBurst, cfg.Proxies), reading: newCrowd(maxFromOne, maxReading), times: usual()}
	for _, s := range cfg.Sources {
		made, err := in.source(s)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", s.Name, err)
		}
		in.sources[s.Name] = made
	}
	if cfg.Listen == "" {
		return in, nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for messages: %w", err)
	}
	if cfg.TLS != nil {
		l = tls.NewListener(l, cfg.TLS)
	}
	in.listener = l
	return in, nil
}

// Addr is where it listens, with the port that was picked.
func (in *Intake) Addr() string {
	if in.listener == nil {
		return ""
	}
	return in.listener.Addr().String()
}

// Close gives the port back, for an Intake that is not run.
func (in *Intake) Close() {
	if in.listener != nil {
		_ = in.listener.Close()
	}
}

// Run serves and polls until ctx ends, then lets requests in hand finish.
func (in *Intake) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range in.sources {
		if s.PollURL != "" {
			g.Go(func() error { return in.poll(ctx, s) })
		}
	}
	if in.listener != nil {
		srv := &http.Server{Handler: in.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
		g.Go(func() error {
			if err := srv.Serve(in.listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving messages: %w", err)
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.times.publish+2*time.Second)
			defer cancel()
			return srv.Shutdown(end)
		})
	}
	return g.Wait()
}

// Handler answers the requests of every source.
func (in *Intake) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/{source}", in.serve)
	mux.HandleFunc("/v1/{source}/{rest...}", in.serve)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if in.Ready != nil && in.Ready(r.Context()) != nil {
			again(w, "messages cannot be taken now")
			return
		}
		echo(w, "ok\n")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "nothing is here; sources are at /v1/<name>")
	})
	return mux
}

func (in *Intake) count(s *source, result string) {
	if in.Count != nil {
		in.Count(s.Name, result)
	}
}

// keyOf names a delivery in the stores.
func keyOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}
