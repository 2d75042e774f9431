package stream

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tallystick/tallystick/transforms/marker"
)

// loads counts what is read of states.
type loads struct {
	Sink
	keys, commits int
}

func (l *loads) Load(ctx context.Context, p int32, keys []marker.Key) ([]marker.Stored, map[int]marker.Mark, error) {
	l.keys += len(keys)
	return l.Sink.Load(ctx, p, keys)
}

func (l *loads) Commit(ctx context.Context, shard int, p int32, was, now Mark, ws []Write) error {
	l.commits++
	return l.Sink.Commit(ctx, shard, p, was, now, ws)
}

// unequal has one entity of many records in partition 0 and few records in the
// others.
func unequal(t *testing.T, parts int) (*bench, *loads) {
	b := newBench(t, 1, parts)
	for p := range parts {
		n, many := int64(20), int64(400)
		if p == 0 {
			n = many
		}
		b.logs[p] = nil
		for i := range n {
			b.logs[p] = append(b.logs[p], event{kind: 'd', stamp: 1000 + i, ent: fmt.Sprint("e", p), id: fmt.Sprint(i), ver: 1, et: 1_000_000 + i*1000, ok: true, offset: i})
		}
		b.visible[p] = n
	}
	b.keyed()
	b.opt.FlushEvery, b.opt.Chunk = time.Hour, 4
	return b, &loads{Sink: b.port}
}

// B3: memory is one limit for all partitions. One that needs more than an equal
// share uses what the others leave: it neither writes early nor reads again.
func TestCacheIsShared(t *testing.T) {
	const parts = 8
	free, few := unequal(t, parts)
	free.start(few)
	free.must(free.steps())
	most := int(free.w.held.Load())
	b, l := unequal(t, parts)
	b.opt.CacheBytes = most + 1000
	b.start(l)
	b.must(b.steps())
	b.whole()
	if own := b.w.parts[0].accounted; own < 2*b.opt.CacheBytes/parts {
		t.Fatalf("one partition holds %d of %d bytes: no more than an equal share", own, b.opt.CacheBytes)
	}
	if *l != (loads{l.Sink, few.keys, few.commits}) {
		t.Errorf("%d states read, %d writes; %d and %d without a limit", l.keys, l.commits, few.keys, few.commits)
	}
}

// B3: over the limit, the partition that holds most gives back, by writing where
// changed states stand in the way; the others keep what they have.
func TestCacheIsBounded(t *testing.T) {
	const parts = 8
	b, l := unequal(t, parts)
	b.opt.CacheBytes = 40_000
	b.start(l)
	b.must(b.steps())
	b.whole()
	if held := int(b.w.held.Load()); held > b.opt.CacheBytes {
		t.Errorf("%d bytes are held, the limit is %d", held, b.opt.CacheBytes)
	}
	sum := 0
	for id, p := range b.w.parts {
		p.account() // the last write came after the last look
		if sum += p.cache.bytes; id > 0 && len(p.cache.byEntity) != 1 {
			t.Errorf("partition %d, which holds little, gave it back", id)
		}
	}
	if held := int(b.w.held.Load()); sum != held || l.commits <= parts+4 {
		t.Errorf("%d bytes in caches, %d accounted for; %d writes", sum, held, l.commits)
	}
	b.w.remove([]int32{0, 1, 2, 3, 4, 5, 6, 7})
	if held := b.w.held.Load(); held != 0 {
		t.Errorf("%d bytes are accounted for without a partition", held)
	}
}
