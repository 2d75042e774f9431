package batch

import (
	"context"
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
)

// Replay folds a cut of one view's source, in units (B4):
//
//	read    a range of offsets of one partition → rows by shard, its own books
//	fold    a range of shards                   → rows of the tables, books
//
// A range of a partition is read after the one before it, whose clock it goes on
// from; folds come after all reads. Everything else may run in any order, at once,
// in several processes, and twice.
type Replay struct {
	View      *definition.View
	Source    *reading.Source
	Log       Log
	Cut       schemas.TopicCut
	From      *From     // nil = the beginning of the cut
	Dates     *Dates    // nil = all; goes without From
	Was       *From     // what the tables hold of Dates, to be compared; nil = nothing is
	Entities  *Entities // nil = all
	Work      Work
	Parallel  int         // units that run at once in this process
	Memory    int         // bytes that the rows of all of these may take
	Disk      *spill.Disk // what sorting may spill; nil = no limit
	SpillDir  string      // for what does not fit; it must exist
	ValidFrom schemas.Micros
	// FinalOnly leaves out rows of features that can still change.
	FinalOnly bool
	// ReadRecords is about how many records a read unit has; 0 = 250,000.
	ReadRecords int64
	// Brake is called every some rows, by each who runs a unit: it may wait while memory
	// is short. It may be nil.
	Brake    func()
	Progress *atomic.Int64 // records read; may be nil
	Folded   *atomic.Int64 // rows folded; may be nil

	drainRows int // 0 = drainRows; for tests

	once   sync.Once
	engine *transforms.View
	broken error      // why there is no engine
	pool   spill.Pool // of folds
	reads  map[int32][]readRange
	before *earlier // nil without From
	held   *against // nil: nothing is compared

	mu   sync.Mutex
	ends *end // nil until all reads are known to be finished
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
	// Outside counts the records of entities outside Replay.Entities, which are in no
	// ledger.
	Outside int64
	// Boundary is the closed boundary of the view's finest level at which the
	// states were trimmed; Never while a partition is empty, and of a table.
	Boundary schemas.Micros
	// Closed is the instant before which nothing can change any more: the least closing
	// clock minus lateness; Never while a partition is empty.
	Closed   schemas.Micros
	Entities int64
	Features int64 // rows
	Tiles    int64
	States   int64 // (entity, partition) with a remainder
	Spilled  int64 // bytes, while sorting
	// Changes is nil without From and Was, or where the tables had no rows that can change.
	Changes *Changes
	// Uncompared says why the tables could not be read to be compared, "" where they were.
	Uncompared string
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

// foldUnits is into how many units the shards are divided at most.
const foldUnits = 32

// maxReads is into how many units a partition is divided at most.
const maxReads = 64

const defaultReadRecords = 250_000

// prepare compiles the view and divides the cut, once.
func (r *Replay) prepare() error {
	r.once.Do(func() {
		r.engine, r.broken = transforms.NewView(r.View.Spec)
		if r.broken != nil {
			return
		}
		r.before = r.earlier(r.From)
		r.held = r.heldAgainst()
		size := r.ReadRecords
		if size <= 0 {
			size = defaultReadRecords
		}
		r.reads = map[int32][]readRange{}
		for p, pc := range r.Cut.Partitions {
			from := pc.Start
			if r.From != nil {
				from = r.From.Cut.Partitions[p].End
			}
			size := max(size, (pc.End-from+maxReads-1)/maxReads)
			for n := 0; n == 0 || from < pc.End; n++ {
				to := min(from+size, pc.End)
				r.reads[p] = append(r.reads[p], readRange{unit: fmt.Sprintf("read-%05d-%02d", p, n), partition: p, from: from, to: to, first: n == 0})
				from = to
			}
		}
	})
	return r.broken
}

// Reads returns the read units: in each lane those of one partition, which follow
// one another, or one that carries what tables hold.
func (r *Replay) Reads() ([]Lane, error) {
	if err := r.prepare(); err != nil {
		return nil, err
	}
	var lanes []Lane
	for _, p := range r.Cut.PartitionIDs() {
		var lane Lane
		for i := range r.reads[p] {
			g := &r.reads[p][i]
			before := ""
			if i > 0 {
				before = r.reads[p][i-1].unit
			}
			lane = append(lane, Unit{Name: g.unit, Run: func(ctx context.Context) error { return r.read(ctx, g, before) }})
		}
		lanes = append(lanes, lane)
	}
	return append(lanes, r.carries()...), nil
}

// Folds returns the fold units, shards ascending.
func (r *Replay) Folds() ([]Lane, error) {
	if err := r.prepare(); err != nil {
		return nil, err
	}
	var lanes []Lane
	shards := r.engine.Spec().Shards
	n := min(shards, foldUnits)
	for i := range n {
		from, to := i*shards/n, (i+1)*shards/n
		name := fmt.Sprintf("fold-%03d", i)
		lanes = append(lanes, Lane{{Name: name, Run: func(ctx context.Context) error { return r.fold(ctx, name, from, to) }}})
	}
	return lanes, nil
}

// Units names all units, in the order in which rows of tables ascend over them.
func (r *Replay) Units() ([]string, error) {
	reads, err := r.Reads()
	if err != nil {
		return nil, err
	}
	folds, err := r.Folds()
	var names []string
	for _, lane := range append(reads, folds...) {
		for _, u := range lane {
			names = append(names, u.Name)
		}
	}
	return names, err
}

// end is what all read units together say of where the log stands.
type end struct {
	clocks map[int32]schemas.Micros
	ticks  map[int32]int64
	// closed is the least closing clock minus lateness; Never while a partition is empty.
	closed  schemas.Micros
	now     schemas.Micros // the least closing clock
	outside int64
	books   *books // of what the reads decided
}

// end reads the records of all read units, which are finished, once.
func (r *Replay) end(ctx context.Context) (*end, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ends != nil {
		return r.ends, nil
	}
	e := &end{clocks: map[int32]schemas.Micros{}, ticks: map[int32]int64{}, books: newBooks(r.View.Source.History)}
	for p, ranges := range r.reads {
		clock := schemas.Never
		for _, g := range ranges {
			rec, err := record[readRecord](ctx, r.Work, g.unit)
			if err != nil {
				return nil, err
			}
			clock = rec.clock()
			e.ticks[p] += rec.Ticks
			e.outside += rec.Outside
			e.books.add(&rec.Books)
		}
		e.clocks[p] = clock
	}
	e.now, e.closed = r.closedAt(r.Cut, e.clocks)
	r.ends = e
	return e, nil
}

// Clocks returns the log clocks at the cut's end, all read units being finished;
// Never = the partition is empty.
func (r *Replay) Clocks(ctx context.Context) (map[int32]schemas.Micros, error) {
	if err := r.prepare(); err != nil {
		return nil, err
	}
	e, err := r.end(ctx)
	if err != nil {
		return nil, err
	}
	return e.clocks, nil
}

// KnownNow returns the ids of writer schemas, ascending, that a read unit did not know
// and that are known now: were it run now, it would leave other rows. All read units
// are finished. The answer is nil where the rows of all belong together.
func (r *Replay) KnownNow(ctx context.Context) ([]int, error) {
	unknown, err := r.Unknown(ctx)
	if err != nil {
		return nil, err
	}
	var known []int
	for _, id := range unknown {
		ok, err := r.Source.Known(ctx, id)
		if err != nil {
			return nil, err
		}
		if ok {
			known = append(known, id)
		}
	}
	return known, nil
}

// Unknown returns the ids of writer schemas, ascending, that read units did not know;
// all are finished. Of many it is the least ones of each unit.
func (r *Replay) Unknown(ctx context.Context) ([]int, error) {
	if err := r.prepare(); err != nil {
		return nil, err
	}
	unknown := map[int]bool{}
	for _, ranges := range r.reads {
		for _, g := range ranges {
			rec, err := record[readRecord](ctx, r.Work, g.unit)
			if err != nil {
				return nil, err
			}
			for _, id := range rec.Unknown {
				unknown[id] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(unknown)), nil
}

// record returns what a unit recorded; the error is an *UnfinishedError where it
// has not.
func record[T any](ctx context.Context, w Work, unit string) (*T, error) {
	v := new(T)
	ok, err := w.Record(ctx, unit, v)
	if err == nil && !ok {
		err = &UnfinishedError{unit}
	}
	return v, err
}

// boundary is where states are trimmed: B_h of the finest level (V11).
func (e *end) boundary(v *transforms.View) schemas.Micros {
	hops := v.Hops()
	if e.closed == schemas.Never || len(hops) == 0 {
		return schemas.Never
	}
	return e.closed.Floor(hops[0])
}

// Report puts together what all units recorded, once they are finished.
func (r *Replay) Report(ctx context.Context) (*Report, error) {
	if err := r.prepare(); err != nil {
		return nil, err
	}
	e, err := r.end(ctx)
	if err != nil {
		return nil, err
	}
	folds, err := r.Folds()
	if err != nil {
		return nil, err
	}
	all := newBooks(r.View.Source.History)
	all.merge(e.books)
	rep := &Report{Clocks: e.clocks, Ticks: e.ticks, Boundary: e.boundary(r.engine), Closed: e.closed, Outside: e.outside}
	if r.held != nil {
		rep.Changes = &Changes{Dates: []DateChanges{}, Examples: []Change{}}
		if rep.Uncompared, err = r.unread(ctx); err != nil {
			return nil, err
		}
		if rep.Uncompared != "" {
			rep.Changes = nil
		}
	}
	if r.engine.Spec().Identity != transforms.Anonymous {
		rep.BrokenIDs = &BrokenIDs{Examples: []BrokenID{}}
	}
	for _, lane := range folds {
		rec, err := record[foldRecord](ctx, r.Work, lane[0].Name)
		if err != nil {
			return nil, err
		}
		all.add(&rec.Books)
		rep.Entities += rec.Entities
		rep.Features += rec.Features
		rep.Tiles += rec.Tiles
		rep.States += rec.States
		rep.Spilled += rec.Spilled
		if rep.BrokenIDs != nil {
			rep.BrokenIDs.merge(&rec.BrokenIDs)
		}
		if rep.Changes != nil && rec.Changes != nil {
			rep.Changes.merge(rec.Changes)
		}
	}
	if err := all.checkLoads(r.Cut); err != nil {
		return nil, err
	}
	if r.From != nil {
		all.merge(&books{ledgers: r.From.Ledgers, newest: r.From.Newest, days: r.From.Days})
	}
	rep.Ledgers, rep.Newest, rep.Days = all.ledgers, all.newest, all.days
	for p := range e.clocks {
		for shard := range r.engine.Spec().Shards {
			at(rep.Ledgers, ShardPartition{shard, p})
		}
	}
	return rep, nil
}

// Run runs all units that are not finished, in this process, and reports.
func (r *Replay) Run(ctx context.Context) (*Report, error) {
	reads, err := r.Reads()
	if err != nil {
		return nil, err
	}
	folds, err := r.Folds()
	if err != nil {
		return nil, err
	}
	d := &Driver{Work: r.Work, Parallel: r.Parallel}
	if err := d.Run(ctx, reads); err != nil {
		return nil, err
	}
	if err := d.Run(ctx, folds); err != nil {
		return nil, err
	}
	return r.Report(ctx)
}

// brake counts a row of so many bytes.
func (r *Replay) brake(handled *int, row int) {
	if *handled += row + rowCost; r.Brake != nil && *handled >= brakeEvery {
		*handled = 0
		r.Brake()
	}
}

// brakeEvery is how many bytes of rows are handled between two calls of Brake, and
// rowCost what a row counts besides its own.
const (
	brakeEvery = 64 << 10
	rowCost    = 256
)

// share is the memory of one unit, in bytes.
func (r *Replay) share() int { return max(r.Memory, 1<<20) / max(1, r.Parallel) }
