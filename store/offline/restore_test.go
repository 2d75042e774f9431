package offline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

const restoreDefinition = `
sources:
  e: {topic: e, schema: e.avsc, event_time: at, lateness: 1h}
views:
  v:
    source: e
    shards: 4
    entity: {user: {type: string, field: usr}}
    features:
      n: {count: "*", over: 3h}
      total: {sum: amount, over: 12d}
      all: {sum: amount, over: lifetime}
`

// restored are tables of a partition's states, and what the states are.
type restored struct {
	*testing.T
	tables *Tables
	engine *transforms.View
	states []map[string]string // by shard and entity
	read   atomic.Int64        // bytes of files
	opened map[string]int
}

// newRestored publishes days of events of some entities, trimmed at the last day.
func newRestored(t *testing.T, entities, days int) *restored {
	t.Helper()
	v := testView(t, restoreDefinition)
	v.Spec.NewestTiles = 1 // so that tiles become old
	x := &restored{T: t, tables: openTables(t, t.TempDir(), v), opened: map[string]int{}}
	x.engine = x.tables.engine
	for range v.Spec.Shards {
		x.states = append(x.states, map[string]string{})
	}
	w := &run{}
	end := epoch + schemas.Micros(days)*schemas.Day
	b := (end - schemas.Hour).Floor(schemas.Day)
	p := Publication{Mode: ReplaceTable, Topic: "e", Boundary: &b}
	for shard := range v.Spec.Shards {
		p.Ledgers = append(p.Ledgers, rows.Ledger{Shard: shard})
	}
	for i := range entities {
		x.write(w, fmt.Sprint("user-", i), i, days, b)
	}
	_, staged, err := w.stage(t.Context(), t, x.tables, stageOptions{cut: &schemas.TopicCut{TopicID: "x", Partitions: map[int32]schemas.PartitionCut{0: {End: 1 << 40, Clock: &end}}}})
	x.must(err)
	_, err = staged.Publish(t.Context(), p)
	x.must(err)
	for _, table := range x.tables.tables {
		table.store = &seen{table.store, x, table.name}
	}
	return x
}

// write folds an entity's events and writes its state: closed tiles, and the rest.
func (x *restored) write(w *run, name string, nth, days int, b schemas.Micros) {
	x.Helper()
	s, in := x.engine.NewState(0), x.engine.NewInput()
	for d := range days {
		if (nth+d)%3 == 0 {
			continue
		}
		at := epoch + schemas.Micros(d)*schemas.Day + 5
		e := schemas.Event{Offset: int64(d*1000 + nth), Timestamp: at, EventTime: at, Clock: at, Fields: make([]schemas.Value, len(x.tables.view.Source.Paths))}
		for i, p := range x.tables.view.Source.Paths {
			switch fmt.Sprint(p) {
			case "usr":
				e.Fields[i] = schemas.StringValue(name)
			case "amount":
				e.Fields[i] = schemas.DoubleValue(float64(d) + 0.25)
			}
		}
		x.engine.Prepare(in, &e)
		if v := x.engine.Step(s, in); v.Outcome != transforms.Applied {
			x.Fatalf("%+v", v)
		}
	}
	x.engine.Trim(s, b)
	entity := transforms.EncodeEntity(nil, schemas.StringValue(name))
	shard := transforms.EntityShard(entity, len(x.states))
	x.states[shard][string(entity)] = fmt.Sprint(x.engine.Encode(s))
	for _, t := range x.engine.TakeClosed(s, b) {
		w.tiles = append(w.tiles, rows.Tile{Shard: shard, Entity: entity, Tile: t})
	}
	if nth == 0 { // tiles that no state is left of are passed over
		delete(x.states[shard], string(entity))
		return
	}
	row := rows.Open{Shard: shard, Entity: entity}
	rest := x.engine.Encode(s)
	row.Served, row.Open = rest.Served, rest.Open
	w.open = append(w.open, row)
}

func (x *restored) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// seen is a store that counts what is read of its files.
type seen struct {
	Store
	x    *restored
	name string
}

func (s *seen) Open(ctx context.Context, name string) (Blob, error) {
	s.x.opened[s.name+"/"+name]++
	b, err := s.Store.Open(ctx, name)
	return &seenBlob{b, s.x}, err
}

type seenBlob struct {
	Blob
	x *restored
}

func (b *seenBlob) ReadAt(p []byte, at int64) (int, error) {
	n, err := b.Blob.ReadAt(p, at)
	b.x.read.Add(int64(n))
	return n, err
}

// published returns the newest publication, and the size of its tiles and remainder.
func (x *restored) published() (p *Published, size int64) {
	x.Helper()
	p, err := x.tables.Published(x.Context())
	x.must(err)
	x.must(p.CheckRestore())
	for _, name := range []TableName{Tiles, Open} {
		for _, f := range p.snaps[name].Files {
			size += f.Size
		}
	}
	return p, size
}

// B5, O2: the states of a partition come back as they were, all shards or some, in
// one pass over the files, side by side or sorted.
func TestRestore(t *testing.T) {
	x := newRestored(t, 60, 9)
	for _, files := range []int{0, 2} {
		for _, shards := range [][]int{{0, 1, 2, 3}, {2}, {1, 3}} {
			p, size := x.published()
			clear(x.opened)
			x.read.Store(0)
			r, err := p.Restore(t.Context(), 0, RestoreOptions{MaxFiles: files, SpillDir: t.TempDir(), Memory: 1})
			x.must(err)
			for _, shard := range shards {
				got := map[string]string{}
				x.must(r.Shard(shard, func() error { return nil }, func(entity []byte, s *transforms.State) error {
					got[string(entity)] = fmt.Sprint(x.engine.Encode(s))
					return nil
				}))
				if !maps.Equal(got, x.states[shard]) || len(got) < 5 {
					t.Fatalf("at most %d files, shard %d of %v: %d states, want %d, or others", files, shard, shards, len(got), len(x.states[shard]))
				}
			}
			r.Close()
			for name, n := range x.opened {
				if n != 1 {
					t.Errorf("file %s was opened %d times", name, n)
				}
			}
			if read := x.read.Load(); len(x.opened) != 9 || read > size*11/10 {
				t.Errorf("B5: %d bytes of %d files were read, the tables have %d", read, len(x.opened), size)
			}
		}
	}
}

// O2: a publication of which a file of the remainder is gone is refused, and a state
// that stands beyond the cut.
func TestRestoreRefusals(t *testing.T) {
	x := newRestored(t, 60, 3)
	p, _ := x.published()
	files := p.snaps[Open].Files
	p.snaps[Open].Files = nil
	if e, ok := errors.AsType[*RestoreError](p.CheckRestore()); !ok || !strings.Contains(e.Error(), "table open has 0 rows of the cut, 59 were written: it is not whole; write them anew with `tallystick replay`") {
		t.Errorf("%v", e)
	}
	p.snaps[Open].Files = files
	early := p.Info.Cut.Partitions[0]
	early.End = 5
	p.Info.Cut.Partitions[0] = early
	r, err := p.Restore(t.Context(), 0, RestoreOptions{SpillDir: t.TempDir()})
	x.must(err)
	defer r.Close()
	if err := r.Shard(3, func() error { return nil }, func([]byte, *transforms.State) error { return nil }); err == nil || !strings.Contains(err.Error(), "beyond the cut") {
		t.Errorf("%v", err)
	}
	if _, err := p.Restore(t.Context(), 1, RestoreOptions{}); err == nil {
		t.Error("a partition that the cut lacks is restored")
	}
}
