package offline

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Figures counts the rows of one date that a write unit writes, for the gate (B6).
type Figures interface {
	Feature(*rows.Feature) error
	Tile(*rows.Tile) error
	MarshalBinary() ([]byte, error)
}

// figureRows is the kind of the rows in which write units leave figures, by date.
const figureRows = 0x7f

// figuring hands the rows of features and tiles to the Figures of their date. A unit
// writes date by date, so those of one date are there at a time.
type figuring struct {
	r     *Run
	out   *Output
	of    Figures // nil: nobody counts these rows
	table TableName
	day   int64

	feature rows.Feature
	tile    rows.Tile
}

// begin is called where another file's rows begin.
func (f *figuring) begin(k rowKey) error {
	name, day, _ := k.prefix()
	if f.of != nil && f.table == name && f.day == day {
		return nil
	}
	if err := f.end(); err != nil {
		return err
	}
	if f.r.opt.Figures != nil && (name == Features || name == Tiles) && day != noDay {
		f.of, f.table, f.day = f.r.opt.Figures(), name, day
	}
	return nil
}

// end leaves the figures of the last date.
func (f *figuring) end() error {
	if f.of == nil {
		return nil
	}
	b, err := f.of.MarshalBinary()
	if err != nil {
		return err
	}
	f.of = nil
	return f.out.Put(figureRows, figureShard(f.day), b)
}

// figureShard is a date as the number of a stream: it ascends.
func figureShard(day int64) int { return int(uint32(int32(day)) ^ 1<<31) }

func figureDay(shard uint32) int64 { return int64(int32(shard ^ 1<<31)) }

// row counts a row of the date, values being those of the table's columns.
func (f *figuring) row(values []schemas.Value) error {
	if f.of == nil {
		return nil
	}
	v := values[1+len(f.r.t.view.Key()):] // behind the entity and its key fields
	if f.table == Tiles {
		f.tile.Tile = transforms.Tile{Hop: schemas.Micros(v[0].Int()), Start: v[1].Micros(), Events: v[2].Int(), Cells: v[3].Text()}
		return f.of.Tile(&f.tile)
	}
	f.feature.Boundary, f.feature.Final, f.feature.Results = v[0].Micros(), v[1].Bool(), f.feature.Results[:0]
	for v = v[2:]; len(v) > 0; v = v[2:] {
		f.feature.Results = append(f.feature.Results, transforms.Result{Value: v[0], Status: statusOf(v[1])})
	}
	return f.of.Feature(&f.feature)
}

// FigureDays returns the dates of which the write units, which are finished, left
// figures, ascending.
func (s *Staged) FigureDays(ctx context.Context) ([]int64, error) {
	days := map[int64]bool{}
	for i := range WriteUnits {
		streams, err := s.r.work.streams(ctx, WriteUnit(i))
		if err != nil {
			return nil, err
		}
		for _, stream := range streams {
			if kind, shard, ok := streamOf(stream); ok && kind == figureRows {
				days[figureDay(shard)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(days)), nil
}

// Figures calls fn with what the Figures of a date were marshalled to, any number of
// them.
func (s *Staged) Figures(ctx context.Context, day int64, fn func(figures []byte) error) error {
	for i := range WriteUnits {
		if err := s.r.work.Rows(ctx, WriteUnit(i), figureRows, figureShard(day), fn); err != nil {
			return fmt.Errorf("figures of %s: %w", dateText(day), err)
		}
	}
	return nil
}
