package transforms

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sort"

	"github.com/tallystick/tallystick/schemas"
)

// A state is written in three parts (V11, O1). Served and old are all that a read
// needs. Served:
//
//	byte     StateFormat
//	uvarint  partition
//	varint   last offset
//	8 bytes  clock, little-endian
//	8 bytes  boundary of the last Trim, little-endian
//	uvarint  length of the old part, 0 = there is none, and then not: its last 4
//	         bytes, the checksum
//	level    for each level of the view, the finest first: uvarint number of
//	         newer tiles; unless 0 the first index as a varint; then the tiles,
//	         sealed and open parts merged: uvarint distance to the index before
//	         (not for the first), uvarint length, body
//	uvarint  length of the base, 0 = none, and the base: uvarint events, the
//	         cells that lifetime features read
//	uvarint  number of pending events, each: varint event time, varint version,
//	         uvarint offset, uvarint length and row
//	uvarint  number of ids in the open part
//	4 bytes  CRC32C of all before, little-endian
//
// A body is a uvarint event count and the cells in the order of their canonical
// text. Old has the levels' old tiles (old.go), and is written only where they have
// become others:
//
//	level    for each level as above
//	4 bytes  CRC32C, little-endian
//
// Open is what Step needs beside it, one field per hour of event time:
//
//	uvarint  number of ids, each: uvarint length and id, varint version, varint
//	         event time, varint memory minus event time, uvarint offset,
//	         byte: 1 accepted, 2 open; when open uvarint length and row
//	uvarint  number of sealed tiles that also have open events, each: uvarint
//	         level, varint index, uvarint length, body
//	4 bytes  CRC32C, little-endian
//
// Equal states have equal bytes: which tiles are old, and which of those are still
// held, is part of a state and determined by its records. After Trim at one boundary
// it is determined by what is left. No other bytes parse, nor an old part that is not
// the one which the served part names.

// Parts is a state as written.
type Parts struct {
	Served []byte
	Old    []byte // empty = none
	Open   []Open // ascending by hour
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendCRC(dst []byte, from int) []byte {
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// Open is one field of the open part.
type Open struct {
	Hour int64 // event time / 1 h, floored
	Data []byte
}

// AppendServed appends the served part of the state.
func (v *View) AppendServed(dst []byte, s *State) []byte {
	v.settleTiles(s)
	s.sumOld()
	from := len(dst)
	dst = append(dst, StateFormat)
	dst = binary.AppendUvarint(dst, uint64(s.partition))
	dst = binary.AppendVarint(dst, s.last)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.clock))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.trimmed))
	if dst = binary.AppendUvarint(dst, uint64(s.old.size)); s.old.size > 0 {
		dst = binary.LittleEndian.AppendUint32(dst, s.old.sum)
	}
	for li := range v.levels {
		if open := v.openTiles(s, li); len(open) > 0 {
			dst = v.levels[li].appendMerged(dst, &s.levels[li], open)
		} else {
			dst = s.levels[li].appendTo(dst)
		}
	}
	dst = appendUvarintBytes(dst, s.base)
	dst = binary.AppendUvarint(dst, uint64(len(s.pending)))
	for i := range s.pending {
		dst = appendHeld(dst, &s.pending[i])
	}
	dst = binary.AppendUvarint(dst, uint64(s.ids.len()))
	return appendCRC(dst, from)
}

func appendHeld(dst []byte, h *held) []byte {
	dst = binary.AppendVarint(dst, int64(h.eventTime))
	dst = binary.AppendVarint(dst, h.version)
	dst = binary.AppendUvarint(dst, uint64(h.offset))
	dst = binary.AppendUvarint(dst, uint64(len(h.row)))
	return append(dst, h.row...)
}

// appendTo appends the newer tiles of a level without open events: its bytes as
// they are.
func (x *tileList) appendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(x.count-x.olds))
	switch {
	case x.count == 0:
		return dst
	case x.olds == 0:
		return append(binary.AppendVarint(dst, x.first), x.data[x.head:]...)
	}
	_, w := uvarint(x.data[x.oldEnd:])
	return append(binary.AppendVarint(dst, x.split), x.data[int(x.oldEnd)+w:]...)
}

// openTiles returns what the open events of the state make of the tiles of a
// level, ascending by index.
func (v *View) openTiles(s *State, li int) []*tile {
	if s.ids == nil || v.spec.Identity != ByVersion {
		return nil
	}
	l := &v.levels[li]
	e := v.scratch.Get().(*evaluation)
	defer v.scratch.Put(e)
	tiles := map[int64]*tile{}
	for _, m := range s.ids.opens {
		if !s.ids.isOpen(m) {
			continue
		}
		h := s.ids.openEvent(s.ids.slab.at(m.r))
		in := v.readHeld(s, &h, e.in)
		i := l.index(h.eventTime)
		if tiles[i] == nil {
			tiles[i] = l.newTile()
			tiles[i].index = i
		}
		l.add(tiles[i], in)
	}
	list := make([]*tile, 0, len(tiles))
	for _, t := range tiles {
		list = append(list, t)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].index < list[j].index })
	return list
}

