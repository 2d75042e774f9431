package stream

import (
	"context"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/marker"
)

// expireAfter is how much longer than its longest retention a state is kept (O3).
const expireAfter = 7 * schemas.Day

// sweep is a slow walk over the states of a partition, shard by shard.
type sweep struct {
	shard  int
	cursor string
	at     time.Time // of the next page
}

// sweepPage looks at one page of states and marks those for removal that the
// partition's log clock has left behind; they go with the shard's next write.
func (p *partition) sweepPage(ctx context.Context) error {
	now := p.w.o.Now()
	if p.w.o.SweepEvery < 0 || p.w.engine.HasLifetime() || len(p.shards) == 0 || now.Before(p.sweep.at) {
		return nil
	}
	first := p.sweep.at.IsZero()
	p.sweep.at = now.Add(p.w.o.SweepEvery)
	if first {
		return nil // let a start have its time
	}
	s := p.shards[p.sweep.shard]
	page, err := p.w.sink.Walk(ctx, s.id, p.id, p.sweep.cursor)
	if err != nil {
		return p.later(ctx, "states cannot be listed", err)
	}
	if page.Mark != s.mark {
		return p.lose(ctx, s, marker.ErrMoved)
	}
	for _, it := range page.Items {
		if it.Served != nil && p.expired(s, it.Entity, it.Served) {
			s.remove[it.Entity] = struct{}{}
			if s.since.IsZero() {
				s.since = now
			}
		}
	}
	if p.sweep.cursor = page.Next; page.Next == "" {
		p.sweep.shard = (p.sweep.shard + 1) % len(p.shards)
	}
	return nil
}

// confirm asks a store to which nothing was written for IdleEvery whether it holds
// the markers still (O2): while no records come, nothing else tells of a store that
// came back empty or as it was before, or of a view that was dropped.
func (p *partition) confirm(ctx context.Context) error {
	now := p.w.o.Now()
	for _, s := range p.shards {
		if !p.due(s).IsZero() || s.marked.Add(p.w.o.IdleEvery).After(now) {
			continue
		}
		marks, err := p.w.sink.Marks(ctx, p.id)
		if err != nil {
			return p.later(ctx, "its markers cannot be read", err)
		}
		for _, s := range p.shards {
			if marks[s.id] != s.mark {
				return p.lose(ctx, s, marker.ErrMoved)
			}
		}
		for _, s := range p.shards {
			if p.due(s).IsZero() {
				s.marked = now
			}
		}
		return nil
	}
	return nil
}

// expired tells whether nothing of a state can matter any more. What is in
// memory counts more than what was read.
func (p *partition) expired(s *shard, entity string, served []byte) bool {
	e := p.cache.byEntity[entity]
	if e != nil && e.dirty || s.mark.Clock == schemas.Never {
		return false
	}
	var clock schemas.Micros
	if e != nil {
		clock = e.state.Clock()
	} else if _, at, err := p.w.engine.Stand(served); err == nil {
		clock = at
	} else {
		return false // for reconcile to find
	}
	// An event, or a memory of one, may lie as far ahead of the state's clock as
	// max_future allows: it too has left retention.
	after := max(expireAfter, p.w.engine.Spec().MaxFuture)
	return clock.AddSat(p.w.retention).AddSat(after) < s.mark.Clock
}
