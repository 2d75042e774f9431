package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/cmd/wire"
	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
	"github.com/tallystick/tallystick/transforms/rows"
)

// bootstrapWorld is a view and its log, of which tables are written and an online
// store is filled.
type bootstrapWorld struct {
	*rapid.T
	ctx     context.Context
	dir     string
	view    *definition.View
	engine  *transforms.View
	records *reading.Source
	log     *memoryLog
	tables  *offline.Tables
	table   bool
	options offline.RestoreOptions
}

// newBootstrapWorld draws a world, whose tables lie in a directory of their own in in.
func newBootstrapWorld(t *rapid.T, in string) *bootstrapWorld {
	dir, err := os.MkdirTemp(in, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	text := drawBootstrapView(t)
	w := &bootstrapWorld{T: t, ctx: context.Background(), dir: dir, table: strings.Contains(text, "kind: table")}
	w.view, err = testbed.ParseView(text, testbed.EventSchema)
	w.must(err)
	w.view.Spec.NewestTiles = rapid.IntRange(1, 3).Draw(t, "newest tiles") // so that tiles become old
	w.engine, err = transforms.NewView(w.view.Spec)
	w.must(err)
	w.records = reading.NewSource(w.view, testbed.Writers(w.view))
	w.log = drawBootstrapLog(t, w.table)
	w.tables, err = offline.OpenTables(dir, w.view)
	w.must(err)
	w.options = offline.RestoreOptions{SpillDir: dir, MaxFiles: rapid.SampledFrom([]int{1, 2, 128}).Draw(t, "files")}
	return w
}

func (w *bootstrapWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// replay writes the tables up to a cut and returns the boundary.
func (w *bootstrapWorld) replay(cut schemas.TopicCut, from schemas.Micros) schemas.Micros {
	w.Helper()
	work := offline.NewWork(offline.NewScratch(w.dir), "units", nil)
	defer work.Remove(w.ctx) // the next replay begins anew
	job := &batch.Replay{Work: wire.Work{Work: work, Keep: offline.Keep{Tables: w.tables, Quarantine: true}}, ReadRecords: 40,
		View: w.view, Source: w.records, Log: w.log, Cut: cut, Parallel: 1, Memory: 1 << 20, SpillDir: w.dir, ValidFrom: from}
	rep, err := job.Run(w.ctx)
	w.must(err)
	rep.Clocked(cut)
	units, err := job.Units()
	w.must(err)
	run, err := w.tables.NewRun(w.ctx, work, offline.RunOptions{ID: "run", Units: units, SpillDir: w.dir})
	w.must(err)
	for i := range offline.WriteUnits {
		w.must(run.Write(w.ctx, i, cut))
	}
	staged, err := run.Staged(w.ctx, cut)
	w.must(err)
	_, err = staged.Publish(w.ctx, wire.Publication("ev", from, rep))
	w.must(err)
	return rep.Boundary
}

// origin restores from the tables, which it looks at anew.
func (w *bootstrapWorld) origin() stream.Origin {
	return &wire.Tables{Root: w.dir, Tables: w.tables, Engine: w.engine, Options: w.options}
}

// stream runs a worker until the log's end, or until it is killed.
func (w *bootstrapWorld) stream(s *memoryStore, origin stream.Origin) error {
	w.Helper()
	now := time.Unix(1_800_000_000, 0)
	worker, err := stream.New(w.view, w.records, &memoryReader{w.log, map[int32]int64{}}, s, s, stream.Options{UntilEnd: true, Parallel: 1, Origin: origin, Rebuild: true,
		MaxDirty: 2, Chunk: 5, CacheBytes: 2000, SweepEvery: -1, Now: func() time.Time { return now }, Sleep: func(_ context.Context, d time.Duration) { now = now.Add(d) }})
	w.must(err)
	for range 5000 {
		if finished, err := worker.Step(w.ctx); finished || err != nil {
			return err
		}
	}
	return errors.New("the end is not reached")
}

// trimmed returns the states of a (shard, partition) after a Trim at b, as text;
// those that hold nothing are left out. Where nothing is closed, which tiles are old
// is all that may differ.
func (w *bootstrapWorld) trimmed(s *memoryStore, p int32, shard int, b schemas.Micros) map[string]string {
	w.Helper()
	out := map[string]string{}
	for entity, m := range s.cells[p][shard].states {
		st, err := w.engine.Parse(m.stored())
		w.must(err)
		if b != schemas.Never {
			w.engine.Trim(st, b)
		} else {
			w.engine.Join(st)
		}
		if !st.Empty() {
			out[entity] = encoded(w.engine, st)
		}
	}
	return out
}

// same asserts that two stores agree: markers but for their tokens, states byte for
// byte after Trim at b.
func (w *bootstrapWorld) same(what string, got, want *memoryStore, b schemas.Micros) {
	w.Helper()
	for p, cells := range want.cells {
		for shard := range cells {
			g, m := got.cells[p][shard].mark, cells[shard].mark
			if g.Token, m.Token = 0, 0; g != m {
				w.Fatalf("%s: partition %d shard %d: the marker is\n%+v, of a stream from the start\n%+v", what, p, shard, g, m)
			}
			if g, m := w.trimmed(got, p, shard, b), w.trimmed(want, p, shard, b); !maps.Equal(g, m) {
				w.Fatalf("%s: partition %d shard %d trimmed at %v:\n%v\nof a stream from the start\n%v", what, p, shard, b, g, m)
			}
		}
	}
}

// O2, O5, B5: an online store that is restored from tables at any cut, however often
// that is interrupted, and goes on from a log that begins there, equals one that
// read the log from its start: at the cut and at the end, byte for byte after Trim,
// with its markers.
func TestBootstrapFromTables(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		w := newBootstrapWorld(t, dir)
		ends := slices.Clone(w.log.end)
		at := make([]int64, len(ends))
		for p, end := range ends {
			at[p] = rapid.Int64Range(0, end).Draw(t, "cut")
		}
		w.log.end = at
		cut := w.replay(w.log.cut(), schemas.Never)
		whole, restored := newMemoryStore(w.view.Spec.Shards, len(ends)), newMemoryStore(w.view.Spec.Shards, len(ends))
		w.must(w.stream(whole, stream.LogStart{}))
		w.log.start = at
		for range rapid.IntRange(0, 4).Draw(t, "interruptions") {
			restored.kill, restored.done = rapid.IntRange(1, 30).Draw(t, "killed at"), rapid.Bool().Draw(t, "after it was done")
			if err := w.stream(restored, w.origin()); err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
		}
		restored.kill = 0
		w.must(w.stream(restored, w.origin()))
		w.same("at the cut", restored, whole, cut)

		w.log.end = ends
		w.must(w.stream(restored, w.origin()))
		w.log.start = make([]int64, len(ends))
		w.must(w.stream(whole, stream.LogStart{}))
		w.same("at the end", restored, whole, w.boundary(whole))
	})
}

