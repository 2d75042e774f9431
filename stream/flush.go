package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
)

// flushDue writes the shards whose time has come; at the end of the cut, all.
func (p *partition) flushDue(ctx context.Context) error {
	now := p.w.o.Now()
	for _, s := range p.shards {
		if t := p.due(s); !t.IsZero() && !t.After(now) {
			if err := p.flush(ctx, s); err != nil {
				return err
			}
		}
	}
	if p.end < 0 || p.pos < p.end {
		return nil
	}
	if err := p.flushAll(ctx); err != nil {
		return err
	}
	p.phase = done
	return nil
}

// haste is by how much more than usual a flush may hold while catching up: an
// entity that is written more rarely is encoded and sent more rarely.
func (p *partition) haste() int {
	if p.stable-p.pos > p.w.o.CatchUpLag {
		return catchUpScale
	}
	return 1
}

const catchUpScale = 8

// due returns when the shard is to be written, zero for not at all.
func (p *partition) due(s *shard) time.Time {
	switch next, _ := p.position(s); {
	case s.lost:
		return time.Time{}
	case !s.since.IsZero() && p.stable-p.pos > p.w.o.CatchUpLag:
		return s.since.Add(p.w.o.CatchUpEvery)
	case !s.since.IsZero():
		return s.since.Add(p.w.o.FlushEvery)
	case next != s.mark.Next:
		return s.marked.Add(p.w.o.IdleEvery)
	}
	return time.Time{}
}

