package offline

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// What units leave of a row of a table is its key and what the key does not say:
//
//	features   entity boundary            | final and results
//	tiles      shard entity level start   | count (uvarint) cells
//	open       shard entity part x y      | part and what follows
//	quarantine offset                     | all columns

// entity returns the entity in a key; nil = the table has none.
func (k rowKey) entity() []byte {
	switch tableOrder[k[0]] {
	case Features:
		return k[keyPrefix : len(k)-8]
	case Tiles:
		return k[keyPrefix+4 : len(k)-16]
	case Open:
		return k[keyPrefix+4 : len(k)-17]
	}
	return nil
}

// tableRows turns what units leave into the rows of tables.
type tableRows struct {
	engine *transforms.View
	of     []byte          // the entity that keyed is of; nil = none yet
	keyed  []schemas.Value // entity and key fields
	values []schemas.Value
	same   int // how many values begin the last row as they begin the one before it
}

// parse returns the n values of a row. They are valid until the next call, and as long
// as both arguments stay as they are.
func (t *tableRows) parse(k rowKey, row []byte, n int) ([]schemas.Value, error) {
	t.values, t.same = t.values[:0], 0
	name := tableOrder[k[0]]
	if name != Quarantine {
		if err := t.key(k.entity()); err != nil {
			return nil, err
		}
		t.values = append(t.values, t.keyed...)
	}
	var err error
	switch name {
	case Features:
		t.values = append(t.values, schemas.TimestampValue(schemas.Micros(lastInt(k))))
	case Tiles:
		count, w := binary.Uvarint(row)
		if w <= 0 {
			return nil, errors.New("a tile has no count")
		}
		t.values = append(t.values, schemas.IntValue(lastInt(k[:len(k)-8])), schemas.TimestampValue(schemas.Micros(lastInt(k))),
			schemas.IntValue(int64(count)), schemas.BytesAlias(row[w:]))
		return t.values, nil
	}
	t.values, err = parseRow(t.values, row, n-len(t.values))
	return t.values, err
}

// key makes keyed that of an entity: the rows of one come together.
func (t *tableRows) key(entity []byte) error {
	if t.of != nil && string(t.of) == string(entity) {
		t.same = len(t.keyed)
		return nil
	}
	keys, err := t.engine.DecodeEntity(entity)
	if err != nil {
		return fmt.Errorf("a key: %w", err)
	}
	t.of = append(t.of[:0], entity...)
	t.keyed = append(append(t.keyed[:0], schemas.BytesValue(string(entity))), keys...)
	return nil
}

// lastInt reads what appendInt has written at the end of a key.
func lastInt(k rowKey) int64 { return int64(binary.BigEndian.Uint64(k[len(k)-8:]) ^ 1<<63) }
