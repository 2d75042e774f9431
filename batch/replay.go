package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Tables takes the rows that a replay makes. Its methods are called by several
// goroutines, for one shard by one at a time, entities and boundaries ascending.
// They keep nothing of a row.
type Tables interface {
	// Feature takes the features of an entity as of a boundary. Absent entities
	// are left out.
	Feature(row rows.Feature) error
	// Tile takes a closed tile.
	Tile(row rows.Tile) error
	// Open takes the remainder of a state at the cut.
	Open(row rows.Open) error
}

// Quarantine takes records that are not counted, and conflicts, from several
// goroutines in any order.
type Quarantine interface {
	Quarantine(q rows.Quarantined) error
}

// Replay folds a cut of one view's source.
type Replay struct {
	View       *definition.View
	Source     *reading.Source
	Log        Log
	Cut        schemas.TopicCut
	Parallel   int
	Memory     int            // bytes that the rows to be sorted may take
	Disk       *spill.Disk    // what the spill may take; nil = no limit
	SpillDir   string         // for what does not fit; it must exist
	ValidFrom  schemas.Micros // see Train
	Tables     Tables         // nil = the rows are counted only
	Quarantine []Quarantine   // each takes every record that is not counted
	Progress   *atomic.Int64  // records read; may be nil
	Folded     *atomic.Int64  // rows folded; may be nil
}

// Report says what a replay found: the ledgers and where the log stands.
type Report struct {
	// Ledgers per shard and partition; a record without an entity counts in shard 0.
	Ledgers map[ShardPartition]*transforms.Ledger
	// Newest has the greatest event time that was folded; none where there is none.
	Newest map[ShardPartition]schemas.Micros
	// Days has the ledger by partition and UTC day of event time; records without
	// an event time stand under NoDay.
	Days   map[PartitionDay]*transforms.Ledger
	Clocks map[int32]schemas.Micros // at the cut's end; Never = the partition is empty
	Ticks  map[int32]int64
	// Boundary is the closed boundary of the view's finest level at which the
	// states were trimmed; Never while a partition is empty, and of a table.
	Boundary schemas.Micros
	Entities int64
	Features int64 // rows
	Tiles    int64
	States   int64 // (entity, partition) with a remainder
	Spilled  int64 // bytes
	// BrokenIDs is nil for a source without ids.
	BrokenIDs *BrokenIDs
}

// Clocked enters the clocks into the cut that was replayed.
func (r *Report) Clocked(cut schemas.TopicCut) {
	for p, pc := range cut.Partitions {
		if c := r.Clocks[p]; c != schemas.Never {
			pc.Clock = &c
			cut.Partitions[p] = pc
		}
	}
}

// ShardPartition names one part of the online store.
type ShardPartition struct {
	Shard     int
	Partition int32
}

// PartitionDay names one UTC day of event time in one partition.
type PartitionDay struct {
	Partition int32
	Day       int64 // days since the epoch
}

// NoDay is the day of records that have no event time.
const NoDay = int64(-1) << 62

// Partitions sums the ledgers per partition.
func (r *Report) Partitions() map[int32]*transforms.Ledger {
	sum := map[int32]*transforms.Ledger{}
	for p := range r.Clocks {
		sum[p] = &transforms.Ledger{}
	}
	for k, l := range r.Ledgers {
		sum[k.Partition].Merge(l)
	}
	return sum
}

// Run reads the cut once, folds it and hands the rows to the tables.
func (r *Replay) Run(ctx context.Context) (*Report, error) {
	engine, err := transforms.NewView(r.View.Spec)
	if err != nil {
		return nil, err
	}
	run := &replayRun{Replay: r, engine: engine, books: newBooks(r.View.Source.History), reappear: reappear(&r.View.Spec)}
	memory := max(r.Memory, 1<<20)
	if engine.Spec().Identity != transforms.Anonymous {
		memory /= 2
	}
	s := newSorter(r.SpillDir, "rows", memory, r.Disk)
	defer s.Close()
	ids := newSorter(r.SpillDir, "ids", memory, r.Disk)
	defer ids.Close()
	if err := run.read(ctx, s, ids); err != nil {
		return nil, err
	}
	broken, err := run.brokenIDs(ctx, ids)
	if err = errors.Join(err, ids.Close()); err != nil { // the fold needs the room
		return nil, err
	}
	if err := eachShard(ctx, engine.Spec().Shards, r.Parallel, func(ctx context.Context, shard int) error {
		f := &replayFold{run: run, shard: shard, in: engine.NewInput(), books: newBooks(r.View.Source.History)}
		if err := s.Shard(ctx, shard, f.row); err != nil {
			return err
		}
		if err := f.end(); err != nil {
			return err
		}
		run.collect(f)
		return nil
	}); err != nil {
		return nil, err
	}
	if err := run.books.checkLoads(r.Cut); err != nil {
		return nil, err
	}
	rep := run.report()
	rep.BrokenIDs, rep.Spilled = broken, s.Spilled()+ids.Spilled()
	return rep, nil
}

