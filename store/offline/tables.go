package offline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Tables are the four tables of one view.
type Tables struct {
	view   *definition.View
	engine *transforms.View
	tables map[TableName]*Table
	layout map[TableName]layout
}

// NewTables returns the tables of a view in these stores, one each.
func NewTables(stores map[TableName]Store, v *definition.View) (*Tables, error) {
	if err := CheckView(v); err != nil {
		return nil, err
	}
	engine, err := transforms.NewView(v.Spec)
	if err != nil {
		return nil, err
	}
	t := &Tables{view: v, engine: engine, tables: map[TableName]*Table{}, layout: map[TableName]layout{}}
	for _, name := range tableOrder {
		t.tables[name] = NewTable(stores[name], v.Name+"/"+string(name))
		t.layout[name] = layoutOf(v, name)
	}
	return t, nil
}

// Table returns one of the tables.
func (t *Tables) Table(name TableName) *Table { return t.tables[name] }

// RunOptions bound one run of a ViewWriter.
type RunOptions struct {
	// SpillDir, which must exist, takes rows that do not fit Memory: in one file,
	// so it must be the run's own.
	SpillDir string
	Memory   int         // bytes for rows to be sorted; 0 = 64 MB
	Disk     *spill.Disk // what may be spilled; nil = no limit
}

// ViewWriter takes the rows of one replay. Its four row methods may be called
// by any number of goroutines, in any order of rows: the files depend on the
// set of rows alone. What it needs from the caller:
//
//	w, err := tables.NewWriter(ctx, opt)   // fixes the versions that are built upon
//	defer w.Abort(ctx)
//	w.Feature(row) … w.Tile(row) … w.Open(row) … w.Quarantine(row) …
//	staged, err := w.Stage(ctx, cut)       // writes files; nothing is visible
//	… B6: look at staged.Files …
//	versions, err := staged.Publish(ctx, publication)
type ViewWriter struct {
	t       *Tables
	opt     RunOptions
	spool   *spool
	base    map[TableName]*Snapshot
	staging string                 // the run's own directory, in each table
	before  map[TableName][]string // what was in staging when the run began
}

// NewWriter begins a run on top of the newest versions of the tables.
func (t *Tables) NewWriter(ctx context.Context, opt RunOptions) (*ViewWriter, error) {
	if opt.Memory == 0 {
		opt.Memory = 64 << 20
	}
	w := &ViewWriter{t: t, opt: opt, spool: newSpool(filepath.Join(opt.SpillDir, "tables"), opt.Memory, opt.Disk), base: map[TableName]*Snapshot{},
		staging: staging + "/" + rand.Text(), before: map[TableName][]string{}}
	for name, table := range t.tables {
		runs, err := table.store.List(ctx, staging) // before the snapshot: see tidy
		if err != nil {
			return nil, fmt.Errorf("table %s: staging: %w", table.name, err)
		}
		for _, run := range runs {
			w.before[name] = append(w.before[name], staging+"/"+run.Name)
		}
		s, err := table.Snapshot(ctx, Latest)
		if err != nil {
			return nil, err
		}
		w.base[name] = s
	}
	return w, nil
}

// entity appends the entity and its key fields.
func (w *ViewWriter) entity(b *rowBuffer, entity []byte) error {
	keys, err := w.t.engine.DecodeEntity(entity)
	if err != nil {
		return fmt.Errorf("view %s: %w", w.t.view.Name, err)
	}
	b.row = schemas.BytesValue(string(entity)).Append(b.row)
	for _, k := range keys {
		b.row = k.Append(b.row)
	}
	return nil
}

// Feature takes the features of an entity as of a boundary.
func (w *ViewWriter) Feature(r rows.Feature) error {
	if len(r.Results) != len(w.t.view.Spec.Features) {
		return fmt.Errorf("view %s: a row has %d features, the view %d", w.t.view.Name, len(r.Results), len(w.t.view.Spec.Features))
	}
	b := w.spool.buffer(Features, dayOf(r.Boundary), int32(r.Shard))
	b.key = appendInt(append(b.key, r.Entity...), int64(r.Boundary))
	if err := w.entity(b, r.Entity); err != nil {
		return err
	}
	b.row = schemas.TimestampValue(r.Boundary).Append(b.row)
	b.row = schemas.BoolValue(r.Final).Append(b.row)
	for _, res := range r.Results {
		b.row = appendStatus(res.Value.Append(b.row), res.Status)
	}
	return w.spool.add(b)
}

