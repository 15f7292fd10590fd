package ops

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// watchdog shows what the engine finds out by itself, beside the records.
func watchdog(overdue func() int, offset func() time.Duration) []prometheus.Collector {
	var out []prometheus.Collector
	gauge := func(name, help string, value func() float64) {
		out = append(out, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rotator_" + name, Help: help}, value))
	}
	if overdue != nil {
		gauge("leaks_overdue", "Leaks whose credential should be revoked by now and may be alive; alarm on 1 and more.", func() float64 { return float64(overdue()) })
	}
	if offset != nil {
		gauge("clock_offset_seconds", "How far this machine's clock is ahead of the NATS server's; beyond 5 nothing is begun here.", func() float64 { return offset().Seconds() })
	}
	return out
}
