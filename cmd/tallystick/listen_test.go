package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/store/reconcile"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
)

// daemon is a command that runs until it is stopped.
type daemon struct {
	*testing.T
	out, errs testbed.Heard
	stop      context.CancelFunc
	code      chan int
	url       string
}

var listening = regexp.MustCompile(`listening at (http://127\.0\.0\.1:\d+): `)

// newServer serves on loopback until the end of the test.
func newServer(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// runs starts a daemon that listens and waits until it says where.
func runs(t *testing.T, args ...string) *daemon {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	d := &daemon{T: t, stop: cancel, code: make(chan int, 1)}
	go func() { d.code <- run(ownProcess(ctx), append(args, "--listen", "127.0.0.1:0"), &d.out, &d.errs) }()
	t.Cleanup(cancel)
	d.until("it listens", func() bool {
		if m := listening.FindStringSubmatch(d.errs.String()); m != nil {
			d.url = m[1]
		}
		return d.url != ""
	})
	return d
}

func (d *daemon) until(what string, ok func() bool) {
	d.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		select {
		case code := <-d.code:
			d.Fatalf("waiting until %s, it ended with %d: %s", what, code, d.errs.String())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			d.Fatalf("never comes: %s\n%s", what, d.errs.String())
		}
	}
}

// ends stops the daemon and returns its exit code and how long that took.
func (d *daemon) ends() (int, time.Duration) {
	d.Helper()
	begun := time.Now()
	d.stop()
	select {
	case code := <-d.code:
		return code, time.Since(begun)
	case <-time.After(time.Minute):
		d.Fatal("it does not end")
	}
	return 0, 0
}

func (d *daemon) get(path string) (int, string) {
	d.Helper()
	resp, err := http.Get(d.url + path)
	if err != nil {
		d.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// sum adds up the values of a metric, of those with a label if one is given.
func (d *daemon) sum(name, label string) (sum float64, found int) {
	d.Helper()
	_, text := d.get("/metrics")
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != '{' && rest[0] != ' ' || !strings.Contains(rest, label) {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndex(rest, " "):]), 64)
		if err != nil {
			d.Fatal(err)
		}
		sum, found = sum+value, found+1
	}
	return sum, found
}

// caughtUp waits until all records are read and written, in both views: each has a
// worker of its own, and one may begin after the other has ended.
func (d *daemon) caughtUp(records float64) {
	d.Helper()
	for _, view := range []string{`view="customers"`, `view="categories"`} {
		d.until("all is in Redis, "+view, func() bool {
			lag, found := d.sum("tallystick_stream_lag_records", view)
			read, _ := d.sum("tallystick_stream_records", view)
			return found > 0 && lag == 0 && read == records
		})
	}
}

// filled is a project with records in an embedded Kafka.
func filled(t *testing.T) (log []string, producer *kgo.Client) {
	t.Helper()
	kafka := testbed.Kafka(t)
	log = []string{"-f", initialised(t), "--brokers", kafka.ListenAddrs()[0]}
	tally(t, exitOK, append([]string{"fill", "--events", "300"}, log...)...)
	return log, testbed.Producer(t, kafka, "")
}

