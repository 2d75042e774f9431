package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strconv"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Published is one complete publication: the four tables at the versions that
// belong together.
type Published struct {
	Info     Info // as committed to features, with all days
	Versions map[TableName]int64
	t        *Tables
	snaps    map[TableName]*Snapshot
}

// ErrNothingPublished says that the tables hold no complete publication.
var ErrNothingPublished = errors.New("nothing has been published")

// Published reads the newest complete publication: that of the features table.
// What other engines have committed on top of it is left out.
func (t *Tables) Published(ctx context.Context) (*Published, error) {
	features := t.tables[Features]
	s, err := features.Snapshot(ctx, Latest)
	if err != nil {
		return nil, err
	}
	info, err := features.Ours(s)
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, fmt.Errorf("view %s: %w", t.view.Name, ErrNothingPublished)
	}
	p := &Published{t: t, Info: *info, Versions: map[TableName]int64{Features: s.InfoVersion}, snaps: map[TableName]*Snapshot{Features: s}}
	if s.Version != s.InfoVersion {
		if p.snaps[Features], err = features.Snapshot(ctx, s.InfoVersion); err != nil {
			return nil, err
		}
	}
	for _, name := range tableOrder[:len(tableOrder)-1] {
		v, ok := p.Info.Tables[name]
		if !ok {
			return nil, &UnreadableError{features.name, s.InfoVersion, fmt.Sprintf("its commitInfo does not name the version of table %s", name)}
		}
		if p.snaps[name], err = t.tables[name].Snapshot(ctx, v); err != nil {
			return nil, err
		}
		same, err := t.tables[name].published(p.snaps[name], p.Info.ID)
		if err != nil {
			return nil, err
		}
		if !same {
			return nil, &UnreadableError{t.tables[name].name, v, "it is not of the publication that features names"}
		}
		p.Versions[name] = v
	}
	return p, nil
}

// Dates returns the first and the last date of which a table has files, days since the
// epoch; ok is false where it has none.
func (p *Published) Dates(name TableName) (first, last int64, ok bool, err error) {
	for i := range p.snaps[name].Files {
		date := p.snaps[name].Files[i].partitionValue(dateColumn.Name)
		if date == "" {
			continue
		}
		day, err := parseDate(date)
		if err != nil {
			return 0, 0, false, err
		}
		if !ok {
			first, last, ok = day, day, true
		}
		first, last = min(first, day), max(last, day)
	}
	return first, last, ok, nil
}

// Select chooses rows. The zero Select chooses all.
type Select struct {
	Partition *int32 // of the source; tiles and open
	Shard     *int   // features
	// FromDay and ToDay bound the date, in days since the epoch, both inclusive;
	// ToDay 0 = unbounded. Files without a date are always read.
	FromDay, ToDay int64
}

// Tiles yields the tiles by shard, entity, source partition, level and start.
// It keeps the files of all chosen dates and partitions open, each with a page per column.
func (p *Published) Tiles(ctx context.Context, sel Select) iter.Seq2[rows.Tile, error] {
	return func(yield func(rows.Tile, error) bool) {
		p.merge(ctx, Tiles, sel, []string{"entity", "level", "start", "count", "cells"}, func(c *cursor, v []schemas.Value) {
			c.shard = transforms.EntityShard([]byte(v[0].Text()), p.t.view.Spec.Shards)
			c.key = appendInt(append(c.key, v[0].Text()...), int64(c.part))
			c.key = appendInt(appendInt(c.key, v[1].Int()), int64(v[2].Micros()))
		}, func(c *cursor, err error) bool {
			if err != nil {
				return yield(rows.Tile{}, err)
			}
			v := c.row
			return yield(rows.Tile{Shard: c.shard, Partition: c.part, Entity: []byte(v[0].Text()), Tile: transforms.Tile{Hop: schemas.Micros(v[1].Int()),
				Start: v[2].Micros(), Events: v[3].Int(), Cells: v[4].Text()}}, nil)
		})
	}
}

