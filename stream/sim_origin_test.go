package stream

import (
	"context"
	"maps"
	"slices"
)

// publish moves the cut of the tables on and, at times, the start of the logs: a
// replay may be as new as it likes, and what it has read may be gone.
func (s *sim) publish() {
	for p := range s.tables {
		if s.tables[p] < s.visible[p] {
			s.publishAt(p, s.tables[p]+s.r.Int64N(s.visible[p]-s.tables[p]+1))
		}
	}
	if len(s.tables) > 0 && s.r.IntN(2) == 0 {
		s.begin = slices.Min(s.tables)
	}
}

// publishAt moves the cut of the tables of a partition.
func (s *sim) publishAt(p int, next int64) {
	s.tables[p] = next
	ref, err := s.at(p, next)
	if err != nil {
		s.fail("fold: %w", err)
		return
	}
	for _, shard := range ref.shards { // the tables have it
		for _, o := range shard.quarantine {
			s.quarantined[position{p, o}] = true
		}
	}
}

// origin is what the worker of an owner restores from.
func (s *sim) origin(o *owner) Origin {
	if s.tables == nil {
		return LogStart{}
	}
	return &simTables{s, o}
}

// simTables are the states of all partitions at a cut.
type simTables struct {
	*sim
	owner *owner
}

// Open implements Origin.
func (t *simTables) Open(_ context.Context, partition int32) (Restore, error) {
	if err := t.fault(t.owner, true); err != nil {
		return nil, err
	}
	return &simRestore{t, int(partition), t.tables[partition], -1}, nil
}

type simRestore struct {
	*simTables
	partition int
	next      int64
	shard     int // the last one asked for
}

// Base implements Restore.
func (r *simRestore) Base() Base {
	return Base{Name: "the tables", TopicID: "topic-1", Next: r.next, Partitions: []int32{int32(r.partition)}}
}

// Shard implements Restore.
func (r *simRestore) Shard(_ context.Context, shard int, put func([]Write) error) (m Mark, err error) {
	if err := r.fault(r.owner, true); err != nil {
		return m, err
	}
	if shard <= r.shard {
		r.fail("shard %d is asked for after %d", shard, r.shard)
	}
	r.shard = shard
	ref, err := r.at(r.partition, r.next)
	if err != nil {
		return m, err
	}
	from := &ref.shards[shard]
	var ws []Write
	for _, entity := range slices.Sorted(maps.Keys(from.states)) {
		st := from.states[entity].stored()
		ws = append(ws, Write{Entity: entity, Served: st.Served, Old: st.Old, Open: st.Open})
		if r.r.IntN(2) == 0 {
			if err := put(ws); err != nil {
				return m, err
			}
			ws = nil
		}
	}
	r.restored++
	return Mark{Next: r.next, Clock: ref.clock, Newest: from.newest, Ledger: from.ledger, ValidFrom: -1 << 63}, put(ws)
}

// Close implements Restore.
func (r *simRestore) Close() error { return nil }