// The stream tells by HTTP that it lives, when it is ready, and its numbers, of
// which the ledger is right after a restart; its log is objects.
func TestStreamTells(t *testing.T) {
	log, _ := filled(t)
	redis := testbed.Redis(t)
	args := slices.Concat([]string{"stream", "--redis", redis.Addr(), "--log", "json"}, log)
	d := runs(t, args...)
	d.until("it is ready", func() bool { code, _ := d.get("/readyz"); return code == http.StatusOK })
	d.caughtUp(300)
	if code, text := d.get("/healthz"); code != http.StatusOK || text != "alive\n" {
		t.Errorf("/healthz: %d %s", code, text)
	}
	if _, text := d.get("/readyz"); !strings.Contains(text, "view customers: 2 partitions") {
		t.Errorf("/readyz: %s", text)
	}
	for name, least := range map[string]float64{"tallystick_stream_flush_duration_seconds_count": 4, "tallystick_stream_clock_seconds": 1e9, "tallystick_stream_cache_bytes": 1000,
		"tallystick_redis_up": 1, "tallystick_redis_noeviction": 1, "tallystick_stream_partition_reading": 4, "tallystick_build_info": 1, "process_resident_memory_bytes": 1, "tallystick_memory_limit_bytes": 7e8} {
		if got, _ := d.sum(name, ""); got < least {
			t.Errorf("%s is %v", name, got)
		}
	}
	if out, _ := tally(t, exitOK, "health", strings.TrimPrefix(d.url, "http://")); !strings.HasPrefix(out, "ready\n") {
		t.Errorf("health: %s", out)
	}
	if _, errs := tally(t, exitFailed, "health", d.url+"/nowhere"); !strings.Contains(errs, "404") {
		t.Errorf("health elsewhere: %s", errs)
	}
	if resp, err := http.Post(d.url+"/metrics", "text/plain", nil); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v %v", resp, err)
	}
	ledger := d.ledger()
	if code, _ := d.ends(); code != exitOK {
		t.Errorf("exit %d: %s", code, d.errs.String())
	}
	if _, errs := tally(t, exitFailed, "health", d.url); !strings.Contains(errs, "nothing answers at "+d.url) {
		t.Errorf("health of what has ended: %s", errs)
	}
	again := runs(t, args...)
	again.caughtUp(300)
	if got := again.ledger(); got != ledger {
		t.Errorf("after a restart the ledger is\n%s\nwas\n%s", got, ledger)
	}
	again.ends()
	checkLog(t, d.errs.String())
}

func (d *daemon) ledger() string {
	_, text := d.get("/metrics")
	return strings.Join(regexp.MustCompile(`(?m)^tallystick_stream_(records|conflicts|sealed_early)\{.*$`).FindAllString(text, -1), "\n")
}

// checkLog: every line is an object with time, level and msg, and a worker's
// notices say what they are about.
func checkLog(t *testing.T, text string) {
	t.Helper()
	about := 0
	for line := range strings.Lines(text) {
		var l struct {
			Time             time.Time
			Level, Msg, View string
			Partition        *int
			Offset           *int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Time.IsZero() || l.Time.Location() != time.UTC || l.Level == "" || l.Msg == "" {
			t.Errorf("%v: %s", err, line)
		}
		if l.View != "" && l.Partition != nil && l.Offset != nil && strings.Contains(l.Msg, "bootstrapped") {
			about++
		}
	}
	if about != 4 {
		t.Errorf("%d notices of a bootstrap of 4 partitions:\n%s", about, text)
	}
}

// A notice of the whole worker names no partition.
func TestNoticeOfNoPartition(t *testing.T) {
	for partition, want := range map[int32]string{-1: "v: all\n", 0: "v: partition 0: all\n"} {
		var b bytes.Buffer
		notice(&b, "v", stream.Notice{Partition: partition, Shard: -1, Offset: -1, Text: "all"})
		if b.String() != want {
			t.Errorf("%q, want %q", b.String(), want)
		}
	}
}

// Why a command ends is an object too, its flags' faults included.
func TestLogOfFailure(t *testing.T) {
	for _, args := range [][]string{{"stream", "-f", "no.yaml", "--log", "json"}, {"stream", "--log=json", "--nonsense"}} {
		_, errs := tally(t, exitUsage, args...)
		var l struct {
			Level, Msg string
			Exit       int
		}
		if err := json.Unmarshal([]byte(errs), &l); err != nil || l.Level != "ERROR" || l.Msg == "" || l.Exit != exitUsage {
			t.Errorf("%v: %v", args, errs)
		}
	}
	if _, errs := tally(t, exitUsage, "stream", "-f", initialised(t), "--brokers", "127.0.0.1:1", "--redis", "127.0.0.1:1", "--log", "xml"); !strings.Contains(errs, "--log") {
		t.Error(errs)
	}
}

// An address that is none or taken is refused before a server is asked.
func TestListenRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := initialised(t)
	for address, c := range map[string]struct {
		code int
		want string
	}{
		"nowhere":         {exitUsage, "is not an address"},
		"127.0.0.1:70000": {exitUsage, "is not an address"},
		l.Addr().String(): {exitFailed, "cannot listen at"},
	} {
		_, errs := tally(t, c.code, "stream", "-f", file, "--brokers", "127.0.0.1:1", "--redis", "127.0.0.1:1", "--listen", address)
		if !strings.Contains(errs, "--listen: ") || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %s", address, errs)
		}
	}
	if _, errs := tally(t, exitUsage, "replay", "-f", file, "--brokers", "127.0.0.1:1", "--listen", "127.0.0.1:0"); !strings.Contains(errs, "--every") {
		t.Error(errs)
	}
}

