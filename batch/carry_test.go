package batch

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/reading"
	"github.com/tallystick/tallystick/transforms/rows"
)

// memoryTables are the tables of a view.
type memoryTables struct {
	features   []rows.Feature
	tiles      []rows.Tile
	open       []rows.Open
	quarantine []rows.Quarantined
	from       *From // what the next replay goes on from, but for Carry
	changed    int   // rows that were found changed
}

func (m *memoryTables) Feature(r rows.Feature) error {
	m.features = append(m.features, r)
	return nil
}

func (m *memoryTables) Tile(r rows.Tile) error {
	m.tiles = append(m.tiles, r)
	return nil
}

func (m *memoryTables) Open(r rows.Open) error {
	m.open = append(m.open, r)
	return nil
}

func (m *memoryTables) Quarantine(r rows.Quarantined) error {
	m.quarantine = append(m.quarantine, r)
	return nil
}

// lines tells every row and every book.
func (m *memoryTables) lines() string {
	var out []string
	for _, r := range m.features {
		out = append(out, fmt.Sprintf("feature %x %v %v %v", r.Entity, r.Boundary, r.Final, r.Results))
	}
	for _, r := range m.tiles {
		out = append(out, fmt.Sprintf("tile %x %d %v %v %d %x", r.Entity, r.Partition, r.Tile.Hop, r.Tile.Start, r.Tile.Events, r.Tile.Cells))
	}
	for _, r := range m.open {
		out = append(out, fmt.Sprintf("open %x %d %x %x %v", r.Entity, r.Partition, r.Served, r.Open, r.Waiting))
	}
	for _, r := range m.quarantine {
		out = append(out, fmt.Sprintf("quarantine %v %v %v %v %v %s", r.At, r.Clock, r.EventTime, r.Outcome, r.Stage, r.Reason))
	}
	for k, l := range m.from.Ledgers {
		out = append(out, fmt.Sprintf("ledger %v %+v %v", k, *l, m.from.Newest[k]))
	}
	for k, l := range m.from.Days {
		if *l != (transforms.Ledger{}) {
			out = append(out, fmt.Sprintf("day %v %+v", k, *l))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// keep takes from tables the rows of dates before day.
func (m *memoryTables) keep(o *memoryTables, day int64) {
	for _, r := range o.features {
		if r.Boundary.Days() < day {
			m.features = append(m.features, r)
		}
	}
	for _, r := range o.tiles {
		if r.Tile.Start.Days() < day {
			m.tiles = append(m.tiles, r)
		}
	}
	for _, r := range o.quarantine {
		if r.Clock.Days() < day {
			m.quarantine = append(m.quarantine, r)
		}
	}
}

// memoryCarry is them as what a replay goes on from.
type memoryCarry struct{ *memoryTables }

func (m memoryCarry) States(_ context.Context, p int32, fn func(*Carried) error) error {
	for _, o := range m.open {
		if o.Partition != p {
			continue
		}
		c := Carried{Open: o}
		for _, t := range m.tiles {
			if t.Partition == p && string(t.Entity) == string(o.Entity) {
				c.Closed = append(c.Closed, t.Tile)
			}
		}
		slices.SortFunc(c.Closed, byStart)
		if err := fn(&c); err != nil {
			return err
		}
	}
	return nil
}

func (m memoryCarry) Tiles(_ context.Context, p int32, day int64, fn func(rows.Tile) error) error {
	for _, t := range m.tiles {
		if t.Partition == p && t.Tile.Start.Days() >= day {
			if err := fn(t); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m memoryCarry) Quarantine(_ context.Context, p int32, day int64, fn func(rows.Quarantined) error) error {
	for _, q := range m.quarantine {
		if q.At.Partition == p && q.Clock.Days() >= day {
			if err := fn(q); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m memoryCarry) Features(_ context.Context, from, to int64, fn func(rows.Feature) error) error {
	for _, f := range m.features {
		if day := f.Boundary.Days(); from <= day && day <= to {
			if err := fn(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// replayed returns the tables of a replay up to a cut, which goes on from others where
// there are any.
func (w *world) replayed(log Log, from *memoryTables, cut schemas.TopicCut) *memoryTables {
	w.tb.Helper()
	m := &memoryTables{}
	r := &Replay{View: w.view, Source: w.source, Log: log, Cut: cut, Work: newMemoryWork(m), Parallel: 1 + w.r.IntN(2), drainRows: w.r.IntN(5), Memory: 1 << 20,
		SpillDir: w.tb.TempDir(), ValidFrom: schemas.Never, ReadRecords: int64(1 + w.r.IntN(20))}
	if from != nil {
		f := *from.from
		f.Carry, r.From = memoryCarry{from}, &f
	}
	rep, err := r.Run(w.tb.Context())
	if err != nil {
		w.tb.Fatal(err)
	}
	if from != nil {
		day, err := r.FirstDay()
		if err != nil {
			w.tb.Fatal(err)
		}
		m.changed = m.checkChanges(w.tb, r, from, rep.Changes, true)
		m.keep(from, day)
	}
	rep.Clocked(cut)
	m.from = &From{Cut: cut, Ledgers: rep.Ledgers, Newest: rep.Newest, Days: rep.Days, Boundary: rep.Boundary}
	return m
}

// checkChanges holds what a replay says that it has changed against both tables; events
// tells whether events have changed it all.
func (m *memoryTables) checkChanges(tb testing.TB, r *Replay, from *memoryTables, got *Changes, events bool) (rows int) {
	tb.Helper()
	all := map[string][2]string{}
	for side, t := range []*memoryTables{from, m} {
		for _, f := range t.features {
			if f.Boundary > r.held.from && f.Boundary <= r.held.to {
				k := fmt.Sprintf("%020d %x", f.Boundary, f.Entity)
				v := all[k]
				v[side] = fmt.Sprint(f.Results)
				all[k] = v
			}
		}
	}
	changed := int64(0)
	for _, v := range all {
		if v[0] != v[1] {
			changed++
		}
	}
	var sum DateChanges
	for _, d := range got.Dates {
		sum.Rows, sum.Changed, sum.Values = sum.Rows+d.Rows, sum.Changed+d.Changed, sum.Values+d.Values
	}
	if sum.Rows != int64(len(all)) || sum.Changed != changed || sum.Values < changed || len(got.Examples) != int(min(sum.Values, maxChanges)) {
		tb.Fatalf("%d rows, %d changed; it says %+v and gives %d examples", len(all), changed, sum, len(got.Examples))
	}
	for _, e := range got.Examples {
		if events && len(e.Events) == 0 || e.Before == e.After {
			tb.Fatalf("nothing has changed this value: %+v", e)
		}
	}
	return int(changed)
}

// cuts returns some cuts, each beyond the one before it, the last one whole.
func (w *world) cuts() (out []schemas.TopicCut) {
	shares := []float64{1}
	for range 1 + w.r.IntN(4) {
		shares = append(shares, w.r.Float64())
	}
	slices.Sort(shares)
	for _, share := range shares {
		cut := w.cut
		cut.Partitions = maps.Clone(w.cut.Partitions)
		for p, pc := range cut.Partitions {
			end := int64(share * float64(pc.End))
			if w.r.IntN(3) > 0 || share == 1 {
				pc.End = end
			} else { // a partition that is ahead of the others
				pc.End = min(pc.End, end+w.r.Int64N(20))
			}
			if w.r.IntN(8) == 0 { // nothing was appended since, says the wall clock
				pc.Idle = new(schemas.Micros(w.now + w.r.Int64N(day)))
			}
			if n := len(out); n > 0 {
				pc.End = max(pc.End, out[n-1].Partitions[p].End)
			}
			cut.Partitions[p] = pc
		}
		out = append(out, cut)
	}
	return out
}

// B5: a replay that goes on from the tables of an earlier cut, again and again, leaves
// the rows of one from the beginning: features, tiles, remainders of states to the
// byte, quarantine, ledgers. It says which rows it has changed, and what changed them.
func TestDayByDay(t *testing.T) {
	went, kept, changes := 0, 0, 0
	for seed := range uint64(1500) {
		w := newWorld(t, seed)
		var tables *memoryTables
		for i, cut := range w.cuts() {
			want := w.replayed(w, nil, cut)
			if tables != nil && tables.from.Check(w.view, cut) == "" {
				went++
				kept += len(tables.tiles)
				tables = w.replayed(w, tables, cut)
				changes += tables.changed
			} else {
				tables = want
			}
			if got, want := tables.lines(), want.lines(); got != want {
				t.Fatalf("seed %d: B5: cut %d: %s", seed, i, firstDifference(got, want))
			}
		}
	}
	if went < 1000 || kept < 1000 || changes < 10 {
		t.Errorf("%d replays went on, from %d tiles; %d rows changed", went, kept, changes)
	}
}

// B5, V9: an entity that is absent at the earlier cut has rows again in the next month,
// though nothing comes of it any more.
func TestAbsentEntityIsCarried(t *testing.T) {
	v := testbed.View(t, monthlyDefinition, monthlySchema)
	at := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 12, 0, 0, 0, time.UTC) }
	log := memoryLog{event("a", at(1, 5), 0), event("b", at(1, 20), 1), event("b", at(2, 3), 2)}
	w := &world{tb: t, r: rand.New(rand.NewPCG(1, 1)), view: v, source: reading.NewSource(v, testbed.Writers(v))}
	to := func(end int64) schemas.TopicCut {
		return schemas.TopicCut{Partitions: map[int32]schemas.PartitionCut{0: {End: end}}}
	}
	earlier := w.replayed(log, nil, to(2))
	got, want := w.replayed(log, earlier, to(3)), w.replayed(log, nil, to(3))
	if !strings.Contains(want.lines(), "feature 0401"+fmt.Sprintf("%x", "a")+" 2026-02-02T00:00:00Z") {
		t.Fatalf("the entity does not return:\n%s", want.lines())
	}
	if got, want := got.lines(), want.lines(); got != want {
		t.Errorf("B5: %s", firstDifference(got, want))
	}
}

// firstDifference tells the first lines that only one of two texts has.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	only := func(a, b []string) string {
		for _, line := range a {
			if !slices.Contains(b, line) {
				return line
			}
		}
		return "nothing"
	}
	return fmt.Sprintf("got %s\nwant %s", only(g, w), cmp.Or(only(w, g)))
}
