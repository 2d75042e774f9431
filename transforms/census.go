package transforms

import (
	"math"
	"unsafe"

	"github.com/tallystick/tallystick/schemas"
)

// CellInfo says what one cell of a level's tiles keeps.
type CellInfo struct {
	Hop      schemas.Micros
	Features []int // that read it, ascending
	// PerTile: the cell keeps one value, whatever the number of its inputs, so that
	// Taken says per tile whether there was any; else Taken counts inputs, for
	// count_distinct and the lists what they keep of them.
	PerTile bool
}

// Cells lists the cells of the view's tiles, level by level, in the order of their
// bytes. A table has none.
func (v *View) Cells() []CellInfo {
	var out []CellInfo
	for li := range v.levels {
		l := &v.levels[li]
		for ci := range l.cells {
			info := CellInfo{Hop: l.hop}
			switch l.cells[ci].agg.(type) {
			case extremes, ordered:
				info.PerTile = true
			}
			for i, p := range v.plans {
				if p.level == li && l.probes[p.probe].cell == ci {
					info.Features = append(info.Features, i)
				}
			}
			out = append(out, info)
		}
	}
	return out
}

// Taken adds to n, in the order of Cells, how many inputs that were not null and
// passed their filters each cell of a tile has taken. It tells whether the tile is
// of a level of the view and its bytes are canonical; if not, n is as it was.
func (v *View) Taken(n []int64, t *Tile) bool {
	at := 0
	for li := range v.levels {
		l := &v.levels[li]
		if l.hop == t.Hop {
			e := v.scratch.Get().(*evaluation)
			work := e.in.work.levels[li].tile
			work.reset(0)
			ok := l.taken(n[at:at+len(l.cells)], t, work)
			v.scratch.Put(e)
			return ok
		}
		at += len(l.cells)
	}
	return false
}

func (l *level) taken(n []int64, t *Tile, tile *tile) bool {
	cells := unsafe.Slice(unsafe.StringData(t.Cells), len(t.Cells)) // only read
	if !l.parseBody(cells, tile) || tile.events != t.Events {
		return false
	}
	for i := range n {
		if n[i] > math.MaxInt64-tile.cells[i].n {
			return false
		}
	}
	for i := range n {
		n[i] += tile.cells[i].n
	}
	return true
}
