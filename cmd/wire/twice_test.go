package wire

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/schemas/registry"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
)

// lateSchema knows schema 2 once it is registered.
type lateSchema struct {
	view  *definition.View
	there *atomic.Bool
}

func (l lateSchema) Writer(_ context.Context, id int) (*registry.Writer, error) {
	if id == 2 && !l.there.Load() {
		return nil, &registry.IDError{ID: id, Where: "the test", Kind: registry.ErrUnknownID}
	}
	return &registry.Writer{ID: id, Name: "ev", Schema: l.view.Source.Reader}, nil
}

// eventLog is a log of one partition.
type eventLog []schemas.Record

func (l eventLog) ReadCut(_ context.Context, _ string, cut schemas.TopicCut, _ int, fn func(int32, []schemas.Record) error) error {
	return fn(0, l[cut.Partitions[0].Start:cut.Partitions[0].End])
}

// B4, V8: to run a unit twice is harmless, also where a schema is registered in between
// and others have folded what the first run left: a process that was slow, whose unit
// others took over, ends it later.
func TestReadTwiceAroundARegistration(t *testing.T) {
	v := testbed.View(t, testbed.EventDefinition, testbed.EventSchema)
	var log eventLog
	const each = 30
	for i := range int64(2 * each) {
		at := schemas.Micros(1_770_000_000_000_000 + i*1_000_000)
		e := testbed.Event{Ent: fmt.Sprint("e", i%each), ID: fmt.Sprint(i), Ver: 1, ET: int64(at), Amt: 1}
		b := e.Bytes()
		b[4] = byte(1 + i/each) // the schema
		log = append(log, schemas.Record{Offset: i, Timestamp: at, Value: b})
	}
	there, dir := &atomic.Bool{}, t.TempDir()
	process := func() *batch.Replay {
		work := offline.NewWork(offline.NewScratch(dir), "job", nil)
		t.Cleanup(func() { work.Close() })
		return &batch.Replay{View: v, Source: reading.NewSource(v, lateSchema{v, there}), Log: log, Parallel: 1, Memory: 1 << 20, SpillDir: t.TempDir(), ValidFrom: schemas.Never,
			Work: Work{Work: work}, Cut: schemas.TopicCut{TopicID: "t", Partitions: map[int32]schemas.PartitionCut{0: {End: 2 * each}}}}
	}
	lanes := func(lanes []batch.Lane, err error) []batch.Lane {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return lanes
	}
	run := func(r *batch.Replay, lanes []batch.Lane) {
		t.Helper()
		if err := (&batch.Driver{Work: r.Work}).Run(t.Context(), lanes); err != nil {
			t.Fatal(err)
		}
	}

	slow, fast := process(), process()
	run(fast, lanes(fast.Reads()))
	if ids, err := fast.KnownNow(t.Context()); err != nil || ids != nil {
		t.Fatal(ids, err)
	}
	run(fast, lanes(fast.Folds())[:1])
	there.Store(true)
	if err := lanes(slow.Reads())[0][0].Run(t.Context()); err != nil { // it does not know that others have run it
		t.Fatal(err)
	}
	ids, err := slow.KnownNow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ids != nil {
		return // the job begins again: sound
	}
	run(slow, lanes(slow.Folds()))
	rep, err := slow.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := rep.Partitions()[0]
	if l.Read() != 2*each || l.Invalid != 0 && l.Invalid != each {
		t.Errorf("V8: of %d records %d were read: %+v", 2*each, l.Read(), *l)
	}
}
