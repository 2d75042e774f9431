package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/reading"
)

type phase uint8

const (
	opening phase = iota // markers are to be read, at wake
	active               // the source delivers from pos
	waiting              // something failed that may pass: tried again at wake
	done                 // stands at the cut
)

// errAside ends work on a partition for this step: what stood in the way has
// been dealt with, and the rest of the batch is to be read again.
var errAside = errors.New("stream: aside")

// partition is one partition of the source. One goroutine at a time works on it.
type partition struct {
	w     *Worker
	id    int32
	phase phase
	wake  time.Time
	// backoff is the next wait after a failure; 0 = the least. why is what failed.
	backoff time.Duration
	why     string
	watch   Watch // nil = nothing is guarded
	held    bool  // by it

	// pos is the offset up to which the log was read, now the log clock there.
	pos    int64
	now    schemas.Micros
	ahead  bool  // some shard stands beyond pos
	end    int64 // of the cut; -1 = none
	stable int64
	// loadSeen: the load of old events lies behind, and was looked at.
	loadSeen bool
	// added: the topic did not have the partition when the worker began.
	added bool
	// seek asks for the source to be moved to pos; assigned tells that it reads.
	seek, assigned bool

	shards  []*shard
	cleared []int // the shards that a bootstrap has just emptied
	cache   *cache
	// accounted is the partition's part of Worker.held.
	accounted int
	reader    *reading.Reader
	event     *schemas.Event
	items     []item
	sweep     sweep
	standBys  int
}

// shard is one (shard, partition).
type shard struct {
	id   int
	mark Mark // as last read or written
	// at and clock are where it stands while that is beyond the partition's pos.
	at    int64
	clock schemas.Micros
	// since mark:
	ledger     transforms.Ledger
	newest     schemas.Micros
	dirty      []*entry
	remove     map[string]struct{}
	bytes      int
	since      time.Time // of the first change; zero = none
	quarantine []Quarantined
	held       int // bytes of quarantine

	// whole: an entity that is not in memory has no state in the store.
	whole bool
	// lost: what is in memory is void until the marker has been read again.
	lost   bool
	losses int // to another's writes, in a row
	tokens [8]uint64
	marked time.Time // when mark was read or written
}

func (w *Worker) newPartition(id int32) *partition {
	p := &partition{w: w, id: id, end: -1, cache: newCache(), reader: w.records.NewReader(), event: w.records.NewEvent(), now: schemas.Never}
	for _, in := range w.engine.NewInputs(w.o.Chunk) {
		p.items = append(p.items, item{in: in})
	}
	if w.until != nil {
		p.end = w.until.Partitions[id].End
	}
	if w.o.Guard != nil {
		p.watch = w.o.Guard.Watch(id)
	}
	if _, known := w.known[id]; !known && w.known != nil {
		p.added = true
	}
	return p
}

// forget drops everything in memory: the markers are to be read again.
func (p *partition) forget(wake time.Time) {
	p.phase, p.wake, p.seek, p.loadSeen = opening, wake, false, false
	p.cache, p.sweep, p.held = newCache(), sweep{}, false
	for _, s := range p.shards {
		s.reset(s.mark)
		s.lost = true
	}
	p.account()
}

// reset makes m the marker of the shard, with nothing changed since.
func (s *shard) reset(m Mark) {
	s.mark, s.ledger, s.newest = m, m.Ledger, m.Newest
	s.dirty, s.remove = nil, map[string]struct{}{}
	s.bytes, s.since, s.quarantine, s.held = 0, time.Time{}, nil, 0
}

// open reads the markers, bootstraps what has none and sets the partition to be
// read from the least of them.
func (p *partition) open(ctx context.Context) error {
	marks, err := p.w.sink.Marks(ctx, p.id)
	if err != nil {
		return p.later(ctx, "its markers cannot be read", err)
	}
	cut, err := p.w.source.Cut(ctx)
	if err != nil {
		return p.later(ctx, "the topic cannot be described", err)
	}
	bounds, ok := cut.Partitions[p.id]
	if !ok {
		return p.missing(ctx, len(cut.Partitions))
	}
	from, err := p.origin(ctx, marks, bounds.Start)
	if err != nil {
		return p.later(ctx, "what it is to be restored from cannot be read", err)
	}
	if from != nil {
		defer from.Close()
		// An origin may be as new as this: where the log ends is asked afterwards.
		if cut, err = p.w.source.Cut(ctx); err != nil {
			return p.later(ctx, "the topic cannot be described", err)
		}
		if bounds, ok = cut.Partitions[p.id]; !ok {
			return p.missing(ctx, len(cut.Partitions))
		}
	}
	if marks, err = p.bootstrap(ctx, from, marks, cut); err != nil {
		return err
	}
	if err := p.check(marks, cut.TopicID, bounds); err != nil {
		return err
	}
	p.stable = max(p.stable, bounds.End)
	return p.start(marks)
}

// missing: the topic lacks the partition. Where a group assigned it, a broker
// that is asked may not have heard of it yet; refresh tells what is worse.
func (p *partition) missing(ctx context.Context, have int) error {
	err := error(&MissingPartitionError{p.id, have})
	if p.w.o.Membership != nil {
		return p.later(ctx, "it is not there yet", fmt.Errorf("%w: %w", marker.ErrUnavailable, err))
	}
	return err
}

