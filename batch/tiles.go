package batch

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/rows"
)

// An entity of many events has many tiles, which leave its states as the log clock passes
// them and are written when the entity ends: by level, which is not the order in which
// they leave. They wait in a sorter, so that memory does not hold them (B3).

// drainRows is after how many rows of an entity the tiles that have left its states go to
// the sorter.
const drainRows = 4096

// drain puts the closed tiles that have left the entity's states into the sorter. Those
// that are not closed are of the last hours, and wait in memory.
func (f *replayFold) drain() error {
	b := f.end.boundary(f.run.engine)
	if b == schemas.Never || f.run.engine.IsTable() {
		return nil
	}
	if f.left.sorter == nil {
		f.left.sorter = spill.New(spill.Options{Path: filepath.Join(f.run.SpillDir, f.unit+"-tiles"), Memory: f.run.share() / 16, Disk: f.run.Disk,
			Compare: bytes.Compare, Prefix: spill.PrefixOf})
	}
	for i, p := range f.partitions {
		for _, t := range f.states[i].Evicted() {
			switch {
			case !isClosed(&t, b):
				f.left.waiting[p] = append(f.left.waiting[p], t)
			case f.run.before == nil || !isClosed(&t, f.run.From.Boundary):
				if err := f.left.add(p, &t); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// isClosed tells whether nothing can change a tile any more, by the closed boundary.
func isClosed(t *transforms.Tile, boundary schemas.Micros) bool {
	return t.Start+t.Hop <= boundary.Floor(t.Hop)
}

// entityTiles are tiles that have left the states of an entity before it ends.
type entityTiles struct {
	waiting map[int32][]transforms.Tile // not closed, by partition
	sorter  *spill.Sorter               // of closed ones; nil = there are few
	row     []byte                      // scratch
}

// add takes a closed tile. A row is partition, hop, start, in the order of their bytes,
// count and cells.
func (e *entityTiles) add(p int32, t *transforms.Tile) error {
	r := binary.BigEndian.AppendUint32(e.row[:0], uint32(p)^1<<31)
	r = binary.BigEndian.AppendUint64(r, uint64(t.Hop)^1<<63)
	r = binary.BigEndian.AppendUint64(r, uint64(t.Start)^1<<63)
	r = binary.AppendVarint(r, t.Events)
	e.row = append(r, t.Cells...)
	return e.sorter.Add(e.row)
}

// each calls fn with the closed tiles, by partition, hop and start.
func (e *entityTiles) each(ctx context.Context, fn func(p int32, t transforms.Tile) error) error {
	return e.sorter.Each(ctx, func(row []byte) error {
		n, w := binary.Varint(row[20:])
		if w <= 0 {
			return fmt.Errorf("a spilled tile does not decode")
		}
		t := transforms.Tile{Hop: schemas.Micros(binary.BigEndian.Uint64(row[4:]) ^ 1<<63), Start: schemas.Micros(binary.BigEndian.Uint64(row[12:]) ^ 1<<63),
			Events: n, Cells: string(row[20+w:])}
		return fn(int32(binary.BigEndian.Uint32(row)^1<<31), t)
	})
}

// close gives up what there is, and returns how many bytes were spilled.
func (e *entityTiles) close() (spilled int64, err error) {
	clear(e.waiting)
	if e.sorter != nil {
		spilled, err = e.sorter.Spilled(), e.sorter.Close()
		e.sorter = nil
	}
	return spilled, err
}

// tile writes a closed tile of the entity, or has it wait for those before it.
func (f *replayFold) tile(p int32, t transforms.Tile) error {
	if f.left.sorter != nil {
		return f.left.add(p, &t)
	}
	return f.putTile(p, t)
}

func (f *replayFold) putTile(p int32, t transforms.Tile) error {
	f.counts.Tiles++
	return f.out.Tile(rows.Tile{Shard: f.shard, Partition: p, Entity: f.entity, Tile: t})
}

// endTiles writes the tiles that have waited.
func (f *replayFold) endTiles() (err error) {
	if f.left.sorter != nil {
		err = f.left.each(f.ctx, f.putTile)
	}
	spilled, e := f.left.close()
	f.counts.Spilled += spilled
	return errors.Join(err, e)
}
