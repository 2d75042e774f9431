package batch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
)

// Knowledge says which records a label may draw on (§10).
type Knowledge string

const (
	// Complete: the verdicts of the whole cut first, then the accepted events by
	// event time. What is true.
	Complete Knowledge = "complete"
	// Arrival: the records whose log clock is at or before t, with their verdicts
	// by then. What the stream knew.
	Arrival Knowledge = "arrival"
)

// Train answers labels from the log.
type Train struct {
	View      *definition.View
	Source    *reading.Source
	Log       Log
	Knowledge Knowledge
	Cut       schemas.TopicCut
	Parallel  int
	Memory    int    // bytes that the rows to be sorted may take
	SpillDir  string // for what does not fit; it must exist
	// ValidFrom: windows that begin at or before it are Incomplete; Never = none (K8).
	ValidFrom schemas.Micros
	Progress  *atomic.Int64 // records read; may be nil
}

// Label asks for the features of an entity as of T.
type Label struct {
	Entity string // canonical encoding
	T      schemas.Micros
}

// Answers are what Train found.
type Answers struct {
	// Results has one row of features per label, in the order of the labels.
	Results [][]transforms.Result
	// Clock is the least log clock at the cut's end; Never when a partition is
	// empty. Labels beyond it may miss records that are still to come.
	Clock schemas.Micros
}

