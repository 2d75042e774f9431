package offline

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// What units leave of a row of a table is its key and what the key does not say:
//
//	features   entity boundary            | final and results
//	tiles      shard entity level start   | see tileRun
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
	same   int   // how many values begin the last row as they begin the one before it
	start  int64 // of the last tile, in µs
}

// parse calls fn with each row of a table with n columns that stands under a key. The
// values are valid during the call only.
func (t *tableRows) parse(k rowKey, row []byte, n int, fn func(values []schemas.Value) error) error {
	t.values, t.same = t.values[:0], 0
	name := tableOrder[k[0]]
	if name != Quarantine {
		if err := t.key(k.entity()); err != nil {
			return err
		}
		t.values = append(t.values, t.keyed...)
	}
	switch name {
	case Tiles:
		return t.tiles(k, row, fn)
	case Features:
		t.values = append(t.values, schemas.TimestampValue(schemas.Micros(lastInt(k))))
	}
	var err error
	if t.values, err = parseRow(t.values, row, n-len(t.values)); err != nil {
		return err
	}
	return fn(t.values)
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

// tileRun gathers tiles of one entity, level, date and partition, so that what they
// share is written once. Behind the key, which is that of the first one, stand of each
// of them
//
//	steps    uvarint, how many times the hop it starts after the one before it; 0 first
//	count    uvarint
//	length   uvarint, of cells
//	cells
type tileRun struct {
	stream spill.Stream
	shard  int
	entity []byte
	hop    schemas.Micros
	last   schemas.Micros // start of the last tile
	key    rowKey
	row    []byte // empty: nothing has gathered
}

// maxTileRun is about how many bytes gather at most.
const maxTileRun = 8 << 10

// goesOn tells whether a tile may follow those that have gathered.
func (t *tileRun) goesOn(r *rows.Tile) bool {
	if len(t.row) == 0 || len(t.row) >= maxTileRun || r.Tile.Hop != t.hop || r.Tile.Start <= t.last || (r.Tile.Start-t.last)%t.hop != 0 {
		return false
	}
	_, day, part := rowKey(t.stream[:]).prefix()
	return r.Partition == part && dayOf(r.Tile.Start) == day && r.Shard == t.shard && string(r.Entity) == string(t.entity)
}

// begin makes a tile the first one.
func (t *tileRun) begin(r *rows.Tile) {
	t.key = appendKey(t.key[:0], Tiles, dayOf(r.Tile.Start), r.Partition)
	t.stream = spill.Stream(t.key)
	t.shard, t.hop, t.last = r.Shard, r.Tile.Hop, r.Tile.Start
	t.entity = append(t.entity[:0], r.Entity...)
	t.key = append(appendShard(t.key[:0], r.Shard), r.Entity...)
	t.key = appendInt(appendInt(t.key, int64(t.hop)), int64(t.last))
	t.row = appendJoined(t.row[:0], t.key, nil)
}

func (t *tileRun) add(tile *transforms.Tile) {
	steps := uint64(0)
	if tile.Start != t.last {
		steps = uint64(tile.Start-t.last) / uint64(t.hop)
	}
	t.row = binary.AppendUvarint(t.row, steps)
	t.row = binary.AppendUvarint(t.row, uint64(tile.Events))
	t.row = binary.AppendUvarint(t.row, uint64(len(tile.Cells)))
	t.row = append(t.row, tile.Cells...)
	t.last = tile.Start
}

// tiles calls fn with the rows of a tileRun.
func (t *tableRows) tiles(k rowKey, row []byte, fn func(values []schemas.Value) error) error {
	hop, start := lastInt(k[:len(k)-8]), lastInt(k)
	none := schemas.Value{}
	t.values = append(t.values, schemas.IntValue(hop), none, none, none)
	of := t.values[len(t.values)-3:]
	for first := true; first || len(row) > 0; first = false {
		var head [3]uint64
		for i := range head {
			n, w := binary.Uvarint(row)
			if w <= 0 {
				return errTileRun
			}
			head[i], row = n, row[w:]
		}
		if head[2] > uint64(len(row)) || first != (head[0] == 0) {
			return errTileRun
		}
		start += int64(head[0]) * hop
		of[0], of[1], of[2] = schemas.TimestampValue(schemas.Micros(start)), schemas.IntValue(int64(head[1])), schemas.BytesAlias(row[:head[2]])
		row = row[head[2]:]
		if err := fn(t.values); err != nil {
			return err
		}
		t.same = len(t.keyed) + 1 // the level too
	}
	t.start = start
	return nil
}

var errTileRun = errors.New("tiles of an entity do not decode")
