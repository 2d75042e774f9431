package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/reconcile"
)

// reconcileDefinition counts every event.
var reconcileDefinition = strings.Replace(testbed.EventDefinition, "    where: amt < 9.0\n", "", 1)

// reconcileRig is Kafka and Redis inside the process, and a definition on disk.
type reconcileRig struct {
	*testing.T
	ctx   context.Context
	dir   string
	kafka *kfake.Cluster
	redis *miniredis.Miniredis
}

func newReconcileRig(t *testing.T) *reconcileRig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	x := &reconcileRig{T: t, ctx: ctx, dir: t.TempDir(), kafka: testbed.Kafka(t), redis: testbed.Redis(t)}
	x.must(os.WriteFile(filepath.Join(x.dir, "v.yaml"), []byte(reconcileDefinition), 0o600))
	x.must(os.WriteFile(filepath.Join(x.dir, "ev.avsc"), []byte(testbed.EventSchema), 0o600))
	return x
}

func (x *reconcileRig) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// fill appends three days of events of four entities to two partitions.
func (x *reconcileRig) fill() {
	x.Helper()
	client, err := log.Open(x.ctx, log.Options{Brokers: x.kafka.ListenAddrs(), Extra: testbed.KafkaOptions()})
	x.must(err)
	defer client.Close()
	x.must(client.EnsureTopic(x.ctx, "ev", 2, nil))
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range 150 {
		now = now.Add(29 * time.Minute)
		e := testbed.Event{Ent: fmt.Sprint("e", i%4), ID: fmt.Sprint("i", i), Ver: 1, ET: now.UnixMicro(), Amt: float64(i)}
		_, err := client.Produce(x.ctx, "ev", int32(i%2), log.Message{Value: e.Bytes(), Timestamp: now})
		x.must(err)
	}
}

func (x *reconcileRig) common() common {
	return common{file: filepath.Join(x.dir, "v.yaml"), brokers: strings.Join(x.kafka.ListenAddrs(), ",")}
}

// reconcile runs the command and returns what it prints and its exit code.
func (x *reconcileRig) reconcile(json bool) (string, int) {
	x.Helper()
	r := reconcileFlags{common: x.common(), redisFlags: redisFlags{addrs: x.redis.Addr()}, out: filepath.Join(x.dir, "tables"), sample: 1, list: 100}
	r.json = json
	var b strings.Builder
	err := r.run(x.ctx, &b, io.Discard)
	code := exitOK
	if err != nil {
		code = exitFailed
		if e, ok := err.(interface{ Unwrap() []error }); ok {
			err = e.Unwrap()[0]
		}
		if e, ok := err.(*exitError); ok {
			code = e.code
		}
	}
	return b.String(), code
}

// R1: where the log clock has left all events behind, the reason is given, and
// no more ticks are asked for.
func TestReconcileQuiet(t *testing.T) {
	x := newReconcileRig(t)
	x.fill()
	client, err := log.Open(x.ctx, log.Options{Brokers: x.kafka.ListenAddrs(), Extra: testbed.KafkaOptions()})
	x.must(err)
	defer client.Close()
	for p := range int32(2) {
		_, err := client.Produce(x.ctx, "ev", p, log.Message{Value: []byte("?"), Timestamp: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)})
		x.must(err)
	}
	s := streamFlags{common: x.common(), redisFlags: redisFlags{addrs: x.redis.Addr()}, until: "end", notices: os.Stderr, cache: 1 << 20, pollWait: 20 * time.Millisecond}
	x.must(s.run(x.ctx, &strings.Builder{}))
	r := replayFlags{common: x.common(), limits: limits{memory: 64_000_000, parallel: 1, spill: x.TempDir()}, out: filepath.Join(x.dir, "tables"), units: defaultUnits()}
	x.must(r.run(x.ctx, &strings.Builder{}, io.Discard))
	text, code := x.reconcile(false)
	if code != exitFailed || !strings.Contains(text, "so far before the log clock") || strings.Contains(text, "Append ticks") {
		t.Errorf("exit %d\n%s", code, text)
	}
}

// R1, R2, R3: the command over Kafka, Redis and Parquet: equal, then a state is
// dropped.
func TestReconcile(t *testing.T) {
	x := newReconcileRig(t)
	x.fill()
	s := streamFlags{common: x.common(), redisFlags: redisFlags{addrs: x.redis.Addr()}, until: "end", notices: os.Stderr, cache: 1 << 20, pollWait: 20 * time.Millisecond}
	x.must(s.run(x.ctx, &strings.Builder{}))
	r := replayFlags{common: x.common(), limits: limits{memory: 64_000_000, parallel: 1, spill: x.TempDir()}, out: filepath.Join(x.dir, "tables"), units: defaultUnits()}
	x.must(r.run(x.ctx, &strings.Builder{}, io.Discard))

	text, code := x.reconcile(false)
	if code != exitOK || !strings.Contains(text, "equal, to the bit: ") || !strings.Contains(text, "ledgers: 6 compared") {
		t.Fatalf("exit %d\n%s", code, text)
	}
	g := getFlags{common: x.common(), redisFlags: redisFlags{addrs: x.redis.Addr()}}
	g.json = true
	var got strings.Builder
	x.must(g.run(x.ctx, &got, "v", []string{"ent=e1"}))
	if !strings.Contains(got.String(), `"name": "v"`) {
		t.Errorf("get does not name what was asked:\n%s", got.String())
	}
	dropped := false
	for _, k := range x.redis.Keys() {
		if !dropped && strings.Contains(k, "}:e:") {
			x.redis.Del(k)
			x.redis.Del(strings.Replace(k, "}:e:", "}:o:", 1))
			dropped = true
		}
	}
	text, code = x.reconcile(true)
	var out struct {
		Verdict reconcile.Verdict
		Alert   bool
		Views   []struct {
			Differences int64
			Causes      map[string]int64
		}
	}
	x.must(json.Unmarshal([]byte(text), &out))
	if v := out.Views[0]; code != exitDiverged || !out.Alert || out.Verdict != reconcile.Differs || v.Differences == 0 || v.Causes["missing"] != v.Differences {
		t.Errorf("R3: exit %d\n%s", code, text)
	}
}
