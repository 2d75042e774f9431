package batch

import (
	"bytes"
	"encoding/binary"
	"path/filepath"

	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms"
)

// newSorter returns a sorter that puts rows (transforms.Input.AppendInput) into
// the order in which they are folded: entity, clock, partition, offset. An
// entity of any size streams through (B3). pool may be nil.
func newSorter(dir, name string, memory int, disk *spill.Disk, pool *spill.Pool) *spill.Sorter {
	return spill.New(spill.Options{Path: filepath.Join(dir, name), Memory: memory, Disk: disk, Pool: pool, Compare: compareRows, Prefix: rowPrefix,
		Group: func(row []byte) []byte {
			entity, _ := transforms.RowKey(row)
			return entity
		}})
}

// rowPrefix is the entity and, where that is short, the clock. Entities are
// canonical encodings, none of which begins with another: those that differ differ
// within the shorter one, and bytes put behind it do not matter.
func rowPrefix(row []byte) spill.Prefix {
	entity, key := transforms.RowKey(row)
	p := spill.PrefixOf(entity)
	if len(entity) <= 16 {
		p[2] = binary.BigEndian.Uint64(key) // the clock comes first
	}
	return p
}

func compareRows(a, b []byte) int {
	ea, ka := transforms.RowKey(a)
	eb, kb := transforms.RowKey(b)
	if c := bytes.Compare(ea, eb); c != 0 {
		return c
	}
	return bytes.Compare(ka, kb)
}
