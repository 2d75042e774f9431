package reconcile

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/marker"
)

const testSchema = `{"type":"record","name":"Ev","fields":[
 {"name":"ent","type":"string"},{"name":"id","type":"string"},{"name":"ver","type":"long"},
 {"name":"et","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"amt","type":"double"},{"name":"n","type":"long"},{"name":"txt","type":"string"}]}`

// windows by level; features are drawn over them.
var windows = [][]string{
	{"5m", "30m", "3h"},
	{"12h", "24h", "2d"},
	{"12d", "{window: 36h, hop: 1d}", "{days: 2}", "{weeks: 1, exclude_current: true}", "lifetime", "lifetime"},
}

var aggregations = []string{`count: "*"`, "sum: amt", "mean: amt", "max: n", "first: txt", "last: txt", "count_distinct: n", "stddev_pop: amt",
	`count: "*", where: amt > 3.0`, "last: amt, default: 7.0"}

func pick[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

// record is one record of a test log.
type record struct {
	tick, bad bool
	at, et    schemas.Micros
	ent, id   string
	ver       int64
	amt       float64
	n         int64
	txt       string
	pos       int  // the partition
	gone      bool // of a table: a tombstone
	removed   bool // by compaction
}

// world is a random view, its log, and two stores of it.
type world struct {
	testing.TB
	r        *rand.Rand
	view     *definition.View
	engine   *transforms.View
	logs     [][]record
	clocks   [][]schemas.Micros // by partition, before each offset
	identity string
	still    bool   // copies keep their event time
	start    []int  // where the online fold began, by partition (K8)
	order    []int  // partitions as the records came
	cut      []int  // ends
	table    bool   // see newTableWorld
	compact  bool   // Replay says that the log is
	extra    string // lines of the source: a load of old events, close_idle
	idle     bool   // a cut says when the partitions were seen to end there
	old      bool   // CreateTime: records that come after the cut may be older than it
}

func newWorld(t testing.TB, seed uint64, tune func(*world)) *world {
	t.Helper()
	w := &world{TB: t, r: rand.New(rand.NewPCG(seed, 7))}
	w.identity = pick(w.r, "", "    id: id\n", "    id: id\n    version: ver\n")
	if tune != nil {
		tune(w)
	}
	view, err := testbed.ParseView(w.definition(), testSchema)
	if err != nil {
		t.Fatalf("seed %d: %v\n%s", seed, err, w.definition())
	}
	w.view = view
	w.view.Spec.NewestTiles = pick(w.r, 1, 3, 0) // mostly so that tiles become old
	if w.engine, err = transforms.NewView(w.view.Spec); err != nil {
		t.Fatal(err)
	}
	w.generate(60 + w.r.IntN(140))
	return w
}

func (w *world) definition() string {
	r := rand.New(rand.NewPCG(w.r.Uint64(), 1))
	var b strings.Builder
	fmt.Fprintf(&b, "sources:\n  ev:\n    schema: ev.avsc\n    writers: {files: {1: ev.avsc}}\n    event_time: et\n%s    lateness: %s\n    max_future: %s\n",
		w.identity, pick(r, "1s", "30m", "30m", "2h", "1d"), pick(r, "1s", "5m"))
	b.WriteString(w.extra)
	if w.identity != "" && r.IntN(3) == 0 {
		fmt.Fprintf(&b, "    max_open: %d\n", 1+r.IntN(3))
	}
	fmt.Fprintf(&b, "views:\n  v:\n    source: ev\n    entity: {ent: string}\n    where: amt < 9.0\n    shards: %d\n    features:\n", pick(r, 1, 2, 3))
	levels := pick(r, []int{0}, []int{1}, []int{2}, []int{0, 1}, []int{0, 2}, []int{1, 2}, []int{0, 1, 2})
	for i := range 1 + r.IntN(5) {
		fmt.Fprintf(&b, "      f%d: {%s, over: %s}\n", i, pick(r, aggregations...), pick(r, windows[pick(r, levels...)]...))
	}
	fmt.Fprintf(&b, "      c: {count: \"*\", over: %s}\n      d: {expr: \"double(c_%s) * 2.0\"}\n", windows[levels[0]][0], windows[levels[0]][0])
	return b.String()
}

// generate draws the logs of all partitions.
func (w *world) generate(n int) {
	r := w.r
	parts := pick(r, 1, 2, 3)
	w.logs, w.clocks, w.start = make([][]record, parts), make([][]schemas.Micros, parts), make([]int, parts)
	now := pick(r, schemas.Micros(1_772_000_000_000_000), 3*schemas.Day, -5*schemas.Day)
	unit := pick(r, schemas.Minute, 5*schemas.Minute, schemas.Hour, 6*schemas.Hour)
	jumps := r.IntN(3) == 0
	L := w.view.Spec.Lateness
	var made []record
	for i := range n {
		now += pick(r, 0, 1, unit, unit, 3*unit)
		if jumps && r.IntN(10) == 0 {
			now += pick(r, schemas.Day, 3*schemas.Day, 20*schemas.Day)
		}
		p := r.IntN(parts)
		x := record{at: now, ent: fmt.Sprint("e", r.IntN(4)), id: fmt.Sprint(i), ver: int64(r.IntN(4)), amt: float64(r.IntN(11)) / 1.1, n: int64(r.IntN(5)), txt: pick(r, "a", "b", "é")}
		x.et = now - pick(r, 0, 0, 1, unit, 2*unit, L, L+1) + pick(r, 0, 0, 0, 1, w.view.Spec.MaxFuture)
		if h := w.view.Spec.HistoryLateness; h > 0 {
			x.et -= pick(r, 0, 0, h/2, h)
		}
		switch k := r.IntN(20); {
		case k == 0:
			x.tick = true
		case k == 1:
			x.bad = true
		case k < 9 && len(made) > 0:
			o := made[max(0, len(made)-1-r.IntN(6))]
			x.id, x.ent, p = o.id, o.ent, o.pos
			if w.still || r.IntN(2) == 0 {
				x.et = o.et
			}
		}
		x.pos = p
		if !x.tick && !x.bad {
			made = append(made, x)
		}
		w.logs[p] = append(w.logs[p], x)
		w.order = append(w.order, p)
	}
	for p := range w.logs {
		src := w.view.Source
		c := schemas.ClockAt(schemas.Never, src.History[int32(p)], src.MaxFuture)
		w.clocks[p] = append(w.clocks[p], c.Now())
		for off, x := range w.logs[p] {
			if x.tick {
				c.Tick(&schemas.Record{Offset: int64(off), Timestamp: x.at})
			} else {
				e := schemas.Event{Offset: int64(off), Timestamp: x.at, EventTime: x.et}
				if x.bad {
					e.Fault = &schemas.Fault{}
				}
				c.Stamp(&e)
			}
			w.clocks[p] = append(w.clocks[p], c.Now())
		}
	}
}

// event fills e with a record.
func (w *world) event(e *schemas.Event, p int, off int) {
	x := &w.logs[p][off]
	*e = schemas.Event{Partition: int32(p), Offset: int64(off), Timestamp: x.at, EventTime: x.et, Clock: w.clocks[p][off+1], Fields: make([]schemas.Value, len(w.view.Source.Paths)),
		Key: []schemas.Value{schemas.StringValue(x.ent)}, Tombstone: x.gone}
	if x.bad {
		e.Fault = &schemas.Fault{Stage: schemas.StageDecode, Reason: "bad"}
		return
	}
	for i, path := range w.view.Source.Paths {
		switch path {
		case "ent":
			e.Fields[i] = schemas.StringValue(x.ent)
		case "id":
			e.Fields[i] = schemas.StringValue(x.id)
		case "ver":
			e.Fields[i] = schemas.IntValue(x.ver)
		case "et":
			e.Fields[i] = schemas.TimestampValue(x.et)
		case "amt":
			e.Fields[i] = schemas.DoubleValue(x.amt)
		case "n":
			e.Fields[i] = schemas.IntValue(x.n)
		case "txt":
			e.Fields[i] = schemas.StringValue(x.txt)
		}
	}
}

// folded is one partition folded over a range.
type folded struct {
	states  map[string]*transforms.State
	ledgers map[int]transforms.Ledger
}

func (w *world) fold(p, from, to int) folded { return w.foldTrimmed(p, from, to, -1, 0) }

// foldTrimmed trims all states at b, as a bootstrap from the tables would have,
// before it folds offset boot.
func (w *world) foldTrimmed(p, from, to, boot int, b schemas.Micros) folded {
	f := folded{map[string]*transforms.State{}, map[int]transforms.Ledger{}}
	in, e := w.engine.NewInput(), schemas.Event{}
	for off := from; off < to; off++ {
		if off == boot {
			for _, s := range f.states {
				w.engine.Trim(s, b)
			}
		}
		if w.logs[p][off].tick || w.logs[p][off].removed {
			continue
		}
		w.event(&e, p, off)
		w.engine.Prepare(in, &e)
		var s *transforms.State
		if k := string(in.Entity); k != "" {
			if f.states[k] == nil {
				f.states[k] = w.engine.NewState(int32(p))
				f.states[k].KeepEvicted = true
			}
			s = f.states[k]
		}
		v := w.engine.Step(s, in)
		shard := transforms.EntityShard(in.Entity, w.view.Spec.Shards)
		l := f.ledgers[shard]
		l.Add(&v)
		f.ledgers[shard] = l
	}
	maps.DeleteFunc(f.states, func(_ string, s *transforms.State) bool { return s.LastOffset() < 0 })
	return f
}

// positions returns where the partitions stand after the first n records.
func (w *world) positions(n int) []int {
	at := make([]int, len(w.logs))
	for _, p := range w.order[:n] {
		at[p]++
	}
	return at
}

// fakeOnline is an online store in memory.
type fakeOnline struct {
	live   string
	marks  map[place]marker.Mark
	later  map[place]marker.Mark // what Marks says once something was scanned
	states map[place]map[string]marker.Stored
	seen   bool
	parts  int
	shards int
}

func (o *fakeOnline) Live(context.Context) (string, error) { return o.live, nil }

func (o *fakeOnline) Partitions(context.Context) (list []int32, err error) {
	for p := range o.parts {
		list = append(list, int32(p))
	}
	return list, nil
}

func (o *fakeOnline) Marks(_ context.Context, p int32) ([]marker.Mark, error) {
	marks := make([]marker.Mark, o.shards)
	for shard := range marks {
		marks[shard] = o.marks[place{shard, p}]
		if o.seen {
			marks[shard] = o.later[place{shard, p}]
		}
	}
	return marks, nil
}

func (o *fakeOnline) Scan(_ context.Context, shard int, p int32) iter.Seq2[OnlineState, error] {
	o.seen = true
	return func(yield func(OnlineState, error) bool) {
		for e, s := range o.states[place{shard, p}] { // in no order, the first one twice
			if !yield(OnlineState{e, s}, nil) {
				return
			}
		}
		for e, s := range o.states[place{shard, p}] {
			yield(OnlineState{e, s}, nil)
			return
		}
	}
}

func (w *world) stored(s *transforms.State) marker.Stored {
	return w.engine.Encode(s)
}

func (w *world) mark(shard, p, next int, l transforms.Ledger) marker.Mark {
	m := marker.Mark{Phase: marker.Live, TopicID: "t", Next: int64(next), Clock: w.clocks[p][next], Newest: schemas.Never, ValidFrom: schemas.Never, Ledger: l, Token: w.r.Uint64()}
	if w.start[p] > 0 {
		m.ValidFrom = w.clocks[p][w.start[p]].AddSat(w.view.Spec.Lateness).AddSat(2 * w.view.Spec.MaxFuture)
	}
	return m
}

// stream makes the online store: every (shard, partition) at a position of its
// own at or beyond low; with moving, its states stand somewhere between the
// marker read before them and the one read after.
func (w *world) stream(low []int, moving bool) *fakeOnline {
	shards := w.view.Spec.Shards
	o := &fakeOnline{live: w.view.Fingerprint, marks: map[place]marker.Mark{}, later: map[place]marker.Mark{}, states: map[place]map[string]marker.Stored{}, parts: len(w.logs), shards: shards}
	boot, b := make([]int, len(w.logs)), schemas.Never
	if w.r.IntN(3) == 0 { // bootstrapped from an earlier cut (O5)
		boot = w.positions(w.r.IntN(len(w.order) / 2))
		b = w.closed(boot, nil)
	}
	if b == schemas.Never {
		boot = slices.Repeat([]int{-1}, len(w.logs))
	}
	for p := range w.logs {
		for shard := range shards {
			span := len(w.logs[p]) - low[p]
			next := low[p] + pick(w.r, 0, span, w.r.IntN(span+1))
			state, after := next, next
			if moving {
				state += w.r.IntN(len(w.logs[p]) - state + 1)
				after = state + w.r.IntN(len(w.logs[p])-state+1)
			}
			at := place{shard, int32(p)}
			start := w.start[p]
			o.marks[at] = w.mark(shard, p, next, w.fold(p, start, max(start, next)).ledgers[shard])
			o.later[at] = w.mark(shard, p, after, w.fold(p, start, max(start, after)).ledgers[shard])
			f := w.foldTrimmed(p, start, max(start, state), boot[p], b)
			o.states[at] = map[string]marker.Stored{}
			for e, s := range f.states {
				if transforms.EntityShard([]byte(e), shards) == shard && !w.expired(s, w.clocks[p][state]) {
					o.states[at][e] = w.stored(s)
				}
			}
		}
	}
	return o
}

// closed is the boundary at which the tables' states are trimmed.
func (w *world) closed(at []int, idle *schemas.Micros) schemas.Micros {
	least := schemas.Forever
	for p, n := range at {
		c := w.view.Source.Closing(int32(p), schemas.PartitionCut{End: int64(n), Idle: idle}, w.clocks[p][n])
		least = min(least, c.SubSat(w.view.Spec.LatenessAt(int32(p), int64(n))))
	}
	if least == schemas.Never || w.table {
		return schemas.Never
	}
	return least.Floor(w.engine.Hops()[0])
}

// wall is the wall clock at a cut of all partitions: unless w.old, no later record
// has an earlier timestamp. It is nil where nobody looked.
func (w *world) wall(cut []int) *schemas.Micros {
	if !w.idle {
		return nil
	}
	now := schemas.Never
	for p, end := range cut {
		for _, x := range w.logs[p][:end] {
			now = max(now, x.at)
		}
	}
	if w.old {
		now = now.AddSat(schemas.Day)
	}
	return &now
}

// expired: O3, a state's owner deletes it in time.
func (w *world) expired(s *transforms.State, clock schemas.Micros) bool {
	longest := schemas.Micros(0)
	for _, h := range w.engine.Hops() {
		longest = max(longest, w.engine.Retention(h))
	}
	return !w.engine.HasLifetime() && s.Clock().AddSat(longest).AddSat(7*schemas.Day) < clock
}

// fakeOffline is a publication in memory.
type fakeOffline struct {
	info   Publication
	tiles  []TileRow
	open   []OpenRow
	rows   map[schemas.Micros][]FeatureRow
	rowsAt func(schemas.Micros) []FeatureRow
}

func (o *fakeOffline) Info() Publication { return o.info }

func (o *fakeOffline) Tiles(_ context.Context, from schemas.Micros) iter.Seq2[TileRow, error] {
	rows := slices.DeleteFunc(slices.Clone(o.tiles), func(t TileRow) bool { return t.Tile.Start.Floor(schemas.Day)+schemas.Day <= from })
	slices.SortFunc(rows, compareTiles)
	return each(rows)
}

func (o *fakeOffline) Open(context.Context) iter.Seq2[OpenRow, error] {
	slices.SortFunc(o.open, compareOpen)
	return each(o.open)
}

func (o *fakeOffline) Features(_ context.Context, t schemas.Micros) iter.Seq2[FeatureRow, error] {
	slices.SortFunc(o.at(t), compareRows)
	return each(o.at(t))
}

func (o *fakeOffline) at(t schemas.Micros) []FeatureRow {
	if _, ok := o.rows[t]; !ok {
		o.rows[t] = o.rowsAt(t)
	}
	return o.rows[t]
}

func each[T any](rows []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, x := range rows {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// replay makes the tables at a cut: closed tiles in one, remainders in the other
// (B5).
func (w *world) replay(cut []int) *fakeOffline {
	w.cut = cut
	o := &fakeOffline{rows: map[schemas.Micros][]FeatureRow{}, info: Publication{Fingerprint: w.view.Fingerprint, Boundary: schemas.Never, ValidFrom: schemas.Never,
		Cut: schemas.TopicCut{TopicID: "t", Partitions: map[int32]schemas.PartitionCut{}}}}
	for p, end := range cut {
		pc := schemas.PartitionCut{End: int64(end), Idle: w.wall(cut)}
		c := w.clocks[p][end]
		if c != schemas.Never {
			pc.Clock = &c
		}
		o.info.Cut.Partitions[int32(p)] = pc
	}
	o.info.Boundary = w.closed(cut, w.wall(cut))
	o.rowsAt = w.rowsAt
	for p, end := range cut {
		f := w.fold(p, 0, end)
		for shard := range w.view.Spec.Shards {
			o.info.Ledgers = append(o.info.Ledgers, LedgerEntry{Shard: shard, Partition: int32(p), Ledger: f.ledgers[shard]})
		}
		for e, s := range f.states {
			w.split(o, int32(p), e, s)
		}
	}
	return o
}

// rowsAt writes the features table as of a closed boundary, from states that have
// dropped nothing yet.
func (w *world) rowsAt(t schemas.Micros) (rows []FeatureRow) {
	if w.table {
		return w.tableRowsAt(t)
	}
	states := map[string][]*transforms.State{}
	for p := range w.cut {
		// What counts before t has come once the clock is at t + lateness.
		n := 0
		for n < w.cut[p] && w.clocks[p][n] < t+w.view.Spec.MaxLateness() {
			n++
		}
		for e, s := range w.fold(p, 0, n).states {
			states[e] = append(states[e], s)
		}
	}
	for e, ss := range states {
		if res := w.engine.BoundaryValue(nil, t, ss...); res[0].Status != transforms.Absent {
			rows = append(rows, FeatureRow{Shard: transforms.EntityShard([]byte(e), w.view.Spec.Shards), Entity: []byte(e), Results: res})
		}
	}
	slices.SortFunc(rows, compareRows)
	return rows
}

// split is what package batch does at the end of an entity.
func (w *world) split(o *fakeOffline, p int32, e string, s *transforms.State) {
	b, shard := o.info.Boundary, transforms.EntityShard([]byte(e), w.view.Spec.Shards)
	var closed []transforms.Tile
	if b != schemas.Never {
		w.engine.Trim(s, b)
		for _, t := range s.Evicted() {
			if t.Start+t.Hop <= b.Floor(t.Hop) {
				closed = append(closed, t)
			}
		}
	}
	empty := s.Empty()
	if b != schemas.Never {
		closed = append(closed, w.engine.TakeClosed(s, b)...)
	}
	for _, t := range closed {
		o.tiles = append(o.tiles, TileRow{Shard: shard, Partition: p, Entity: []byte(e), Tile: t})
	}
	if !empty {
		row := OpenRow{Shard: shard, Partition: p, Entity: []byte(e)}
		rest := w.engine.Encode(s)
		row.Served, row.Open = rest.Served, rest.Open
		o.open = append(o.open, row)
	}
}

// Replay implements Replayer.
func (w *world) Replay(_ context.Context, p int32, entities map[string]bool, ledgers bool) (*Replayed, error) {
	f := w.fold(int(p), 0, w.cut[p])
	out := &Replayed{States: map[string]*transforms.State{}, Compacted: w.compact, Counted: w.counted(int(p))}
	if ledgers {
		out.Ledgers = f.ledgers
	}
	for e := range entities {
		if s := f.states[e]; s != nil {
			out.States[e] = s
		}
	}
	return out, nil
}
