package offline

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms/rows"
)

// Output takes the rows of one unit: those for later units (Put), and those of the
// tables. Rows of a table come in the order of their keys within a shard, shards
// ascending; those of quarantine in any order. It is for one goroutine.
type Output struct {
	keep   Keep
	t      *Tables
	work   *Work
	unit   string
	name   string
	upload Upload
	blocks *spill.BlockWriter
	done   bool // finished or given up

	key    rowKey
	row    []byte
	joined []byte
	of     []byte // the last entity that was looked at; nil = none yet
	tiles  tileRun
}

// Keep says which rows of tables an Output does not drop.
type Keep struct {
	Tables     *Tables // whose rows tiles, open and features are; nil = dropped
	Quarantine bool
}

// Begin opens the output of a unit, which gathers rows in about this many bytes.
// Finish or Abort it.
func (w *Work) Begin(ctx context.Context, unit string, memory int, keep Keep) (*Output, error) {
	upload, err := w.store.Create(ctx, w.dir)
	if err != nil {
		return nil, fmt.Errorf("unit %s: %w", unit, err)
	}
	return &Output{keep: keep, t: keep.Tables, work: w, unit: unit, name: attempt(unit), upload: upload, blocks: spill.NewBlockWriter(upload, memory, w.disk)}, nil
}

// Finish makes the rows and the record of the unit visible to others.
func (o *Output) Finish(ctx context.Context, record any) error {
	err := o.endTiles()
	var size int64
	if err == nil {
		size, err = o.blocks.Close()
	}
	if err == nil {
		err = overtaken(o.upload.Commit(ctx, o.work.path(o.name)))
	}
	if err != nil {
		o.Abort()
		return fmt.Errorf("unit %s: %w", o.unit, err)
	}
	o.done = true
	if was, err := o.work.record(ctx, o.unit); err == nil && was != nil {
		// Others have run it meanwhile, and may have gone on from their rows. Ours need not
		// be the same: a schema may have been registered in between.
		if o.work.store.Remove(context.WithoutCancel(ctx), o.work.path(o.name)) == nil {
			o.blocks.Discard()
		}
		return nil
	}
	if err := o.work.finish(ctx, unitRecord{Unit: o.unit, File: o.name, Size: size}, record); err != nil {
		if o.work.store.Remove(context.WithoutCancel(ctx), o.work.path(o.name)) == nil {
			o.blocks.Discard()
		}
		return err
	}
	return nil
}

// Abort gives the rows up. It does nothing after Finish.
func (o *Output) Abort() {
	if !o.done {
		o.done = true
		o.upload.Abort()
		o.blocks.Discard()
	}
}

// rowsStream is the stream of rows for later units; those of tables begin with the
// number of their table.
func rowsStream(kind byte, shard int) (s spill.Stream) {
	s[0] = 0x80 | kind
	binary.BigEndian.PutUint32(s[1:], uint32(shard))
	return s
}

// streamOf is the reverse of rowsStream; ok is false for a stream of a table.
func streamOf(s spill.Stream) (kind byte, shard uint32, ok bool) {
	return s[0] &^ 0x80, binary.BigEndian.Uint32(s[1:]), s[0]&0x80 != 0
}

// Put takes a row for a later unit.
func (o *Output) Put(kind byte, shard int, row []byte) error {
	return o.blocks.Add(rowsStream(kind, shard), row)
}

// Rows calls fn with the rows that a finished unit has put for a kind and shard, in
// the order in which it did. A row is valid during the call only.
func (w *Work) Rows(ctx context.Context, unit string, kind byte, shard int, fn func(row []byte) error) error {
	return w.each(ctx, unit, rowsStream(kind, shard), fn)
}

// begin begins a row of a table.
func (o *Output) begin(t TableName, day int64, part int32) {
	o.key, o.row = appendKey(o.key[:0], t, day, part), o.row[:0]
}

// add takes the row: the rest of its key, behind its length, and its values. The
// first part of the key is the stream.
func (o *Output) add() error {
	o.joined = appendJoined(o.joined[:0], o.key[keyPrefix:], o.row)
	return o.blocks.Add(spill.Stream(o.key[:keyPrefix]), o.joined)
}

func appendJoined(dst, key, row []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(key)))
	return append(append(dst, key...), row...)
}

