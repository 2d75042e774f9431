package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tallystick/tallystick/store/reconcile"
)

// roundsMonitor is what a daemon that works in rounds tells of them. A nil one
// takes everything.
type roundsMonitor struct {
	registry *prometheus.Registry
	metrics  roundMetrics

	mu       sync.Mutex
	outcomes map[string]int64
	last     time.Time // the end of the last round that was not cut short
	took     time.Duration
	err      error // of that round, unless it is a verdict
	reports  []*reconcile.Report
}

// Outcomes of a round.
const (
	roundDone    = "done"    // and, of reconcile: equal
	roundDiffers = "differs" // the stores
	roundAlert   = "alert"   // they diverge
	roundFailed  = "failed"
)

func newRoundsMonitor() *roundsMonitor {
	m := &roundsMonitor{registry: newRegistry(), metrics: newRoundMetrics(), outcomes: map[string]int64{roundDone: 0, roundDiffers: 0, roundAlert: 0, roundFailed: 0}}
	m.registry.MustRegister(m)
	return m
}

// ended notes how a round went.
func (m *roundsMonitor) ended(err error, took time.Duration) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	outcome := roundFailed
	var exit *exitError
	switch {
	case err == nil:
		outcome = roundDone
	case errors.As(err, &exit) && exit.code == exitDiffers:
		outcome, err = roundDiffers, nil
	case errors.As(err, &exit) && exit.code == exitDiverged:
		outcome, err = roundAlert, nil
	}
	m.outcomes[outcome]++
	m.last, m.took, m.err = time.Now(), took, err
}

// reported notes what a round of reconcile found.
func (m *roundsMonitor) reported(rs []*reconcile.Report) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reports = rs
}

// alive: a daemon that answers lives; how long a round may take, nobody knows.
func (m *roundsMonitor) alive() error { return nil }

func (m *roundsMonitor) ready() (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.last.IsZero():
		return "", errors.New("no round has ended yet")
	case m.err != nil:
		return "", fmt.Errorf("the round that ended at %s failed: %w", m.last.UTC().Format(time.RFC3339), m.err)
	}
	return "ready: a round ended at " + m.last.UTC().Format(time.RFC3339), nil
}

// roundMetrics are the metrics of daemons that work in rounds; those from equal
// on are of reconcile.
type roundMetrics struct {
	rounds, last, took, failing                   metric
	equal, alert, differences, compared, diverges metric
}

func newRoundMetrics() roundMetrics {
	const g, c = prometheus.GaugeValue, prometheus.CounterValue
	return roundMetrics{
		rounds:      newMetric(c, "rounds_total", "Rounds by outcome: done, differs and alert (of reconcile), failed.", "outcome"),
		last:        newMetric(g, "round_end_seconds", "When the last round ended, as Unix time."),
		took:        newMetric(g, "round_duration_seconds", "How long the last round took."),
		failing:     newMetric(g, "round_failed", "1 if the last round failed: it compared or wrote nothing."),
		equal:       newMetric(g, "reconcile_equal", "1 if the last comparison found the stores equal, 0 if they differ or nothing could be compared.", "view"),
		alert:       newMetric(g, "reconcile_alert", "1 if so many values diverge that the alert fires, as by exit code 4.", "view"),
		differences: newMetric(g, "reconcile_differences", "Differences that the last comparison found, by cause.", "view", "cause"),
		compared:    newMetric(g, "reconcile_compared", "What the last comparison looked at: entities, tiles, values.", "view", "what"),
		diverges:    newMetric(g, "reconcile_diverging_values", "Values that lie more than 1 % apart, or of which one is null.", "view"),
	}
}

func (r *roundMetrics) all() []metric {
	return []metric{r.rounds, r.last, r.took, r.failing, r.equal, r.alert, r.differences, r.compared, r.diverges}
}

// Describe implements prometheus.Collector.
func (m *roundsMonitor) Describe(ch chan<- *prometheus.Desc) {
	for _, x := range m.metrics.all() {
		ch <- x.desc
	}
}

// Collect implements prometheus.Collector.
func (m *roundsMonitor) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for outcome, n := range m.outcomes {
		m.metrics.rounds.to(ch, float64(n), outcome)
	}
	if !m.last.IsZero() {
		m.metrics.last.to(ch, float64(m.last.UnixMilli())/1000)
		m.metrics.took.to(ch, m.took.Seconds())
		m.metrics.failing.to(ch, bit(m.err != nil))
	}
	for _, r := range m.reports {
		m.metrics.report(ch, r)
	}
}

func (r *roundMetrics) report(ch chan<- prometheus.Metric, rep *reconcile.Report) {
	r.equal.to(ch, bit(rep.Verdict == reconcile.Equal), rep.View)
	r.alert.to(ch, bit(rep.Alert), rep.View)
	for _, cause := range reconcile.Causes() {
		r.differences.to(ch, float64(rep.Causes[cause]), rep.View, string(cause))
	}
	for what, n := range map[string]int64{"entities": rep.Compared, "tiles": rep.Tiles, "values": rep.Values} {
		r.compared.to(ch, float64(n), rep.View, what)
	}
	r.diverges.to(ch, float64(rep.Diverging), rep.View)
}
