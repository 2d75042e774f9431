package batch

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/reading"
)

// loadOf is a load of 200 old events in which late of them, spread evenly, lie
// two hours behind; a live record follows.
func loadOf(late int) memoryLog {
	now := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	var log memoryLog
	for i := range 200 {
		at := time.Date(2026, 1, 5, 0, i, 0, 0, time.UTC)
		if i >= 200-late {
			at = at.Add(-2 * time.Hour)
		}
		rec := event("a", at, int64(i))
		rec.Timestamp = schemas.Micros(now.UnixMicro())
		log = append(log, rec)
	}
	return append(log, event("a", now, 200))
}

// K7: a load of which more than 5 % is late stops replay and train; one with 5 %,
// or one that the cut does not hold whole, does not.
func TestLateLoad(t *testing.T) {
	v := testbed.View(t, strings.Replace(monthlyDefinition, "lateness: 1h", "lateness: 1h, history: {0: 200}", 1), monthlySchema)
	for _, x := range []struct {
		late  int
		end   int64
		stops bool
	}{{10, 201, false}, {11, 201, true}, {11, 200, true}, {200, 199, false}} {
		log := loadOf(x.late)[:x.end]
		cut := schemas.TopicCut{Partitions: map[int32]schemas.PartitionCut{0: {End: x.end}}}
		source, dir := reading.NewSource(v, testbed.Writers(v)), t.TempDir()
		_, replay := (&Replay{View: v, Source: source, Log: log, Cut: cut, Work: newMemoryWork(nil), ReadRecords: 40, SpillDir: dir, Memory: 1 << 20, Parallel: 1, ValidFrom: schemas.Never}).Run(t.Context())
		_, train := (&Train{View: v, Source: source, Log: log, Cut: cut, SpillDir: dir, Parallel: 1, ValidFrom: schemas.Never}).Run(t.Context(), []Label{{Entity: encoded("a")}})
		for _, err := range []error{replay, train} {
			if _, stopped := errors.AsType[*transforms.LoadError](err); stopped != x.stops || err != nil && !stopped {
				t.Errorf("%d late of 200, cut at %d: %v", x.late, x.end, err)
			}
		}
	}
}