// entity checks that an entity is one of the view. Rows of one come together.
func (o *Output) entity(entity []byte) error {
	if o.of != nil && string(o.of) == string(entity) {
		return nil
	}
	if _, err := o.t.engine.DecodeEntity(entity); err != nil {
		return fmt.Errorf("view %s: %w", o.t.view.Name, err)
	}
	o.of = append(o.of[:0], entity...)
	return nil
}

// Feature takes the features of an entity as of a boundary.
func (o *Output) Feature(r rows.Feature) error {
	if o.t == nil {
		return nil
	}
	if len(r.Results) != len(o.t.view.Spec.Features) {
		return fmt.Errorf("view %s: a row has %d features, the view %d", o.t.view.Name, len(r.Results), len(o.t.view.Spec.Features))
	}
	o.begin(Features, dayOf(r.Boundary), int32(r.Shard))
	o.key = appendInt(append(o.key, r.Entity...), int64(r.Boundary))
	if err := o.entity(r.Entity); err != nil {
		return err
	}
	o.row = schemas.BoolValue(r.Final).Append(o.row)
	for _, res := range r.Results {
		o.row = appendStatus(res.Value.Append(o.row), res.Status)
	}
	return o.add()
}

// Tile takes a closed tile.
func (o *Output) Tile(r rows.Tile) error {
	if o.t == nil {
		return nil
	}
	if !o.tiles.goesOn(&r) {
		if err := o.endTiles(); err != nil {
			return err
		}
		if err := o.entity(r.Entity); err != nil {
			return err
		}
		o.tiles.begin(&r)
	}
	o.tiles.add(&r.Tile)
	return nil
}

// endTiles takes the tiles that have gathered.
func (o *Output) endTiles() error {
	if len(o.tiles.row) == 0 {
		return nil
	}
	err := o.blocks.Add(o.tiles.stream, o.tiles.row)
	o.tiles.row = o.tiles.row[:0]
	return err
}

// The parts of a state in table open, in their order.
const (
	partServed  = "served"
	partOpen    = "open"
	partWaiting = "waiting"
)

// Open takes the remainder of a state; hours and waiting tiles ascend.
func (o *Output) Open(r rows.Open) error {
	if o.t == nil {
		return nil
	}
	null := schemas.Value{}
	if err := o.openPart(&r, 0, 0, 0, partServed, null, null, null, null, string(r.Served)); err != nil {
		return err
	}
	for _, h := range r.Open {
		if err := o.openPart(&r, 1, h.Hour, 0, partOpen, schemas.IntValue(h.Hour), null, null, null, string(h.Data)); err != nil {
			return err
		}
	}
	for _, t := range r.Waiting {
		if err := o.openPart(&r, 2, int64(t.Hop), int64(t.Start), partWaiting, null, schemas.IntValue(int64(t.Hop)),
			schemas.TimestampValue(t.Start), schemas.IntValue(t.Events), t.Cells); err != nil {
			return err
		}
	}
	return nil
}

func (o *Output) openPart(r *rows.Open, order byte, x, y int64, part string, hour, level, start, count schemas.Value, data string) error {
	o.begin(Open, noDay, r.Partition) // the date is that of the cut
	o.key = append(append(appendShard(o.key, r.Shard), r.Entity...), order)
	o.key = appendInt(appendInt(o.key, x), y)
	if err := o.entity(r.Entity); err != nil {
		return err
	}
	o.row = schemas.StringValue(part).Append(schemas.IntValue(int64(r.Shard)).Append(o.row))
	for _, v := range [...]schemas.Value{hour, level, start, count, schemas.BytesValue(data)} {
		o.row = v.Append(o.row)
	}
	return o.add()
}

// Quarantine takes a record that is not counted. Its date is that of its log
// clock: unlike the record's timestamp it never goes back, so that a day that
// is over stays as it is (B1).
func (o *Output) Quarantine(q rows.Quarantined) error {
	if !o.keep.Quarantine {
		return nil
	}
	o.begin(Quarantine, dayOf(q.Clock), q.At.Partition)
	o.key = appendInt(o.key, q.At.Offset)
	for _, v := range quarantineRow(&q) {
		o.row = v.Append(o.row)
	}
	return o.add()
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
