package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/registry"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/reading"
)

// item is a record of the chunk that is being worked on.
type item struct {
	rec   *schemas.Record
	in    *transforms.Input
	clock schemas.Micros // the log clock after it
	shard *shard
	// out: its own clock and content decide, no state is needed.
	out   bool
	state *entry
}

// apply folds a batch.
func (p *partition) apply(ctx context.Context, b Batch) error {
	p.stable = b.Stable
	recs, next := b.Records, b.Next
	for len(recs) > 0 && recs[0].Offset < p.pos {
		recs = recs[1:]
	}
	if p.end >= 0 && next > p.end {
		next = p.end
		for len(recs) > 0 && recs[len(recs)-1].Offset >= p.end {
			recs = recs[:len(recs)-1]
		}
	}
	for len(recs) > 0 {
		n := min(len(recs), len(p.items))
		if err := p.chunk(ctx, recs[:n]); err != nil {
			return err
		}
		recs = recs[n:]
		if err := p.shrink(ctx); err != nil {
			return err
		}
	}
	if err := p.checkLoad(max(next, p.pos)); err != nil || next <= p.pos {
		return err
	}
	return p.moveTo(next, p.now)
}

// chunk decodes records, loads the states that they need at one go, and folds.
func (p *partition) chunk(ctx context.Context, recs []schemas.Record) error {
	items, readErr := p.decode(ctx, recs)
	if err := p.load(ctx, items); err != nil {
		return err
	}
	for i := range items {
		if i%warmth == 0 {
			p.warm(items[i:min(i+warmth, len(items))])
		}
		if err := p.step(ctx, &items[i]); err != nil {
			return err
		}
	}
	if readErr == nil {
		return nil
	}
	// What came before it is folded, and flushed when the worker stops.
	if _, final := errors.AsType[*reading.IncompatibleError](readErr); !final && !errors.Is(readErr, registry.ErrDenied) {
		readErr = fmt.Errorf("%w: %w", marker.ErrUnavailable, readErr)
	}
	return p.later(ctx, "a record cannot be read", readErr)
}

// decode prepares records up to the first that cannot be read.
func (p *partition) decode(ctx context.Context, recs []schemas.Record) ([]item, error) {
	src := p.w.view.Source
	clock := schemas.ClockAt(p.now, src.History[p.id], src.MaxFuture)
	for i := range recs {
		it := &p.items[i]
		if p.ahead && p.w.engine.IsTable() {
			clock = schemas.ClockAt(p.recorded(clock.Now(), recs[i].Offset), 0, src.MaxFuture)
		}
		it.rec, it.state, it.shard = &recs[i], nil, nil
		if it.rec.Tick {
			clock.Tick(it.rec)
			it.clock = clock.Now()
			continue
		}
		if err := p.reader.Read(ctx, it.rec, p.event); err != nil {
			return p.items[:i], err
		}
		clock.Stamp(p.event)
		it.clock = clock.Now()
		p.w.engine.Prepare(it.in, p.event)
		_, it.out = p.w.engine.Screen(it.in)
		it.shard = p.shards[transforms.EntityShard(it.in.Entity, len(p.shards))]
	}
	return p.items[:len(recs)], nil
}

// recorded returns the log clock of a table at an offset: no less than what the
// shards recorded that stand there or before, see moveTo.
func (p *partition) recorded(clock schemas.Micros, offset int64) schemas.Micros {
	for _, s := range p.shards {
		if s.at <= offset {
			clock = p.atLeast(clock, s)
		}
	}
	return clock
}

