package transforms

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/tallystick/tallystick/schemas"
)

// Of the tiles of a busy entity an event changes the newest few. So each level is
// divided: a flush writes the newer tiles, and the old ones only where they have
// become others.
//
//   - Once a level has more than twice newestTiles newer tiles, they become old but
//     for the newest newestTiles.
//   - Where events can be replaced (ByVersion) the first newer tile is not behind one
//     that an open event may yet lie in: those are not before the horizon of the last
//     record that changed the state, as every later horizon lies at or beyond it. So
//     old tiles hold sealed events only. If for that less than newestTiles would
//     become old, none do.
//   - An event that enters an old tile, or lies before the newer ones, changes the
//     old tiles.
//   - Old tiles stay beyond their retention, until others become old: only then, or
//     with a newer tile, are they dropped. No window looks at them, and a base
//     absorbs them when they are dropped.
//   - Trim and Restore drop and divide anew, so that states with the same records go
//     on alike from there (V11). TakeClosed makes all tiles newer ones.
//
// All of that depends on the state and the record at hand alone (V1): a drop that
// is put off is made up for before tiles are counted.

// newestTiles is how many of a level's tiles stay newer ones when the others become
// old; part of the state format.
const newestTiles = 16

// OverdueTiles is how many tiles a level may hold at most beyond those that its
// retention spans: old ones, until others become old.
const OverdueTiles = newestTiles

// oldPart is what a state knows of its old part.
type oldPart struct {
	version int32 // counts what may have changed it
	summed  int32 // the version that the sum and the size are of
	sum     uint32
	size    int32 // bytes with the sum; 0 = there is none
}

// age makes tiles of a level old if there are too many newer ones. It is called when
// a new tile may have made them so.
func (v *View) age(s *State, li int) {
	v.dropLevel(s, li, s.clock)
	x := &s.levels[li]
	if x.count-x.olds > 2*v.newest {
		v.divide(s, li)
	}
	x.room = int8(max(0, min(2*v.newest-(x.count-x.olds), math.MaxInt8)))
}

// divide makes the newer tiles of a level old, but for the newest and those that an
// open event may lie in, and drops the old ones beyond retention.
func (v *View) divide(s *State, li int) {
	l, x := &v.levels[li], &s.levels[li]
	l.freeze(x)
	open := int64(math.MaxInt64)
	if v.spec.Identity == ByVersion {
		open = l.index(s.clock.SubSat(v.spec.LatenessAt(s.partition, s.last)))
	}
	var n int32 // of them become old
	var first slot
	c := x.newer()
	for i := range x.count - x.olds - v.newest + 1 {
		if !c.next() || c.index > open {
			break
		}
		n, first = i, c.slot
	}
	if n < v.newest {
		return
	}
	x.olds, x.oldEnd, x.split, x.moved = x.olds+n, int32(first.from), first.index, true
	v.dropTo(s, li, l.index(s.clock.SubSat(l.retention)))
}

// divideAnew divides every level as if its tiles had come just now.
func (v *View) divideAnew(s *State) {
	v.unite(s)
	for li := range v.levels {
		if s.levels[li].count > 2*v.newest {
			v.divide(s, li)
		}
	}
}

// isOld tells whether the tiles of an event at t are, or would be, old ones in some
// level.
func (v *View) isOld(s *State, t schemas.Micros) bool {
	for li := range v.levels {
		if x := &s.levels[li]; x.olds > 0 && v.levels[li].index(t) < x.split {
			return true
		}
	}
	return false
}

// unite makes all tiles newer ones.
func (v *View) unite(s *State) {
	for li := range v.levels {
		if x := &s.levels[li]; x.olds > 0 {
			x.olds, x.moved, x.room = 0, true, 0
		}
	}
}

// Join gives the state an encoding without an old part, and without what has left
// retention: the remainder that a replay keeps.
func (v *View) Join(s *State) {
	v.dropAll(s, s.clock)
	v.unite(s)
}

// OldVersion returns a number that is another one once the old part may be: 0 for
// that of a state just made or parsed.
func (v *View) OldVersion(s *State) int32 {
	v.drop(s, s.clock)
	return s.oldVersion()
}

func (s *State) oldVersion() int32 {
	for li := range s.levels {
		x := &s.levels[li]
		if x.moved && (x.olds > 0 || !x.knownNone) { // else tiles became old, and were dropped
			s.old.version++
		}
		x.moved, x.knownNone = false, x.olds == 0
	}
	return s.old.version
}

// AppendOld appends the old part of the state; nothing when it has none.
func (v *View) AppendOld(dst []byte, s *State) []byte {
	v.settleTiles(s)
	from := len(dst)
	s.eachOld(func(b []byte) { dst = append(dst, b...) })
	if len(dst) > from {
		dst = appendCRC(dst, from)
	}
	s.summed(dst[from:])
	return dst
}

// eachOld hands the old part without its checksum on, piece by piece.
func (s *State) eachOld(f func([]byte)) {
	some := false
	for li := range s.levels {
		some = some || s.levels[li].olds > 0
	}
	if !some {
		return
	}
	var buf [2 * binary.MaxVarintLen64]byte
	for li := range s.levels {
		x := &s.levels[li]
		b := binary.AppendUvarint(buf[:0], uint64(x.olds))
		if x.olds == 0 {
			f(b)
			continue
		}
		f(binary.AppendVarint(b, x.first))
		f(x.data[x.head:x.oldEnd])
	}
}

// summed takes note of the old part's bytes.
func (s *State) summed(old []byte) {
	s.old.summed, s.old.sum, s.old.size = s.oldVersion(), 0, int32(len(old))
	if len(old) > 0 {
		s.old.sum = binary.LittleEndian.Uint32(old[len(old)-4:])
	}
}

// sumOld finds the checksum and the size of the old part, if they are not known.
// The tiles are settled.
func (s *State) sumOld() {
	if s.old.summed == s.oldVersion() {
		return
	}
	o := oldPart{version: s.old.version, summed: s.old.version}
	s.eachOld(func(b []byte) {
		o.sum = crc32.Update(o.sum, castagnoli, b)
		o.size += int32(len(b))
	})
	if o.size > 0 {
		o.size += 4
	}
	s.old = o
}
