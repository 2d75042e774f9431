package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
	"github.com/tallystick/tallystick/transforms/rows"
)

const evDefinition = `
sources:
  ev: {schema: ev.avsc, writers: {files: {1: ev.avsc}}, event_time: et, lateness: 6hIDENTITY}
views:
  v:
    source: ev
    entity: {ent: string}
    where: amt < 9.0
    shards: 3
    features:
FEATURES`

// evFeatures are the features of the view, for the engine and for the oracle.
var evFeatures = []struct {
	text string
	oracle.Feature
}{
	{`n: {count: "*", over: 12h}`, oracle.Feature{Agg: "count", Input: -1, Filter: -1, Kind: oracle.Int, Window: oracle.Window{Kind: oracle.Sliding, Length: 12 * hour, Hop: hour}}},
	{`s: {sum: amt, over: 2d}`, oracle.Feature{Agg: "sum", Filter: -1, Kind: oracle.Double, Window: oracle.Window{Kind: oracle.Sliding, Length: 48 * hour, Hop: hour}}},
	{`m: {max: amt, over: {weeks: 1}}`, oracle.Feature{Agg: "max", Filter: -1, Kind: oracle.Double, Window: oracle.Window{Kind: oracle.Weeks, N: 1}}},
	{`p: {mean: amt, over: {weeks: 1, exclude_current: true}}`, oracle.Feature{Agg: "mean", Filter: -1, Kind: oracle.Double, Window: oracle.Window{Kind: oracle.Weeks, N: 1, ExcludeCurrent: true}}},
	{`q: {count: "*", over: {months: 1, exclude_current: true}}`, oracle.Feature{Agg: "count", Input: -1, Filter: -1, Kind: oracle.Int, Window: oracle.Window{Kind: oracle.Months, N: 1, ExcludeCurrent: true}}},
	{`l: {last: amt, over: lifetime}`, oracle.Feature{Agg: "last", Filter: -1, Kind: oracle.Double, Window: oracle.Window{Kind: oracle.Lifetime}}},
}

const (
	hour = int64(schemas.Hour)
	day  = int64(schemas.Day)
)

// world is a small random log, as Kafka has it and as the oracle has it.
type world struct {
	tb     testing.TB
	r      *rand.Rand
	view   *definition.View
	source *reading.Source
	oracle oracle.Config
	logs   [][]oracle.Record
	clocks [][]int64
	cut    schemas.TopicCut
	now    int64 // the least clock
	closed int64 // the least clock minus lateness
	table  bool  // see newTableWorld
}

func newWorld(tb testing.TB, seed uint64) *world {
	tb.Helper()
	w := &world{tb: tb, r: rand.New(rand.NewPCG(seed, 3)), oracle: oracle.Config{Lateness: 6 * hour, MaxFuture: 5 * int64(schemas.Minute), MaxOpen: 3}}
	w.oracle.Identity = oracle.Identity(w.r.IntN(3))
	features := ""
	for _, i := range w.r.Perm(len(evFeatures))[:1+w.r.IntN(3)] {
		f := evFeatures[i]
		features += "      " + f.text + "\n"
		w.oracle.Features = append(w.oracle.Features, f.Feature)
	}
	identity := map[oracle.Identity]string{oracle.ByNothing: "", oracle.ByID: ", id: id", oracle.ByVersion: ", id: id, version: ver"}[w.oracle.Identity]
	if identity != "" {
		identity += ", max_open: 3"
	}
	if w.r.IntN(2) == 0 { // a load of old events, not sorted
		w.oracle.LoadLateness = 6*hour + []int64{0, hour, 3 * day}[w.r.IntN(3)]
		w.oracle.History = map[int32]int64{0: int64(1 + w.r.IntN(60))}
		identity += fmt.Sprintf(", history: {0: %d}, history_lateness: %dus", w.oracle.History[0], w.oracle.LoadLateness)
	}
	text := strings.NewReplacer("IDENTITY", identity, "FEATURES", features).Replace(evDefinition)
	w.view = testbed.View(tb, text, testbed.EventSchema)
	w.source = reading.NewSource(w.view, testbed.Writers(w.view))
	w.fill()
	return w
}

