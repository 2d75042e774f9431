package stream

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tallystick/tallystick/transforms"
)

// K7: a worker stops where a load of old events ends of which more than 5 % is
// late, also when it is started again, and folds nothing beyond; a load that
// ends with the log counts, one within it or with 5 % does not.
func TestLateLoad(t *testing.T) {
	start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).UnixMicro()
	for _, x := range []struct {
		late, records int
		stops         bool
	}{{10, 210, false}, {11, 210, true}, {11, 200, true}, {100, 199, false}} {
		var log []event
		for i := range x.records {
			et := start + int64(i)*minute
			if i < 200 && i >= 190-x.late && i < 190 {
				et -= 24 * 60 * minute
			}
			log = append(log, event{kind: 'd', offset: int64(i), stamp: (start + 1000*minute) / 1000, ent: "a", id: fmt.Sprint(i), ver: 1, et: et, ok: true})
		}
		b := newBenchOf(t, rand.New(rand.NewPCG(1, 1)), shape{identity: "version", maxOpen: 65536, shards: 2, history: 200}, [][]event{log})
		for range 2 {
			b.start(nil)
			_, stopped := errors.AsType[*transforms.LoadError](b.steps())
			if stopped != x.stops {
				t.Errorf("%d late of 200, %d records: stopped %v", x.late, x.records, stopped)
			}
		}
		for s := range b.store.cells {
			if c := b.store.cells[s][0]; x.stops && c.mark.Next > 200 {
				t.Errorf("shard %d stands at %d, beyond the load", s, c.mark.Next)
			}
		}
	}
}