// Run answers every label.
func (t *Train) Run(ctx context.Context, labels []Label) (*Answers, error) {
	engine, err := transforms.NewView(t.View.Spec)
	if err != nil {
		return nil, err
	}
	r := &trainRun{Train: t, engine: engine, asked: map[string][]int{}, results: make([][]transforms.Result, len(labels)), labels: labels}
	for i, l := range labels {
		r.asked[l.Entity] = append(r.asked[l.Entity], i)
	}
	for _, rows := range r.asked {
		sort.SliceStable(rows, func(i, j int) bool { return labels[rows[i]].T < labels[rows[j]].T })
	}
	s := newSorter(t.SpillDir, "rows", t.memory(), nil)
	defer s.Close()
	done, err := r.read(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := r.fold(ctx, s); err != nil {
		return nil, err
	}
	a := &Answers{Results: r.results, Clock: schemas.Forever}
	for _, p := range done {
		a.Clock = min(a.Clock, p.Clock)
	}
	return a, nil
}

// memory is what a sorter may take, in bytes.
func (t *Train) memory() int {
	memory := max(t.Memory, 1<<20)
	if t.Knowledge == Complete {
		memory /= 2 // the other half is for the events in force
	}
	return memory
}

// trainShards is how many parts the entities are divided into for folding.
const trainShards = 64

type trainRun struct {
	*Train
	engine  *transforms.View
	labels  []Label
	asked   map[string][]int // entity → its labels, by T
	results [][]transforms.Result
}

// read sorts the rows of the entities asked for.
func (r *trainRun) read(ctx context.Context, s *spill.Sorter) (map[int32]*partitionScan, error) {
	sc := &scan{view: r.View, engine: r.engine, source: r.Source, log: r.Log, parallel: r.Parallel, progress: r.Progress}
	var rows sync.Pool
	loads := map[int32]*transforms.Ledger{}
	for p := range r.Cut.Partitions {
		loads[p] = &transforms.Ledger{}
	}
	history := r.View.Source.History
	done, err := sc.run(ctx, r.Cut, nil, func(in *transforms.Input, _ *schemas.Event, _ *schemas.Record) error {
		if in.Offset < history[in.Partition] {
			v, _ := r.engine.Screen(in) // what only the fold finds late is not seen here
			loads[in.Partition].Add(&v)
		}
		if in.Fault != nil || r.asked[string(in.Entity)] == nil {
			return nil
		}
		buf, _ := rows.Get().(*[]byte)
		if buf == nil {
			buf = new([]byte)
		}
		*buf = in.AppendInput((*buf)[:0])
		err := s.Add(transforms.EntityShard(in.Entity, trainShards), *buf)
		rows.Put(buf)
		return err
	})
	if err != nil {
		return nil, err
	}
	return done, (&books{loads: loads, history: history}).checkLoads(r.Cut)
}

func (r *trainRun) fold(ctx context.Context, s *spill.Sorter) error {
	for entity, rows := range r.asked { // those without records are answered too
		if err := r.answerAll(rows, nil); err != nil {
			return fmt.Errorf("entity %x: %w", entity, err)
		}
	}
	if r.Knowledge == Arrival {
		return eachShard(ctx, trainShards, r.Parallel, func(ctx context.Context, shard int) error {
			f := &trainFold{r: r, in: r.engine.NewInput(), fresh: r.engine.NewTrainingState}
			if err := s.Shard(ctx, shard, f.arrive); err != nil {
				return err
			}
			return f.end()
		})
	}
	events := newSorter(r.SpillDir, "events", r.memory(), nil)
	defer events.Close()
	if err := eachShard(ctx, trainShards, r.Parallel, func(ctx context.Context, shard int) error {
		f := &trainFold{r: r, in: r.engine.NewInput(), fresh: r.engine.NewState, shard: shard, events: events}
		return s.Shard(ctx, shard, f.judge)
	}); err != nil {
		return err
	}
	s.Close()
	return eachShard(ctx, trainShards, r.Parallel, func(ctx context.Context, shard int) error {
		f := &trainFold{r: r, in: r.engine.NewInput(), fresh: r.engine.NewState}
		if err := events.Shard(ctx, shard, f.settle); err != nil {
			return err
		}
		if err := f.accept(); err != nil {
			return err
		}
		return f.end()
	})
}

// eachShard calls fn for every shard, several at once, until one fails.
func eachShard(ctx context.Context, shards, parallel int, fn func(ctx context.Context, shard int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int32
	var wg sync.WaitGroup
	for range max(1, min(parallel, shards)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				shard := int(next.Add(1)) - 1
				if shard >= shards {
					return
				}
				if err := fn(ctx, shard); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// trainFold folds the rows of one entity after the other. With knowledge
// Arrival that is one pass, by clock: arrive. With Complete it is two: judge, by
// clock, hands the events in force to a sorter; settle takes them by event time.
type trainFold struct {
	r      *trainRun
	in     *transforms.Input
	fresh  func(partition int32) *transforms.State
	entity []byte
	begun  bool
	left   []int // labels of the entity not answered yet, by T
	states map[int32]*transforms.State

	shard  int
	events *spill.Sorter // of judge
	out    []byte        // its row
	held   []byte        // of settle: the last row, unless it was taken back
}

// enter begins another entity where the row is of one, and parses the row.
func (f *trainFold) enter(row []byte) error {
	if entity, _ := transforms.RowKey(row); !f.begun || string(entity) != string(f.entity) {
		if err := f.end(); err != nil {
			return err
		}
		f.entity, f.begun = append(f.entity[:0], entity...), true
		f.left = f.r.asked[string(entity)]
		f.states = map[int32]*transforms.State{}
	}
	if !f.r.engine.ParseInput(row, f.in) {
		return fmt.Errorf("a spilled row of partition %d does not decode", f.in.Partition)
	}
	return nil
}

func (f *trainFold) state(p int32) *transforms.State {
	s := f.states[p]
	if s == nil {
		s = f.fresh(p)
		f.states[p] = s
	}
	return s
}

// arrive answers the labels before the record's clock, then folds it.
func (f *trainFold) arrive(row []byte) error {
	if err := f.enter(row); err != nil {
		return err
	}
	if err := f.answerBefore(f.in.Clock); err != nil {
		return err
	}
	f.r.engine.Step(f.state(f.in.Partition), f.in)
	return nil
}

// judge folds a record and hands on what its verdict changes of the events in
// force: itself, as an accepted row, and the one that it replaced, as one that
// is not. Rows are keyed by event time in the place of the clock, so both rows
// of an event that was replaced have one key.
func (f *trainFold) judge(row []byte) error {
	if err := f.enter(row); err != nil {
		return err
	}
	v := f.r.engine.Step(f.state(f.in.Partition), f.in)
	if v.Outcome == transforms.Applied {
		if err := f.hand(); err != nil {
			return err
		}
	}
	if !v.Replaced || v.ReplacedOutcome != transforms.Applied {
		return nil
	}
	f.in.Offset, f.in.EventTime, f.in.Accept = v.ReplacedOffset, v.ReplacedEventTime, false
	return f.hand()
}

// hand adds the input as a row of the events in force, unless no label can see it.
func (f *trainFold) hand() error {
	if f.in.EventTime >= f.r.labels[f.left[len(f.left)-1]].T {
		return nil
	}
	f.in.Clock = f.in.EventTime
	f.out = f.in.AppendInput(f.out[:0])
	return f.events.Add(f.shard, f.out)
}

// settle accepts the row before, unless this one takes it back.
func (f *trainFold) settle(row []byte) error {
	if len(f.held) > 0 && compareRows(f.held, row) == 0 {
		f.held = f.held[:0]
		return nil
	}
	if err := f.accept(); err != nil {
		return err
	}
	f.held = append(f.held[:0], row...)
	return nil
}

// accept answers the labels up to the held event's time, then enters it. One
// state stands for all partitions.
func (f *trainFold) accept() error {
	if len(f.held) == 0 {
		return nil
	}
	if err := f.enter(f.held); err != nil {
		return err
	}
	f.held = f.held[:0]
	if err := f.answerBefore(f.in.EventTime.AddSat(1)); err != nil {
		return err
	}
	f.r.engine.Accept(f.state(0), f.in)
	return nil
}

// answerBefore answers the labels with T < t from the states as they stand.
func (f *trainFold) answerBefore(t schemas.Micros) error {
	n := 0
	for n < len(f.left) && f.r.labels[f.left[n]].T < t {
		n++
	}
	rows := f.left[:n]
	f.left = f.left[n:]
	return f.r.answerAll(rows, slices.Collect(maps.Values(f.states)))
}

// end answers what is left of the entity; judge leaves that to settle.
func (f *trainFold) end() error {
	if !f.begun || f.events != nil {
		return nil
	}
	rows := f.left
	f.left, f.begun = nil, false
	return f.r.answerAll(rows, slices.Collect(maps.Values(f.states)))
}

// answerAll fills in the results of labels from states.
func (r *trainRun) answerAll(rows []int, parts []*transforms.State) error {
	for _, i := range rows {
		t := r.labels[i].T
		res, err := r.engine.Value(make([]transforms.Result, 0, len(r.View.Spec.Features)), t, parts...)
		if err != nil {
			return err
		}
		r.engine.MarkIncomplete(res, t, r.ValidFrom)
		r.results[i] = res
	}
	return nil
}