// load finds the states of the items, in memory or in the store.
func (p *partition) load(ctx context.Context, items []item) error {
	var keys []marker.Key
	var asked map[string]struct{}
	for i := range items {
		it := &items[i]
		if !p.needs(it) {
			continue
		}
		delete(it.shard.remove, string(it.in.Entity)) // it is in use
		if it.state = p.cache.get(it.in.Entity); it.state != nil {
			continue
		}
		if it.shard.whole {
			it.state = p.fresh(it.shard.id, string(it.in.Entity))
			p.admit(it.state)
			continue
		}
		if _, twice := asked[string(it.in.Entity)]; !twice {
			entity := string(it.in.Entity)
			if asked == nil {
				asked = map[string]struct{}{}
			}
			asked[entity] = struct{}{}
			keys = append(keys, marker.Key{Shard: it.shard.id, Entity: entity})
		}
	}
	if len(keys) == 0 {
		return nil
	}
	states, marks, err := p.w.sink.Load(ctx, p.id, keys)
	if err != nil {
		return p.later(ctx, "states cannot be read", err)
	}
	for shard, m := range marks {
		if s := p.shards[shard]; m != s.mark {
			return p.lose(ctx, s, marker.ErrMoved)
		}
	}
	for i := range keys {
		if err := p.loaded(keys[i], &states[i]); err != nil {
			return err
		}
	}
	for i := range items {
		if it := &items[i]; it.state == nil && p.needs(it) {
			it.state = p.cache.get(it.in.Entity)
		}
	}
	return nil
}

// warmth is how many states are fetched into the processor's cache at a time:
// the waits for them overlap, and they are still there when their turn comes.
const warmth = 32

func (p *partition) warm(items []item) {
	var near [warmth]*transforms.State
	n := 0
	for i := range items {
		if e := items[i].state; e != nil {
			near[n] = e.state
			n++
		}
	}
	transforms.Warm(near[:n])
}

// needs tells whether the record is to be folded into a state.
func (p *partition) needs(it *item) bool {
	return it.shard != nil && !it.out && it.rec.Offset >= it.shard.at
}

// loaded takes a state from the store, which belongs to the shard's marker.
func (p *partition) loaded(k marker.Key, st *marker.Stored) error {
	e := p.fresh(k.Shard, k.Entity)
	if st.Served != nil || st.Old != nil || len(st.Open) > 0 {
		state, err := p.w.engine.Parse(*st)
		if m := &p.shards[k.Shard].mark; err == nil && (state.LastOffset() >= m.Next || state.Clock() > m.Clock) {
			err = fmt.Errorf("it stands at offset %d, clock %v, beyond its marker", state.LastOffset(), state.Clock()) // R1
		}
		if err != nil {
			return &CorruptStateError{k, p.id, err}
		}
		e.state, e.oldSize = state, len(st.Old)
		e.size += entryGrowth * (len(st.Served) + len(st.Old))
	}
	p.admit(e)
	return nil
}

// fresh returns an entity without a past.
func (p *partition) fresh(shard int, entity string) *entry {
	return &entry{entity: entity, shard: shard, size: entryOverhead + len(entity), state: p.w.engine.NewState(p.id)}
}

// admit takes an entry into memory.
func (p *partition) admit(e *entry) {
	e.size += e.state.Decoded()
	e.ids = e.state.IDs()
	p.cache.add(e)
}

// step folds one record.
func (p *partition) step(ctx context.Context, it *item) error {
	o := it.rec.Offset
	if err := p.moveTo(o, p.now); err != nil {
		return err
	}
	if err := p.checkLoad(o); err != nil {
		return err
	}
	s := it.shard
	if s == nil && p.watch != nil {
		p.watch.Reached(it.clock)
	}
	if s == nil || o < s.at { // a tick, or folded already
		return p.moveTo(o+1, it.clock)
	}
	var state *transforms.State
	if it.state != nil {
		state = it.state.state
	}
	v := p.w.engine.Step(state, it.in)
	s.ledger.Add(&v)
	if p.watch != nil {
		p.watch.Saw(it.in, &v)
	}
	if s.since.IsZero() {
		s.since = p.w.o.Now()
	}
	if v.Quarantined() {
		s.bytes += len(it.rec.Key) + len(it.rec.Value)
		s.quarantine = append(s.quarantine, p.quarantined(it, &v))
		s.held += entryOverhead + len(it.rec.Key) + len(it.rec.Value)
	}
	if !it.out {
		s.newest = max(s.newest, it.in.EventTime)
	}
	if state != nil && state.LastOffset() == o {
		p.changed(s, it.state, len(it.rec.Value))
	}
	if err := p.moveTo(o+1, it.clock); err != nil {
		return err
	}
	if scale := p.haste(); len(s.dirty) >= scale*p.w.o.MaxDirty || s.bytes >= scale*p.w.o.MaxBytes || len(s.quarantine) >= p.w.o.MaxDirty {
		return p.flush(ctx, s)
	}
	return nil
}

