package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// foldRecord is what a fold unit records.
type foldRecord struct {
	Entities  int64       `json:"entities"`
	Features  int64       `json:"features"`
	Tiles     int64       `json:"tiles"`
	States    int64       `json:"states"`
	Spilled   int64       `json:"spilled,omitempty"` // bytes
	BrokenIDs BrokenIDs   `json:"broken_ids"`
	Changes   *Changes    `json:"changes,omitempty"`
	Books     booksRecord `json:"books"`
}

// fold folds the shards [from, to), all read units being finished.
func (r *Replay) fold(ctx context.Context, unit string, from, to int) error {
	e, err := r.end(ctx)
	if err != nil {
		return err
	}
	out, err := r.begin(ctx, unit, r.share()/4, e)
	if err != nil {
		return err
	}
	defer out.Abort()
	f := &replayFold{run: r, ctx: ctx, unit: unit, end: e, out: out, in: r.engine.NewInput(), books: newBooks(r.View.Source.History), reappear: reappear(r.engine.Spec()),
		were: provisional{counts: map[schemas.Micros]int{}}, between: map[schemas.Micros]*transforms.State{},
		left: entityTiles{waiting: map[int32][]transforms.Tile{}}}
	defer f.left.close()
	if err := f.hold(ctx); err != nil {
		return err
	}
	for shard := from; shard < to; shard++ {
		f.shard = shard
		if err := r.checkIDs(ctx, unit, shard, &f.counts); err != nil {
			return err
		}
		if err := r.sorted(ctx, unit, inputRows, shard, &f.counts, f.take); err != nil {
			return err
		}
		if err := f.finish(); err != nil {
			return err
		}
	}
	f.count()
	f.counts.Books = f.books.record()
	return out.Finish(ctx, &f.counts)
}

// sorted calls fn with the rows of a kind and shard that all read units have put,
// by entity and clock; before the inputs of an entity stands what is carried of it.
func (r *Replay) sorted(ctx context.Context, unit string, kind byte, shard int, counts *foldRecord, fn func(row []byte) error) (err error) {
	s := newSorter(r.SpillDir, fmt.Sprintf("%s-%d", unit, kind), r.share()/4*3, r.Disk, &r.pool)
	defer func() {
		counts.Spilled += s.Spilled()
		err = errors.Join(err, s.Close())
	}()
	added := 0
	add := func(row []byte) error {
		r.brake(&added, len(row))
		return s.Add(row)
	}
	for _, p := range r.Cut.PartitionIDs() {
		for _, g := range r.reads[p] {
			if err := r.Work.Rows(ctx, g.unit, kind, shard, add); err != nil {
				return err
			}
		}
	}
	if kind == inputRows {
		for _, unit := range r.carried() {
			if err := r.Work.Rows(ctx, unit, carriedRows, shard, add); err != nil {
				return err
			}
		}
	}
	return s.Each(ctx, fn)
}

// replayFold folds the entities of one shard, one after the other.
type replayFold struct {
	run    *Replay
	ctx    context.Context
	unit   string
	end    *end
	out    Output
	shard  int
	in     *transforms.Input
	books  *books
	counts foldRecord
	// reappear: an absent entity is absent for good this long after its newest
	// event. Before, a unit may end and its event fall into the whole units of an
	// exclude_current window.
	reappear schemas.Micros

	folded     int // bytes, see brake
	entity     []byte
	begun      bool
	partitions []int32             // ascending: those that the entity has rows in
	states     []*transforms.State // of each of them
	newest     schemas.Micros      // greatest event time that may count
	next       schemas.Micros      // the next boundary to be read; Never = none yet
	results    []transforms.Result // scratch
	tiles      []keptTileOf        // of the tables, those that are written anew
	held       *against            // nil: nothing is compared
	were       provisional         // of the tables
	left       entityTiles         // tiles that left its states while it has many rows
	undrained  int                 // rows since they were looked for
	closed     []transforms.Tile   // scratch
	uncounted  int64               // rows that run.Folded lacks
	// between has what a table's entity had between two boundaries, by the latter.
	between map[schemas.Micros]*transforms.State
}

// take takes a row of an entity.
func (f *replayFold) take(row []byte) error {
	f.run.brake(&f.folded, len(row))
	if f.run.From != nil || f.run.Was != nil {
		if entity, p, _, kept, ok := transforms.ParseKept(row); ok {
			return f.enter(entity, p, kept)
		}
	}
	return f.row(row)
}

// entityOf begins an entity where it is another one.
func (f *replayFold) entityOf(entity []byte) error {
	if f.begun && string(entity) == string(f.entity) {
		return nil
	}
	if err := f.finish(); err != nil {
		return err
	}
	f.entity, f.begun = append(f.entity[:0], entity...), true
	f.partitions, f.states, f.tiles = f.partitions[:0], f.states[:0], f.tiles[:0]
	f.were.clear()
	f.newest, f.next, f.undrained = schemas.Never, schemas.Never, 0
	clear(f.between)
	return nil
}

