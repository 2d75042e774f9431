package reconcile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
)

const tableText = `sources:
  ev: {kind: table, key: string, schema: ev.avsc, writers: {files: {1: ev.avsc}}, event_time: et, version: ver}
views:
  v:
    source: ev
    entity: {account: string}
    shards: 2
    snapshots: 1h
    features: {n: {last: n}, txt: {last: txt, over: lifetime}, d: {expr: double(n) * 2.0}}
`

// newTableWorld is a table, whose log is compacted once the online store has read
// of it if compact says so.
func newTableWorld(t testing.TB, seed uint64) *world {
	t.Helper()
	w := &world{TB: t, r: rand.New(rand.NewPCG(seed, 8)), table: true}
	var err error
	if w.view, err = testbed.ParseView(tableText, testSchema); err != nil {
		t.Fatal(err)
	}
	if w.engine, err = transforms.NewView(w.view.Spec); err != nil {
		t.Fatal(err)
	}
	parts := pick(w.r, 1, 2)
	w.logs, w.start = make([][]record, parts), make([]int, parts)
	now := schemas.Micros(1_772_000_000_000_000)
	for range 60 {
		now += pick(w.r, 0, schemas.Minute, 10*schemas.Minute, schemas.Hour)
		p := w.r.IntN(parts)
		x := record{at: now, ent: fmt.Sprint("e", w.r.IntN(12)), ver: int64(w.r.IntN(3)), n: int64(w.r.IntN(5)), txt: pick(w.r, "a", "b"), gone: w.r.IntN(6) == 0, tick: w.r.IntN(15) == 0, bad: w.r.IntN(20) == 0}
		x.et = now - pick(w.r, 0, 0, schemas.Minute, 3*schemas.Hour, -schemas.Minute)
		if x.gone {
			x.et = now
		}
		w.logs[p], w.order = append(w.logs[p], x), append(w.order, p)
	}
	w.stamp()
	return w
}

// stamp computes the clocks of what the logs hold.
func (w *world) stamp() {
	w.clocks = make([][]schemas.Micros, len(w.logs))
	for p, log := range w.logs {
		now := schemas.Never
		w.clocks[p] = append(w.clocks[p], now)
		for _, x := range log {
			if !x.removed {
				now = max(now, x.at)
			}
			w.clocks[p] = append(w.clocks[p], now)
		}
	}
}

// compaction leaves of each key the newest record by offset among the first n of a
// partition, and not even that of some tombstones.
func (w *world) compaction(share float64) {
	w.compact = true
	for p, log := range w.logs {
		newest := map[string]int{}
		for off := range int(float64(len(log)) * share) {
			x := &w.logs[p][off]
			if old, ok := newest[x.ent]; ok {
				w.logs[p][old].removed = true
			}
			if newest[x.ent] = off; x.tick {
				delete(newest, x.ent)
			}
		}
		for _, off := range newest {
			w.logs[p][off].removed = w.logs[p][off].gone && w.r.IntN(2) == 0
		}
	}
	w.stamp()
}

// each calls fn with every record that counts among the first at[p] of the logs as
// they are.
func (w *world) each(at []int, fn func(p, off int, in *transforms.Input)) {
	e := schemas.Event{}
	for p := range at {
		in := w.engine.NewInput()
		for off := range at[p] {
			if x := &w.logs[p][off]; x.tick || x.removed {
				continue
			}
			w.event(&e, p, off)
			w.engine.Prepare(in, &e)
			if _, out := w.engine.Screen(in); !out {
				fn(p, off, in)
			}
		}
	}
}

func (w *world) counted(p int) map[string]map[int64]bool {
	if !w.table {
		return nil
	}
	at := make([]int, len(w.logs))
	at[p] = w.cut[p]
	out := map[string]map[int64]bool{}
	w.each(at, func(_, off int, in *transforms.Input) {
		if out[string(in.Entity)] == nil {
			out[string(in.Entity)] = map[int64]bool{}
		}
		out[string(in.Entity)][int64(off)] = true
	})
	return out
}