// standing is a worker that stands at some place.
type standing struct {
	list []stream.PartitionStatus
	last time.Time
}

func (s standing) Status() []stream.PartitionStatus { return s.list }
func (s standing) Counts() stream.Counts            { return stream.Counts{} }
func (s standing) Progress() time.Time              { return s.last }

// What is opening is not ready, and says why; what waits for a server is, as it
// was; what makes no progress does not live.
func TestProbes(t *testing.T) {
	now := time.Now()
	m := newMonitor(nil)
	m.now = func() time.Time { return now }
	m.views["v"] = &watched{}
	if _, err := m.ready(); err == nil || err.Error() != "view v: starting" || m.alive() != nil {
		t.Errorf("before it starts: %v, %v", err, m.alive())
	}
	at := stream.PartitionStatus{Partition: 3, Phase: "opening", Why: "its markers cannot be read"}
	end := m.watch("v", standing{[]stream.PartitionStatus{at}, now.Add(-stalledAfter)}, nil)
	if _, err := m.ready(); err == nil || err.Error() != "view v: partition 3: opening: its markers cannot be read" {
		t.Errorf("opening: %v", err)
	}
	at.Phase = "waiting"
	m.watch("v", standing{[]stream.PartitionStatus{at}, now.Add(-stalledAfter)}, nil)
	if text, err := m.ready(); err != nil || !strings.Contains(text, "partition 3: waiting: its markers cannot be read") || m.alive() != nil {
		t.Errorf("waiting: %q %v %v", text, err, m.alive())
	}
	at.Phase, at.Why = "held", "too many"
	m.watch("v", standing{[]stream.PartitionStatus{at}, now.Add(-stalledAfter)}, nil)
	if text, err := m.ready(); err != nil || !strings.Contains(text, "partition 3: held: too many") || m.alive() != nil {
		t.Errorf("B6: held: %q %v %v", text, err, m.alive())
	}
	m.watch("v", standing{last: now.Add(-stalledAfter - time.Second)}, nil)
	if err := m.alive(); err == nil || err.Error() != "view v: no progress for 1m1s" {
		t.Errorf("stuck: %v", err)
	}
	end()
	if text, err := m.ready(); err != nil || !strings.Contains(text, "it has ended") || m.alive() != nil {
		t.Errorf("ended: %q %v %v", text, err, m.alive())
	}
}

// O3: keys that Redis throws away, and a policy that lets it, are told once.
func TestEvictionIsTold(t *testing.T) {
	m := newMonitor(nil)
	var notices strings.Builder
	for range 3 {
		for _, s := range []online.Server{{Addr: "a:1", EvictedKeys: 7, Policy: "allkeys-lru"}, {Addr: "b:1", Policy: "noeviction"}, {Addr: "c:1", EvictedKeys: -1}} {
			m.suspect(&notices, s)
		}
	}
	if text := notices.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "a:1 has evicted 7 keys") || !strings.Contains(text, "a:1 now has maxmemory-policy allkeys-lru") {
		t.Error(text)
	}
}

