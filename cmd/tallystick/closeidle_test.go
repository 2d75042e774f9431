package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/store/log"
)

// K7: a silent and an empty partition keep every window open, unless close_idle
// lets the wall clock close them; an open transaction does so even then (K2).
func TestCloseIdle(t *testing.T) {
	x := newReconcileRig(t)
	client, err := log.Open(x.ctx, log.Options{Brokers: x.kafka.ListenAddrs(), Extra: testbed.KafkaOptions()})
	x.must(err)
	defer client.Close()
	x.must(client.EnsureTopic(x.ctx, "ev", 3, nil))
	now := time.Now().UTC()
	for i := range 200 { // partition 0 until an hour ago, 1 until five days ago, 2 is empty
		at := now.Add(time.Duration(i-200)*time.Hour - time.Hour)
		p := int32(i % 2)
		if now.Sub(at) < 5*24*time.Hour {
			p = 0
		}
		e := testbed.Event{Ent: fmt.Sprint("e", i%4), ID: fmt.Sprint("i", i), Ver: 1, ET: at.UnixMicro(), Amt: float64(i)}
		_, err := client.Produce(x.ctx, "ev", p, log.Message{Value: e.Bytes(), Timestamp: at})
		x.must(err)
	}
	loop := func() (string, int) {
		s := streamFlags{common: x.common(), redisFlags: redisFlags{addrs: x.redis.Addr()}, until: "end", notices: os.Stderr, cache: 1 << 20, pollWait: 20 * time.Millisecond}
		x.must(s.run(x.ctx, &strings.Builder{}))
		r := replayFlags{common: x.common(), limits: limits{memory: 64_000_000, parallel: 1, spill: x.TempDir()}, out: filepath.Join(x.dir, "tables"), units: defaultUnits()}
		x.must(r.run(x.ctx, &strings.Builder{}, os.Stderr))
		return x.reconcile(false)
	}
	if text, code := loop(); code != exitFailed || !strings.Contains(text, "partition 2 has no clock in the tables' cut") {
		t.Errorf("without close_idle: exit %d\n%s", code, text)
	}
	x.edit("lateness:", "close_idle: 30m\n    lateness:")
	text, code := loop()
	boundary := now.Add(-30*time.Minute - time.Hour).Truncate(5 * time.Minute)
	if code != exitOK || !strings.Contains(text, "closed before "+boundary.Format(time.RFC3339)) && !strings.Contains(text, "closed before "+boundary.Add(5*time.Minute).Format(time.RFC3339)) {
		t.Errorf("with close_idle: exit %d, want what is closed before %v\n%s", code, boundary, text)
	}
	hanging := testbed.Producer(t, x.kafka, "hanging")
	x.must(hanging.BeginTransaction())
	x.must(hanging.ProduceSync(x.ctx, &kgo.Record{Topic: "ev", Partition: 2, Value: []byte("?")}).FirstErr())
	if text, code := loop(); code != exitFailed || !strings.Contains(text, "partition 2 has no clock in the tables' cut") {
		t.Errorf("while a transaction is open: exit %d\n%s", code, text)
	}
	x.must(hanging.EndTransaction(x.ctx, kgo.TryAbort))
}

func (x *reconcileRig) edit(from, to string) {
	x.Helper()
	edit(x.T, filepath.Join(x.dir, "v.yaml"), from, to)
}
