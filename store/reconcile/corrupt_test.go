package reconcile

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
)

// target is a closed tile within reach of both sides, worked out by R1's words.
type target struct {
	place
	entity string
	row    int // of the offline tiles
}

// boundary is R1's: the least clock of both sides minus lateness.
func (w *world) boundary(on *fakeOnline) schemas.Micros {
	least := schemas.Forever
	for at, m := range on.marks {
		least = min(least, m.Clock, w.clocks[at.partition][w.cut[at.partition]])
	}
	if least == schemas.Never {
		return schemas.Never
	}
	return least.SubSat(w.view.Spec.Lateness)
}

// targets lists the closed tiles within reach.
func (w *world) targets(on *fakeOnline, off *fakeOffline) (list []target) {
	b := w.boundary(on)
	slices.SortFunc(off.tiles, compareTiles)
	for i, t := range off.tiles {
		at := place{t.Shard, t.Partition}
		later := max(on.later[at].Clock, w.clocks[t.Partition][w.cut[t.Partition]])
		end := t.Tile.Start + t.Tile.Hop
		if b != schemas.Never && end <= b.Floor(t.Tile.Hop) && end > later-w.engine.Retention(t.Tile.Hop) {
			list = append(list, target{at, string(t.Entity), i})
		}
	}
	return list
}

// expected is what must be found, and nothing else.
type expected struct {
	cause Cause
	side  Side
	kind  Kind
	tiles int64 // different; -1 = any number
}

// injection damages one side. It returns false where the world has nothing to
// damage.
type injection struct {
	name   string
	replay bool
	do     func(w *world, on *fakeOnline, off *fakeOffline) bool
	want   expected
}

// change rewrites the closed tiles of an online state.
func (w *world) change(on *fakeOnline, t target, b schemas.Micros, fn func([]transforms.Tile) []transforms.Tile) bool {
	st := on.states[t.place][t.entity]
	s, err := w.engine.Parse(st)
	if err != nil {
		w.Fatal(err)
	}
	b = b.Floor(w.engine.Hops()[0])
	w.engine.Trim(s, b)
	if err := w.engine.Restore(s, fn(w.engine.TakeClosed(s, b))); err != nil {
		w.Fatal(err)
	}
	on.states[t.place][t.entity] = w.stored(s)
	return true
}

// find returns a target's tile.
func find(tiles []transforms.Tile, t transforms.Tile) int {
	return slices.IndexFunc(tiles, func(x transforms.Tile) bool { return x.Hop == t.Hop && x.Start == t.Start })
}

// another gives a tile one event more: other bytes that still decode.
func another(t transforms.Tile) transforms.Tile {
	n, k := binary.Uvarint([]byte(t.Cells))
	t.Events = int64(n) + 1
	t.Cells = string(binary.AppendUvarint(nil, n+1)) + t.Cells[k:]
	return t
}

// eventsLen is the length of the event count that a tile's bytes begin with.
func eventsLen(t transforms.Tile) int {
	_, n := binary.Uvarint([]byte(t.Cells))
	return n
}

func onTarget(fn func(w *world, on *fakeOnline, off *fakeOffline, t target) bool) func(*world, *fakeOnline, *fakeOffline) bool {
	return func(w *world, on *fakeOnline, off *fakeOffline) bool {
		list := w.targets(on, off)
		return len(list) > 0 && fn(w, on, off, list[w.r.IntN(len(list))])
	}
}

