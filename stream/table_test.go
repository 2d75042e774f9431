package stream

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// newTableBench has a table of two shards, and returns an account of each.
func newTableBench(t *testing.T, seed uint64, log []event) (*bench, [2]string) {
	t.Helper()
	var names [2]string
	for c := 'a'; names[0] == "" || names[1] == ""; c++ {
		names[transforms.EntityShard(transforms.EncodeEntity(nil, schemas.StringValue(string(c))), 2)] = string(c)
	}
	for i := range log {
		log[i].ent = names[log[i].ver]
	}
	return newBenchOf(t, rand.New(rand.NewPCG(seed, 5)), shape{table: true, shards: 2}, [][]event{log}), names
}

// K6, K4: a log that was compacted between two starts is read on from where each
// shard stands, though what had driven the clock is gone.
func TestCompactedMeanwhile(t *testing.T) {
	for seed := range uint64(20) { // how many records a poll returns
		compactedMeanwhile(t, seed)
	}
}

func compactedMeanwhile(t *testing.T, seed uint64) {
	at := func(offset, ms, shard int64, ok bool) event {
		return event{kind: 'd', offset: offset, stamp: ms, ver: shard, et: ms * 1000, ok: ok, amt: float64(offset)}
	}
	b, names := newTableBench(t, seed, []event{at(0, 1000, 0, true), at(1, 9000, 1, true), at(2, 2000, 1, true), at(3, 3000, 0, false), {kind: 't', offset: 4, stamp: 3500}})
	b.start(nil)
	b.must(b.steps())
	b.whole()
	for shard, next := range []int64{1, 3} { // a failover
		ref, err := b.at(0, next)
		b.must(err)
		b.cell(shard, 0, func(c *cell) {
			c.mark.Next, c.mark.Clock, c.mark.Ledger, c.mark.Newest = next, ref.clock, ref.shards[shard].ledger, ref.shards[shard].newest
			c.states = ref.shards[shard].states
		})
	}
	b.logs[0] = slices.Delete(b.logs[0], 1, 2)
	b.start(nil)
	b.must(b.steps())
	for shard := range 2 {
		m := b.store.cells[shard][0].mark
		if m.Next != 5 || m.Clock != schemas.KafkaMillis(9000) {
			t.Errorf("shard %d stands at %d, clock %v", shard, m.Next, m.Clock)
		}
	}
	key := transforms.EncodeEntity(nil, schemas.StringValue(names[0]))
	s, err := b.engine.ParseServed([]byte(b.store.cells[0][0].states[string(key)].served), nil)
	b.must(err)
	if r, _ := s.Newest(); !r.Tombstone || r.Offset != 3 {
		t.Errorf("the account of shard 0 is %+v", r)
	}
}

// O3: the states of a table are never removed, tombstones among them.
func TestTableIsNotSwept(t *testing.T) {
	const day = int64(86_400_000)
	b, _ := newTableBench(t, 1, []event{{kind: 'd', offset: 0, stamp: 1, ver: 0, et: 1000, ok: true}, {kind: 'd', offset: 1, stamp: 2, ver: 1, et: 2000},
		{kind: 't', offset: 2, stamp: 4000 * day}})
	b.opt.UntilEnd, b.opt.SweepEvery, b.opt.IdleEvery = false, time.Second, time.Second
	b.start(nil)
	for range 60 {
		_, err := b.w.Step(b.Context())
		b.must(err)
	}
	b.must(b.failure)
	for shard := range 2 {
		if got := slices.Collect(maps.Keys(b.store.cells[shard][0].states)); len(got) != 1 {
			t.Errorf("shard %d has %q", shard, got)
		}
	}
}