// Tile takes a closed tile.
func (w *ViewWriter) Tile(r rows.Tile) error {
	b := w.spool.buffer(Tiles, dayOf(r.Tile.Start), r.Partition)
	b.key = append(appendInt(b.key, int64(r.Shard)), r.Entity...)
	b.key = appendInt(appendInt(b.key, int64(r.Tile.Hop)), int64(r.Tile.Start))
	if err := w.entity(b, r.Entity); err != nil {
		return err
	}
	b.row = schemas.IntValue(int64(r.Tile.Hop)).Append(b.row)
	b.row = schemas.TimestampValue(r.Tile.Start).Append(b.row)
	b.row = schemas.IntValue(r.Tile.Events).Append(b.row)
	b.row = schemas.BytesValue(r.Tile.Cells).Append(b.row)
	return w.spool.add(b)
}

// The parts of a state in table open, in their order.
const (
	partServed  = "served"
	partOpen    = "open"
	partWaiting = "waiting"
)

// Open takes the remainder of a state.
func (w *ViewWriter) Open(r rows.Open) error {
	null := schemas.Value{}
	if err := w.openPart(&r, 0, 0, 0, partServed, null, null, null, null, string(r.Served)); err != nil {
		return err
	}
	for _, o := range r.Open {
		if err := w.openPart(&r, 1, o.Hour, 0, partOpen, schemas.IntValue(o.Hour), null, null, null, string(o.Data)); err != nil {
			return err
		}
	}
	for _, t := range r.Waiting {
		if err := w.openPart(&r, 2, int64(t.Hop), int64(t.Start), partWaiting, null, schemas.IntValue(int64(t.Hop)),
			schemas.TimestampValue(t.Start), schemas.IntValue(t.Events), t.Cells); err != nil {
			return err
		}
	}
	return nil
}

func (w *ViewWriter) openPart(r *rows.Open, order byte, x, y int64, part string, hour, level, start, count schemas.Value, data string) error {
	b := w.spool.buffer(Open, noDay, r.Partition) // the date is that of the cut
	b.key = append(append(appendInt(b.key, int64(r.Shard)), r.Entity...), order)
	b.key = appendInt(appendInt(b.key, x), y)
	if err := w.entity(b, r.Entity); err != nil {
		return err
	}
	b.row = schemas.StringValue(part).Append(schemas.IntValue(int64(r.Shard)).Append(b.row))
	for _, v := range [...]schemas.Value{hour, level, start, count, schemas.BytesValue(data)} {
		b.row = v.Append(b.row)
	}
	return w.spool.add(b)
}

// Quarantine takes a record that is not counted. Its date is that of its log
// clock: unlike the record's timestamp it never goes back, so that a day that
// is over stays as it is (B1).
func (w *ViewWriter) Quarantine(q rows.Quarantined) error {
	b := w.spool.buffer(Quarantine, dayOf(q.Clock), q.At.Partition)
	b.key = appendInt(b.key, q.At.Offset)
	for _, v := range quarantineRow(&q) {
		b.row = v.Append(b.row)
	}
	return w.spool.add(b)
}

func quarantineRow(q *rows.Quarantined) [11]schemas.Value {
	optional := func(ok bool, v schemas.Value) schemas.Value {
		if ok {
			return v
		}
		return schemas.Value{}
	}
	return [...]schemas.Value{schemas.StringValue(q.At.TopicID), schemas.IntValue(q.At.Offset), optionalTime(q.Timestamp), optionalTime(q.Clock),
		optionalTime(q.EventTime), optional(q.EventTime != schemas.Never, schemas.IntValue(int64(q.EventTime))),
		schemas.StringValue(q.Outcome.String()), optional(q.Stage != "", schemas.StringValue(string(q.Stage))), validText(q.Reason),
		optional(q.Key != nil, schemas.BytesValue(string(q.Key))), optional(q.Value != nil, schemas.BytesValue(string(q.Value)))}
}

// Abort gives the run up and removes what it spilled and staged, also after ctx
// has ended. It does nothing after Publish.
func (w *ViewWriter) Abort(ctx context.Context) error {
	return errors.Join(w.spool.Close(), w.tidy(context.WithoutCancel(ctx), false))
}
