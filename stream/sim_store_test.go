package stream

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tallystick/tallystick/transforms/marker"
)

// cell is what the store holds of one (shard, partition). It is never changed,
// only replaced, so that old ones can come back (a failover) and that a WATCH is
// a comparison of pointers.
type cell struct {
	mark   Mark
	states map[string]*refState
	bad    map[string]bool // the entities that were corrupted, until they are repaired
}

// store is the online store: cells by shard and partition, and what they were.
type store struct {
	cells [][]*cell
	past  [][][]*cell // by shard: earlier rows of cells, the newest last
	// flight are writes that were sent and not heard of again.
	flight []flight
}

type flight struct {
	shard, partition int
	was, now         *cell
}

func newStore(shards, parts int) *store {
	s := &store{cells: make([][]*cell, shards), past: make([][][]*cell, shards)}
	for i := range s.cells {
		for range parts {
			s.cells[i] = append(s.cells[i], &cell{states: map[string]*refState{}})
		}
		s.keep(i)
	}
	return s
}

// keep remembers a shard as it is.
func (s *store) keep(shard int) {
	s.past[shard] = append(s.past[shard], slices.Clone(s.cells[shard]))
	if n := len(s.past[shard]) - 6; n > 0 {
		s.past[shard] = s.past[shard][n:]
	}
}

func (s *store) put(shard, partition int, c *cell) {
	s.cells[shard][partition] = c
	s.keep(shard)
}

// with returns the cell that a write makes of c.
func (c *cell) with(now Mark, writes []Write) *cell {
	n := &cell{mark: now, states: maps.Clone(c.states), bad: c.bad}
	for _, w := range writes {
		if w.Remove {
			delete(n.states, w.Entity)
			continue
		}
		st := &refState{served: string(w.Served), open: map[int64]string{}}
		if old := n.states[w.Entity]; old != nil {
			st.old = old.old
			maps.Copy(st.open, old.open)
		}
		if w.Old != nil {
			st.old = string(w.Old)
		}
		for _, o := range w.Open {
			if st.open[o.Hour] = string(o.Data); len(o.Data) == 0 {
				delete(st.open, o.Hour)
			}
		}
		n.states[w.Entity] = st
	}
	return n
}

// port is the store, and the quarantine, as one worker sees them.
type port struct {
	*sim
	owner *owner
}

func (p port) Partitions(context.Context) ([]int32, error) { return nil, p.fault(p.owner, false) }

func (p port) Marks(_ context.Context, partition int32) (ms []Mark, err error) {
	if err := p.fault(p.owner, true); err != nil {
		return nil, err
	}
	for _, row := range p.store.cells {
		if int(partition) < len(row) {
			ms = append(ms, row[partition].mark)
		} else {
			ms = append(ms, Mark{})
		}
	}
	return ms, nil
}

func (p port) Load(_ context.Context, partition int32, keys []marker.Key) ([]marker.Stored, map[int]Mark, error) {
	if err := p.fault(p.owner, true); err != nil {
		return nil, nil, err
	}
	out, marks := make([]marker.Stored, len(keys)), map[int]Mark{}
	p.pinned++ // one connection: no failover in between
	defer func() { p.pinned-- }()
	for i, k := range keys {
		// The open part is read before the others, as the adapter does.
		if st := p.store.cells[k.Shard][partition].states[k.Entity]; st != nil {
			out[i].Open = st.stored().Open
		}
		p.interlude(p.owner)
		if st := p.store.cells[k.Shard][partition].states[k.Entity]; st != nil {
			all := st.stored()
			out[i].Served, out[i].Old = all.Served, all.Old
		}
	}
	for _, k := range keys {
		marks[k.Shard] = p.store.cells[k.Shard][partition].mark
	}
	return out, marks, nil
}

func (p port) Holds(_ context.Context, partition int32) (bool, error) {
	if err := p.fault(p.owner, true); err != nil {
		return false, err
	}
	for _, row := range p.store.cells {
		if len(row[partition].states) > 0 {
			return true, nil
		}
	}
	return false, nil
}

func (p port) Walk(_ context.Context, shard int, partition int32, cursor string) (page marker.Page, err error) {
	if err := p.fault(p.owner, true); err != nil {
		return page, err
	}
	c := p.store.cells[shard][partition]
	page.Mark = c.mark
	for _, e := range slices.Sorted(maps.Keys(c.states)) {
		if e <= cursor {
			continue
		}
		if len(page.Items) == 2 {
			page.Next = page.Items[1].Entity
			return page, nil
		}
		page.Items = append(page.Items, marker.Item{Entity: e, Served: []byte(c.states[e].served)})
	}
	return page, nil
}

func (p port) Commit(_ context.Context, shard int, partition int32, was, now Mark, writes []Write) error {
	if err := p.fault(p.owner, true); err != nil {
		return err
	}
	if was.Phase == marker.Live {
		p.unheld(partition)
	}
	watched := p.store.cells[shard][partition]
	if watched.mark != was {
		return marker.ErrMoved
	}
	n := watched.with(now, writes)
	for i := range writes {
		if writes[i].Old != nil {
			p.olds++
		}
	}
	p.interlude(p.owner)
	switch x := p.chance(); {
	case x < 15: // the reply is lost, the write is not done, or not yet
		if p.chance() < 500 {
			p.store.flight = append(p.store.flight, flight{shard, int(partition), watched, n})
		}
		return fmt.Errorf("%w: simulated", marker.ErrUnknown)
	case x < 20:
		return marker.ErrFull
	}
	if p.store.cells[shard][partition] != watched {
		return marker.ErrMoved
	}
	p.store.put(shard, int(partition), n)
	p.verify(shard, int(partition))
	switch x := p.chance(); {
	case x < 15:
		return fmt.Errorf("%w: simulated", marker.ErrUnknown)
	case x < 25:
		return p.die(p.owner)
	}
	return nil
}

func (p port) Put(_ context.Context, qs []Quarantined) error {
	if err := p.fault(p.owner, true); err != nil {
		return err
	}
	if p.chance() < 10 {
		return errPassing
	}
	for _, q := range qs {
		p.quarantined[position{int(q.At.Partition), q.At.Offset}] = true
		p.puts++
	}
	if p.chance() < 10 {
		return p.die(p.owner)
	}
	return nil
}