type replayRun struct {
	*Replay
	engine *transforms.View
	done   map[int32]*partitionScan
	// closed is the least closing clock minus lateness; Never while a partition is empty.
	closed schemas.Micros
	now    schemas.Micros // the least closing clock
	// reappear: an absent entity is absent for good this long after its newest
	// event. Before, a unit may end and its event fall into the whole units of an
	// exclude_current window.
	reappear schemas.Micros

	mu     sync.Mutex
	books  *books
	counts Report
}

// books are ledgers by shard and by day.
type books struct {
	ledgers map[ShardPartition]*transforms.Ledger
	newest  map[ShardPartition]schemas.Micros
	days    map[PartitionDay]*transforms.Ledger
	loads   map[int32]*transforms.Ledger // of the records below history
	history map[int32]int64
}

func newBooks(history map[int32]int64) *books {
	return &books{map[ShardPartition]*transforms.Ledger{}, map[ShardPartition]schemas.Micros{}, map[PartitionDay]*transforms.Ledger{}, map[int32]*transforms.Ledger{}, history}
}

// book enters a verdict; the event that it replaced moves on its own day.
func (b *books) book(shard int, in *transforms.Input, v *transforms.Verdict) {
	at(b.ledgers, ShardPartition{shard, in.Partition}).Add(v)
	if in.Offset < b.history[in.Partition] {
		at(b.loads, in.Partition).Add(v)
	}
	day := NoDay
	if in.EventTime != schemas.Never {
		day = in.EventTime.Days()
	}
	own := *v
	own.Replaced = false
	at(b.days, PartitionDay{in.Partition, day}).Add(&own)
	if v.Replaced {
		l := at(b.days, PartitionDay{in.Partition, v.ReplacedEventTime.Days()})
		*l.Count(v.ReplacedOutcome)--
		l.Superseded++
	}
}

// folded notes the event time of a record that got as far as the fold.
func (b *books) folded(k ShardPartition, eventTime schemas.Micros) {
	if t, ok := b.newest[k]; !ok || eventTime > t {
		b.newest[k] = eventTime
	}
}

func at[K comparable](m map[K]*transforms.Ledger, k K) *transforms.Ledger {
	if m[k] == nil {
		m[k] = &transforms.Ledger{}
	}
	return m[k]
}

func (b *books) merge(o *books) {
	for k, l := range o.ledgers {
		at(b.ledgers, k).Merge(l)
	}
	for k, t := range o.newest {
		b.folded(k, t)
	}
	for k, l := range o.days {
		at(b.days, k).Merge(l)
	}
	for k, l := range o.loads {
		at(b.loads, k).Merge(l)
	}
}

// checkLoads looks at the loads of old events that the cut holds whole (K7).
func (b *books) checkLoads(cut schemas.TopicCut) error {
	var errs []error
	for _, p := range slices.Sorted(maps.Keys(b.loads)) {
		if cut.Partitions[p].End >= b.history[p] {
			errs = append(errs, b.loads[p].CheckLoad(p))
		}
	}
	return errors.Join(errs...)
}

// read sorts what may count and quarantines what its own clock decides.
func (r *replayRun) read(ctx context.Context, s, ids *spill.Sorter) error {
	sc := &scan{view: r.View, engine: r.engine, source: r.Source, log: r.Log, parallel: r.Parallel, progress: r.Progress}
	shards := r.engine.Spec().Shards
	books := map[int32]*books{}
	buffers := map[int32]*[]byte{}
	for p := range r.Cut.Partitions {
		books[p], buffers[p] = newBooks(r.View.Source.History), new([]byte)
	}
	var err error
	r.done, err = sc.run(ctx, r.Cut, func(in *transforms.Input, e *schemas.Event, rec *schemas.Record) error {
		shard := transforms.EntityShard(in.Entity, shards)
		row := buffers[in.Partition]
		if in.Fault == nil && len(in.ID) > 0 {
			*row = appendIDRow((*row)[:0], in)
			if err := ids.Add(transforms.EntityShard(in.ID, shards), *row); err != nil {
				return err
			}
		}
		if v, out := r.engine.Screen(in); out {
			books[in.Partition].book(shard, in, &v)
			return r.quarantine(in, rec, &v)
		}
		*row = in.AppendInput((*row)[:0])
		return s.Add(shard, *row)
	})
	if err != nil {
		return err
	}
	for _, b := range books {
		r.books.merge(b)
	}
	r.now = schemas.Forever
	r.closed = schemas.Forever
	for p, d := range r.done {
		cut := r.Cut.Partitions[p]
		c := r.View.Source.Closing(p, cut, d.Clock)
		r.now = min(r.now, c)
		r.closed = min(r.closed, c.SubSat(r.engine.Spec().LatenessAt(p, cut.End)))
	}
	return nil
}