// A Kafka that does not answer says nothing of Redis, which is asked all the same.
func TestSamplesApart(t *testing.T) {
	kafka, redis := testbed.Kafka(t), testbed.Redis(t)
	client, err := log.Open(t.Context(), log.Options{Brokers: kafka.ListenAddrs(), Extra: testbed.KafkaOptions()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	store, err := online.Open(t.Context(), online.Options{Addrs: []string{redis.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	kafka.Close()
	m := newMonitor(nil)
	m.views["v"] = &watched{topic: "t"}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	m.sample(ctx, client, store, io.Discard)
	if !m.redis || len(m.servers) != 1 {
		t.Errorf("Redis counts as away: %v", m.servers)
	}
}

// R2: what the reconcile daemon found stands in its metrics, and whether its last
// round failed in its readiness.
func TestRoundsTold(t *testing.T) {
	m := newRoundsMonitor()
	d := &daemon{T: t}
	d.url = newServer(t, handler(m, m.registry))
	if code, text := d.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "no round") {
		t.Errorf("%d %s", code, text)
	}
	m.reported([]*reconcile.Report{{View: "v", Verdict: reconcile.Differs, Alert: true, Tiles: 9, Values: 8, Compared: 7, Diverging: 3, Causes: map[reconcile.Cause]int64{reconcile.Corrupt: 2}},
		{View: "w", Verdict: reconcile.Equal}})
	m.ended(&exitError{exitDiverged, errors.New("alert")}, time.Second)
	for series, want := range map[string]float64{`tallystick_reconcile_equal{view="v"}`: 0, `tallystick_reconcile_equal{view="w"}`: 1, `tallystick_reconcile_alert{view="v"}`: 1,
		`tallystick_reconcile_differences{cause="corrupt",view="v"}`: 2, `tallystick_reconcile_compared{view="v",what="tiles"}`: 9, `tallystick_reconcile_diverging_values{view="v"}`: 3,
		`tallystick_rounds_total{outcome="alert"}`: 1, `tallystick_rounds_total{outcome="failed"}`: 0, `tallystick_round_failed`: 0} {
		name, label, _ := strings.Cut(series, "{")
		if got, found := d.sum(name, strings.TrimSuffix(label, "}")); found != 1 || got != want {
			t.Errorf("%s is %v (%d found), want %v", series, got, found, want)
		}
	}
	if code, text := d.get("/readyz"); code != http.StatusOK {
		t.Errorf("a verdict is no failure: %d %s", code, text)
	}
	m.ended(errors.New("Redis is away"), time.Second)
	if code, text := d.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "Redis is away") {
		t.Errorf("%d %s", code, text)
	}
	if got, _ := d.sum("tallystick_round_failed", ""); got != 1 {
		t.Error("the failure is not told")
	}
}

// Lag is counted to the log's end as Kafka tells it, also where the worker, which
// waits for Redis, has not heard of it; in event time only while something lags.
func TestLag(t *testing.T) {
	now := time.Unix(2_000_000_000, 0)
	m := newMonitor(nil)
	m.now = func() time.Time { return now }
	m.views["v"] = &watched{ends: map[int32]int64{0: 150, 1: 40}}
	m.watch("v", standing{list: []stream.PartitionStatus{
		{Partition: 0, Phase: "waiting", Stored: 90, Stable: 100, Newest: 1_999_999_000_000_000, Clock: 1, Ledger: transforms.Ledger{Applied: 5}},
		{Partition: 1, Phase: "reading", Stored: 40, Stable: 30, Newest: 1_999_999_000_000_000, Clock: 1},
		{Partition: 2, Phase: "opening", Stored: -1},
	}}, nil)
	d := &daemon{T: t, url: newServer(t, handler(m, m.registry()))}
	for _, c := range []struct {
		name, label string
		want        float64
	}{{"lag_records", `"0"`, 60}, {"lag_records", `"1"`, 0}, {"lag_event_time_seconds", `"0"`, 1000}, {"lag_event_time_seconds", `"1"`, 0},
		{"partition_reading", `"0"`, 0}, {"partition_reading", `"1"`, 1}, {"records", `partition="0",verdict="applied"`, 5}} {
		if got, found := d.sum("tallystick_stream_"+c.name, c.label); found != 1 || got != c.want {
			t.Errorf("%s of %s is %v (%d found), want %v", c.name, c.label, got, found, c.want)
		}
	}
	if _, found := d.sum("tallystick_stream_lag_records", `"2"`); found != 0 {
		t.Error("a lag before the markers are read")
	}
}