// checkLoad looks at the ledger of a load of old events once the record at o
// shows that it is complete, before that is folded (K7).
func (p *partition) checkLoad(o int64) error {
	end := p.w.view.Source.History[p.id]
	if p.loadSeen || o < end {
		return nil
	}
	p.loadSeen = true
	var sum transforms.Ledger
	for _, s := range p.shards {
		if s.at > end { // it was looked at before
			return nil
		}
		sum.Merge(&s.ledger)
	}
	if end == 0 {
		return nil
	}
	return sum.CheckLoad(p.id)
}

// largeShare: of MaxBytes one entity counts for a share at most, or one that is
// larger would be written with each of its records.
const largeShare = 8

// changed notes that a record of n bytes changed a state.
func (p *partition) changed(s *shard, e *entry, n int) {
	if !e.dirty {
		s.bytes += min(max(0, e.size/entryGrowth-e.oldSize), p.w.o.MaxBytes/largeShare)
		s.dirty = append(s.dirty, e)
	}
	s.bytes += n
	p.cache.touch(e, n)
}

func (p *partition) quarantined(it *item, v *transforms.Verdict) Quarantined {
	in, rec := it.in, it.rec
	q := Quarantined{At: schemas.Position{TopicID: it.shard.mark.TopicID, Partition: p.id, Offset: rec.Offset},
		Timestamp: rec.Timestamp, Clock: in.Clock, EventTime: in.EventTime, Outcome: v.Outcome, Reason: v.Reason,
		Key: bytes.Clone(rec.Key), Value: bytes.Clone(rec.Value)} // as they stand they would hold all that was fetched with them
	if in.Fault != nil {
		q.Stage, q.Reason = in.Fault.Stage, in.Fault.Reason
		switch in.Fault.Stage {
		case schemas.StageDecode, schemas.StageMigrate, schemas.StageEventTime:
			q.EventTime = schemas.Never
		}
	}
	return q
}

// shrink holds the caches of all partitions and what is to be quarantined to
// their size: a partition that holds more than an equal share gives back, so that
// one with large entities may use what the others do not. Where changed states
// stand in the way, they are written first.
func (p *partition) shrink(ctx context.Context) error {
	own := p.account()
	excess := int(p.w.held.Load()) - p.w.o.CacheBytes
	least := max(p.w.o.CacheBytes/max(1, len(p.w.order)), own-excess)
	if excess <= 0 || p.evict(least) {
		return nil
	}
	for _, s := range p.shards {
		if len(s.dirty)+len(s.quarantine) > 0 {
			if err := p.flush(ctx, s); err != nil {
				return err
			}
		}
	}
	p.evict(least)
	return nil
}

// account tells the worker how many bytes the partition holds, and returns it.
func (p *partition) account() int {
	n := p.cache.bytes
	for _, s := range p.shards {
		n += s.held
	}
	p.w.held.Add(int64(n - p.accounted))
	p.accounted = n
	return n
}

// evict drops the least recently used clean states until the partition holds at
// most limit bytes, and tells whether that was reached.
func (p *partition) evict(limit int) bool {
	defer p.account()
	for n := p.account(); n > limit; {
		e := p.cache.oldest()
		if e == nil {
			return false
		}
		p.shards[e.shard].whole = false
		n -= e.size
		p.cache.drop(e)
	}
	return true
}