// appendMerged appends the newer tiles of a level with its open events merged into
// them: old ones have none.
func (l *level) appendMerged(dst []byte, x *tileList, open []*tile) []byte {
	merged := tileList{data: make([]byte, 0, len(x.data)+64*len(open))}
	var enc []byte
	put := func(t *tile) {
		enc = l.appendTile(enc[:0], t)
		merged.append(t.index, enc)
	}
	for c := x.newer(); c.next(); {
		for len(open) > 0 && open[0].index < c.index {
			put(open[0])
			open = open[1:]
		}
		if len(open) == 0 || open[0].index > c.index {
			merged.append(c.index, x.data[c.from+c.dist:c.to])
			continue
		}
		t := l.newTile()
		l.mustParse(c.body, t)
		l.merge(open[0], t)
		put(open[0])
		open = open[1:]
	}
	for _, t := range open {
		put(t)
	}
	return merged.appendTo(dst)
}

// OpenHours returns the fields of the open part that the state has, ascending.
func (v *View) OpenHours(s *State) []int64 {
	if s.ids == nil {
		return nil
	}
	hours := map[int64]bool{}
	for _, h := range s.ids.hours {
		if h.n > 0 {
			hours[h.hour] = true
		}
	}
	for li := range v.levels {
		for _, t := range v.mixedTiles(s, li) {
			hours[v.hourOf(li, t.index)] = true
		}
	}
	list := make([]int64, 0, len(hours))
	for b := range hours {
		list = append(list, b)
	}
	slices.Sort(list)
	return list
}

func (v *View) hourOf(li int, index int64) int64 {
	return bucketOf(v.levels[li].start(index))
}

// TakeChanged returns the hours whose field of the open part may have changed
// since the last call, ascending, and takes note that they are written.
func (s *State) TakeChanged() []int64 {
	if s.ids == nil {
		return nil
	}
	return s.ids.takeChanged()
}

// AppendOpen appends the open part's field for that hour; nothing when the
// state has none.
func (v *View) AppendOpen(dst []byte, s *State, hour int64) []byte {
	if s.ids == nil {
		return dst
	}
	ids := s.ids.sorted(hour)
	var tiles []byte
	n := 0
	for li := range v.levels {
		for _, t := range v.mixedTiles(s, li) {
			if v.hourOf(li, t.index) != hour {
				continue
			}
			n++
			tiles = binary.AppendUvarint(tiles, uint64(li))
			tiles = binary.AppendVarint(tiles, t.index)
			tiles = appendUvarintBytes(tiles, t.body)
		}
	}
	if len(ids) == 0 && n == 0 {
		return dst
	}
	from := len(dst)
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, d := range ids {
		dst = s.ids.appendIdentity(dst, d)
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	return appendCRC(append(dst, tiles...), from)
}

func (x *identities) appendIdentity(dst []byte, d *identity) []byte {
	dst = appendUvarintBytes(dst, x.bytes(d.id))
	dst = binary.AppendVarint(dst, d.version)
	dst = binary.AppendVarint(dst, int64(d.eventTime))
	dst = binary.AppendVarint(dst, int64(d.memory-d.eventTime))
	dst = binary.AppendUvarint(dst, uint64(d.offset))
	var flags byte
	if d.accepted {
		flags |= 1
	}
	if !d.open {
		return append(dst, flags)
	}
	return appendUvarintBytes(append(dst, flags|2), x.bytes(d.row))
}

// mixedTiles returns the sealed part of the tiles that also have open events.
func (v *View) mixedTiles(s *State, li int) []slot {
	var mixed []slot
	v.levels[li].freeze(&s.levels[li])
	for _, t := range v.openTiles(s, li) {
		if x := &s.levels[li]; x.count > 0 && x.first <= t.index && t.index <= x.last {
			if at := x.find(t.index); at.index == t.index {
				mixed = append(mixed, at)
			}
		}
	}
	return mixed
}

// Encode returns the whole state, with every field of the open part.
func (v *View) Encode(s *State) Parts {
	p := Parts{Old: v.AppendOld(nil, s), Served: v.AppendServed(nil, s)}
	for _, h := range v.OpenHours(s) {
		p.Open = append(p.Open, Open{Hour: h, Data: v.AppendOpen(nil, s, h)})
	}
	return p
}

// Tiles returns the sealed tiles of the state that end at or before the closed
// boundary b of their level, the finest level first, ascending by start. Those that
// have left retention at the state's clock are passed over.
func (v *View) Tiles(s *State, b schemas.Micros) []Tile {
	v.settleTiles(s)
	most := int32(0)
	for li := range s.levels {
		most += s.levels[li].count
	}
	out := tilesOut{tiles: make([]Tile, 0, most)}
	for li := range v.levels {
		l := &v.levels[li]
		end, held := b.Floor(l.hop), l.index(s.clock.SubSat(l.retention))
		for c := s.levels[li].walk(); c.next() && l.start(c.index+1) <= end; {
			if c.index < held {
				continue
			}
			out.add(l, c.index, c.body)
		}
	}
	return out.tiles
}