// quarantine hands on a record that is not counted; rec is nil where only the
// fold could tell.
func (r *replayRun) quarantine(in *transforms.Input, rec *schemas.Record, v *transforms.Verdict) error {
	q := rows.Quarantined{At: schemas.Position{TopicID: r.Cut.TopicID, Partition: in.Partition, Offset: in.Offset}, Timestamp: schemas.Never,
		Clock: in.Clock, EventTime: in.EventTime, Outcome: v.Outcome, Reason: v.Reason}
	if rec != nil {
		q.Timestamp, q.Key, q.Value = rec.Timestamp, rec.Key, rec.Value
	}
	if in.Fault != nil {
		q.Stage, q.Reason = in.Fault.Stage, in.Fault.Reason
	}
	for _, to := range r.Quarantine {
		if err := to.Quarantine(q); err != nil {
			return err
		}
	}
	return nil
}

func (r *replayRun) collect(f *replayFold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.books.merge(f.books)
	r.counts.Entities += f.counts.Entities
	r.counts.Features += f.counts.Features
	r.counts.Tiles += f.counts.Tiles
	r.counts.States += f.counts.States
}

func (r *replayRun) report() *Report {
	rep := r.counts
	rep.Ledgers, rep.Newest, rep.Days = r.books.ledgers, r.books.newest, r.books.days
	rep.Clocks, rep.Ticks = map[int32]schemas.Micros{}, map[int32]int64{}
	for p, d := range r.done {
		rep.Clocks[p], rep.Ticks[p] = d.Clock, d.Ticks
		for shard := range r.engine.Spec().Shards {
			at(rep.Ledgers, ShardPartition{shard, p})
		}
	}
	rep.Boundary = r.boundary()
	return &rep
}

// boundary is where states are trimmed: B_h of the finest level (V11).
func (r *replayRun) boundary() schemas.Micros {
	hops := r.engine.Hops()
	if r.closed == schemas.Never || len(hops) == 0 {
		return schemas.Never
	}
	return r.closed.Floor(hops[0])
}

// replayFold folds the entities of one shard, one after the other.
type replayFold struct {
	run    *replayRun
	shard  int
	in     *transforms.Input
	books  *books
	counts Report

	entity  []byte
	begun   bool
	states  map[int32]*transforms.State
	waiting map[int32][]transforms.Tile
	newest  schemas.Micros // greatest event time that may count
	next    schemas.Micros // the next boundary to be read; Never = none yet
	// between has what a table's entity had between two boundaries, by the latter.
	between map[schemas.Micros]*transforms.State
}

func (f *replayFold) row(row []byte) error {
	if entity, _ := transforms.RowKey(row); !f.begun || string(entity) != string(f.entity) {
		if err := f.end(); err != nil {
			return err
		}
		f.entity, f.begun = append(f.entity[:0], entity...), true
		f.states, f.waiting = map[int32]*transforms.State{}, map[int32][]transforms.Tile{}
		f.newest, f.next, f.between = schemas.Never, schemas.Never, map[schemas.Micros]*transforms.State{}
	}
	in := f.in
	if !f.run.engine.ParseInput(row, in) {
		return fmt.Errorf("a spilled row does not decode")
	}
	// Rows of all partitions come by clock, and none from here on can change what
	// lies before its clock minus lateness.
	if err := f.snapshots(in.Clock.SubSat(f.run.engine.Spec().MaxLateness())); err != nil {
		return err
	}
	v := f.run.engine.Step(f.state(in.Partition), in)
	f.books.book(f.shard, in, &v)
	f.books.folded(ShardPartition{f.shard, in.Partition}, in.EventTime)
	switch {
	case v.Outcome != transforms.Applied:
	case f.run.engine.IsTable():
		f.enterTable(in)
	default:
		f.newest = max(f.newest, in.EventTime)
		if b := f.after(in.EventTime); f.next == schemas.Never || b < f.next {
			f.next = b
		}
	}
	if f.run.Folded != nil {
		f.run.Folded.Add(1)
	}
	if !v.Quarantined() {
		return nil
	}
	return f.run.quarantine(in, nil, &v)
}

