package batch

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/reading"
)

const tableDefinition = `
sources:
  ev: {kind: table, key: string, schema: ev.avsc, writers: {files: {1: ev.avsc}}, event_time: et, version: ver}
views:
  v:
    source: ev
    entity: {account: string}
    shards: 3
    features: {amt: {last: amt}, ver: {last: ver, over: lifetime}}
`

// newTableWorld has a table in place of events: some are tombstones, and event
// times lie anywhere.
func newTableWorld(tb testing.TB, seed uint64) *world {
	tb.Helper()
	w := &world{tb: tb, r: rand.New(rand.NewPCG(seed, 4)), table: true, oracle: oracle.Config{Lateness: 6 * hour, MaxFuture: 5 * int64(schemas.Minute)}}
	life := oracle.Window{Kind: oracle.Lifetime}
	w.oracle.Features = []oracle.Feature{{Agg: "last", Filter: -1, Kind: oracle.Double, Window: life}, {Agg: "last", Input: 1, Filter: -1, Kind: oracle.Int, Window: life}}
	w.view = testbed.View(tb, tableDefinition, testbed.EventSchema)
	w.source = reading.NewSource(w.view, testbed.Writers(w.view))
	w.oracle.Identity = oracle.ByVersion // versions are drawn
	w.fill()
	for _, log := range w.logs {
		for i := range log {
			r := &log[i]
			r.Inputs = append(r.Inputs, oracle.Val{Kind: oracle.Int, I: r.Version})
			if r.EventTime -= []int64{0, 0, day, 20 * day, 0}[w.r.IntN(5)]; w.r.IntN(4) == 0 && r.Kind == oracle.Data {
				r.Gone, r.EventTime = true, r.Timestamp
			}
		}
	}
	return w
}

// applied returns the records of an entity that count among the first at[p] of
// each partition.
func (w *world) applied(entity string, at []int) (rs []*oracle.Record) {
	for p, log := range w.logs {
		for i := range log[:at[p]] {
			r := &log[i]
			if r.Kind == oracle.Data && r.Entity == entity && oracle.TableOutcome(&w.oracle, r, w.clocks[p][i]) == oracle.Applied {
				rs = append(rs, r)
			}
		}
	}
	return rs
}

// TestTableReplay: the features of a table are those of the newest record before
// each boundary up to the least clock, of all that the cut holds; the open table
// has the states of a fold, byte for byte; the ledgers add up (K6, V8).
func TestTableReplay(t *testing.T) {
	for seed := range uint64(seeds) {
		w := newTableWorld(t, seed)
		rep, k := w.replay(t, seed)
		if len(k.twice) > 0 || len(k.tiles) > 0 || rep.Boundary != schemas.Never {
			t.Fatalf("seed %d: written twice: %v, tiles %v, boundary %v", seed, k.twice, k.tiles, rep.Boundary)
		}
		w.checkFeatures(seed, k)
		w.checkTableLedgers(seed, rep, k)
		if want := w.states(); !maps.Equal(k.open, want) {
			t.Fatalf("seed %d: open has\n%x\nwant\n%x", seed, k.open, want)
		}
	}
}

// states folds every partition by itself, as the stream does.
func (w *world) states() map[string]string {
	w.tb.Helper()
	engine, err := transforms.NewView(w.view.Spec)
	if err != nil {
		w.tb.Fatal(err)
	}
	out := map[string]string{}
	for p, log := range w.logs {
		states := map[string]*transforms.State{}
		reader, e, in := w.source.NewReader(), w.source.NewEvent(), engine.NewInput()
		for i := range log {
			rec := w.kafka(&log[i])
			if rec.Tick {
				continue
			}
			if err := reader.Read(w.tb.Context(), &rec, e); err != nil {
				w.tb.Fatal(err)
			}
			e.Clock = schemas.Micros(w.clocks[p][i])
			if engine.Prepare(in, e); len(in.Entity) == 0 {
				continue
			}
			if states[string(in.Entity)] == nil {
				states[string(in.Entity)] = engine.NewState(int32(p))
			}
			engine.Step(states[string(in.Entity)], in)
		}
		for entity, s := range states {
			if served := engine.Encode(s).Served; s.LastOffset() >= 0 {
				out[fmt.Sprintf("%x %d", entity, p)] = string(served)
			}
		}
	}
	return out
}

func (w *world) checkTableLedgers(seed uint64, rep *Report, k *kept) {
	w.tb.Helper()
	bad := 0
	for p, sum := range rep.Partitions() {
		want := transforms.Ledger{}
		for i := range w.logs[p] {
			if r := &w.logs[p][i]; r.Kind != oracle.Tick {
				*want.Count(transforms.Outcome(oracle.TableOutcome(&w.oracle, r, w.clocks[p][i])))++
			}
		}
		if bad += int(want.Read() - want.Applied); *sum != want {
			w.tb.Fatalf("seed %d: V8: partition %d: %v, want %v", seed, p, sum, &want)
		}
	}
	if len(k.quarantined) != bad {
		w.tb.Fatalf("seed %d: V8: %d are quarantined, want %d", seed, len(k.quarantined), bad)
	}
}

// TestTableTrain: both kinds of knowledge, of a table (§10, K6).
func TestTableTrain(t *testing.T) {
	for seed := range uint64(seeds) {
		newTableWorld(t, seed).checkTrain(t, seed)
	}
}

// B3: a record of a time long gone gives no row for each day since.
func TestTableReach(t *testing.T) {
	v := testbed.View(t, tableDefinition, testbed.EventSchema)
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	record := func(offset int64, key string, at time.Time) schemas.Record {
		return schemas.Record{Offset: offset, Timestamp: schemas.Micros(now.UnixMicro()), Key: []byte(key), Value: testbed.Event{ET: at.UnixMicro()}.Bytes()}
	}
	log := memoryLog{record(0, "old", time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)), record(1, "old", time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC)), record(2, "new", now.AddDate(0, 0, -3))}
	got := &featureRows{of: map[string]string{}}
	rep, err := (&Replay{View: v, Source: reading.NewSource(v, testbed.Writers(v)), Log: log, Parallel: 1, Memory: 1 << 20, SpillDir: t.TempDir(), Work: newMemoryWork(got), ValidFrom: schemas.Never,
		Cut: schemas.TopicCut{Partitions: map[int32]schemas.PartitionCut{0: {End: 3}}}}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if days := int64(tableReach / schemas.Day); rep.Features != days+3 || len(got.of) != int(days)+3 {
		t.Errorf("%d rows, want %d of the last ten years and 3", rep.Features, days)
	}
}
