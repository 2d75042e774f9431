package transforms

import (
	"github.com/tallystick/tallystick/schemas"
)

// A state at a cut is kept in two places (B5): its closed tiles in one table,
// the remainder in another. TakeClosed parts them, Restore joins them.

// TakeClosed removes the sealed tiles that end at or before the closed boundary
// b of their level and returns them, the finest level first, ascending. The
// state was trimmed at b, so that no open event belongs to one of them. What is
// left has no old part.
func (v *View) TakeClosed(s *State, b schemas.Micros) []Tile {
	v.Join(s)
	tiles := v.Tiles(s, b)
	for li := range v.levels {
		l, x := &v.levels[li], &s.levels[li]
		l.dropBefore(x, l.index(b), nil)
	}
	return tiles
}

// reach returns the clock that says which tiles the state held after its last
// Trim: its own or that of the Trim, which close_idle may have put ahead (K7).
func (v *View) reach(s *State) schemas.Micros {
	if s.trimmed == schemas.Never {
		return s.clock
	}
	return max(s.clock, s.trimmed.AddSat(v.spec.Lateness))
}

// Restore puts closed tiles of one level back, ascending by start; those that
// have left retention at the state's clock, or at the last Trim's boundary plus
// lateness, are passed over. They must end before every tile of the level.
func (v *View) Restore(s *State, tiles []Tile) error {
	v.Join(s)
	for li := range v.levels {
		l, x := &v.levels[li], &s.levels[li]
		limit := v.reach(s).SubSat(l.retention)
		var joined tileList
		for _, t := range tiles {
			index := l.index(t.Start)
			if t.Hop != l.hop || l.start(index+1) <= limit {
				continue
			}
			body := []byte(t.Cells)
			if l.start(index) != t.Start || !l.parseBody(body, l.newTile()) {
				return corrupt("tile", "the tile of the %d µs level at %v does not decode", int64(l.hop), t.Start)
			}
			if joined.count > 0 && index <= joined.last {
				return corrupt("tile", "tiles are not ascending at %v", t.Start)
			}
			joined.append(index, appendUvarintBytes(nil, body))
		}
		if x.count > 0 && joined.count > 0 && joined.last >= x.first {
			return corrupt("tile", "a closed tile at %v overlaps the remainder", l.start(joined.last))
		}
		l.freeze(x)
		for c := x.walk(); c.next(); {
			joined.append(c.index, x.data[c.from+c.dist:c.to])
		}
		joined.moved = x.moved
		*x = joined
	}
	v.divideAnew(s)
	return nil
}