// after returns the first boundary after t.
func (f *replayFold) after(t schemas.Micros) schemas.Micros {
	step := f.run.View.Snapshots
	return t.Floor(step).AddSat(step)
}

func (f *replayFold) state(p int32) *transforms.State {
	s := f.states[p]
	if s == nil {
		s = f.run.engine.NewState(p)
		s.KeepEvicted = true
		f.states[p] = s
	}
	return s
}

// reappear is the longest time from an event until it leaves a window that
// leaves out the current unit.
func reappear(s *transforms.Spec) (longest schemas.Micros) {
	unit := map[transforms.WindowKind]schemas.Micros{transforms.Days: schemas.Day, transforms.Weeks: 7 * schemas.Day, transforms.Months: 31 * schemas.Day}
	for _, f := range s.Features {
		if w := f.Window; w.ExcludeCurrent {
			longest = max(longest, schemas.Micros(w.N+1)*unit[w.Kind])
		}
	}
	return longest
}

// snapshots writes the boundaries up to limit that the entity has not been
// asked at, none beyond the least clock.
func (f *replayFold) snapshots(limit schemas.Micros) error {
	limit = min(limit, f.run.now)
	for f.next != schemas.Never && f.next <= limit {
		b := f.next
		absent, err := f.snapshot(b)
		if err != nil {
			return err
		}
		f.next = b.AddSat(f.run.View.Snapshots)
		if absent && f.newest.AddSat(f.run.reappear) < b { // nothing more until another event
			f.next = schemas.Never
		}
	}
	return nil
}

func (f *replayFold) snapshot(b schemas.Micros) (absent bool, err error) {
	res := f.run.engine.BoundaryValue(nil, b, slices.Collect(maps.Values(f.states))...)
	if len(res) == 0 || res[0].Status == transforms.Absent {
		return true, nil
	}
	return false, f.feature(b, b <= f.run.closed, res)
}

// end writes what is left of the entity: the boundaries that nothing read yet,
// its closed tiles and the remainder of its states.
func (f *replayFold) end() error {
	if !f.begun {
		return nil
	}
	f.begun = false
	f.counts.Entities++
	if err := f.snapshots(f.run.now); err != nil {
		return err
	}
	if err := f.tableSnapshots(); err != nil {
		return err
	}
	for _, p := range slices.Sorted(maps.Keys(f.states)) {
		if err := f.write(p, f.states[p]); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return nil
}

// write trims a state at the closed boundary and writes it in its two parts.
func (f *replayFold) write(p int32, s *transforms.State) error {
	b := f.run.boundary()
	row := rows.Open{Shard: f.shard, Partition: p, Entity: f.entity}
	var closed []transforms.Tile
	if b != schemas.Never {
		f.run.engine.Trim(s, b)
	} else {
		f.run.engine.Join(s)
	}
	for _, t := range s.Evicted() {
		if b != schemas.Never && t.Start+t.Hop <= b.Floor(t.Hop) {
			closed = append(closed, t)
		} else {
			row.Waiting = append(row.Waiting, t)
		}
	}
	empty := s.Empty() // it equals a missing one
	if b != schemas.Never {
		closed = append(closed, f.run.engine.TakeClosed(s, b)...)
	}
	slices.SortStableFunc(closed, func(a, b transforms.Tile) int {
		return cmp.Or(cmp.Compare(a.Hop, b.Hop), cmp.Compare(a.Start, b.Start))
	})
	f.counts.Tiles += int64(len(closed))
	kept := !empty || len(row.Waiting) > 0
	if kept {
		f.counts.States++
	}
	if f.run.Tables == nil {
		return nil
	}
	for _, t := range closed {
		if err := f.run.Tables.Tile(rows.Tile{Shard: f.shard, Partition: p, Entity: f.entity, Tile: t}); err != nil {
			return err
		}
	}
	if !kept {
		return nil
	}
	rest := f.run.engine.Encode(s) // without an old part
	row.Served, row.Open = rest.Served, rest.Open
	return f.run.Tables.Open(row)
}
