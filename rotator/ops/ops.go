// Package ops shows what a replica does: health and readiness for orchestrators, metrics for Prometheus, and one page
// for people.
//
//	/         the status page: every bundle at a glance
//	/healthz  200 while the process works
//	/readyz   200 when NATS and Vault can be used and the clock is right, otherwise 503 with the reason
//	/metrics  Prometheus text
//
// Everything is derived from the journal's records, and from what the streams hold, at the moment of the request; there is no
// second book-keeping that could drift. No value of a secret is in a record, so none can show here. There is no authentication: listen on
// loopback, or put the port where only the cluster reaches it.
package ops

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
)

// Config is what a Server shows. Every member is required, unless it says otherwise.
type Config struct {
	Listen   string // host:port; port 0 picks one
	Version  string
	Records  func() map[string]rotator.Record
	Compared func() *rotator.Compared // the last comparison with Vault and the hosts; nil: none yet
	Streams  func(context.Context) (stream.Levels, error)
	Ready    func(context.Context) error
	More     []prometheus.Collector // metrics of others
	Overdue  func() int             // leaks that are late; may be nil
	Clock    func() time.Duration   // how far this machine's clock is ahead; may be nil
}

// A Server answers on one listener.
type Server struct {
	cfg      Config
	listener net.Listener
	http     *http.Server
	page     *template.Template
}

//go:embed page.html
var pageHTML string

// Listen takes the port, so that a port in use is noticed before anything else starts.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	page, err := template.New("page").Funcs(template.FuncMap{"age": age}).Parse(pageHTML)
	if err != nil {
		return nil, fmt.Errorf("parsing the status page: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for health and metrics: %w; set ops.listen to a free address", err)
	}
	s := &Server{cfg: cfg, listener: l, page: page}
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	return s, nil
}

// Addr is the address that was taken.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends and then lets requests in hand finish.
func (s *Server) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving health and metrics: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	err := s.http.Shutdown(stop)
	if serr := <-done; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

func (s *Server) handler() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(s.cfg))
	reg.MustRegister(s.cfg.More...)
	reg.MustRegister(watchdog(s.cfg.Overdue, s.cfg.Clock)...)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		if err := s.cfg.Ready(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /{$}", s.show)
	return mux
}

func (s *Server) show(w http.ResponseWriter, _ *http.Request) {
	type row struct {
		rotator.Record
		Found string
	}
	records, compared := s.cfg.Records(), s.cfg.Compared()
	var rows []row
	for _, name := range slices.Sorted(maps.Keys(records)) {
		rows = append(rows, row{records[name], compared.Of(name)})
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = s.page.Execute(w, map[string]any{"Version": s.cfg.Version, "Bundles": rows, "Compared": compared, "Now": time.Now().UTC().Format(time.DateTime)}) // the reader may have left
}

func age(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return time.Since(t).Round(time.Second).String() + " ago"
}
