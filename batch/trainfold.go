package batch

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms"
)

// trainFold folds the rows of one entity after the other and answers its labels on
// the way. Where it is decided what became of the records, that is one pass by the
// instant from which they are known: see. With ids and knowledge Arrival it is the
// fold itself, by clock: arrive. With ids and knowledge Complete it is two passes:
// judge, in the order of the log, hands on the events in force; see takes them by
// event time.
type trainFold struct {
	r      *trainRun
	in     *transforms.Input
	sweep  *transforms.Sweep
	states map[int32]*transforms.State // of arrive and judge
	parts  []*transforms.State         // the same
	id     int32                       // the entity; -1 = none yet
	left   []int32                     // its labels not answered yet, by T; judge leaves them to see

	blocks [][]byte   // loaded
	refs   []trainRow // grouped by entity
	next   []int      // per entity of the shard: where its next row goes
	order  []trainRow // of foldVersions

	times   []labelTime         // of one entity
	results []transforms.Result // of one label
}

type labelTime struct {
	t     schemas.Micros
	label int32
}

// rowAt is where in the loaded blocks a row stands.
type rowAt struct{ block, at uint32 }

// trainRow is a row in the order in which it is folded: by key, partition, offset and
// place.
type trainRow struct {
	key       schemas.Micros
	offset    int64
	partition int32
	row       rowAt
}

// takenBack is in the place of a row that replaces an earlier one.
var takenBack = rowAt{math.MaxUint32, math.MaxUint32}

func (a *trainRow) compare(b *trainRow) int {
	if a.key != b.key {
		return cmp.Compare(a.key, b.key)
	}
	return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset),
		cmp.Compare(a.row.block, b.row.block), cmp.Compare(a.row.at, b.row.at))
}

func (r *trainRun) newFold() *trainFold {
	return &trainFold{r: r, in: r.engine.NewInput(), sweep: r.engine.NewSweep(), states: map[int32]*transforms.State{}, id: -1}
}

// loaded folds a shard whose rows fit into memory, entity by entity.
func (f *trainFold) loaded(ctx context.Context, shard int) (err error) {
	if f.blocks, err = f.r.rows.Load(shard); err != nil {
		return err
	}
	defer func() { f.blocks = nil }()
	f.groupRows(shard)
	from := 0
	for n, id := 0, shard; id < len(f.r.names); n, id = n+1, id+trainShards {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f.begin(int32(id))
		if err := f.foldRows(f.refs[from:f.next[n]]); err != nil {
			return err
		}
		if err := f.end(); err != nil {
			return err
		}
		from = f.next[n]
	}
	return nil
}

// groupRows lists the rows of the shard by entity, those of one as they came. Then
// next is where those of each entity end.
func (f *trainFold) groupRows(shard int) {
	f.next = f.next[:0]
	total := 0
	for id := shard; id < len(f.r.names); id += trainShards {
		f.next = append(f.next, total)
		total += f.r.rows.Rows(int32(id))
	}
	f.refs = slices.Grow(f.refs[:0], total)[:total]
	for b, rows := range f.blocks {
		for at := 0; at < len(rows); {
			id, row, end := spill.PiledRow(rows, at)
			n := &f.next[int(id)/trainShards]
			f.refs[*n] = trainRow{key: transforms.BriefClock(row), row: rowAt{uint32(b), uint32(at)}}
			*n++
			at = end
		}
	}
}

// foldRows folds the rows of one entity.
func (f *trainFold) foldRows(rows []trainRow) error {
	if !f.r.decided && f.r.Knowledge == Complete {
		return f.foldVersions(rows)
	}
	sortRows(rows)
	take := f.see
	if !f.r.decided {
		take = f.arrive
	}
	for i := range rows {
		if err := f.parse(rows[i].row); err != nil {
			return err
		}
		if err := take(); err != nil {
			return err
		}
	}
	return nil
}

