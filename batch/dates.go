package batch

import (
	"context"
	"math"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Dates are those of which a replay writes rows, in UTC days since the epoch, both
// inclusive. It may begin to read late, see Needs.
type Dates struct {
	From, To int64
	// Fresh: there are no tables yet. Table tiles then begins at the date that the states
	// at the cut need, where that lies before From: a state is its remainder and the tiles
	// within retention, so that without these nothing could go on from the tables.
	Fresh bool
	// Settled: the dates alone are written; what the tables hold of the cut stays.
	Settled bool
}

// LastDay is the To of dates up to the cut. No date lies before firstDay.
const (
	LastDay  = math.MaxInt64
	firstDay = math.MinInt64
)

// Needs returns the earliest instant at which anything begins that rows of the dates are
// made of, closed being the instant before which the cut, or an earlier one, closes:
//
//	the windows of boundaries:   From − (longest window + hop), of each level
//	tiles of states at the cut:  B + lateness − retention − hop, of each level
//	with Fresh, likewise:        the beginning of that day
//
// B is the closed boundary of the finest level. The hop of the first is what a window's
// beginning is floored by; of the second a tile that ends beyond B + lateness − retention
// is kept by Trim, and begins a hop before (V3, V11). A replay that begins elsewhere than
// at the log's start has all of that when clock(start) + lateness + 2·max_future lies
// before (K8): what came before the start has event times up to clock(start) +
// max_future. By then verdicts that hang on the clock are those of the whole log; those
// that hang on ids are once such an id is forgotten, at clock(start) + max_future +
// lateness, and a record of that clock is of no later event time than max_future more. An
// id whose copies keep moving within lateness is remembered for longer: that is where K8
// is not exact.
func (d *Dates) Needs(v *transforms.View, closed schemas.Micros) schemas.Micros {
	at := schemas.Forever
	for _, hop := range v.Hops() {
		window := v.Retention(hop) - v.Spec().MaxLateness() - transforms.Slack
		at = min(at, dayStart(d.From).SubSat(window))
	}
	if !d.Settled {
		at = min(at, d.states(v, closed))
	}
	return at
}

// states returns where the tiles of states at the cut begin, Never where nothing is
// closed.
func (d *Dates) states(v *transforms.View, closed schemas.Micros) schemas.Micros {
	b := (&end{closed: closed}).boundary(v)
	if b == schemas.Never {
		return schemas.Never
	}
	at := schemas.Forever
	for _, hop := range v.Hops() {
		at = min(at, b.AddSat(v.Spec().Lateness).SubSat(v.Retention(hop)).SubSat(hop))
	}
	if d.Fresh {
		at = at.Floor(schemas.Day)
	}
	return at
}

// Tiles returns the first date of which table tiles gets rows.
func (d *Dates) Tiles(v *transforms.View, closed schemas.Micros) int64 {
	if !d.Fresh || len(v.Hops()) == 0 {
		return d.From
	}
	return min(d.From, d.states(v, closed).Days())
}

// boundary returns the first boundary of the dates, Never without any.
func (d *Dates) boundary(step schemas.Micros) schemas.Micros {
	if d == nil {
		return schemas.Never
	}
	return (dayStart(d.From) - 1).Floor(step).AddSat(step)
}

func dayStart(day int64) schemas.Micros { return schemas.Micros(day) * schemas.Day }

func (d *Dates) has(t schemas.Micros) bool { return d.From <= t.Days() && t.Days() <= d.To }

// begin opens the output of a unit, which drops rows of other dates; e is nil for units
// that leave no tiles.
func (r *Replay) begin(ctx context.Context, unit string, memory int, e *end) (Output, error) {
	out, err := r.Work.Begin(ctx, unit, memory)
	if err != nil || r.Dates == nil {
		return out, err
	}
	o := &datedOutput{Output: out, d: r.Dates, tiles: r.Dates.From}
	if e != nil {
		o.tiles = r.Dates.Tiles(r.engine, e.closed)
	}
	return o, nil
}

// datedOutput drops rows of tables that are of other dates.
type datedOutput struct {
	Output
	d       *Dates
	tiles   int64      // the first date of tiles
	dropped foldRecord // counts what fold has counted
}

func (o *datedOutput) Feature(row rows.Feature) error {
	if !o.d.has(row.Boundary) {
		o.dropped.Features++
		return nil
	}
	return o.Output.Feature(row)
}

func (o *datedOutput) Tile(row rows.Tile) error {
	if day := row.Tile.Start.Days(); day < o.tiles || day > o.d.To {
		o.dropped.Tiles++
		return nil
	}
	return o.Output.Tile(row)
}

func (o *datedOutput) Open(row rows.Open) error {
	if o.d.Settled {
		o.dropped.States++
		return nil
	}
	return o.Output.Open(row)
}

func (o *datedOutput) Quarantine(row rows.Quarantined) error {
	if !o.d.has(row.Clock) {
		return nil
	}
	return o.Output.Quarantine(row)
}

// Finish records what is left of the counts.
func (o *datedOutput) Finish(ctx context.Context, record any) error {
	if c, ok := record.(*foldRecord); ok {
		c.Features -= o.dropped.Features
		c.Tiles -= o.dropped.Tiles
		c.States -= o.dropped.States
	}
	return o.Output.Finish(ctx, record)
}
