package batch

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/reading"
	"github.com/tallystick/tallystick/transforms/rows"
)

const monthlyDefinition = `sources:
  ev: {schema: ev.avsc, writers: {files: {1: ev.avsc}}, event_time: et, lateness: 1h}
views:
  v:
    source: ev
    entity: {k: string}
    features:
      n: {count: "*", over: [1h, {months: 1, exclude_current: true}]}
`

const monthlySchema = `{"type":"record","name":"Ev","fields":[{"name":"k","type":"string"},{"name":"et","type":{"type":"long","logicalType":"timestamp-micros"}}]}`

// memoryLog is a log of one partition.
type memoryLog []schemas.Record

func (l memoryLog) ReadCut(_ context.Context, _ string, cut schemas.TopicCut, _ int, fn func(int32, []schemas.Record) error) error {
	return fn(0, l[cut.Partitions[0].Start:cut.Partitions[0].End])
}

// featureRows keeps the rows of table features.
type featureRows struct {
	sync.Mutex
	of map[string]string // entity and boundary → values
}

func (f *featureRows) Feature(row rows.Feature) error {
	f.Lock()
	defer f.Unlock()
	f.of[fmt.Sprintf("%s %v", row.Entity[2:], row.Boundary)] = fmt.Sprint(row.Results)
	return nil
}

func (*featureRows) Tile(rows.Tile) error              { return nil }
func (*featureRows) Open(rows.Open) error              { return nil }
func (*featureRows) Quarantine(rows.Quarantined) error { return nil }

func event(key string, at time.Time, offset int64) schemas.Record {
	b := testbed.AppendLong(testbed.AppendText(testbed.Frame(1), key), at.UnixMicro())
	return schemas.Record{Offset: offset, Timestamp: schemas.Micros(at.UnixMicro()), Value: b}
}

// V9, §7: an entity that is absent within a month has rows again in the next,
// where a window of whole months holds its event; then it is absent for good.
func TestAbsentEntityReturnsWithTheMonth(t *testing.T) {
	v := testbed.View(t, monthlyDefinition, monthlySchema)
	log := memoryLog{event("a", time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC), 0), event("b", time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), 1)}
	got := &featureRows{of: map[string]string{}}
	_, err := (&Replay{View: v, Source: reading.NewSource(v, testbed.Writers(v)), Log: log, Parallel: 1, Memory: 1 << 20, SpillDir: t.TempDir(), Work: newMemoryWork(got), ValidFrom: schemas.Never,
		Cut: schemas.TopicCut{Partitions: map[int32]schemas.PartitionCut{0: {End: 2}}}}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for day := time.Date(2026, 1, 6, 0, 0, 0, 0, time.UTC); day.Before(time.Date(2026, 4, 2, 0, 0, 0, 0, time.UTC)); day = day.AddDate(0, 0, 1) {
		_, ok := got.of["a "+schemas.Micros(day.UnixMicro()).String()]
		if want := day.Month() == time.February; ok != want {
			t.Errorf("row at %v: %v, want %v", day, ok, want)
		}
	}
}
