package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms/definition"
)

// stalledAfter is how long a worker may make no progress before it counts as
// stuck: longer than any call to Kafka or Redis is let wait.
const stalledAfter = time.Minute

// sampleEvery is the distance of two looks at Kafka's ends and Redis' state.
const sampleEvery = 10 * time.Second

// monitor is what `stream` knows of its workers, for metrics and probes. A nil
// monitor takes everything and knows nothing.
type monitor struct {
	now     func() time.Time
	metrics streamMetrics
	flushes *prometheus.HistogramVec

	views map[string]*watched // as made; what they point to is behind mu

	mu      sync.Mutex
	servers []online.Server
	redis   bool // it answered the last question
	warned  map[string]bool
}

// worked is what a worker tells from any goroutine.
type worked interface {
	Status() []stream.PartitionStatus
	Counts() stream.Counts
	Progress() time.Time
}

// watched is a view and its worker.
type watched struct {
	topic  string
	worker worked          // nil = not started yet, or ended
	guard  *viewGuard      // nil = there is none
	ends   map[int32]int64 // as last heard of
	ended  bool
}

func newMonitor(vs []*definition.View) *monitor {
	m := &monitor{now: time.Now, metrics: newStreamMetrics(), views: map[string]*watched{}, warned: map[string]bool{},
		flushes: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: flushName, Help: flushHelp,
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}, []string{"view", "result"})}
	for _, v := range vs {
		m.views[v.Name] = &watched{topic: v.Source.Topic}
	}
	return m
}

// registry returns a registry that exports what the monitor knows.
func (m *monitor) registry() *prometheus.Registry {
	r := newRegistry()
	r.MustRegister(m, m.flushes)
	return r
}

// watch takes up a view's worker, and its guard, until the returned function is called.
func (m *monitor) watch(view string, w worked, g *viewGuard) func() {
	if m == nil {
		return func() {}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.views[view]
	v.worker, v.guard = w, g
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		v.worker, v.ended = nil, true
	}
}

// flushed returns what a view's worker tells of its writes.
func (m *monitor) flushed(view string) func(stream.Flushed) {
	if m == nil {
		return nil
	}
	written, failed := m.flushes.WithLabelValues(view, "written"), m.flushes.WithLabelValues(view, "failed")
	return func(f stream.Flushed) {
		to := written
		if f.Err != nil {
			to = failed
		}
		to.Observe(f.Took.Seconds())
	}
}

// follow samples what the workers do not know, until ctx ends.
func (m *monitor) follow(ctx context.Context, client *log.Client, redis *online.Client, notices io.Writer) {
	if m == nil {
		return
	}
	m.sample(ctx, client, redis, notices)
	every(ctx, sampleEvery, func() { m.sample(ctx, client, redis, notices) })
}

// sample asks Kafka and Redis at once: neither says anything of the other.
func (m *monitor) sample(ctx context.Context, client *log.Client, redis *online.Client, notices io.Writer) {
	ctx, cancel := context.WithTimeout(ctx, sampleEvery)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { m.askLog(ctx, client) })
	m.askRedis(ctx, redis, notices)
	wg.Wait()
}

// askLog asks where the topics end, so that lag is known while a worker waits for
// Redis.
func (m *monitor) askLog(ctx context.Context, client *log.Client) {
	for _, v := range m.views {
		ends, err := client.Ends(ctx, v.topic)
		if err == nil {
			m.mu.Lock()
			v.ends = ends
			m.mu.Unlock()
		}
	}
}

// askRedis asks whether it throws keys away (O3).
func (m *monitor) askRedis(ctx context.Context, redis *online.Client, notices io.Writer) {
	servers, err := redis.Servers(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.redis = err == nil
	if m.redis {
		m.servers = servers
	}
	for _, s := range servers {
		m.suspect(notices, s)
	}
}

// suspect warns of a server that throws keys away, or may; m.mu is held.
func (m *monitor) suspect(notices io.Writer, s online.Server) {
	m.warn(notices, s.EvictedKeys > 0, "Redis at %s has evicted %d keys since it began: features are gone, and `tallystick reconcile` says which", s.Addr, s.EvictedKeys)
	m.warn(notices, s.Policy != "" && s.Policy != "noeviction", "Redis at %s now has maxmemory-policy %s: set it back to noeviction", s.Addr, s.Policy)
}

// warn says something once for each server; m.mu is held.
func (m *monitor) warn(notices io.Writer, when bool, format string, addr string, what any) {
	if key := format + addr; when && !m.warned[key] {
		m.warned[key] = true
		fmt.Fprintf(notices, "warning: "+format+"\n", addr, what)
	}
}

// each calls fn for every view, by name.
func (m *monitor) each(fn func(view string, v watched)) {
	m.mu.Lock()
	views := map[string]watched{}
	for name, v := range m.views {
		views[name] = *v
	}
	m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(views)) {
		fn(name, views[name])
	}
}

// alive says which worker makes no progress.
func (m *monitor) alive() error {
	var errs []error
	m.each(func(view string, v watched) {
		if v.worker == nil {
			return
		}
		if took := m.now().Sub(v.worker.Progress()); took > stalledAfter {
			errs = append(errs, fmt.Errorf("view %s: no progress for %v", view, took.Round(time.Second)))
		}
	})
	return errors.Join(errs...)
}

// ready says which partitions are not past opening, and why. Those that wait for
// a server that is away, or are held by the guard, are named too; they go on by themselves.
func (m *monitor) ready() (string, error) {
	var errs []error
	var text strings.Builder
	m.each(func(view string, v watched) {
		var list []stream.PartitionStatus
		if v.worker != nil {
			list = v.worker.Status()
		}
		switch {
		case v.ended:
			fmt.Fprintf(&text, "view %s: it has ended\n", view)
		case list == nil:
			errs = append(errs, fmt.Errorf("view %s: starting", view))
		default:
			fmt.Fprintf(&text, "view %s: %d partitions\n", view, len(list))
		}
		for _, p := range list {
			if p.Phase == "opening" {
				errs = append(errs, fmt.Errorf("view %s: partition %d: opening: %s", view, p.Partition, why(p.Why)))
			} else if p.Phase == "waiting" || p.Phase == "held" {
				fmt.Fprintf(&text, "view %s: partition %d: %s: %s\n", view, p.Partition, p.Phase, why(p.Why))
			}
		}
	})
	return "ready\n" + text.String(), errors.Join(errs...)
}

func why(text string) string {
	if text == "" {
		return "its turn comes"
	}
	return text
}

// Describe implements prometheus.Collector.
func (m *monitor) Describe(ch chan<- *prometheus.Desc) {
	for _, x := range m.metrics.all() {
		ch <- x.desc
	}
}

// Collect implements prometheus.Collector.
func (m *monitor) Collect(ch chan<- prometheus.Metric) {
	m.each(func(view string, v watched) {
		if v.worker == nil {
			return
		}
		m.metrics.worker(ch, view, v.worker)
		m.metrics.guard(ch, view, v.guard)
		for _, p := range v.worker.Status() {
			m.metrics.partition(ch, view, &p, max(p.Stable, v.ends[p.Partition]), m.now())
		}
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.metrics.redisUp.to(ch, bit(m.redis))
	for _, s := range m.servers {
		m.metrics.server(ch, &s)
	}
}
