package ops

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openwhisk-rotator/rotator/events/stream"
	"github.com/openwhisk-rotator/rotator/rotator"
)

// collector turns the records into metrics when Prometheus asks.
type collector struct {
	records  func() map[string]rotator.Record
	compared func() *rotator.Compared
	streams  func(context.Context) (stream.Levels, error)
	version  string

	info, state, generation, waiting, held, finished, exposure *prometheus.Desc
	comparison, unchecked, orphans, drifted                    *prometheus.Desc
	fill, backlog, oldest, dead                                *prometheus.Desc
}

func newCollector(cfg Config) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("rotator_"+name, help, labels, nil)
	}
	return &collector{
		records: cfg.Records, compared: cfg.Compared, streams: cfg.Streams, version: cfg.Version,
		info:       desc("info", "The running version.", "version"),
		state:      desc("bundle_state", "1 for the state a bundle is in; alarm on quarantined.", "bundle", "state"),
		generation: desc("bundle_generation", "Rotations completed.", "bundle"),
		waiting:    desc("bundle_events_waiting", "Events that wait for the next rotation.", "bundle"),
		held:       desc("bundle_events_held", "Of those, events that wait for approval; alarm on 1 and more.", "bundle"),
		finished:   desc("last_rotation_timestamp_seconds", "When the last rotation ended, and how.", "bundle", "result", "kind"),
		exposure:   desc("last_rotation_exposure_seconds", "From the event in the stream to: every target updated, old credential proven dead.", "bundle", "until"),
		comparison: desc("comparison_timestamp_seconds", "When Vault and the hosts were last compared with the journal."),
		unchecked:  desc("comparison_unchecked", "What could not be compared, mostly for a missing right in Vault."),
		orphans:    desc("bundle_orphans", "Credentials that exist and that no rotation names; alarm on 1 and more.", "bundle"),
		fill:       desc("stream_fill_ratio", "Of what a stream may hold, how much it holds; ROTATOR_EVENTS refuses new events at 1; alarm on 0.75 and more.", "stream"),
		backlog:    desc("backlog", "Messages that a consumer has not handled yet.", "consumer"),
		oldest:     desc("backlog_oldest_seconds", "For how long the oldest of them has waited; alarm on minutes.", "consumer"),
		dead:       desc("dead_letters", "Refused events that are kept; alarm on an increase, above all of unmatched: leaks that fit no bundle.", "reason"),
		drifted:    desc("bundle_drifted_targets", "Targets that do not hold the live version; alarm on 1 and more.", "bundle"),
	}
}

// Describe lists the metrics.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.info, c.state, c.generation, c.waiting, c.held, c.finished, c.exposure, c.comparison, c.unchecked, c.orphans, c.drifted, c.fill, c.backlog, c.oldest, c.dead} {
		ch <- d
	}
}

// Collect reads the records and the streams once.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.info, 1, c.version)
	c.levels(gauge)
	records := c.records()
	if found := c.compared(); found != nil {
		gauge(c.comparison, float64(found.At.UnixMilli())/1000)
		gauge(c.unchecked, float64(found.Unchecked))
		for d, counts := range map[*prometheus.Desc]map[string]int{c.orphans: found.Orphans, c.drifted: found.Drifted} {
			for name := range records {
				gauge(d, float64(counts[name]), name)
			}
			for name, n := range counts {
				if _, shown := records[name]; !shown { // never rotated, or not known
					gauge(d, float64(n), name)
				}
			}
		}
	}
	for name, rec := range records {
		gauge(c.state, 1, name, string(rec.State))
		gauge(c.generation, float64(rec.Generation), name)
		gauge(c.waiting, float64(len(rec.Queue)), name)
		gauge(c.held, float64(len(rec.Held())), name)
		if len(rec.History) == 0 {
			continue
		}
		last := rec.History[len(rec.History)-1]
		gauge(c.finished, float64(last.Finished.UnixMilli())/1000, name, last.Result, string(last.Kind))
		for until, d := range last.Exposure() {
			gauge(c.exposure, d.Seconds(), name, until)
		}
	}
}

// levels shows the streams; while NATS cannot be asked it shows nothing of them.
func (c *collector) levels(gauge func(*prometheus.Desc, float64, ...string)) {
	ctx, cancel := context.WithTimeout(context.Background(), levelsTime)
	defer cancel()
	l, err := c.streams(ctx)
	if err != nil {
		return
	}
	for name, f := range l.Fill {
		gauge(c.fill, f, name)
	}
	for name, n := range l.Waiting {
		gauge(c.backlog, float64(n), name)
		gauge(c.oldest, l.Oldest[name].Seconds(), name)
	}
	for reason, n := range l.Dead {
		gauge(c.dead, float64(n), reason)
	}
}

// levelsTime leaves the scrape time to end: Prometheus waits for 10 seconds.
const levelsTime = 4 * time.Second