// boundary returns the closed boundary at a store's markers, the least possible where
// a partition is empty.
func (w *bootstrapWorld) boundary(s *memoryStore) schemas.Micros {
	hops := w.engine.Hops()
	if len(hops) == 0 {
		return schemas.Never
	}
	b := schemas.Forever
	for p, cells := range s.cells {
		m := cells[0].mark
		if m.Clock == schemas.Never {
			return schemas.Never
		}
		b = min(b, m.Clock.SubSat(w.view.Spec.LatenessAt(p, m.Next)))
	}
	return b.Floor(hops[0])
}

// K8: where the tables began is where the online store began: its markers say so.
func TestBootstrapKeepsValidFrom(t *testing.T) {
	dir, worlds := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		if worlds++; worlds > 15 { // each replays and restores a world for one instant
			return
		}
		w := newBootstrapWorld(t, dir)
		from := schemas.Micros(rapid.Int64Range(0, 1<<52).Draw(t, "valid from"))
		w.replay(w.log.cut(), from)
		s := newMemoryStore(w.view.Spec.Shards, len(w.log.end))
		w.must(w.stream(s, w.origin()))
		for p, cells := range s.cells {
			for shard := range cells {
				if m := cells[shard].mark; m.ValidFrom != from {
					t.Fatalf("partition %d shard %d is valid from %v, the tables from %v", p, shard, m.ValidFrom, from)
				}
			}
		}
	})
}

// O2: tables that do not fit are refused with one sentence.
func TestTablesThatDoNotFit(t *testing.T) {
	dir := t.TempDir()
	view := func(text string) *definition.View { return testbed.View(t, text, testbed.EventSchema) }
	v := view(testbed.EventDefinition)
	tables, err := offline.OpenTables(dir, v)
	if err != nil {
		t.Fatal(err)
	}
	open := func(v *definition.View) error {
		ts, err := offline.OpenTables(dir, v)
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&wire.Tables{Root: "DIR", Tables: ts}).Open(t.Context(), 0)
		return err
	}
	if err := open(v); !errors.Is(err, offline.ErrNothingPublished) {
		t.Errorf("no tables: %v", err)
	}
	publish := func(change func(*offline.Publication)) {
		t.Helper()
		work := offline.NewWork(offline.NewScratch(t.TempDir()), "units", nil)
		defer work.Close()
		run, err := tables.NewRun(t.Context(), work, offline.RunOptions{ID: "run", SpillDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		cut := schemas.TopicCut{TopicID: "x", Partitions: map[int32]schemas.PartitionCut{0: {End: 3}}}
		for i := range offline.WriteUnits {
			if err := run.Write(t.Context(), i, cut); err != nil {
				t.Fatal(err)
			}
		}
		staged, err := run.Staged(t.Context(), cut)
		if err != nil {
			t.Fatal(err)
		}
		p := offline.Publication{Mode: offline.ReplaceTable, Topic: "ev"}
		for shard := range 3 {
			p.Ledgers = append(p.Ledgers, rows.Ledger{Shard: shard})
		}
		change(&p)
		if _, err := staged.Publish(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for says, change := range map[string]func(*offline.Publication){
		"the ledger of partition 0 shard 2 is missing": func(p *offline.Publication) { p.Ledgers = p.Ledgers[:2] },
		"an older build wrote them":                    func(p *offline.Publication) { p.Ledgers[1].Applied = 1 },
		"":                                             func(*offline.Publication) {},
	} {
		publish(change)
		err := open(v)
		if _, ok := errors.AsType[*offline.RestoreError](err); says == "" && err != nil || says != "" && (!ok || !strings.Contains(err.Error(), says)) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	other := view(strings.Replace(testbed.EventDefinition, "over: lifetime", "over: 24h", 1))
	if err, want := open(other), fmt.Sprintf("they are of fingerprint %s, this definition is %s", v.Fingerprint, other.Fingerprint); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}