func (w *world) tableRowsAt(t schemas.Micros) (rows []FeatureRow) {
	states := map[string]*transforms.State{}
	w.each(w.cut, func(_, _ int, in *transforms.Input) {
		if in.EventTime >= t {
			return
		}
		if states[string(in.Entity)] == nil {
			states[string(in.Entity)] = w.engine.NewState(0)
		}
		w.engine.Accept(states[string(in.Entity)], in)
	})
	for e, s := range states {
		if res := w.engine.BoundaryValue(nil, t, s); res[0].Status != transforms.Absent {
			rows = append(rows, FeatureRow{Shard: transforms.EntityShard([]byte(e), w.view.Spec.Shards), Entity: []byte(e), Results: res})
		}
	}
	slices.SortFunc(rows, compareRows)
	return rows
}

// K6, R1: however far either side has read and whatever Kafka has compacted since,
// a sound pair of stores has no difference, and every key is counted once.
func TestTablesAgree(t *testing.T) {
	compared, gone, open := int64(0), int64(0), int64(0)
	for seed := range uint64(400) {
		w := newTableWorld(t, seed)
		low, cut := w.positions(40+w.r.IntN(21)), w.positions(40+w.r.IntN(21))
		on := w.stream(low, w.r.IntN(2) == 0)
		if w.r.IntN(2) == 0 {
			w.compaction(pick(w.r, 0.3, 0.7, 1))
		}
		off := w.replay(cut)
		rep := w.compare(on, off, w)
		if rep.Differences != 0 || rep.Alert || rep.Verdict == Differs || rep.Ledgers.Compared != 0 {
			rep.dump(t)
			t.Fatalf("seed %d: %+v", seed, rep.Cells)
		}
		keys := map[string]bool{}
		for at, states := range on.states {
			for e := range states {
				keys[fmt.Sprint(at.partition, e)] = true
			}
		}
		for _, row := range off.open {
			keys[fmt.Sprint(row.Partition, string(row.Entity))] = true
		}
		if c := rep.Cells; c.total() != int64(len(keys)) {
			t.Fatalf("seed %d: %d keys, counted %+v", seed, len(keys), c)
		}
		if !w.compact && rep.Cells.NotComparable > 0 {
			t.Fatalf("seed %d: not comparable, though nothing was removed: %+v", seed, rep.Cells)
		}
		compared, gone, open = compared+rep.Cells.Compared, gone+rep.Cells.NotComparable, open+rep.Cells.Open
	}
	if compared < 1000 || gone < 100 || open < 100 {
		t.Errorf("%d compared, %d not comparable, %d open", compared, gone, open)
	}
}

// damage of one key that both sides hold, with the same newest record.
type damage struct {
	name  string
	cause Cause
	side  Side
	kind  Kind
	do    func(w *world, on *fakeOnline, off *fakeOffline, at place, e string) bool
}

func row(off *fakeOffline, at place, e string) int {
	return slices.IndexFunc(off.open, func(r OpenRow) bool { return r.Partition == at.partition && string(r.Entity) == e })
}

// another returns the bytes of the state with another newest record.
func (w *world) otherCell(served []byte, spoil func(x *record)) []byte {
	s, err := w.engine.ParseServed(served, nil)
	if err != nil {
		w.Fatal(err)
	}
	c, _ := s.Newest()
	if c.EventTime > s.Clock() { // pending, which a tombstone is not
		return served
	}
	p := -1
	for i := range w.logs { // the partition stands in the bytes only
		if int(c.Offset) < len(w.logs[i]) && w.logs[i][c.Offset].et == c.EventTime {
			p = i
		}
	}
	saved := w.logs[p][c.Offset]
	spoil(&w.logs[p][c.Offset])
	defer func() { w.logs[p][c.Offset] = saved }()
	e, in := schemas.Event{}, w.engine.NewInput()
	w.event(&e, p, int(c.Offset))
	if w.logs[p][c.Offset].id == "made up" {
		e.Offset = int64(slices.IndexFunc(w.logs[p], func(x record) bool { return x.tick }))
		if e.Offset < 0 {
			return served
		}
	}
	e.Clock = max(e.Clock, s.Clock())
	w.engine.Prepare(in, &e)
	fresh := w.engine.NewState(int32(p))
	if v := w.engine.Step(fresh, in); v.Outcome != transforms.Applied {
		return served
	}
	return w.engine.Encode(fresh).Served
}

