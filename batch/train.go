package batch

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"unsafe"

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
	Memory    int    // bytes that the rows to be folded may take
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

// Run answers every label.
func (t *Train) Run(ctx context.Context, labels []Label) (*Answers, error) {
	engine, err := transforms.NewView(t.View.Spec)
	if err != nil {
		return nil, err
	}
	r := &trainRun{Train: t, engine: engine, labels: labels, decided: engine.Spec().Identity == transforms.Anonymous}
	r.group()
	r.rows = spill.NewPile(filepath.Join(t.SpillDir, "rows"), t.Memory/2, len(r.names), trainShards)
	defer r.rows.Close()
	done, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.fold(ctx); err != nil {
		return nil, err
	}
	r.answers.Clock = schemas.Forever
	for _, p := range done {
		r.answers.Clock = min(r.answers.Clock, p.Clock)
	}
	return r.answers, nil
}

// trainShards is how many parts the entities are divided into for folding.
const trainShards = 64

type trainRun struct {
	*Train
	engine *transforms.View
	// decided: a record's own clock and content decide what becomes of it, as there
	// are no ids. Only accepted ones are kept then, and their clock is the least t
	// that knows them.
	decided bool
	labels  []Label
	names   []string         // the entities asked for, by their number
	ids     map[string]int32 // and back
	asked   [][]int32        // per entity: its labels
	until   []schemas.Micros // per entity: the last t
	rows    *spill.Pile
	answers *Answers
}

// group numbers the entities, lists the labels of each and makes room for the
// answers.
func (r *trainRun) group() {
	r.ids = map[string]int32{}
	of, counts := make([]int32, len(r.labels)), []int32(nil)
	for i := range r.labels {
		l := &r.labels[i]
		id, known := r.ids[l.Entity]
		if !known {
			id = int32(len(r.names))
			r.ids[l.Entity], r.names, counts, r.until = id, append(r.names, l.Entity), append(counts, 0), append(r.until, l.T)
		}
		of[i] = id
		counts[id]++
		r.until[id] = max(r.until[id], l.T)
	}
	all := make([]int32, 0, len(r.labels))
	for _, n := range counts {
		r.asked = append(r.asked, all[len(all):len(all):len(all)+int(n)])
		all = all[:len(all)+int(n)]
	}
	for i, id := range of {
		r.asked[id] = append(r.asked[id], int32(i))
	}
	r.answers = newAnswers(len(r.labels), r.View.Spec.Features)
}

// read piles up the rows of the entities asked for.
func (r *trainRun) read(ctx context.Context) (map[int32]*partitionScan, error) {
	sc := &scan{view: r.View, engine: r.engine, source: r.Source, log: r.Log, parallel: r.Parallel, progress: r.Progress}
	buffers := map[int32]*[]byte{}
	loads := map[int32]*transforms.Ledger{}
	for p := range r.Cut.Partitions {
		loads[p], buffers[p] = &transforms.Ledger{}, new([]byte)
	}
	history := r.View.Source.History
	done, err := sc.run(ctx, r.Cut, nil, func(in *transforms.Input, _ *schemas.Event, _ *schemas.Record) error {
		if in.Offset < history[in.Partition] {
			v, _ := r.engine.Screen(in) // what only the fold finds late is not seen here
			loads[in.Partition].Add(&v)
		}
		id, asked := r.ids[string(in.Entity)]
		if in.Fault != nil || !asked || !r.counts(in, r.until[id]) {
			return nil
		}
		buf := buffers[in.Partition]
		*buf = in.AppendBrief((*buf)[:0])
		return r.rows.Add(id, *buf)
	})
	if err != nil {
		return nil, err
	}
	return done, (&books{loads: loads, history: history}).checkLoads(r.Cut)
}

// counts tells whether a record may concern a label up to until. Where it is decided
// what becomes of it, it stamps the input with the least t that knows it.
func (r *trainRun) counts(in *transforms.Input, until schemas.Micros) bool {
	if !r.decided {
		return r.Knowledge == Complete || in.Clock <= until
	}
	if _, out := r.engine.Screen(in); out || !in.Accept {
		return false
	}
	seen := in.EventTime.AddSat(1)
	if r.Knowledge == Arrival {
		seen = max(seen, in.Clock)
	}
	in.Clock = seen
	return seen <= until
}

// workMemory is what folding one shard may take beside the rows in memory, in bytes.
func (r *trainRun) workMemory() int { return r.Memory / 2 / max(1, r.Parallel) }

func (r *trainRun) fold(ctx context.Context) error {
	var folds sync.Pool // they keep working memory
	return eachShard(ctx, trainShards, r.Parallel, func(ctx context.Context, shard int) error {
		f, _ := folds.Get().(*trainFold)
		if f == nil {
			f = r.newFold()
		}
		defer folds.Put(f)
		defer r.rows.Drop(shard)
		if r.costs(shard) > r.workMemory() {
			return f.sorted(ctx, shard)
		}
		return f.loaded(ctx, shard)
	})
}

// costs is what folding a shard in memory takes, in bytes.
func (r *trainRun) costs(shard int) int {
	most := 0
	for id := shard; id < len(r.names); id += trainShards {
		most = max(most, r.rows.Rows(int32(id)))
	}
	rows, filed := r.rows.Size(shard)
	return int(filed) + (rows+most)*int(unsafe.Sizeof(trainRow{}))
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