// Open yields the remainder of every state at the publication's cut, by shard,
// entity and source partition.
func (p *Published) Open(ctx context.Context, sel Select) iter.Seq2[rows.Open, error] {
	sel = p.ofCut(sel)
	return func(yield func(rows.Open, error) bool) {
		var now rows.Open
		begun := false
		p.merge(ctx, Open, sel, []string{"entity", "shard", "part", "hour", "level", "start", "count", "data"}, func(c *cursor, v []schemas.Value) {
			c.shard = int(v[1].Int())
			c.key = appendInt(append(c.key, v[0].Text()...), int64(c.part))
		}, func(c *cursor, err error) bool {
			if err != nil {
				begun = false
				return yield(rows.Open{}, err)
			}
			v := c.row
			if !begun || now.Partition != c.part || string(now.Entity) != v[0].Text() {
				if begun && !yield(now, nil) {
					begun = false
					return false
				}
				now = rows.Open{Shard: c.shard, Partition: c.part, Entity: []byte(v[0].Text())}
				begun = true
			}
			switch data := v[7].Text(); v[2].Text() {
			case partServed:
				now.Served = []byte(data)
			case partOpen:
				now.Open = append(now.Open, transforms.Open{Hour: v[3].Int(), Data: []byte(data)})
			case partWaiting:
				now.Waiting = append(now.Waiting, transforms.Tile{Hop: schemas.Micros(v[4].Int()), Start: v[5].Micros(), Events: v[6].Int(), Cells: data})
			}
			return true
		})
		if begun {
			yield(now, nil)
		}
	}
}

// ofCut chooses of table open what belongs to the cut: earlier ones may have left
// their dates in it.
func (p *Published) ofCut(sel Select) Select {
	if day := dayOf(cutClock(p.Info.Cut)); day != noDay {
		sel.FromDay, sel.ToDay = day, day
	}
	return sel
}

// cutClock is the greatest clock of a cut, Never when it has none.
func cutClock(cut schemas.TopicCut) schemas.Micros {
	at := schemas.Never
	for _, p := range cut.Partitions {
		if p.Clock != nil {
			at = max(at, *p.Clock)
		}
	}
	return at
}

// Features yields the values by shard, entity and boundary. It keeps the files of one
// shard open.
func (p *Published) Features(ctx context.Context, sel Select) iter.Seq2[rows.Feature, error] {
	columns := []string{"entity", "boundary", "final"}
	for _, f := range p.t.view.Spec.Features {
		columns = append(columns, f.Name, f.Name+"__status")
	}
	return func(yield func(rows.Feature, error) bool) {
		p.merge(ctx, Features, sel, columns, func(c *cursor, v []schemas.Value) {
			c.shard = int(c.part)
			c.key = appendInt(append(c.key, v[0].Text()...), int64(v[1].Micros()))
		}, func(c *cursor, err error) bool {
			if err != nil {
				return yield(rows.Feature{}, err)
			}
			row := rows.Feature{Shard: c.shard, Entity: []byte(c.row[0].Text()), Boundary: c.row[1].Micros(), Final: c.row[2].Bool()}
			for i := 3; i < len(c.row); i += 2 {
				row.Results = append(row.Results, transforms.Result{Value: c.row[i], Status: statusOf(c.row[i+1])})
			}
			return yield(row, nil)
		})
	}
}

// statusOf is the reverse of statusValue; 0 for what no status is called.
func statusOf(v schemas.Value) transforms.Status {
	if !v.IsNull() {
		for s := transforms.Present; s <= transforms.Incomplete; s++ {
			if s.String() == v.Text() {
				return s
			}
		}
	}
	return 0
}

// errDamaged is in errors of files that are not what was written.
var errDamaged = errors.New("it is damaged")

// lost says what helps where a file is gone or damaged.
func lost(err error) error {
	_, content := errors.AsType[*contentError](err)
	_, disk := errors.AsType[*fs.PathError](err) // which does not give what it has
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errDamaged) || content && !disk {
		return fmt.Errorf("%w; a replay without --continue puts it back", err)
	}
	return err
}

// file tells whether a file is chosen, and its source partition or shard.
func (sel *Select) file(name TableName, f *DataFile, l layout) (int32, bool, error) {
	n, err := strconv.ParseInt(f.partitionValue(l.partition[1].Name), 10, 32)
	if err != nil {
		return 0, false, fmt.Errorf("%s is no number", l.partition[1].Name)
	}
	part := int32(n)
	if sel.Partition != nil && name != Features && *sel.Partition != part || sel.Shard != nil && name == Features && *sel.Shard != int(part) {
		return 0, false, nil
	}
	date := f.partitionValue(l.partition[0].Name)
	if date == "" {
		return part, true, nil
	}
	day, err := parseDate(date)
	if err != nil {
		return 0, false, err
	}
	return part, day >= sel.FromDay && (sel.ToDay == 0 || day <= sel.ToDay) || sel.FromDay == 0 && sel.ToDay == 0, nil
}
