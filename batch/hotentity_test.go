package batch

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/reading"
	"github.com/tallystick/tallystick/transforms/rows"
)

const hotDefinition = `sources:
  ev: {schema: ev.avsc, writers: {files: {1: ev.avsc}}, event_time: et, lateness: 1h}
views:
  v:
    source: ev
    entity: {k: string}
    features:
      n: {count: "*", over: [1h]}
      d: {count_distinct: et, over: [1h]}
`

// heapWork looks at the heap at the first row of features and of tiles, and drops both.
type heapWork struct {
	*memoryWork
	begun, tiles uint64
	n            int
}

func (h *heapWork) Begin(ctx context.Context, unit string, memory int) (Output, error) {
	out, err := h.memoryWork.Begin(ctx, unit, memory)
	return &heapOutput{out, h}, err
}

type heapOutput struct {
	Output
	h *heapWork
}

func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func (o *heapOutput) Feature(rows.Feature) error {
	if o.h.begun == 0 {
		o.h.begun = heapNow()
	}
	return nil
}

func (o *heapOutput) Tile(rows.Tile) error {
	if o.h.n++; o.h.n == 1 {
		o.h.tiles = heapNow()
	}
	return nil
}

// B3: an entity larger than memory streams through, its tiles too.
func TestTilesOfAHotEntityAreBounded(t *testing.T) {
	v := testbed.View(t, hotDefinition, monthlySchema)
	var log memoryLog
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range int64(525_600) { // a year, each minute
		log = append(log, event("a", at.Add(time.Duration(i)*time.Minute), i))
	}
	const memory = 4 << 20
	w := &heapWork{memoryWork: newMemoryWork(nil)}
	_, err := (&Replay{View: v, Source: reading.NewSource(v, testbed.Writers(v)), Log: log, Parallel: 1, Memory: memory, SpillDir: t.TempDir(), Work: w, ValidFrom: schemas.Never,
		Cut: schemas.TopicCut{Partitions: map[int32]schemas.PartitionCut{0: {End: int64(len(log))}}}}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if took := int64(w.tiles) - int64(w.begun); took > memory {
		t.Errorf("B3: the %d tiles of one entity take %d bytes until the first is written, of %d allowed", w.n, took, memory)
	}
}