func flip(x *record) { x.n += 100 }
func turn(x *record) { x.gone = !x.gone }
func back(x *record) { x.et -= schemas.Second }

func onlineCell(spoil func(*record)) func(*world, *fakeOnline, *fakeOffline, place, string) bool {
	return func(w *world, on *fakeOnline, _ *fakeOffline, at place, e string) bool {
		s := on.states[at][e]
		was := string(s.Served)
		s.Served = w.otherCell(s.Served, spoil)
		on.states[at][e] = s
		return w.cellOf(s.Served) != w.cellOf([]byte(was))
	}
}

func offlineCell(spoil func(*record)) func(*world, *fakeOnline, *fakeOffline, place, string) bool {
	return func(w *world, _ *fakeOnline, off *fakeOffline, at place, e string) bool {
		i := row(off, at, e)
		was := off.open[i].Served
		off.open[i].Served = w.otherCell(was, spoil)
		return w.cellOf(off.open[i].Served) != w.cellOf(was)
	}
}

func (w *world) cellOf(served []byte) transforms.TableRecord {
	s, err := w.engine.ParseServed(served, nil)
	if err != nil {
		w.Fatal(err)
	}
	c, _ := s.Newest()
	return c
}

var tableDamage = []damage{
	{"online value", Corrupt, OnOnline, CellKind, onlineCell(flip)},
	{"online tombstone", Corrupt, OnOnline, CellKind, onlineCell(turn)},
	{"online event time", Corrupt, OnOnline, CellKind, onlineCell(back)},
	{"online record that never was", Corrupt, OnOnline, CellKind, func(w *world, on *fakeOnline, off *fakeOffline, at place, e string) bool {
		return !w.compact && onlineCell(func(x *record) { x.id, x.gone, x.et = "made up", false, x.et+1 })(w, on, off, at, e)
	}},
	{"offline value", Corrupt, OnOffline, CellKind, offlineCell(flip)},
	{"offline event time", Corrupt, OnOffline, CellKind, offlineCell(back)},
	{"online key", Missing, OnOnline, CellKind, func(_ *world, on *fakeOnline, _ *fakeOffline, at place, e string) bool {
		delete(on.states[at], e)
		return true
	}},
	{"offline key", Missing, OnOffline, CellKind, func(_ *world, _ *fakeOnline, off *fakeOffline, at place, e string) bool {
		off.open = slices.Delete(off.open, row(off, at, e), row(off, at, e)+1)
		return true
	}},
	{"online bytes", Corrupt, OnOnline, StateKind, func(_ *world, on *fakeOnline, _ *fakeOffline, at place, e string) bool {
		s := on.states[at][e]
		s.Served = slices.Clone(s.Served)
		s.Served[len(s.Served)/2] ^= 4
		on.states[at][e] = s
		return true
	}},
}