// fill draws the log: some weeks, now and then a gap of days.
func (w *world) fill() {
	r := w.r
	parts := 1 + r.IntN(3)
	w.logs = make([][]oracle.Record, parts)
	now := time.Date(2026, 1, 28, 3, 0, 0, 0, time.UTC).UnixMicro()
	for n := range 1 + r.IntN(60) {
		now += r.Int64N(3 * hour)
		if r.IntN(12) == 0 {
			now += r.Int64N(9 * day)
		}
		p := r.IntN(parts)
		if n >= 4 && r.IntN(2) == 0 {
			p = n % parts
		}
		ts := now/1000*1000 + 999
		rec := oracle.Record{Partition: int32(p), Offset: int64(2 * len(w.logs[p])), Timestamp: ts, Entity: fmt.Sprint("e", r.IntN(3)), HasID: true, HasVer: true}
		if rec.Entity == "e2" && n > 8 {
			rec.Entity = "e1" // e2 falls silent
		}
		rec.ID, rec.Version = fmt.Sprint("i", r.IntN(8)), int64(r.IntN(4))
		rec.EventTime = ts - []int64{0, 0, 1, hour, 6 * hour, 6*hour + 1, -5 * int64(schemas.Minute), -1, r.Int64N(6 * hour)}[r.IntN(9)]
		if rec.Offset < w.oracle.History[int32(p)] && r.IntN(2) == 0 {
			rec.EventTime = ts - r.Int64N(w.oracle.LoadLateness)
		}
		if r.IntN(6) == 0 {
			rec.EventTime = rec.EventTime / day * day
		}
		amt := float64(r.IntN(10)) + 0.1
		rec.Inputs, rec.Pass = []oracle.Val{{Kind: oracle.Double, F: amt}}, amt < 9
		if w.oracle.Identity != oracle.ByVersion {
			rec.Version, rec.HasVer = 0, false
		}
		switch r.IntN(15) {
		case 0:
			rec.Kind = oracle.Tick
		case 1:
			rec.Kind = oracle.Bad
		}
		w.logs[p] = append(w.logs[p], rec)
	}
	w.now, w.closed = math.MaxInt64, math.MaxInt64
	w.cut = schemas.TopicCut{TopicID: "t", Partitions: map[int32]schemas.PartitionCut{}}
	for p, log := range w.logs {
		w.clocks = append(w.clocks, oracle.Clocks(&w.oracle, log))
		w.cut.Partitions[int32(p)] = schemas.PartitionCut{End: int64(2 * len(log))}
		clock := int64(oracle.NoClock)
		if len(log) > 0 {
			clock = w.clocks[p][len(log)-1]
		}
		w.now = min(w.now, clock)
		lateness := w.oracle.Lateness
		if w.cut.Partitions[int32(p)].End < w.oracle.History[int32(p)] {
			lateness = w.oracle.LoadLateness
		}
		w.closed = min(w.closed, clock-lateness)
	}
}

