package offline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// TableName names one of the tables of a view.
type TableName string

// The tables of a view (§7).
const (
	Tiles      TableName = "tiles"      // every closed tile
	Open       TableName = "open"       // what the states hold besides, at the cut
	Quarantine TableName = "quarantine" // records not counted
	Features   TableName = "features"   // values at the boundaries
)

// tableOrder is the order in which tables are staged and published: features
// comes last, its commit makes a publication complete.
var tableOrder = [...]TableName{Tiles, Open, Quarantine, Features}

func (n TableName) index() int {
	for i, t := range tableOrder {
		if t == n {
			return i
		}
	}
	return -1
}

// layout is the columns of a table. Partition columns are not in the files.
type layout struct {
	partition []Column
	cols      []Column
}

var (
	dateColumn      = Column{Name: "event_date", Kind: schemas.Int, Date: true, Nullable: true}
	shardColumn     = Column{Name: "shard", Kind: schemas.Int}
	partitionColumn = Column{Name: "source_partition", Kind: schemas.Int}
	entityColumn    = Column{Name: "entity", Kind: schemas.Bytes, Sorted: true}
)

func quarantineColumns() []Column {
	return []Column{
		{Name: "topic_id", Kind: schemas.String},
		{Name: "offset", Kind: schemas.Int},
		{Name: "record_timestamp", Kind: schemas.Timestamp, Nullable: true},
		{Name: "clock", Kind: schemas.Timestamp, Nullable: true},
		{Name: "event_time", Kind: schemas.Timestamp, Nullable: true},
		{Name: "event_time_us", Kind: schemas.Int, Nullable: true},
		{Name: "outcome", Kind: schemas.String},
		{Name: "stage", Kind: schemas.String, Nullable: true},
		{Name: "reason", Kind: schemas.String},
		{Name: "key", Kind: schemas.Bytes, Nullable: true},
		{Name: "value", Kind: schemas.Bytes, Nullable: true},
	}
}

// layoutOf returns the columns of a view's table.
func layoutOf(v *definition.View, name TableName) layout {
	keys := []Column{entityColumn}
	for _, k := range v.Key() {
		keys = append(keys, Column{Name: k.Name, Kind: k.Kind, Sorted: k.Kind == schemas.Bytes})
	}
	byPartition := []Column{dateColumn, partitionColumn}
	switch name {
	case Tiles:
		return layout{byPartition, append(keys,
			Column{Name: "level", Kind: schemas.Int}, Column{Name: "start", Kind: schemas.Timestamp},
			Column{Name: "count", Kind: schemas.Int}, Column{Name: "cells", Kind: schemas.Bytes})}
	case Open:
		return layout{byPartition, append(keys,
			Column{Name: "shard", Kind: schemas.Int}, Column{Name: "part", Kind: schemas.String},
			Column{Name: "hour", Kind: schemas.Int, Nullable: true}, Column{Name: "level", Kind: schemas.Int, Nullable: true},
			Column{Name: "start", Kind: schemas.Timestamp, Nullable: true}, Column{Name: "count", Kind: schemas.Int, Nullable: true},
			Column{Name: "data", Kind: schemas.Bytes})}
	case Quarantine:
		return layout{byPartition, quarantineColumns()}
	}
	cols := append(keys, Column{Name: "boundary", Kind: schemas.Timestamp}, Column{Name: "final", Kind: schemas.Bool})
	for _, f := range v.Spec.Features {
		cols = append(cols, Column{Name: f.Name, Kind: f.Kind, Element: f.Element, Nullable: true}, Column{Name: f.Name + "__status", Kind: schemas.String, Nullable: true})
	}
	return layout{[]Column{dateColumn, shardColumn}, cols}
}

// CheckView tells whether the view's names leave its tables' columns distinct.
// Engines compare column names without regard to case.
func CheckView(v *definition.View) error {
	var errs []error
	for _, name := range tableOrder {
		l := layoutOf(v, name)
		seen := map[string]string{}
		for _, c := range append(append([]Column{}, l.partition...), l.cols...) {
			low := strings.ToLower(c.Name)
			if _, twice := seen[low]; twice {
				errs = append(errs, fmt.Errorf("view %s: table %s would have two columns %q; rename the key field or feature", v.Name, name, c.Name))
			}
			seen[low] = c.Name
		}
	}
	return errors.Join(errs...)
}

// rowKey orders the rows of all tables of a view: table, date, shard or source
// partition, and then what the table is sorted by.
type rowKey []byte

// noDay stands for a date that is null.
const noDay = int64(-1) << 31

func appendKey(dst rowKey, t TableName, day int64, part int32) rowKey {
	dst = append(dst, byte(t.index()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(int32(day))^1<<31)
	return binary.BigEndian.AppendUint32(dst, uint32(part))
}

const keyPrefix = 9

func (k rowKey) prefix() (t TableName, day int64, part int32) {
	return tableOrder[k[0]], int64(int32(binary.BigEndian.Uint32(k[1:]) ^ 1<<31)), int32(binary.BigEndian.Uint32(k[5:]))
}

func appendInt(dst rowKey, i int64) rowKey {
	return binary.BigEndian.AppendUint64(dst, uint64(i)^1<<63)
}

func appendShard(dst rowKey, shard int) rowKey {
	return binary.BigEndian.AppendUint32(dst, uint32(shard))
}

// dayOf returns the day of an instant, noDay when dates cannot hold it.
func dayOf(m schemas.Micros) int64 {
	if m < minInstant || m > maxInstant {
		return noDay
	}
	return m.Days()
}

// statusTag is set in the byte of a status in a spooled row.
const statusTag = 0x80

func appendStatus(dst []byte, s transforms.Status) []byte { return append(dst, statusTag|byte(s)) }

// parseRow reads n values of a spooled row, whose text they alias, into dst.
func parseRow(dst []schemas.Value, row []byte, n int) ([]schemas.Value, error) {
	for range n {
		if len(row) > 0 && row[0]&statusTag != 0 {
			dst = append(dst, statusValue(transforms.Status(row[0]&^statusTag)))
			row = row[1:]
			continue
		}
		v, took := schemas.ParseAlias(row)
		if took == 0 {
			return dst, errors.New("a spilled row does not decode")
		}
		dst = append(dst, v)
		row = row[took:]
	}
	if len(row) > 0 {
		return dst, errors.New("a spilled row has more values than its table columns")
	}
	return dst, nil
}

// statusValue returns the name of a status, null for none.
func statusValue(s transforms.Status) schemas.Value {
	if s == 0 {
		return schemas.Value{}
	}
	return schemas.StringValue(s.String())
}

// optionalTime is null where the instant is beyond the years 1 to 9999.
func optionalTime(m schemas.Micros) schemas.Value {
	if m < minInstant || m > maxInstant {
		return schemas.Value{}
	}
	return schemas.TimestampValue(m)
}