// reseal recomputes the checksum of a served part after fn changed it.
func reseal(served []byte, fn func([]byte) []byte) []byte {
	b := fn(slices.Clone(served[:len(served)-4]))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// header splits a served part: format and partition, last offset, the rest.
func header(b []byte) (front, rest []byte) {
	_, n := binary.Uvarint(b[1:])
	_, k := binary.Varint(b[1+n:])
	return b[:1+n], b[1+n+k:]
}

func (w *world) serve(on *fakeOnline, t target, fn func([]byte) []byte) bool {
	st := on.states[t.place][t.entity]
	st.Served = fn(st.Served)
	on.states[t.place][t.entity] = st
	return true
}

func (w *world) openRow(off *fakeOffline, t target) int {
	return slices.IndexFunc(off.open, func(o OpenRow) bool { return o.Partition == t.partition && string(o.Entity) == t.entity })
}

// sameLedgers returns a place at which both sides stand at one position and have
// read something.
func (w *world) sameLedgers(on *fakeOnline) (place, bool) {
	for p := range w.logs {
		for shard := range w.view.Spec.Shards {
			at := place{shard, int32(p)}
			if m := on.marks[at]; m.Next == int64(w.cut[p]) && m.Ledger.Read() > 0 {
				return at, true
			}
		}
	}
	return place{}, false
}

func bump(m map[place]marker.Mark, at place, fn func(*marker.Mark)) {
	x := m[at]
	fn(&x)
	m[at] = x
}

// onStored changes what is stored online of a target.
func onStored(fn func(*marker.Stored) bool) func(*world, *fakeOnline, *fakeOffline) bool {
	return onTarget(func(_ *world, on *fakeOnline, _ *fakeOffline, t target) bool {
		st := on.states[t.place][t.entity]
		did := fn(&st)
		on.states[t.place][t.entity] = st
		return did
	})
}

var injections = []injection{
	{"a changed tile", true, onTarget(changeTile), expected{Corrupt, OnOnline, TileKind, 1}},
	{"a changed tile, no replay", false, onTarget(changeTile), expected{Logic, "", TileKind, 1}},
	{"the cells of another tile", true, onTarget(func(w *world, on *fakeOnline, off *fakeOffline, t target) bool {
		did := false
		w.change(on, t, w.boundary(on), func(ts []transforms.Tile) []transforms.Tile {
			i := find(ts, off.tiles[t.row].Tile)
			for _, x := range ts {
				if y := ts[i]; !did && x.Hop == y.Hop && x.Cells[eventsLen(x):] != y.Cells[eventsLen(y):] {
					ts[i].Cells, did = y.Cells[:eventsLen(y)]+x.Cells[eventsLen(x):], true
				}
			}
			return ts
		})
		return did
	}), expected{Corrupt, OnOnline, TileKind, 1}},
	{"a dropped tile", true, onTarget(func(w *world, on *fakeOnline, off *fakeOffline, t target) bool {
		return w.change(on, t, w.boundary(on), func(ts []transforms.Tile) []transforms.Tile {
			i := find(ts, off.tiles[t.row].Tile)
			return slices.Delete(ts, i, i+1)
		})
	}), expected{Missing, OnOnline, TileKind, 1}},
	{"a dropped state", true, onTarget(func(_ *world, on *fakeOnline, _ *fakeOffline, t target) bool {
		delete(on.states[t.place], t.entity)
		return true
	}), expected{Missing, OnOnline, StateKind, -1}},
	{"a dropped served part", true, onTarget(func(w *world, on *fakeOnline, _ *fakeOffline, t target) bool {
		return len(on.states[t.place][t.entity].Open) > 0 && w.serve(on, t, func([]byte) []byte { return nil })
	}), expected{Missing, OnOnline, StateKind, 0}},
	{"a dropped open part", true, onStored(func(st *marker.Stored) bool {
		had := len(st.Open) > 0
		st.Open = nil
		return had
	}), expected{Missing, OnOnline, StateKind, 0}},
	{"a damaged open part", true, onStored(func(st *marker.Stored) bool {
		if len(st.Open) == 0 {
			return false
		}
		st.Open = slices.Clone(st.Open)
		st.Open[0].Data = append(slices.Clone(st.Open[0].Data), 0)
		return true
	}), expected{Corrupt, OnOnline, StateKind, 0}},
	{"a dropped old part", true, onStored(func(st *marker.Stored) bool {
		had := len(st.Old) > 0
		st.Old = nil
		return had
	}), expected{Corrupt, OnOnline, StateKind, 0}},
	{"a clock beyond the marker", true, onTarget(func(w *world, on *fakeOnline, _ *fakeOffline, t target) bool {
		return w.serve(on, t, func(b []byte) []byte {
			return reseal(b, func(b []byte) []byte {
				_, rest := header(b)
				binary.LittleEndian.PutUint64(rest, uint64(on.later[t.place].Clock+1))
				return b
			})
		})
	}), expected{Corrupt, OnOnline, StateKind, 0}},
	{"a last offset beyond the marker", true, onTarget(func(w *world, on *fakeOnline, _ *fakeOffline, t target) bool {
		return w.serve(on, t, func(b []byte) []byte {
			return reseal(b, func(b []byte) []byte {
				front, rest := header(b)
				return append(binary.AppendVarint(slices.Clone(front), on.later[t.place].Next), rest...)
			})
		})
	}), expected{Corrupt, OnOnline, StateKind, 0}},
	{"truncated bytes", true, onTarget(func(w *world, on *fakeOnline, _ *fakeOffline, t target) bool {
		return w.serve(on, t, func(b []byte) []byte { return b[:w.r.IntN(len(b))] })
	}), expected{Corrupt, OnOnline, StateKind, 0}},
	{"a flipped bit", true, onTarget(func(w *world, on *fakeOnline, _ *fakeOffline, t target) bool {
		return w.serve(on, t, func(b []byte) []byte {
			b = slices.Clone(b)
			b[w.r.IntN(len(b))] ^= 1 << w.r.IntN(8)
			return b
		})
	}), expected{Corrupt, OnOnline, StateKind, 0}},
	{"a dropped row of tiles", true, onTarget(func(_ *world, _ *fakeOnline, off *fakeOffline, t target) bool {
		off.tiles = slices.Delete(off.tiles, t.row, t.row+1)
		return true
	}), expected{Missing, OnOffline, TileKind, 1}},
	{"a changed row of tiles", true, onTarget(func(_ *world, _ *fakeOnline, off *fakeOffline, t target) bool {
		off.tiles[t.row].Tile = another(off.tiles[t.row].Tile)
		return true
	}), expected{Corrupt, OnOffline, TileKind, 1}},
	{"a row of tiles that does not decode", true, onTarget(func(_ *world, _ *fakeOnline, off *fakeOffline, t target) bool {
		off.tiles[t.row].Tile.Cells += "x"
		return true
	}), expected{Corrupt, OnOffline, StateKind, 0}},
	{"a dropped remainder", true, onTarget(func(w *world, _ *fakeOnline, off *fakeOffline, t target) bool {
		i := w.openRow(off, t)
		off.open = slices.Delete(off.open, i, i+1)
		return true
	}), expected{Missing, OnOffline, StateKind, 0}},
	{"all rows dropped", true, onTarget(func(w *world, _ *fakeOnline, off *fakeOffline, t target) bool {
		i := w.openRow(off, t)
		off.open = slices.Delete(off.open, i, i+1)
		off.tiles = slices.DeleteFunc(off.tiles, func(r TileRow) bool { return r.Partition == t.partition && string(r.Entity) == t.entity })
		return true
	}), expected{Missing, OnOffline, StateKind, -1}},
	{"a truncated remainder", true, onTarget(func(w *world, _ *fakeOnline, off *fakeOffline, t target) bool {
		row := &off.open[w.openRow(off, t)]
		row.Served = row.Served[:len(row.Served)-1]
		return true
	}), expected{Corrupt, OnOffline, StateKind, 0}},
	{"a last offset beyond the cut", true, onTarget(func(w *world, _ *fakeOnline, off *fakeOffline, t target) bool {
		row := &off.open[w.openRow(off, t)]
		row.Served = reseal(row.Served, func(b []byte) []byte {
			front, rest := header(b)
			return append(binary.AppendVarint(slices.Clone(front), int64(w.cut[t.partition])), rest...)
		})
		return true
	}), expected{Corrupt, OnOffline, StateKind, 0}},
	{"a changed row of features", false, onRow(func(rows []FeatureRow, i int) []FeatureRow {
		rows[i].Results = slices.Clone(rows[i].Results)
		rows[i].Results[0] = transforms.Result{Value: schemas.StringValue("damage"), Status: transforms.Present}
		return rows
	}), expected{Corrupt, OnOffline, RowKind, 0}},
	{"a changed status in a row of features", false, onRow(func(rows []FeatureRow, i int) []FeatureRow {
		rows[i].Results = slices.Clone(rows[i].Results)
		rows[i].Results[0].Status = transforms.Overflow
		return rows
	}), expected{Corrupt, OnOffline, RowKind, 0}},
	{"a dropped row of features", false, onRow(func(rows []FeatureRow, i int) []FeatureRow {
		return slices.Delete(rows, i, i+1)
	}), expected{Missing, OnOffline, RowKind, 0}},
	{"a row of features too many", false, onRow(func(rows []FeatureRow, i int) []FeatureRow {
		more := rows[i]
		more.Entity = append(slices.Clone(more.Entity[:len(more.Entity)-1]), 'x')
		more.Shard = rows[i].Shard
		return append(rows, more)
	}), expected{Corrupt, OnOffline, RowKind, 0}},
	{"a changed ledger online", true, func(w *world, on *fakeOnline, _ *fakeOffline) bool {
		at, ok := w.sameLedgers(on)
		bump(on.marks, at, func(m *marker.Mark) { m.Ledger.Applied++; m.Ledger.Filtered-- })
		return ok
	}, expected{Corrupt, OnOnline, LedgerKind, 0}},
	{"a changed ledger offline", true, func(w *world, on *fakeOnline, off *fakeOffline) bool {
		at, ok := w.sameLedgers(on)
		for i := range off.info.Ledgers {
			if e := &off.info.Ledgers[i]; e.Shard == at.shard && e.Partition == at.partition {
				e.Late++
			}
		}
		return ok
	}, expected{Corrupt, OnOffline, LedgerKind, 0}},
	{"a dropped ledger", true, func(w *world, on *fakeOnline, off *fakeOffline) bool {
		at, ok := w.sameLedgers(on)
		off.info.Ledgers = slices.DeleteFunc(off.info.Ledgers, func(e LedgerEntry) bool { return e.Shard == at.shard && e.Partition == at.partition })
		return ok
	}, expected{Missing, OnOffline, LedgerKind, 0}},
	{"tables of another definition", true, func(_ *world, _ *fakeOnline, off *fakeOffline) bool {
		off.info.Fingerprint = "other"
		return true
	}, expected{Definition, OnOffline, DefinitionKind, 0}},
	{"readers of another definition", true, func(_ *world, on *fakeOnline, _ *fakeOffline) bool {
		on.live = "other"
		return true
	}, expected{Definition, OnOnline, DefinitionKind, 0}},
	{"a lost marker", true, onTarget(func(_ *world, on *fakeOnline, _ *fakeOffline, t target) bool {
		delete(on.marks, t.place)
		delete(on.later, t.place)
		return true
	}), expected{Missing, OnOnline, MarkerKind, 0}},
	{"a bootstrap", true, onTarget(func(_ *world, on *fakeOnline, _ *fakeOffline, t target) bool {
		bump(on.marks, t.place, func(m *marker.Mark) { m.Phase = marker.Bootstrapping })
		return true
	}), expected{Lag, OnOnline, MarkerKind, 0}},
	{"a failover meanwhile", true, onTarget(func(_ *world, on *fakeOnline, _ *fakeOffline, t target) bool {
		bump(on.later, t.place, func(m *marker.Mark) { m.Next = on.marks[t.place].Next - 1 })
		return true
	}), expected{Lag, OnOnline, MarkerKind, 0}},
}

// onRow damages the features table as of the boundary that is compared.
func onRow(fn func([]FeatureRow, int) []FeatureRow) func(*world, *fakeOnline, *fakeOffline) bool {
	return func(w *world, on *fakeOnline, off *fakeOffline) bool {
		b := w.boundary(on)
		if b == schemas.Never {
			return false
		}
		hops := w.engine.Hops()
		t := b.Floor(hops[len(hops)-1]).Floor(w.view.Snapshots)
		// Far from both positions what the row says can no longer be told.
		for p := range w.logs {
			for shard := range w.view.Spec.Shards {
				if max(on.later[place{shard, int32(p)}].Clock, w.clocks[p][w.cut[p]]) > t+w.view.Spec.Lateness+40*schemas.Hour {
					return false
				}
			}
		}
		rows := off.at(t)
		if len(rows) == 0 {
			return false
		}
		off.rows[t] = fn(rows, w.r.IntN(len(rows)))
		return true
	}
}

func changeTile(w *world, on *fakeOnline, off *fakeOffline, t target) bool {
	return w.change(on, t, w.boundary(on), func(ts []transforms.Tile) []transforms.Tile {
		i := find(ts, off.tiles[t.row].Tile)
		ts[i] = another(ts[i])
		return ts
	})
}

// R1, R3: every injected damage is found, it alone, and by its name; values that
// follow from it have its cause.
func TestDamageIsFound(t *testing.T) {
	for _, x := range injections {
		t.Run(x.name, func(t *testing.T) {
			found := 0
			for seed := uint64(0); seed < uint64(*seeds) && found < 60; seed++ {
				w := newWorld(t, seed, nil)
				on, off := w.sides(seed%3 == 0)
				if !x.do(w, on, off) {
					continue
				}
				found++
				var rep Replayer
				if x.replay {
					rep = w
				}
				r := w.compare(on, off, rep)
				if msg := x.want.unlike(r); msg != "" {
					t.Logf("%s", w.view.Canonical)
					r.dump(t)
					t.Fatalf("seed %d: %s", seed, msg)
				}
			}
			if found < 10 {
				t.Errorf("only %d worlds had anything to damage", found)
			}
		})
	}
}

// unlike says how a report is not what was expected.
func (x expected) unlike(r *Report) string {
	if r.Verdict != Differs {
		return fmt.Sprintf("verdict %s", r.Verdict)
	}
	primary, tiles := 0, int64(0)
	for _, d := range r.Listed {
		if d.Kind != ValueKind {
			if primary++; d.Kind != x.kind {
				return fmt.Sprintf("a %s differs", d.Kind)
			}
		}
		if d.Cause != x.cause || d.Side != x.side {
			return fmt.Sprintf("cause %s, side %q", d.Cause, d.Side)
		}
		if d.Evidence.Text == "" {
			return "no evidence"
		}
		if other := map[Side]string{OnOnline: d.Offline, OnOffline: d.Online}[d.Side]; strings.Contains(other, "do not parse") {
			return fmt.Sprintf("side %q, and of the other it says: %s", d.Side, other)
		}
	}
	for _, l := range r.Levels {
		tiles += l.Different
	}
	switch {
	case primary != 1:
		return fmt.Sprintf("%d differences of the first order", primary)
	case r.Causes[x.cause] != r.Differences:
		return fmt.Sprintf("causes %v", r.Causes)
	case x.tiles >= 0 && tiles != x.tiles || x.tiles < 0 && tiles == 0:
		return fmt.Sprintf("%d tiles differ", tiles)
	}
	return ""
}

// K8: where the online fold began later, what begins at or before valid_from is
// not compared, and the rest agrees where copies keep their event time; else what
// differs has cause history.
func TestAdoptedStart(t *testing.T) {
	compared, left := int64(0), int64(0)
	eachSeed(t, func(t *testing.T, seed uint64) {
		still := seed%2 == 0
		w := newWorld(t, seed, func(w *world) { w.still = still })
		p := w.r.IntN(len(w.logs))
		w.start[p] = w.r.IntN(len(w.logs[p])/2 + 1)
		on, off := w.sides(false)
		rep := w.compare(on, off, w)
		if w.start[p] > 0 {
			compared, left = compared+rep.Tiles, left+rep.Incomplete
		}
		if still && rep.Differences > 0 || rep.Causes[History] != rep.Differences {
			t.Logf("%s\nstart %v", w.view.Canonical, w.start)
			rep.dump(t)
		}
	})
	if min(compared, left) == 0 {
		t.Errorf("%d tiles compared, %d incomplete", compared, left)
	}
}

// R3: a replay that agrees with neither side makes it a bug.
func TestNeitherIsRight(t *testing.T) {
	for seed := range uint64(200) {
		w := newWorld(t, seed, nil)
		on, off := w.sides(false)
		list := w.targets(on, off)
		if len(list) == 0 {
			continue
		}
		x := list[0]
		changeTile(w, on, off, x)
		off.tiles[x.row].Tile = another(another(off.tiles[x.row].Tile))
		if msg := (expected{Logic, "", TileKind, 1}).unlike(w.compare(on, off, w)); msg != "" {
			t.Fatalf("seed %d: %s", seed, msg)
		}
		return
	}
	t.Error("no world had a tile")
}

// R1: errors of a port end the run; rows out of order are one.
func TestRowsOutOfOrder(t *testing.T) {
	for seed := range uint64(200) {
		w := newWorld(t, seed, nil)
		on, off := w.sides(false)
		if len(off.open) < 2 || w.boundary(on) == schemas.Never || off.info.Boundary == schemas.Never {
			continue
		}
		_, err := Run(context.Background(), w.view, on, &unsorted{off}, nil, Options{})
		if _, ok := err.(interface{ Unwrap() error }); err == nil || !ok {
			t.Fatalf("seed %d: %v", seed, err)
		}
		return
	}
	t.Error("no world had two rows")
}

// unsorted yields the remainders backwards.
type unsorted struct{ *fakeOffline }

func (u *unsorted) Open(context.Context) iter.Seq2[OpenRow, error] {
	slices.SortFunc(u.open, compareOpen)
	slices.Reverse(u.open)
	return each(u.open)
}

// torn is an online store whose markers of one partition become unreadable once
// a state was read.
type torn struct{ *fakeOnline }

func (o torn) Marks(ctx context.Context, p int32) ([]marker.Mark, error) {
	if o.seen && p == 0 {
		return nil, &transforms.CorruptError{Part: "marker", Reason: "it is torn"}
	}
	return o.fakeOnline.Marks(ctx, p)
}

// R3: a marker that becomes unreadable while the states are read is a difference
// with a cause, as one that was so before; the comparison goes on.
func TestMarkerTornMeanwhile(t *testing.T) {
	w := newWorld(t, 1, nil)
	on, off := w.sides(false)
	if report := w.compare(torn{on}, off, nil); report.Causes[Corrupt] == 0 || report.Verdict != Differs {
		t.Errorf("verdict %v, causes %v", report.Verdict, report.Causes)
	}
}
