package batch

import (
	"maps"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// tableReach is how far before the least clock the boundaries of a table go back.
// Nothing of a table is late: a record that says year 1 would else give its entity
// a row for each day since.
const tableReach = 3653 * schemas.Day

// enterTable keeps what the boundaries of a table need of an entity: a record may
// be of any event time, so that none is settled before the last one was folded. Of
// the records between two boundaries the newest alone can be read at one (K6), so
// that what is kept is bounded by the number of boundaries.
func (f *replayFold) enterTable(in *transforms.Input) {
	now := f.end.now
	b := max(f.after(in.EventTime), f.after(now.SubSat(tableReach)))
	if now == schemas.Never || b > now { // a partition is empty, or no boundary shows it
		return
	}
	s := f.between[b]
	if s == nil {
		s = f.run.engine.NewState(0)
		f.between[b] = s
	}
	f.run.engine.Accept(s, in)
}

// tableSnapshots writes the boundaries of a table's entity, none beyond the least
// clock. No row is final: nothing of a table is late.
func (f *replayFold) tableSnapshots() error {
	from := slices.Sorted(maps.Keys(f.between))
	for i, b := range from {
		end := f.end.now.AddSat(1)
		if i+1 < len(from) {
			end = from[i+1]
		}
		for ; b < end; b = b.AddSat(f.run.View.Snapshots) {
			res := f.run.engine.BoundaryValueFrom(nil, b, f.run.ValidFrom, f.between[from[i]])
			if len(res) == 0 || res[0].Status == transforms.Absent { // a tombstone
				break
			}
			if err := f.feature(b, false, res); err != nil {
				return err
			}
		}
	}
	return nil
}

// feature writes the features as of a boundary.
func (f *replayFold) feature(b schemas.Micros, final bool, res []transforms.Result) error {
	f.counts.Features++
	if f.held != nil {
		f.compare(b, res)
	}
	return f.out.Feature(rows.Feature{Shard: f.shard, Entity: f.entity, Boundary: b, Final: final, Results: res})
}