// foldVersions judges the rows of one entity and folds those in force.
func (f *trainFold) foldVersions(rows []trainRow) error {
	f.order = f.order[:0]
	for i := range rows {
		at := rows[i].row
		if err := f.parse(at); err != nil {
			return err
		}
		err := f.judge(func(accepted bool) error {
			if !accepted {
				at = takenBack
			}
			f.order = append(f.order, trainRow{f.in.Clock, f.in.Offset, f.in.Partition, at})
			return nil
		})
		if err != nil {
			return err
		}
	}
	sortRows(f.order)
	for i := 0; i < len(f.order); i++ {
		if x := &f.order[i]; i+1 < len(f.order) && f.order[i+1].row == takenBack && f.order[i+1].offset == x.offset && f.order[i+1].partition == x.partition {
			i++
			continue
		}
		if err := f.parse(f.order[i].row); err != nil {
			return err
		}
		f.in.Clock = f.order[i].key
		if err := f.see(); err != nil {
			return err
		}
	}
	return nil
}

// sortRows sorts rows that mostly lie near their places: by insertion, until that
// has moved more than it saves.
func sortRows(rows []trainRow) {
	moves := 16 * len(rows)
	for i := 1; i < len(rows); i++ {
		x, at := rows[i], i
		for ; at > 0 && x.compare(&rows[at-1]) < 0; at-- {
			rows[at] = rows[at-1]
		}
		rows[at] = x
		if moves -= i - at; moves < 0 {
			slices.SortFunc(rows, func(a, b trainRow) int { return a.compare(&b) })
			return
		}
	}
}

func (f *trainFold) row(at rowAt) []byte {
	_, row, _ := spill.PiledRow(f.blocks[at.block], int(at.at))
	return row
}

func (f *trainFold) parse(at rowAt) error {
	if !f.r.engine.ParseBrief(f.row(at), f.in) {
		return fmt.Errorf("a spilled row of partition %d does not decode", f.in.Partition)
	}
	return nil
}

// begin begins an entity.
func (f *trainFold) begin(id int32) {
	f.id, f.left, f.times = id, f.r.asked[id], f.times[:0]
	for _, i := range f.left {
		f.times = append(f.times, labelTime{f.r.labels[i].T, i})
	}
	slices.SortFunc(f.times, func(a, b labelTime) int { return cmp.Or(cmp.Compare(a.t, b.t), cmp.Compare(a.label, b.label)) })
	for n, x := range f.times {
		f.left[n] = x.label
	}
	f.sweep.Reset()
	clear(f.states)
	f.parts = f.parts[:0]
}

func (f *trainFold) state(fresh func(partition int32) *transforms.State) *transforms.State {
	s := f.states[f.in.Partition]
	if s == nil {
		s = fresh(f.in.Partition)
		f.states[f.in.Partition], f.parts = s, append(f.parts, s)
	}
	return s
}

// see answers the labels that do not know the event, then enters it.
func (f *trainFold) see() error {
	if err := f.answerBefore(f.in.Clock); err != nil {
		return err
	}
	f.sweep.Add(f.in)
	return nil
}

// arrive answers the labels before the record's clock, then folds it.
func (f *trainFold) arrive() error {
	if err := f.answerBefore(f.in.Clock); err != nil {
		return err
	}
	f.r.engine.Step(f.state(f.r.engine.NewTrainingState), f.in)
	return nil
}

// judge folds a record and hands on what its verdict changes of the events in force:
// itself, as an accepted row, and the one that it replaced, as one that is not. The
// clock of both is the least t that knows the event, so that both rows of one that
// was replaced have one key. What no label can see is not handed on.
func (f *trainFold) judge(hand func(accepted bool) error) error {
	until := f.r.until[f.id]
	v := f.r.engine.Step(f.state(f.r.engine.NewState), f.in)
	if f.in.Clock = f.in.EventTime.AddSat(1); v.Outcome == transforms.Applied && f.in.Clock <= until {
		if err := hand(true); err != nil {
			return err
		}
	}
	if !v.Replaced || v.ReplacedOutcome != transforms.Applied {
		return nil
	}
	f.in.Offset, f.in.EventTime, f.in.Accept = v.ReplacedOffset, v.ReplacedEventTime, false
	if f.in.Clock = f.in.EventTime.AddSat(1); f.in.Clock <= until {
		return hand(false)
	}
	return nil
}