// ReadCut implements Log: chunks of random size, partitions at once.
func (w *world) ReadCut(ctx context.Context, _ string, cut schemas.TopicCut, _ int, fn func(int32, []schemas.Record) error) error {
	errs := make([]error, len(w.logs))
	var wg sync.WaitGroup
	for p, log := range w.logs {
		pc, ok := cut.Partitions[int32(p)]
		if !ok {
			continue
		}
		log = slices.DeleteFunc(slices.Clone(log), func(r oracle.Record) bool { return r.Offset < pc.Start || r.Offset >= pc.End })
		r := rand.New(rand.NewPCG(uint64(p), 5))
		wg.Go(func() {
			for from := 0; from < len(log) && errs[p] == nil && ctx.Err() == nil; {
				to := min(len(log), from+1+r.IntN(7))
				var rs []schemas.Record
				for i := from; i < to; i++ {
					rs = append(rs, w.kafka(&log[i]))
				}
				errs[p], from = fn(int32(p), rs), to
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

func (w *world) kafka(rec *oracle.Record) schemas.Record {
	out := schemas.Record{Partition: rec.Partition, Offset: rec.Offset, Timestamp: schemas.Micros(rec.Timestamp), Tick: rec.Kind == oracle.Tick}
	switch rec.Kind {
	case oracle.Bad:
		out.Value = []byte("garbage")
	case oracle.Data:
		if w.table {
			out.Key = []byte(rec.Entity)
		}
		if rec.Gone {
			break
		}
		out.Value = testbed.Event{Ent: rec.Entity, ID: rec.ID, Ver: rec.Version, ET: rec.EventTime, Amt: rec.Inputs[0].F}.Bytes()
	}
	return out
}

// values asks the oracle, knowing the first at[p] records of each partition.
func (w *world) values(entity string, t int64, at []int) []oracle.Result {
	if w.table {
		return oracle.TableValues(&w.oracle, w.applied(entity, at), t)
	}
	var accepted []*oracle.Record
	for p, log := range w.logs {
		_, snaps := oracle.Verdicts(&w.oracle, log, w.clocks[p])
		for _, rec := range snaps[at[p]].Accepted {
			if rec.Entity == entity {
				accepted = append(accepted, rec)
			}
		}
	}
	return oracle.Values(&w.oracle, accepted, t)
}

func (w *world) all() []int {
	at := make([]int, len(w.logs))
	for p := range at {
		at[p] = len(w.logs[p])
	}
	return at
}

// known returns how many records of each partition have clock ≤ t.
func (w *world) known(t int64) []int {
	at := make([]int, len(w.logs))
	for p, cs := range w.clocks {
		for at[p] < len(cs) && cs[at[p]] <= t {
			at[p]++
		}
	}
	return at
}

func same(got []transforms.Result, want []oracle.Result) bool {
	return len(got) == len(want) && fmt.Sprint(got) == fmt.Sprint(engine(want))
}

func engine(rs []oracle.Result) []transforms.Result {
	var out []transforms.Result
	for _, r := range rs {
		x := transforms.Result{}
		for s := transforms.Present; s <= transforms.Incomplete; s++ {
			if s.String() == string(r.Status) {
				x.Status = s
			}
		}
		switch r.Val.Kind {
		case oracle.Int:
			x.Value = schemas.IntValue(r.Val.I)
		case oracle.Double:
			x.Value = schemas.DoubleValue(r.Val.F)
		}
		out = append(out, x)
	}
	return out
}

func encoded(entity string) string {
	return string(transforms.EncodeEntity(nil, schemas.StringValue(entity)))
}

func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

const seeds = 150

// TestTrain: both kinds of knowledge answer as brute force does, whatever the
// labels: at a clock, at an event time, twice the same, of entities unknown; and
// whatever the memory: shards that fit it, from a file too, and others (§10, V3, B3).
func TestTrain(t *testing.T) {
	for seed := range uint64(seeds) {
		newWorld(t, seed).checkTrain(t, seed)
	}
}

func (w *world) checkTrain(t *testing.T, seed uint64) {
	var labels []Label
	var names []string
	for range 40 {
		p := w.r.IntN(len(w.logs))
		at := int64(1_770_000_000_000_000)
		if i := w.r.IntN(max(1, len(w.logs[p]))); i < len(w.logs[p]) && w.clocks[p][i] != oracle.NoClock {
			at = []int64{w.clocks[p][i], w.logs[p][i].EventTime, w.clocks[p][i] / day * day}[w.r.IntN(3)]
		}
		names = append(names, fmt.Sprint("e", w.r.IntN(4)))
		labels = append(labels, Label{Entity: encoded(names[len(names)-1]), T: schemas.Micros(at + int64(w.r.IntN(3)) - 1)})
		if w.r.IntN(5) == 0 {
			labels, names = append(labels, labels[len(labels)-1]), append(names, names[len(names)-1])
		}
	}
	for _, k := range []Knowledge{Complete, Arrival} {
		job := &Train{View: w.view, Source: w.source, Log: w, Knowledge: k, Cut: w.cut, Parallel: 1 + w.r.IntN(3), SpillDir: t.TempDir(),
			Memory: []int{0, 4_000, 16_000, 1 << 20}[w.r.IntN(4)], ValidFrom: schemas.Never}
		a, err := job.Run(background(t), labels)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if int64(a.Clock) != w.now {
			t.Errorf("seed %d: clock %v, want %v", seed, a.Clock, schemas.Micros(w.now))
		}
		for i, l := range labels {
			at := w.all()
			if k == Arrival {
				at = w.known(int64(l.T))
			}
			if want := w.values(names[i], int64(l.T), at); !same(a.Row(i), want) {
				t.Fatalf("seed %d: §10: %s, label %s at %v (%d):\n got %v\nwant %v", seed, k, names[i], l.T, l.T, a.Row(i), engine(want))
			}
		}
	}
}

// kept is what a replay wrote.
type kept struct {
	mu          sync.Mutex
	features    map[string]rows.Feature // by entity and boundary
	twice       []string
	quarantined map[schemas.Position]int
	tiles       map[string]string
	open        map[string]string // served, by entity and partition
}

func newKept() *kept {
	return &kept{features: map[string]rows.Feature{}, quarantined: map[schemas.Position]int{}, tiles: map[string]string{}, open: map[string]string{}}
}

func rowName(entity string, b schemas.Micros) string { return fmt.Sprintf("%x at %v", entity, b) }

func (k *kept) Feature(row rows.Feature) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := rowName(string(row.Entity), row.Boundary)
	if _, ok := k.features[name]; ok {
		k.twice = append(k.twice, name)
	}
	row.Entity = slices.Clone(row.Entity)
	k.features[name] = row
	return nil
}

func (k *kept) Tile(row rows.Tile) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := fmt.Sprintf("%x %d %v %v", row.Entity, row.Partition, row.Tile.Hop, row.Tile.Start)
	if _, ok := k.tiles[name]; ok {
		k.twice = append(k.twice, name)
	}
	k.tiles[name] = row.Tile.Cells
	return nil
}

func (k *kept) Open(row rows.Open) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open[fmt.Sprintf("%x %d", row.Entity, row.Partition)] = string(row.Served)
	return nil
}

func (k *kept) Quarantine(q rows.Quarantined) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.quarantined[schemas.Position{Partition: q.At.Partition, Offset: q.At.Offset}]++
	return nil
}

// TestReplay: the features table is Value at every boundary up to the least
// clock, no row missing, none twice; the ledgers are brute force's, by partition
// and by day of event time (V4, V8, V9, §7).
func TestReplay(t *testing.T) {
	for seed := range uint64(seeds) {
		w := newWorld(t, seed)
		rep, k := w.replay(t, seed)
		if len(k.twice) > 0 {
			t.Fatalf("seed %d: written twice: %v", seed, k.twice)
		}
		w.checkFeatures(seed, k)
		w.checkLedgers(seed, rep, k)
	}
}

// replay replays the whole log and returns what came of it.
func (w *world) replay(t *testing.T, seed uint64) (*Report, *kept) {
	t.Helper()
	k := newKept()
	job := &Replay{View: w.view, Source: w.source, Log: w, Cut: w.cut, Parallel: 1 + w.r.IntN(3), drainRows: w.r.IntN(5), SpillDir: t.TempDir(), ValidFrom: schemas.Never,
		Work: newMemoryWork(k), ReadRecords: []int64{0, 1, 7, 30}[w.r.IntN(4)]}
	rep, err := job.Run(background(t))
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return rep, k
}

func (w *world) checkFeatures(seed uint64, k *kept) {
	w.tb.Helper()
	left := maps.Clone(k.features)
	first := int64(math.MaxInt64)
	for p := range w.logs {
		for _, rec := range w.logs[p] {
			first = min(first, rec.EventTime)
		}
	}
	for b := first/day*day - day; b <= w.now; b += day {
		for _, e := range []string{"e0", "e1", "e2"} {
			name := rowName(encoded(e), schemas.Micros(b))
			want, row := w.values(e, b, w.all()), left[name]
			delete(left, name)
			switch {
			case want[0].Status == oracle.Absent && row.Entity == nil:
			case want[0].Status == oracle.Absent || row.Entity == nil || !same(row.Results, want):
				w.tb.Fatalf("seed %d: V4: %s at %v:\n got %v\nwant %v", seed, e, schemas.Micros(b), row.Results, engine(want))
			case row.Final != (b <= w.closed && !w.table):
				w.tb.Fatalf("seed %d: %s at %v: final %v", seed, e, schemas.Micros(b), row.Final)
			}
		}
	}
	for name := range left {
		w.tb.Fatalf("seed %d: a row that nobody asked for: %s", seed, name)
	}
}

func (w *world) checkLedgers(seed uint64, rep *Report, k *kept) {
	w.tb.Helper()
	quarantined := map[schemas.Position]int{}
	days := map[PartitionDay]*transforms.Ledger{}
	parts := rep.Partitions()
	for p, log := range w.logs {
		verdicts, snaps := oracle.Verdicts(&w.oracle, log, w.clocks[p])
		byOffset := map[int64]int64{}
		for i, v := range verdicts {
			if v.Tick {
				continue
			}
			d := NoDay
			if log[i].Kind == oracle.Data {
				d = schemas.Micros(log[i].EventTime).Days()
			}
			byOffset[log[i].Offset] = d
			l := at(days, PartitionDay{int32(p), d})
			*l.Count(transforms.Outcome(v.Outcome))++
			l.SealedEarly += int64(v.SealedEarly)
			if v.Conflict {
				l.Conflicts++
			}
			if v.Replaced {
				l := at(days, PartitionDay{int32(p), byOffset[v.ReplacedOffset]})
				*l.Count(transforms.Outcome(v.ReplacedOutcome))--
				l.Superseded++
			}
			if v.Conflict || slices.Contains([]oracle.Outcome{oracle.Late, oracle.Future, oracle.Invalid}, v.Outcome) {
				quarantined[schemas.Position{Partition: int32(p), Offset: log[i].Offset}]++
			}
		}
		end := snaps[len(log)]
		for o, n := range end.Ledger {
			if got := *parts[int32(p)].Count(transforms.Outcome(o)); got != n {
				w.tb.Fatalf("seed %d: V8: partition %d: %v, want %v", seed, p, parts[int32(p)], end.Ledger)
			}
		}
	}
	if !maps.Equal(k.quarantined, quarantined) {
		w.tb.Fatalf("seed %d: V8: quarantined %v, want %v", seed, k.quarantined, quarantined)
	}
	show := func(m map[PartitionDay]*transforms.Ledger) string {
		var out string
		for _, d := range slices.SortedFunc(maps.Keys(m), func(a, b PartitionDay) int {
			return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Day, b.Day))
		}) {
			out += fmt.Sprintf("%v %+v\n", d, *m[d])
		}
		return out
	}
	if got, want := show(rep.Days), show(days); got != want {
		w.tb.Fatalf("seed %d: V8: by day\n%s\nwant\n%s", seed, got, want)
	}
}