func (f *replayFold) row(row []byte) error {
	in := f.in
	if !f.run.engine.ParseInput(row, in) {
		return fmt.Errorf("a spilled row does not decode")
	}
	if err := f.entityOf(in.Entity); err != nil {
		return err
	}
	// Rows of all partitions come by clock, and none from here on can change what
	// lies before its clock minus lateness.
	if err := f.snapshots(in.Clock.SubSat(f.run.engine.Spec().MaxLateness())); err != nil {
		return err
	}
	v := f.run.engine.Step(f.state(in.Partition), in)
	f.books.book(f.shard, in, &v)
	if f.held != nil {
		f.note(in, &v)
	}
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
	if f.uncounted++; f.uncounted >= countAtOnce {
		f.count()
	}
	if f.undrained++; f.undrained >= cmp.Or(f.run.drainRows, drainRows) {
		f.undrained = 0
		if err := f.drain(); err != nil {
			return err
		}
	}
	if !v.Quarantined() {
		return nil
	}
	return f.out.Quarantine(f.run.quarantined(in, nil, &v))
}

// countAtOnce is how many rows are reported as folded together: to report each one,
// goroutines would wait for one another.
const countAtOnce = 1000

func (f *replayFold) count() {
	if f.run.Folded != nil {
		f.run.Folded.Add(f.uncounted)
	}
	f.uncounted = 0
}

// after returns the first boundary after t of which rows are written.
func (f *replayFold) after(t schemas.Micros) schemas.Micros {
	step := f.run.View.Snapshots
	return max(t.Floor(step).AddSat(step), f.run.Dates.boundary(step))
}

// state returns the entity's state of a partition: most entities have one.
func (f *replayFold) state(p int32) *transforms.State {
	if len(f.partitions) == 1 && f.partitions[0] == p {
		return f.states[0]
	}
	i, there := slices.BinarySearch(f.partitions, p)
	if !there {
		s := f.run.engine.NewState(p)
		s.KeepEvicted = true
		f.partitions, f.states = slices.Insert(f.partitions, i, p), slices.Insert(f.states, i, s)
	}
	return f.states[i]
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
	if limit = min(limit, f.end.now); f.run.FinalOnly {
		limit = min(limit, f.end.closed)
	}
	for f.next != schemas.Never && f.next <= limit {
		b := f.next
		absent, err := f.snapshot(b)
		if err != nil {
			return err
		}
		f.next = b.AddSat(f.run.View.Snapshots)
		if absent && f.newest.AddSat(f.reappear) < b { // nothing more until another event
			f.next = schemas.Never
		}
	}
	return nil
}

func (f *replayFold) snapshot(b schemas.Micros) (absent bool, err error) {
	f.results = f.run.engine.BoundaryValueFrom(f.results[:0], b, f.run.ValidFrom, f.states...)
	res := f.results
	if len(res) == 0 || res[0].Status == transforms.Absent {
		if f.held != nil {
			f.compare(b, nil)
		}
		return true, nil
	}
	return false, f.feature(b, b <= f.end.closed, res)
}

// finish writes what is left of the entity: the boundaries that nothing read yet,
// its closed tiles and the remainder of its states.
func (f *replayFold) finish() error {
	if !f.begun {
		return nil
	}
	f.begun = false
	if f.run.Was == nil || len(f.partitions) > 0 { // else there are but rows of the tables
		f.counts.Entities++
	}
	if err := f.snapshots(f.end.now); err != nil {
		return err
	}
	if err := f.tableSnapshots(); err != nil {
		return err
	}
	if f.held != nil {
		f.gone(schemas.Forever)
	}
	for i, p := range f.partitions {
		if err := f.write(p, f.states[i]); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return f.endTiles()
}

// write trims a state at the closed boundary and writes it in its two parts.
func (f *replayFold) write(p int32, s *transforms.State) error {
	b := f.end.boundary(f.run.engine)
	row := rows.Open{Shard: f.shard, Partition: p, Entity: f.entity}
	closed := f.closed[:0]
	if b != schemas.Never {
		f.run.engine.Trim(s, b)
	} else {
		f.run.engine.Join(s)
	}
	for _, tiles := range [...][]transforms.Tile{f.left.waiting[p], s.Evicted()} {
		for _, t := range tiles {
			if b != schemas.Never && isClosed(&t, b) {
				closed = append(closed, t)
			} else {
				row.Waiting = append(row.Waiting, t)
			}
		}
	}
	empty := s.Empty() // it equals a missing one
	if b != schemas.Never {
		closed = append(closed, f.run.engine.TakeClosed(s, b)...)
	}
	closed = f.withKept(p, closed)
	f.closed = closed
	slices.SortStableFunc(closed, byStart)
	slices.SortStableFunc(row.Waiting, byStart)
	kept := !empty || len(row.Waiting) > 0
	if kept {
		f.counts.States++
	}
	for _, t := range closed {
		if err := f.tile(p, t); err != nil {
			return err
		}
	}
	if !kept {
		return nil
	}
	rest := f.run.engine.Encode(s) // without an old part
	row.Served, row.Open = rest.Served, rest.Open
	return f.out.Open(row)
}

// byStart orders the tiles of a state as tables do.
func byStart(a, b transforms.Tile) int {
	return cmp.Or(cmp.Compare(a.Hop, b.Hop), cmp.Compare(a.Start, b.Start))
}
