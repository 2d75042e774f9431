package batch

import (
	"bytes"
	"path/filepath"

	"github.com/tallystick/tallystick/store/spill"
	"github.com/tallystick/tallystick/transforms"
)

// newSorter returns a sorter that puts rows (transforms.Input.AppendInput) into
// the order in which they are folded: entity, clock, partition, offset. An
// entity of any size streams through (B3).
func newSorter(dir, name string, memory int, disk *spill.Disk) *spill.Sorter {
	return spill.New(spill.Options{Path: filepath.Join(dir, name), Memory: memory, Disk: disk, Compare: compareRows})
}

func compareRows(a, b []byte) int {
	ea, ka := transforms.RowKey(a)
	eb, kb := transforms.RowKey(b)
	if c := bytes.Compare(ea, eb); c != 0 {
		return c
	}
	return bytes.Compare(ka, kb)
}