// R3, K6: every damage of a cell is found, once, and its cause and side are named.
func TestTableDamage(t *testing.T) {
	for _, d := range tableDamage {
		done := 0
		for seed := range uint64(100) {
			w := newTableWorld(t, seed)
			end := w.positions(60)
			on := w.stream(end, false)
			if w.r.IntN(2) == 0 {
				w.compaction(0.5)
			}
			off := w.replay(end)
			at, e, ok := w.target(on, off)
			if !ok || !d.do(w, on, off, at, e) {
				continue
			}
			done++
			rep := w.compare(on, off, w)
			var found []Difference
			for _, x := range rep.Listed {
				if x.Kind != ValueKind && x.Kind != RowKind {
					found = append(found, x)
				} else if x.Cause != d.cause && x.Kind == ValueKind {
					t.Errorf("%s, seed %d: value %+v", d.name, seed, x)
				}
			}
			if rep.Verdict != Differs || len(found) != 1 || found[0].Cause != d.cause || found[0].Side != d.side || found[0].Kind != d.kind || string(found[0].Entity) != e {
				rep.dump(t)
				t.Fatalf("%s, seed %d, compacted %v: want %s %s of %q", d.name, seed, w.compact, d.cause, d.side, e)
			}
			if !strings.Contains(found[0].Evidence.Text, "replay") && d.kind == CellKind {
				t.Errorf("%s: evidence %q", d.name, found[0].Evidence.Text)
			}
		}
		if done < 20 {
			t.Errorf("%s: done %d times only", d.name, done)
		}
	}
}

// target draws a key of which both sides hold the same record, which the log still
// holds.
func (w *world) target(on *fakeOnline, off *fakeOffline) (place, string, bool) {
	for _, i := range w.r.Perm(len(off.open)) {
		r := &off.open[i]
		at := place{r.Shard, r.Partition}
		if s, ok := on.states[at][string(r.Entity)]; ok && w.cellOf(s.Served) == w.cellOf(r.Served) && w.counted(int(r.Partition))[string(r.Entity)][w.cellOf(r.Served).Offset] {
			return at, string(r.Entity), true
		}
	}
	return place{}, "", false
}

// R1: a features table that says otherwise than the states beside it is found.
func TestTableRows(t *testing.T) {
	for _, lose := range []bool{false, true} {
		w := newTableWorld(t, 3)
		for p := range w.logs { // a clock far beyond, so that every row is of an hour that has passed
			w.logs[p] = append(w.logs[p], record{at: w.clocks[0][len(w.clocks[0])-1] + 5*schemas.Hour, tick: true})
			w.order = append(w.order, p)
		}
		w.stamp()
		end := w.positions(len(w.order))
		on, off := w.stream(end, false), w.replay(end)
		rowsAt := off.rowsAt
		off.rowsAt = func(t schemas.Micros) []FeatureRow {
			rows := rowsAt(t)
			if lose {
				return rows[1:]
			}
			rows[0].Results[0].Value = schemas.IntValue(77)
			return rows
		}
		rep := w.compare(on, off, w)
		want := map[bool]Cause{false: Corrupt, true: Missing}[lose]
		if len(rep.Listed) != 1 || rep.Listed[0].Kind != RowKind || rep.Listed[0].Cause != want || rep.Listed[0].Side != OnOffline || rep.TableRows < 3 {
			rep.dump(t)
			t.Errorf("want one row of cause %s", want)
		}
	}
}

// R1: where nothing can be compared, that is a failure, and the reason is given.
func TestTableNothingCompared(t *testing.T) {
	w := newTableWorld(t, 1)
	end := w.positions(60)
	on := w.stream(end, false)
	w.compaction(1)
	for p := range w.logs {
		for i := range w.logs[p] {
			w.logs[p][i].removed = i > 0 && !w.logs[p][i].tick // all but one
		}
	}
	off := w.replay(end)
	for at := range on.states {
		maps.DeleteFunc(on.states[at], func(e string, _ marker.Stored) bool { return e == "\x04\x02"+w.logs[at.partition][0].ent })
	}
	off.open = nil
	rep := w.compare(on, off, w)
	if rep.Verdict != NothingCompared || rep.Cells.NotComparable == 0 || !strings.Contains(strings.Join(rep.Why, " "), "no longer holds") {
		rep.dump(t)
	}
	var text strings.Builder
	rep.Print(&text)
	if !strings.Contains(text.String(), "not comparable (the log no longer holds the newer record)") {
		t.Errorf("%s", text.String())
	}
}
