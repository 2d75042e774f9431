package online

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

// Reader answers what the features of entities are now (V4, O4). It may be used
// concurrently.
type Reader struct {
	s      *Store
	engine *transforms.View

	mu    sync.Mutex
	parts map[int][]int32 // by shard, as last heard of; never changed in place
}

// Reader returns a reader of a view's own fingerprint. Whether readers should
// use that one, Client.Live tells.
func (c *Client) Reader(view *definition.View) (*Reader, error) {
	engine, err := transforms.NewView(view.Spec)
	if err != nil {
		return nil, err
	}
	return &Reader{s: c.Store(view), engine: engine, parts: map[int][]int32{}}, nil
}

// Position is how far a partition was folded when the answer was read, at
// least: its marker was read before the fields.
type Position struct {
	Partition int32
	Next      int64
	Clock     schemas.Micros // Never = none
	Newest    schemas.Micros // greatest event time of the shard's records; Never = none
	// Bootstrapping: the partition is being folded anew, its part is missing.
	Bootstrapping bool
}

// Answer is the features of one entity.
type Answer struct {
	Results []transforms.Result // in the order of the definition
	// AsOf is the t that the results hold for: the instant asked for, or just
	// after the log clock where that lies beyond it (V4).
	AsOf      schemas.Micros
	Positions []Position // ascending by partition
}

// Freshness returns the greatest event time and the least log clock of the
// partitions; Never where there is none.
func (a *Answer) Freshness() (newest, clock schemas.Micros) {
	newest, clock = schemas.Never, schemas.Forever
	for _, p := range a.Positions {
		newest, clock = max(newest, p.Newest), min(clock, p.Clock)
	}
	if len(a.Positions) == 0 {
		clock = schemas.Never
	}
	return newest, clock
}

// Read answers for one entity, canonical bytes, as of q in µs. Errors:
// *NotServedError, *KeyError, marker.ErrUnavailable.
func (r *Reader) Read(ctx context.Context, entity []byte, q schemas.Micros) (*Answer, error) {
	shard := transforms.EntityShard(entity, r.s.shards)
	for {
		parts := r.partitions(shard)
		got, err := r.fetch(ctx, shard, entity, parts)
		if err != nil {
			return nil, err
		}
		if slices.Equal(got.parts, parts) {
			return r.answer(got, string(entity), q)
		}
		r.mu.Lock()
		r.parts[shard] = got.parts
		r.mu.Unlock()
	}
}

func (r *Reader) partitions(shard int) []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.parts[shard]
}

// fetched is what the store holds for one entity.
type fetched struct {
	shard  int
	parts  []int32 // that have a marker
	marks  []marker.Mark
	fields map[string]string
}

// fetch reads the markers of the partitions and then the entity's fields, over
// one connection.
func (r *Reader) fetch(ctx context.Context, shard int, entity []byte, parts []int32) (*fetched, error) {
	rc, err := r.s.c.node(ctx, r.s.prefix(shard))
	if err != nil {
		return nil, err
	}
	got := &fetched{shard: shard}
	marks := make([]*redis.StringCmd, len(parts))
	var members *redis.StringSliceCmd
	var fields *redis.MapStringStringCmd
	_, err = rc.Pipelined(ctx, func(p redis.Pipeliner) error {
		members = p.SMembers(ctx, r.s.partsKey(shard))
		for i, part := range parts {
			marks[i] = p.Get(ctx, r.s.markKey(shard, part))
		}
		fields = p.HGetAll(ctx, r.s.servedKey(shard, string(entity)))
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, r.s.c.failed(ctx, "read an entity", err)
	}
	for i, part := range parts {
		m, err := parseMark(r.s.markKey(shard, part), marks[i])
		if err != nil {
			return nil, err
		}
		got.marks = append(got.marks, m)
	}
	names, err := members.Result()
	if err != nil {
		return nil, unavailable("read an entity", err)
	}
	for _, n := range names {
		p, err := parsePartition(r.s.partsKey(shard), n)
		if err != nil {
			return nil, err
		}
		got.parts = append(got.parts, p)
	}
	slices.Sort(got.parts)
	if got.fields, err = fields.Result(); err != nil {
		return nil, unavailable("read an entity", err)
	}
	return got, nil
}

// answer merges the partitions' states.
func (r *Reader) answer(got *fetched, entity string, q schemas.Micros) (*Answer, error) {
	if len(got.parts) == 0 {
		return nil, &NotServedError{r.s.view, r.s.fingerprint}
	}
	a := &Answer{AsOf: q}
	validFrom := schemas.Never
	var states []*transforms.State
	for i, p := range got.parts {
		m := got.marks[i]
		pos := Position{Partition: p, Next: m.Next, Clock: m.Clock, Newest: m.Newest, Bootstrapping: m.Phase != marker.Live}
		if pos.Bootstrapping {
			pos.Clock, pos.Newest, validFrom = schemas.Never, schemas.Never, schemas.Forever
		} else {
			validFrom = max(validFrom, m.ValidFrom)
		}
		a.Positions = append(a.Positions, pos)
		a.AsOf = beyond(a.AsOf, pos.Clock)
		data, ok := got.fields[field(p)]
		if !ok {
			continue
		}
		st, err := r.engine.ParseServed([]byte(data), []byte(got.fields[oldField(p)]))
		if err != nil {
			return nil, &KeyError{r.s.servedKey(got.shard, entity), fmt.Errorf("field %d: %w", p, err)}
		}
		a.AsOf = beyond(a.AsOf, st.Clock())
		states = append(states, st)
	}
	var err error
	if a.Results, err = r.engine.ValueFrom(nil, a.AsOf, validFrom, states...); err != nil {
		return nil, err
	}
	return a, nil
}

// beyond returns t, or the instant just after the clock where t is not after it.
func beyond(t, clock schemas.Micros) schemas.Micros {
	if clock == schemas.Never {
		return t
	}
	return max(t, clock.AddSat(1))
}