// check holds the live markers against the log (K3) and the cut to stop at.
func (p *partition) check(marks []Mark, topicID string, bounds schemas.PartitionCut) error {
	for i, m := range marks {
		switch {
		case m.Phase != marker.Live: // it is bootstrapped first
		case m.TopicID != topicID:
			return &TopicChangedError{p.id, m.TopicID, topicID}
		case m.Next < bounds.Start:
			return &TruncatedError{p.id, m.Next, bounds.Start}
		case m.Next > bounds.End:
			return &ShrunkError{p.id, m.Next, bounds.End}
		case p.end >= 0 && m.Next > p.end:
			return &PastCutError{i, p.id, m.Next, p.end}
		}
	}
	return nil
}

// start takes the markers over and goes to the least of them.
func (p *partition) start(marks []Mark) error {
	now := p.w.o.Now()
	if p.shards == nil {
		for i := range marks {
			p.shards = append(p.shards, &shard{id: i})
		}
	}
	least := marks[0]
	for i, m := range marks {
		s := p.shards[i]
		s.reset(m)
		s.at, s.clock, s.lost, s.marked = m.Next, m.Clock, false, now
		s.whole = m.Next == 0 && slices.Contains(p.cleared, i)
		if m.Next < least.Next {
			least = m
		}
	}
	p.cleared = nil
	p.pos, p.now, p.ahead = least.Next, least.Clock, true
	p.phase, p.seek = active, true
	if p.watch != nil {
		p.watch.Reached(p.now)
	}
	return p.moveTo(p.pos, p.now)
}

// position returns how far the shard is folded, and the clock there.
func (p *partition) position(s *shard) (int64, schemas.Micros) {
	if s.at > p.pos {
		return s.at, s.clock
	}
	return p.pos, p.now
}

// moveTo moves the reading position to next, where the log clock is clock.
// Shards that it reaches must have recorded that clock.
func (p *partition) moveTo(next int64, clock schemas.Micros) error {
	read := clock
	if p.ahead {
		p.ahead = false
		for _, s := range p.shards {
			switch {
			case s.at > next:
				p.ahead = true
			case s.at >= p.pos && (s.at > p.pos || next == p.pos) && p.unlike(read, s.clock):
				return p.clockError(s, read)
			default:
				clock = p.atLeast(clock, s)
			}
		}
	}
	p.pos, p.now = next, clock
	return nil
}

// unlike tells whether the log clock that was read contradicts a recorded one.
// The log of a table may have been compacted since, and what had driven the clock
// be gone (K6).
func (p *partition) unlike(read, recorded schemas.Micros) bool {
	return read != recorded && !p.w.engine.IsTable()
}

// atLeast returns the log clock where shard s was reached: that of a table is what
// the shard recorded, see unlike.
func (p *partition) atLeast(clock schemas.Micros, s *shard) schemas.Micros {
	if p.w.engine.IsTable() {
		return max(clock, s.clock)
	}
	return clock
}

// clockError says that the shard recorded another clock than was read. Nothing
// of the partition may be written any more.
func (p *partition) clockError(s *shard, read schemas.Micros) error {
	for _, s := range p.shards {
		s.lost = true
	}
	return &ClockError{Shard: s.id, Partition: p.id, Offset: s.at, Recorded: s.clock, Read: read}
}

// rewind moves the reading position back. What the other shards hold stays good:
// they pass over what they have seen.
func (p *partition) rewind(to int64, clock schemas.Micros) {
	for _, s := range p.shards {
		if s.at <= p.pos {
			s.at, s.clock = p.pos, p.now
		}
	}
	p.pos, p.now, p.ahead = to, clock, true
	p.phase, p.seek = active, true
}

// later sets the partition to wait, and to go on with what it holds.
func (p *partition) later(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !errors.Is(err, marker.ErrUnavailable) && !errors.Is(err, marker.ErrFull) {
		return fmt.Errorf("partition %d: %s: %w", p.id, what, err)
	}
	p.backoff = min(max(2*p.backoff, p.w.o.MinBackoff), p.w.o.MaxBackoff)
	p.wake = p.w.o.Now().Add(p.backoff)
	if p.phase == active {
		p.phase = waiting
	}
	p.why = what + ": " + err.Error()
	p.w.retries.Add(1)
	p.w.notice(p.id, -1, err, "%s; trying again in %v", what, p.backoff)
	return errAside
}

// resume goes on after a wait.
func (p *partition) resume(ctx context.Context) error {
	if p.phase == opening {
		return p.open(ctx)
	}
	if err := p.release(); err != nil {
		return err
	}
	for _, s := range p.shards {
		if s.lost {
			if err := p.reload(ctx, s); err != errAside || p.phase != active {
				return err
			}
		}
	}
	if err := p.flushDue(ctx); err != nil || p.phase == done {
		return err
	}
	p.phase, p.seek = active, true
	return nil
}

// standBy leaves the partition to another worker for a while.
func (p *partition) standBy() error {
	p.standBys++
	if limit := p.w.o.MaxStandBys; limit > 0 && p.standBys > limit {
		return &StandByError{p.id, p.standBys}
	}
	p.w.standBys.Add(1)
	p.why = "another worker writes it"
	p.w.notice(p.id, -1, nil, "two writes in a row were lost to another worker's: standing by for %v", p.w.o.StandBy)
	for _, s := range p.shards {
		s.losses = 0
	}
	p.forget(p.w.o.Now().Add(p.w.o.StandBy))
	return errAside
}
