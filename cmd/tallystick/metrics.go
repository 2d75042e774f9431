package main

import (
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tallystick/tallystick/schemas"
)

// metric is a kind of number that a daemon exports. docs/operations.md has a row
// for each, which a test holds.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	name  string
	help  string
	label []string
}

func newMetric(kind prometheus.ValueType, name, help string, labels ...string) metric {
	name = "tallystick_" + name
	return metric{prometheus.NewDesc(name, help, labels, nil), kind, name, help, labels}
}

// to sends a value.
func (m *metric) to(ch chan<- prometheus.Metric, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
}

// bit is 1 for true.
func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is an instant as Prometheus has it.
func seconds(t schemas.Micros) float64 { return float64(t) / float64(schemas.Second) }

// newRegistry returns a registry with what every daemon exports: its build, the
// bound of its memory, and what Go and the operating system say of the process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildCollector{
		newMetric(prometheus.GaugeValue, "build_info", "Always 1; the label names the build.", "version"),
		newMetric(prometheus.GaugeValue, "memory_limit_bytes", "What the Go runtime keeps its memory below, where --memory or GOMEMLIMIT says so."),
	})
	return r
}

// buildCollector exports what does not change.
type buildCollector struct{ build, memory metric }

// Describe implements prometheus.Collector.
func (b buildCollector) Describe(ch chan<- *prometheus.Desc) { ch <- b.build.desc; ch <- b.memory.desc }

// Collect implements prometheus.Collector.
func (b buildCollector) Collect(ch chan<- prometheus.Metric) {
	b.build.to(ch, 1, version())
	if limit := debug.SetMemoryLimit(-1); limit < 1<<62 { // negative asks
		b.memory.to(ch, float64(limit))
	}
}