// flushAll writes every shard that has something to say.
func (p *partition) flushAll(ctx context.Context) error {
	for _, s := range p.shards {
		if p.due(s).IsZero() {
			continue
		}
		if err := p.flush(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what changed of a shard, with its new marker. An errAside says
// that it was not acknowledged and what is to be done has been arranged.
func (p *partition) flush(ctx context.Context, s *shard) error {
	if err := p.guarded(s); err != nil {
		return err
	}
	if len(s.quarantine) > 0 {
		if err := p.w.quarantine.Put(ctx, s.quarantine); err != nil {
			return p.later(ctx, "the quarantine did not take records", fmt.Errorf("%w: %w", marker.ErrUnavailable, err))
		}
		s.quarantine, s.held = nil, 0
	}
	next, clock := p.position(s)
	now := s.mark
	now.Phase, now.Next, now.Clock, now.Newest, now.Ledger, now.Token = marker.Live, next, clock, s.newest, s.ledger, p.w.o.Token()
	buf, ok := p.w.encoded.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	defer p.w.encoded.Put(buf)
	var writes []Write
	writes, *buf = p.writes(s, (*buf)[:0])
	s.sent(now.Token)
	begun := p.w.o.Now()
	err := p.w.sink.Commit(ctx, s.id, p.id, s.mark, now, writes)
	p.w.o.Flushed(Flushed{Partition: p.id, Shard: s.id, States: len(writes), Took: p.w.o.Now().Sub(begun), Err: err})
	p.w.beat()
	switch {
	case err == nil:
		p.committed(s, now, writes)
		return nil
	case errors.Is(err, marker.ErrMoved), errors.Is(err, marker.ErrUnknown):
		return p.lose(ctx, s, err)
	}
	return p.later(ctx, fmt.Sprintf("shard %d cannot be written", s.id), err)
}

// writes encodes what changed, in the order of entities, into b.
func (p *partition) writes(s *shard, b []byte) ([]Write, []byte) {
	ws := make([]Write, 0, len(s.dirty)+len(s.remove))
	for entity := range s.remove {
		ws = append(ws, Write{Entity: entity, Remove: true})
	}
	for i, e := range s.dirty {
		if i%warmth == 0 {
			warmBytes(s.dirty[i:min(i+warmth, len(s.dirty))])
		}
		w := Write{Entity: e.entity}
		from := len(b) // where b grows, what was written before stays in its old place
		if p.w.engine.OldVersion(e.state) != e.old {
			if b = p.w.engine.AppendOld(b, e.state); len(b) > from {
				w.Old = b[from:len(b):len(b)]
			} else {
				w.Old = []byte{}
			}
			from = len(b)
		}
		b = p.w.engine.AppendServed(b, e.state)
		w.Served = b[from:len(b):len(b)]
		for _, h := range e.changedHours() {
			o := p.w.engine.AppendOpen(nil, e.state, h)
			w.Open = append(w.Open, transforms.Open{Hour: h, Data: o})
		}
		ws = append(ws, w)
	}
	slices.SortFunc(ws, func(a, b Write) int { return strings.Compare(a.Entity, b.Entity) })
	return ws, b
}

func warmBytes(es []*entry) {
	var near [warmth]*transforms.State
	for i, e := range es {
		near[i] = e.state
	}
	transforms.WarmBytes(near[:len(es)])
}

// changedHours returns the hours of the open part that no acknowledged write
// carries yet, ascending.
func (e *entry) changedHours() []int64 {
	taken := e.state.TakeChanged()
	if len(e.hours) == 0 {
		e.hours = taken
		return taken
	}
	e.hours = append(e.hours, taken...)
	slices.Sort(e.hours)
	e.hours = slices.Compact(e.hours)
	return e.hours
}

// committed takes note of an acknowledged write.
func (p *partition) committed(s *shard, now Mark, writes []Write) {
	for i := range writes {
		w := &writes[i]
		e := p.cache.byEntity[w.Entity]
		switch {
		case e == nil:
		case w.Remove:
			p.cache.drop(e)
		default:
			if w.Old != nil {
				e.old, e.oldSize = p.w.engine.OldVersion(e.state), len(w.Old)
			}
			p.cache.clean(e, len(w.Served)+e.oldSize)
		}
	}
	p.w.gone.Add(int64(len(s.remove)))
	s.reset(now)
	s.marked, s.losses = p.w.o.Now(), 0
	p.backoff, p.standBys = 0, 0
}

// lose gives up what a shard holds in memory, after a write that was not
// acknowledged, and goes on from the marker that is stored now (O1, O2).
func (p *partition) lose(ctx context.Context, s *shard, cause error) error {
	p.w.lost.Add(1)
	p.w.notice(p.id, s.id, cause, "dropping what is in memory and reading the marker again")
	p.cache.dropShard(s.id)
	s.reset(s.mark)
	s.lost = true
	return p.reload(ctx, s)
}

// reload takes over the marker that is stored now. It returns errAside where all
// went well: the source is to be moved, or the partition to be opened anew.
func (p *partition) reload(ctx context.Context, s *shard) error {
	marks, err := p.w.sink.Marks(ctx, p.id)
	if err != nil {
		return p.later(ctx, "its markers cannot be read", err)
	}
	m := marks[s.id]
	if m.Phase != marker.Live { // lost, or another worker bootstraps it
		p.backoff = min(max(2*p.backoff, p.w.o.MinBackoff), p.w.o.MaxBackoff)
		p.forget(p.w.o.Now().Add(p.backoff))
		return errAside
	}
	if m.TopicID != s.mark.TopicID {
		return &TopicChangedError{p.id, m.TopicID, s.mark.TopicID}
	}
	if m != s.mark && !s.wrote(m.Token) {
		if s.losses++; s.losses >= 2 {
			return p.standBy()
		}
	}
	if m.Next < s.mark.Next {
		p.w.regressions.Add(1)
		p.w.notice(p.id, s.id, nil, "the store went back from offset %d to %d: reading the log again from there", s.mark.Next, m.Next)
	}
	s.reset(m)
	s.lost, s.whole, s.marked = false, false, p.w.o.Now()
	if p.end >= 0 && m.Next > p.end {
		return &PastCutError{s.id, p.id, m.Next, p.end}
	}
	if m.Next < p.pos {
		p.rewind(m.Next, m.Clock)
	} else {
		p.rewind(p.pos, p.now)
	}
	s.at, s.clock = m.Next, m.Clock
	if m.Next == p.pos && p.unlike(p.now, m.Clock) {
		return p.clockError(s, p.now)
	}
	return errAside
}

// sent remembers the token of a write, whatever becomes of it.
func (s *shard) sent(token uint64) {
	copy(s.tokens[1:], s.tokens[:])
	s.tokens[0] = token
}

// wrote tells whether a marker with that token is one of this worker's last
// writes: one whose reply was lost, or one that a failover brought back.
func (s *shard) wrote(token uint64) bool { return slices.Contains(s.tokens[:], token) }

// written returns the least position of the shards' markers.
func (p *partition) written() (next int64) {
	for i, s := range p.shards {
		if i == 0 || s.mark.Next < next {
			next = s.mark.Next
		}
	}
	return next
}
