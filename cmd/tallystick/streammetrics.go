package main

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
)

const (
	flushName = "tallystick_stream_flush_duration_seconds"
	flushHelp = "How long one write to Redis took: the states of a (shard, partition) that changed, and their marker."
)

// streamMetrics are the metrics of `stream`, apart from the histogram.
type streamMetrics struct {
	lag, lagTime, clock, newest, stored, reading, cache, records, conflicts, sealed metric // by partition
	progress, lost, regressions, standBys, retries, expired                         metric // by view
	guardDates, guardBreaches, guardHeld                                            metric
	redisUp, evicted, used, limit, noeviction                                       metric
}

func newStreamMetrics() streamMetrics {
	const g, c = prometheus.GaugeValue, prometheus.CounterValue
	p := []string{"view", "partition"}
	return streamMetrics{
		lag:           newMetric(g, "stream_lag_records", "Offsets of the log that are not in Redis yet, at most as many records.", p...),
		lagTime:       newMetric(g, "stream_lag_event_time_seconds", "While offsets are missing in Redis: how long ago the newest event there happened; else 0.", p...),
		clock:         newMetric(g, "stream_clock_seconds", "The log clock where the partition was read to, as Unix time.", p...),
		newest:        newMetric(g, "stream_newest_event_seconds", "The newest event time that is in Redis, as Unix time.", p...),
		stored:        newMetric(g, "stream_stored_offset", "The offset below which every change is in Redis.", p...),
		reading:       newMetric(g, "stream_partition_reading", "1 while the partition is read, 0 while it is opened, held by the guard, or waits for a server.", p...),
		cache:         newMetric(g, "stream_cache_bytes", "States of the partition held in memory, about.", p...),
		records:       newMetric(g, "stream_records", "The ledger of what is in Redis: records by verdict. A gauge, as a correction moves a record to superseded, and a Redis that lost writes takes them back.", "view", "partition", "verdict"),
		conflicts:     newMetric(g, "stream_conflicts", "Of the duplicates in the ledger, those with other content than the record in force.", p...),
		sealed:        newMetric(g, "stream_sealed_early", "Ids forgotten because an entity had more than max_open.", p...),
		progress:      newMetric(g, "stream_progress_seconds", "When the worker last got ahead, as Unix time.", "view"),
		lost:          newMetric(c, "stream_lost_writes_total", "Writes that were not acknowledged, or lost to another worker's; each was made good from the marker.", "view"),
		regressions:   newMetric(c, "stream_regressions_total", "Times that Redis went back to an older marker, as after a failover; each was healed by reading the log again.", "view"),
		standBys:      newMetric(c, "stream_standbys_total", "Times that a partition was left to another worker that writes it.", "view"),
		retries:       newMetric(c, "stream_retries_total", "Times that something failed which may pass, and was tried again.", "view"),
		expired:       newMetric(c, "stream_expired_states_total", "States removed because the log clock has left them behind.", "view"),
		guardDates:    newMetric(g, "stream_guard_dates", "Of a view with --guard: dates of whose figures it is guarded by, 0 = nothing is guarded.", "view"),
		guardBreaches: newMetric(c, "stream_guard_breaches_total", "Figures that the guard has told of, each date once.", "view"),
		guardHeld:     newMetric(g, "stream_guard_held", "1 while the guard holds back what was folded, until its figures are accepted.", "view"),
		redisUp:       newMetric(g, "redis_up", "1 if every master answered the last INFO, else 0 and what follows is old."),
		evicted:       newMetric(g, "redis_evicted_keys", "Keys that the server has thrown away since it began: more than 0 means lost features.", "address"),
		used:          newMetric(g, "redis_used_memory_bytes", "Memory that the server uses.", "address"),
		limit:         newMetric(g, "redis_maxmemory_bytes", "The server's maxmemory, 0 = unlimited.", "address"),
		noeviction:    newMetric(g, "redis_noeviction", "1 if the server's maxmemory-policy is noeviction, as it must be.", "address"),
	}
}

func (s *streamMetrics) all() []metric {
	return []metric{s.lag, s.lagTime, s.clock, s.newest, s.stored, s.reading, s.cache, s.records, s.conflicts, s.sealed,
		s.progress, s.lost, s.regressions, s.standBys, s.retries, s.expired, s.guardDates, s.guardBreaches, s.guardHeld, s.redisUp, s.evicted, s.used, s.limit, s.noeviction}
}

func (s *streamMetrics) worker(ch chan<- prometheus.Metric, view string, w worked) {
	n := w.Counts()
	s.progress.to(ch, float64(w.Progress().UnixMilli())/1000, view)
	s.lost.to(ch, float64(n.Lost), view)
	s.regressions.to(ch, float64(n.Regressions), view)
	s.standBys.to(ch, float64(n.StandBys), view)
	s.retries.to(ch, float64(n.Retries), view)
	s.expired.to(ch, float64(n.Expired), view)
}

// guard exports what a view's guard says, where it has one.
func (s *streamMetrics) guard(ch chan<- prometheus.Metric, view string, g *viewGuard) {
	if g == nil {
		return
	}
	s.guardDates.to(ch, float64(g.dates.Load()), view)
	s.guardBreaches.to(ch, float64(g.breaches.Load()), view)
	s.guardHeld.to(ch, bit(g.held.Load()), view)
}

// partition exports one partition, of which the log ends at end.
func (s *streamMetrics) partition(ch chan<- prometheus.Metric, view string, p *stream.PartitionStatus, end int64, now time.Time) {
	l := []string{view, strconv.Itoa(int(p.Partition))}
	s.reading.to(ch, bit(p.Phase == "reading" || p.Phase == "done"), l...)
	s.cache.to(ch, float64(p.Bytes), l...)
	if p.Clock != schemas.Never {
		s.clock.to(ch, seconds(p.Clock), l...)
	}
	if p.Stored < 0 {
		return // its markers have not been read
	}
	lag := max(0, end-p.Stored)
	s.lag.to(ch, float64(lag), l...)
	s.stored.to(ch, float64(p.Stored), l...)
	if p.Newest != schemas.Never {
		s.newest.to(ch, seconds(p.Newest), l...)
		behind := 0.0
		if lag > 0 {
			behind = max(0, float64(now.UnixMilli())/1000-seconds(p.Newest))
		}
		s.lagTime.to(ch, behind, l...)
	}
	for k := range transforms.Outcomes {
		s.records.to(ch, float64(*p.Ledger.Count(k)), view, l[1], k.String())
	}
	s.conflicts.to(ch, float64(p.Ledger.Conflicts), l...)
	s.sealed.to(ch, float64(p.Ledger.SealedEarly), l...)
}

func (s *streamMetrics) server(ch chan<- prometheus.Metric, srv *online.Server) {
	for _, x := range []struct {
		m     *metric
		value int64
	}{{&s.evicted, srv.EvictedKeys}, {&s.used, srv.UsedBytes}, {&s.limit, srv.MaxBytes}} {
		if x.value >= 0 {
			x.m.to(ch, float64(x.value), srv.Addr)
		}
	}
	if srv.Policy != "" {
		s.noeviction.to(ch, bit(srv.Policy == "noeviction"), srv.Addr)
	}
}
