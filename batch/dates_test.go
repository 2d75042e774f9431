package batch

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// begun returns the cut from where a replay of dates may begin to read, by the clocks
// that the partitions had there; late is how many of them begin beyond offset 0.
func (w *world) begun(needs schemas.Micros) (cut schemas.TopicCut, late int) {
	spec := &w.view.Spec
	cut = w.cut
	cut.Partitions = maps.Clone(w.cut.Partitions)
	for p, log := range w.logs {
		pc := cut.Partitions[int32(p)]
		for i := len(log) - 1; i > 0; i-- {
			clock := schemas.Micros(w.clocks[p][i-1])
			if log[i].Offset >= w.oracle.History[int32(p)] && clock.AddSat(spec.MaxLateness()).AddSat(2*spec.MaxFuture) < needs {
				pc.Start = log[i].Offset
				late++
				break
			}
		}
		cut.Partitions[int32(p)] = pc
	}
	return cut, late
}

// replayedDates returns the tables of a replay of dates, compared with what was there.
func (w *world) replayedDates(cut schemas.TopicCut, d *Dates, was *From) (*memoryTables, *Replay, *Report) {
	w.tb.Helper()
	m := &memoryTables{from: &From{}}
	r := &Replay{View: w.view, Source: w.source, Log: w, Cut: cut, Dates: d, Was: was, Work: newMemoryWork(m), Parallel: 1 + w.r.IntN(2), drainRows: w.r.IntN(5), Memory: 1 << 20,
		SpillDir: w.tb.TempDir(), ValidFrom: schemas.Never, ReadRecords: int64(1 + w.r.IntN(20))}
	rep, err := r.Run(w.tb.Context())
	if err != nil {
		w.tb.Fatal(err)
	}
	return m, r, rep
}

// of returns the rows of dates.
func (m *memoryTables) of(d *Dates, tiles int64) *memoryTables {
	out := &memoryTables{from: &From{}}
	for _, r := range m.features {
		if d.has(r.Boundary) {
			out.features = append(out.features, r)
		}
	}
	for _, r := range m.tiles {
		if day := r.Tile.Start.Days(); day >= tiles && day <= d.To {
			out.tiles = append(out.tiles, r)
		}
	}
	for _, r := range m.quarantine {
		if d.has(r.Clock) {
			out.quarantine = append(out.quarantine, r)
		}
	}
	if !d.Settled {
		out.open = m.open
	}
	return out
}

// moved tells whether an id that the log had before the start was seen again and again,
// with less than lateness in between, up to needs: K8 makes no promise for what it counts.
func (w *world) moved(cut schemas.TopicCut, needs schemas.Micros) bool {
	spec := &w.view.Spec
	for p, log := range w.logs {
		start := cut.Partitions[int32(p)].Start
		memory := map[string]schemas.Micros{} // of ids that were there before the start
		for i, r := range log {
			if r.Entity == "" || start == 0 {
				continue
			}
			at, clock := schemas.Micros(r.EventTime), schemas.Micros(w.clocks[p][i])
			last, known := memory[r.ID]
			if known && last < clock.SubSat(spec.MaxLateness()) {
				known = false
				delete(memory, r.ID)
			}
			switch {
			case !known && r.Offset >= start:
			case known && r.Offset >= start && max(at, last) >= needs:
				return true
			default:
				memory[r.ID] = max(last, at)
				if !known {
					memory[r.ID] = at
				}
			}
		}
	}
	return false
}

// K5, K8, B1: a replay of dates that begins to read where Needs lets it leaves the rows
// of these dates that one from the beginning does, the remainders of states to the
// byte, and the ledgers of days that it writes tiles of.
func TestDatesAsFromTheBeginning(t *testing.T) {
	late, rowsSeen, opens := 0, 0, 0
	for seed := range uint64(700) {
		w := newWorld(t, seed)
		engine, err := transforms.NewView(w.view.Spec)
		if err != nil {
			t.Fatal(err)
		}
		closed := schemas.Micros(w.closed)
		if w.closed < 0 {
			continue
		}
		d := &Dates{From: closed.Days() - w.r.Int64N(4), To: LastDay, Fresh: w.r.IntN(2) == 0}
		if !d.Fresh && w.r.IntN(2) == 0 {
			d.Settled, d.To = true, min(d.From+w.r.Int64N(3), closed.Days()-1)
		}
		cut, n := w.cut, 0
		needs := d.Needs(engine, closed)
		if !engine.HasLifetime() {
			cut, n = w.begun(needs)
		}
		if late += n; w.oracle.Identity != 0 && w.moved(cut, needs) {
			continue
		}
		all := w.replayed(w, nil, w.cut)
		want := all.of(d, d.Tiles(engine, closed))
		got, _, rep := w.replayedDates(cut, d, nil)
		if a, b := got.lines(), want.lines(); a != b {
			t.Fatalf("seed %d: K8: dates %+v from %v: %s", seed, *d, cut.Partitions, firstDifference(a, b))
		}
		if rep.Features != int64(len(got.features)) || rep.Tiles != int64(len(got.tiles)) || rep.States != int64(len(got.open)) {
			t.Fatalf("seed %d: it counts %d, %d and %d rows", seed, rep.Features, rep.Tiles, rep.States)
		}
		for k, l := range all.from.Days {
			if k.Day >= d.Tiles(engine, closed) && rep.Days[k] != nil && *rep.Days[k] != *l {
				t.Fatalf("seed %d: V8: day %+v: %+v, all in all %+v", seed, k, *rep.Days[k], *l)
			}
		}
		if n > 0 {
			rowsSeen, opens = rowsSeen+strings.Count(got.lines(), "\n"), opens+len(got.open)
		}
	}
	if late < 150 || rowsSeen < 1000 || opens < 150 {
		t.Errorf("%d partitions began late, and left %d rows, %d states", late, rowsSeen, opens)
	}
}

// V3, V11: what dates need ends before the first of their windows begins, and before
// the tiles of states do.
func TestDatesNeed(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(t, seed)
		engine, err := transforms.NewView(w.view.Spec)
		if err != nil {
			t.Fatal(err)
		}
		d := &Dates{From: 20_000, To: LastDay}
		hop := slices.Max(engine.Hops())
		retention := engine.Retention(hop)
		far := schemas.Micros(30_000) * schemas.Day
		if got, most := d.Needs(engine, far), dayStart(d.From)-retention+w.view.Spec.MaxLateness()+transforms.Slack; got > most {
			t.Errorf("seed %d: %v, at most %v", seed, got, most)
		}
		if got, most := d.Needs(engine, dayStart(19_990)), dayStart(19_990)+w.view.Spec.Lateness-retention-hop; got > most {
			t.Errorf("seed %d: %v, at most %v", seed, got, most)
		}
		if got := d.Needs(engine, schemas.Never); got != schemas.Never {
			t.Errorf("seed %d: %v while nothing is closed", seed, got)
		}
	}
}