// answerBefore answers the labels with T < t.
func (f *trainFold) answerBefore(t schemas.Micros) error {
	for len(f.left) > 0 && f.r.labels[f.left[0]].T < t {
		if err := f.answer(f.left[0]); err != nil {
			return err
		}
		f.left = f.left[1:]
	}
	return nil
}

// end answers what is left of the entity.
func (f *trainFold) end() error {
	for _, i := range f.left {
		if err := f.answer(i); err != nil {
			return err
		}
	}
	f.left = nil
	return nil
}

// answer fills in the results of a label.
func (f *trainFold) answer(i int32) (err error) {
	t, res := f.r.labels[i].T, f.results[:0]
	if f.r.decided || f.r.Knowledge == Complete {
		res = f.sweep.Value(res, t, f.r.ValidFrom)
	} else if res, err = f.r.engine.ValueFrom(res, t, f.r.ValidFrom, f.parts...); err != nil {
		return fmt.Errorf("entity %x: %w", f.r.names[f.id], err)
	}
	f.r.answers.set(int(i), res)
	f.results = res
	return nil
}

// sorted folds a shard whose rows do not fit into memory: an entity of any size
// streams through (B3).
func (f *trainFold) sorted(ctx context.Context, shard int) error {
	name, memory, two := fmt.Sprintf("rows-%d", shard), f.r.workMemory(), !f.r.decided && f.r.Knowledge == Complete
	if two {
		memory /= 2
	}
	s := newSorter(f.r.SpillDir, name, memory, nil, nil)
	defer s.Close()
	f.id = -1
	var out []byte
	err := f.r.rows.Each(ctx, shard, func(id int32, row []byte) error {
		if !f.r.engine.ParseBrief(row, f.in) {
			return fmt.Errorf("a spilled row of partition %d does not decode", f.in.Partition)
		}
		f.in.Entity = append(f.in.Entity[:0], f.r.names[id]...)
		out = f.in.AppendInput(out[:0])
		return s.Add(out)
	})
	if err != nil {
		return err
	}
	if err := f.stream(ctx, shard, s, memory); err != nil {
		return err
	}
	for id := shard; id < len(f.r.names); id += trainShards { // those without records are answered too
		if f.r.answers.answered(int(f.r.asked[id][0])) {
			continue
		}
		f.begin(int32(id))
		if err := f.end(); err != nil {
			return err
		}
	}
	return nil
}

// stream folds sorted rows.
func (f *trainFold) stream(ctx context.Context, shard int, s *spill.Sorter, memory int) error {
	if f.r.decided || f.r.Knowledge == Arrival {
		take := f.see
		if !f.r.decided {
			take = f.arrive
		}
		if err := s.Each(ctx, func(row []byte) error { return f.enter(row, take) }); err != nil {
			return err
		}
		return f.end()
	}
	events := newSorter(f.r.SpillDir, fmt.Sprintf("events-%d", shard), memory, nil, nil)
	defer events.Close()
	var out []byte
	hand := func(bool) error {
		out = f.in.AppendInput(out[:0])
		return events.Add(out)
	}
	if err := s.Each(ctx, func(row []byte) error {
		return f.enter(row, func() error {
			f.left = nil
			return f.judge(hand)
		})
	}); err != nil {
		return err
	}
	s.Close()
	f.id = -1
	var held []byte // the last row, unless it was taken back
	settle := func() error {
		if len(held) == 0 {
			return nil
		}
		return f.enter(held, f.see)
	}
	if err := events.Each(ctx, func(row []byte) error {
		if len(held) > 0 && compareRows(held, row) == 0 {
			held = held[:0]
			return nil
		}
		err := settle()
		held = append(held[:0], row...)
		return err
	}); err != nil {
		return err
	}
	if err := settle(); err != nil {
		return err
	}
	return f.end()
}

// enter begins another entity where the row is of one, and gives the parsed row to
// take.
func (f *trainFold) enter(row []byte, take func() error) error {
	if entity, _ := transforms.RowKey(row); f.id < 0 || string(entity) != f.r.names[f.id] {
		if err := f.end(); err != nil {
			return err
		}
		f.begin(f.r.ids[string(entity)])
	}
	if !f.r.engine.ParseInput(row, f.in) {
		return fmt.Errorf("a spilled row of partition %d does not decode", f.in.Partition)
	}
	return take()
}
