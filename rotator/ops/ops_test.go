package ops

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
)

func records() map[string]rotator.Record {
	stored := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return map[string]rotator.Record{
		"checkout": {Bundle: "checkout", State: rotator.Idle, Generation: 2, Live: &rotator.Generation{Version: 5}, History: []rotator.Receipt{{
			Result: "rotated", Kind: events.KindLeak, Events: []rotator.Waiting{{Stored: stored}},
			Steps: map[string]time.Time{"applied": stored.Add(2 * time.Second), "proven-dead": stored.Add(5 * time.Second)}, Finished: stored.Add(6 * time.Second)}}},
		"<b>odd": {Bundle: "<b>odd", State: rotator.Quarantined, Rotation: &rotator.Rotation{ID: "r", LastError: "target missing"}},
	}
}

func compared() *rotator.Compared {
	return &rotator.Compared{At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Orphans: map[string]int{"checkout": 1, "gone": 3}, Drifted: map[string]int{"checkout": 2}, Unchecked: 4}
}

func levels(context.Context) (stream.Levels, error) {
	return stream.Levels{Fill: map[string]float64{"ROTATOR_EVENTS": 0.5}, Waiting: map[string]int{"rotator-leak": 3}, Oldest: map[string]time.Duration{"rotator-leak": 90 * time.Second},
		Dead: map[string]int{"unmatched": 2, "malformed": 0}}, nil
}

// get starts a server, asks for one path, and stops it.
func get(t *testing.T, path string, ready error) (int, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Listen(ctx, Config{Listen: "127.0.0.1:0", Version: "v1", Records: records, Compared: compared, Streams: levels, Overdue: func() int { return 2 }, Clock: func() time.Duration { return 1500 * time.Millisecond }, Ready: func(context.Context) error { return ready }})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping: %v", err)
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestReadiness(t *testing.T) {
	if code, _ := get(t, "/readyz", nil); code != http.StatusOK {
		t.Errorf("ready: %d", code)
	}
	if code, body := get(t, "/readyz", errors.New("Vault is sealed")); code != http.StatusServiceUnavailable || !strings.Contains(body, "sealed") {
		t.Errorf("not ready: %d %s", code, body)
	}
	if code, _ := get(t, "/healthz", errors.New("Vault is sealed")); code != http.StatusOK {
		t.Errorf("a sealed Vault is no reason to restart: %d", code)
	}
}

func TestMetrics(t *testing.T) {
	_, body := get(t, "/metrics", nil)
	for _, line := range []string{
		`rotator_bundle_state{bundle="checkout",state="idle"} 1`, `rotator_bundle_state{bundle="<b>odd",state="quarantined"} 1`, `rotator_bundle_generation{bundle="checkout"} 2`,
		`rotator_last_rotation_exposure_seconds{bundle="checkout",until="updated"} 2`, `rotator_last_rotation_exposure_seconds{bundle="checkout",until="dead"} 5`, `rotator_info{version="v1"} 1`,
		`rotator_bundle_orphans{bundle="checkout"} 1`, `rotator_bundle_orphans{bundle="gone"} 3`, `rotator_bundle_drifted_targets{bundle="checkout"} 2`, `rotator_bundle_drifted_targets{bundle="<b>odd"} 0`,
		`rotator_stream_fill_ratio{stream="ROTATOR_EVENTS"} 0.5`, `rotator_backlog{consumer="rotator-leak"} 3`, `rotator_backlog_oldest_seconds{consumer="rotator-leak"} 90`,
		`rotator_dead_letters{reason="unmatched"} 2`, `rotator_dead_letters{reason="malformed"} 0`,
		`rotator_leaks_overdue 2`, `rotator_clock_offset_seconds 1.5`,
		`rotator_comparison_unchecked 4`, `rotator_comparison_timestamp_seconds 1.7672256e+09`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

func TestPage(t *testing.T) {
	code, body := get(t, "/", nil)
	if code != http.StatusOK || !strings.Contains(body, "KV version 5") || !strings.Contains(body, "target missing") || !strings.Contains(body, "drifted targets: 2, orphans: 1; rotator reconcile") {
		t.Errorf("page: %d %s", code, body)
	}
	if strings.Contains(body, "<b>odd") {
		t.Error("a name is not escaped")
	}
	if code, _ := get(t, "/nothing", nil); code != http.StatusNotFound {
		t.Errorf("unknown path: %d", code)
	}
}

func TestPortInUse(t *testing.T) {
	first, err := Listen(t.Context(), Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer first.listener.Close()
	if _, err := Listen(t.Context(), Config{Listen: first.Addr()}); err == nil || !strings.Contains(err.Error(), "ops.listen") {
		t.Errorf("error without a remedy: %v", err)
	}
}

// While NATS is away the rest is still shown.
func TestMetricsWithoutNATS(t *testing.T) {
	s := &Server{cfg: Config{Version: "v1", Records: records, Compared: compared, Streams: func(context.Context) (stream.Levels, error) { return stream.Levels{}, errors.New("away") }}}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if body := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(body, `rotator_bundle_generation{bundle="checkout"} 2`) || strings.Contains(body, "rotator_backlog") {
		t.Errorf("%d %s", w.Code, body)
	}
}
