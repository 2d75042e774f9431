package offline

import (
	"context"
	"fmt"
	"iter"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// singly yields publications of one file of a table each.
func (p *Published) singly(name TableName) iter.Seq[*Published] {
	return func(yield func(*Published) bool) {
		files := p.snaps[name].Files
		for i := range files {
			one := *p
			one.snaps = map[TableName]*Snapshot{name: {Files: files[i : i+1]}}
			if !yield(&one) {
				return
			}
		}
	}
}

// EachTile calls fn with the chosen tiles, in any order; one file is open at a time.
func (p *Published) EachTile(ctx context.Context, sel Select, fn func(rows.Tile) error) error {
	for one := range p.singly(Tiles) {
		for t, err := range one.Tiles(ctx, sel) {
			if err == nil {
				err = fn(t)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// EachFeature calls fn with the chosen rows, in any order; one file is open at a time.
func (p *Published) EachFeature(ctx context.Context, sel Select, fn func(rows.Feature) error) error {
	for one := range p.singly(Features) {
		for f, err := range one.Features(ctx, sel) {
			if err == nil {
				err = fn(f)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// EachQuarantined calls fn with the chosen records, in any order. Instants beyond the
// years 1 to 9999, which the table has no place for, read as Never.
func (p *Published) EachQuarantined(ctx context.Context, sel Select, fn func(rows.Quarantined) error) error {
	var columns []string
	for _, c := range quarantineColumns() {
		columns = append(columns, c.Name)
	}
	for one := range p.singly(Quarantine) {
		var failed error
		one.merge(ctx, Quarantine, sel, columns, func(*cursor, []schemas.Value) {}, func(c *cursor, err error) bool {
			if err == nil {
				var q rows.Quarantined
				if q, err = quarantinedOf(c.row, c.part); err == nil {
					err = fn(q)
				}
			}
			failed = err
			return err == nil
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

// quarantinedOf is the reverse of quarantineRow.
func quarantinedOf(v []schemas.Value, part int32) (rows.Quarantined, error) {
	instant := func(v schemas.Value) schemas.Micros {
		if v.IsNull() {
			return schemas.Never
		}
		return v.Micros()
	}
	optional := func(v schemas.Value) []byte {
		if v.IsNull() {
			return nil
		}
		return []byte(v.Text())
	}
	q := rows.Quarantined{At: schemas.Position{TopicID: v[0].Text(), Partition: part, Offset: v[1].Int()}, Timestamp: instant(v[2]), Clock: instant(v[3]),
		EventTime: schemas.Never, Reason: v[8].Text(), Key: optional(v[9]), Value: optional(v[10])}
	if !v[5].IsNull() {
		q.EventTime = schemas.Micros(v[5].Int())
	}
	if !v[7].IsNull() {
		q.Stage = schemas.Stage(v[7].Text())
	}
	var ok bool
	if q.Outcome, ok = transforms.OutcomeOf(v[6].Text()); !ok {
		return q, fmt.Errorf("quarantined record %d:%d: no verdict is called %.40q", part, q.At.Offset, v[6].Text())
	}
	return q, nil
}
