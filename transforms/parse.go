package transforms

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// Parse reads a state that Encode wrote. Bytes that Encode would not write give
// a *CorruptError. The state keeps nothing of the arguments.
func (v *View) Parse(p Parts) (*State, error) {
	s, olds, err := v.parse(p.Served, p.Old)
	if err != nil {
		return nil, err
	}
	for i, o := range p.Open {
		if i > 0 && p.Open[i-1].Hour >= o.Hour {
			return nil, corrupt("open", "hours are not ascending")
		}
		if err := v.parseOpen(s, o); err != nil {
			return nil, err
		}
	}
	if s.ids.len() != s.idCount {
		return nil, corrupt("open", "%d ids, the served part counts %d", s.ids.len(), s.idCount)
	}
	if s.ids != nil {
		if err := v.link(s); err != nil {
			return nil, err
		}
	}
	if err := v.join(s, olds); err != nil {
		return nil, err
	}
	if s.ids == nil || v.spec.Identity != ByVersion {
		return s, nil
	}
	if d := s.ids.nextOpen(math.MaxInt64); d != nil && v.isOld(s, d.eventTime) {
		return nil, corrupt("open", "an open event lies in an old tile")
	}
	if !bytes.Equal(v.AppendServed(nil, s), p.Served) {
		return nil, corrupt("open", "its events do not add up to the served tiles")
	}
	return s, nil
}

func corrupt(part, format string, a ...any) error {
	return &CorruptError{Part: part, Reason: fmt.Sprintf(format, a...)}
}

// checkCRC splits off the checksum.
func checkCRC(part string, b []byte) ([]byte, error) {
	n := len(b) - 4
	if n < 0 {
		return nil, corrupt(part, "%d bytes are too few", len(b))
	}
	if got, want := crc32.Checksum(b[:n], castagnoli), binary.LittleEndian.Uint32(b[n:]); got != want {
		return nil, corrupt(part, "checksum %08x, but the bytes give %08x", want, got)
	}
	return b[:n], nil
}

// ParseServed reads what reading needs, the served part and the old one: enough for
// Value, not for Step.
func (v *View) ParseServed(served, old []byte) (*State, error) {
	s, olds, err := v.parse(served, old)
	if err == nil {
		err = v.join(s, olds)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Stand returns where a state stands, by its served part alone: the offset of the
// last record that changed it, and its clock.
func (v *View) Stand(served []byte) (last int64, clock schemas.Micros, err error) {
	_, s, err := v.parseHeader(served)
	if err != nil {
		return 0, 0, err
	}
	return s.last, s.clock, nil
}

// parseHeader reads the served part up to its levels. r has what follows.
func (v *View) parseHeader(b []byte) (r *reader, s *State, err error) {
	if b, err = checkCRC("served", b); err != nil {
		return nil, nil, err
	}
	r = &reader{b: b}
	if f := r.byte(); f != StateFormat {
		return nil, nil, corrupt("served", "format %d, this build reads %d", f, StateFormat)
	}
	p := r.uvarint()
	last := r.varint()
	if p > math.MaxInt32 || last < -1 || len(r.b) < 16 {
		return nil, nil, corrupt("served", "header out of range")
	}
	s = v.NewState(int32(p))
	s.last = last
	s.clock = schemas.Micros(binary.LittleEndian.Uint64(r.b))
	s.trimmed = schemas.Micros(binary.LittleEndian.Uint64(r.b[8:]))
	r.b = r.b[16:]
	size := r.uvarint()
	if r.bad || size > math.MaxInt32 || size > 0 && len(r.b) < 4 {
		return nil, nil, corrupt("served", "header out of range")
	}
	if s.old.size = int32(size); size > 0 {
		s.old.sum, r.b = binary.LittleEndian.Uint32(r.b), r.b[4:]
	}
	return r, s, nil
}

// parse reads the served and the old part. The lists of tiles, newer and old, alias
// them until they are joined.
func (v *View) parse(served, old []byte) (s *State, olds []tileList, err error) {
	r, s, err := v.parseHeader(served)
	if err != nil {
		return nil, nil, err
	}
	for li := range v.levels {
		l, x := &v.levels[li], &s.levels[li]
		if err := l.parse("served", r, x); err != nil {
			return nil, nil, err
		}
		if x.count > 0 && l.start(x.first+1) <= s.clock.SubSat(l.retention) {
			return nil, nil, corrupt("served", "a tile of the %d µs level beyond its retention", int64(l.hop))
		}
	}
	if err := v.parseBase(r, s); err != nil {
		return nil, nil, err
	}
	if err := v.parsePending(r, s); err != nil {
		return nil, nil, err
	}
	ids := r.uvarint()
	s.idCount = int(ids & math.MaxInt32)
	if r.bad || ids > math.MaxInt32 || len(r.b) != 0 {
		return nil, nil, corrupt("served", "wrong length")
	}
	olds, err = v.parseOld(s, old)
	return s, olds, err
}

// parseOld reads the old part that the served part names.
func (v *View) parseOld(s *State, b []byte) ([]tileList, error) {
	if len(b) != int(s.old.size) {
		return nil, corrupt("old", "it has %d bytes, the served part was written with one of %d", len(b), s.old.size)
	}
	if len(b) == 0 {
		return nil, nil
	}
	body, err := checkCRC("old", b)
	if err != nil {
		return nil, err
	}
	if sum := binary.LittleEndian.Uint32(b[len(body):]); sum != s.old.sum {
		return nil, corrupt("old", "its checksum is %08x, the served part was written with one of %08x", sum, s.old.sum)
	}
	r, some := &reader{b: body}, false
	olds := make([]tileList, len(v.levels))
	for li := range v.levels {
		if err := v.levels[li].parse("old", r, &olds[li]); err != nil {
			return nil, err
		}
		some = some || olds[li].count > 0
	}
	if r.bad || len(r.b) != 0 || !some {
		return nil, corrupt("old", "wrong length")
	}
	return olds, nil
}

// join puts old tiles in front of the newer ones. The lists are then the state's own.
func (v *View) join(s *State, olds []tileList) error {
	for li := range v.levels {
		var old tileList
		if olds != nil {
			old = olds[li]
		}
		x := &s.levels[li]
		switch n := x.count; {
		case old.count == 0:
		case n == 0 || old.last >= x.first:
			return corrupt("old", "its tiles are not before those of the served part")
		case n < v.newest || n > 2*v.newest && v.spec.Identity != ByVersion:
			return corrupt("old", "the served part has %d tiles of the %d µs level beside it", n, int64(v.levels[li].hop))
		}
		x.join(&old)
	}
	return nil
}

// join puts old tiles in front. The list is then its own.
func (x *tileList) join(old *tileList) {
	var buf [binary.MaxVarintLen64]byte
	dist := buf[:0]
	if old.count > 0 {
		dist = binary.AppendUvarint(dist, uint64(x.first-old.last))
		x.olds, x.oldEnd, x.split = old.count, int32(len(old.data)), x.first
		x.first, x.count = old.first, x.count+old.count
	}
	data := make([]byte, 0, len(old.data)+len(dist)+len(x.data))
	x.data = append(append(append(data, old.data...), dist...), x.data...)
	shift := int32(len(old.data) + len(dist))
	for m := range x.at[:x.marks] {
		if x.at[m] += shift; x.at[m] == shift {
			x.at[m] = int32(len(old.data)) // the first of the newer ones starts at its distance
		}
	}
	x.marks += uint8(copy(x.at[x.marks:], old.at[:old.marks]))
}

func (l *level) parse(part string, r *reader, x *tileList) error {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	first := r.varint()
	lo, hi := l.index(schemas.Never), l.index(schemas.Forever)
	if r.bad || first < lo || first > hi || len(r.b) > math.MaxInt32 {
		return corrupt(part, "first tile out of range")
	}
	x.data, x.first, x.last, x.count = r.b, first, first, int32(n)
	t := l.newTile()
	for i := range n {
		at := len(x.data) - len(r.b)
		if i > 0 {
			d := r.uvarint()
			if d == 0 || d > uint64(hi-x.last) {
				return corrupt(part, "tiles are not ascending")
			}
			x.last += int64(d)
		}
		x.mark(at)
		t.reset(x.last)
		if body := r.bytes(); r.bad || !l.parseBody(body, t) {
			return corrupt(part, "tile %d of the %d µs level does not decode", i, int64(l.hop))
		}
	}
	x.data = x.data[:len(x.data)-len(r.b)]
	return nil
}

func (v *View) parseBase(r *reader, s *State) error {
	b := r.bytes()
	if len(b) == 0 {
		return nil
	}
	if v.spec.Table {
		return v.parseTableCell(b, s)
	}
	if !v.lifetime {
		return corrupt("served", "a base that the view has no use for")
	}
	l := &v.levels[len(v.levels)-1]
	if !l.parseBase(b, l.newTile()) {
		return corrupt("served", "the base does not decode")
	}
	s.base = slices.Clone(b)
	return nil
}

func (v *View) parsePending(r *reader, s *State) error {
	n := r.count(4)
	in := v.NewInput()
	for range n {
		h, err := v.parseHeld(r, in)
		if err != nil {
			return err
		}
		if k := len(s.pending); k > 0 && s.pending[k-1].offset >= h.offset || h.offset > s.last || h.eventTime <= s.clock {
			return corrupt("served", "a pending event out of place")
		}
		s.pending = append(s.pending, h)
	}
	return nil
}

func (v *View) parseHeld(r *reader, in *Input) (held, error) {
	var h held
	h.eventTime = schemas.Micros(r.varint())
	h.version = r.varint()
	off := r.uvarint()
	h.row = string(r.bytes())
	if r.bad || off > math.MaxInt64 || !v.parsePendingRow(h.row, in) {
		return h, corrupt("served", "a pending event does not decode")
	}
	h.offset = int64(off)
	return h, nil
}

func (v *View) parseOpen(s *State, o Open) error {
	b, err := checkCRC("open", o.Data)
	if err != nil {
		return err
	}
	if v.spec.Identity == Anonymous {
		return corrupt("open", "the view remembers no ids")
	}
	if s.ids == nil {
		s.ids = v.newIdentities()
	}
	r := &reader{b: b}
	var last []byte
	n, in := r.count(6), v.NewInput()
	for i := range n {
		p, id, row, err := v.parseIdentity(r, in)
		if err != nil {
			return err
		}
		if i > 0 && bytes.Compare(id, last) <= 0 || s.ids.find(id) != nil || bucketOf(p.eventTime) != o.Hour || p.offset > s.last {
			return corrupt("open", "an id out of place")
		}
		last = id
		d := s.ids.add(id)
		d.version, d.eventTime, d.memory, d.offset, d.accepted = p.version, p.eventTime, p.memory, p.offset, p.accepted
		s.ids.put(d, s.clock)
		if p.open {
			s.ids.opened(d, row)
		}
	}
	if err := v.parseMixed(r, s, o.Hour); err != nil {
		return err
	}
	if r.bad || len(r.b) != 0 {
		return corrupt("open", "wrong length")
	}
	return nil
}

// parseIdentity reads an id and what it stands for; id and row alias what is read.
func (v *View) parseIdentity(r *reader, in *Input) (d identity, id, row []byte, err error) {
	id = r.bytes()
	d.version = r.varint()
	d.eventTime = schemas.Micros(r.varint())
	more := r.varint()
	off, flags := r.uvarint(), r.byte()
	d.memory = d.eventTime.AddSat(schemas.Micros(more))
	d.offset, d.accepted, d.open = int64(off), flags&1 != 0, flags&2 != 0
	if r.bad || more < 0 || off > math.MaxInt64 || flags > 3 || flags == 2 || d.open && v.spec.Identity != ByVersion {
		return d, nil, nil, corrupt("open", "an id does not decode")
	}
	if d.open {
		if row = r.bytes(); r.bad || !v.parseRow(string(row), in) {
			return d, nil, nil, corrupt("open", "an open event does not decode")
		}
	}
	return d, id, row, nil
}

// parseMixed reads the sealed parts of tiles that also have open events, for
// link to put in the place of the merged ones.
func (v *View) parseMixed(r *reader, s *State, hour int64) error {
	before := sealedTile{level: -1}
	for range r.count(4) {
		li := r.uvarint()
		index := r.varint()
		body := r.bytes()
		if r.bad || li >= uint64(len(v.levels)) || v.hourOf(int(li), index) != hour || int(li) < before.level || int(li) == before.level && index <= before.index {
			return corrupt("open", "a sealed tile out of place")
		}
		before = sealedTile{level: int(li), index: index}
		if l := &v.levels[li]; !l.parseBody(body, l.newTile()) {
			return corrupt("open", "a sealed tile does not decode")
		}
		s.ids.sealed = append(s.ids.sealed, sealedTile{int(li), index, slices.Clone(body)})
	}
	return nil
}

// sealedTile is the sealed part of a tile that has open events too.
type sealedTile struct {
	level int
	index int64
	body  []byte
}

// link finishes a state whose open part was read too: tiles with open events get back
// their sealed part alone, pending events their ids.
func (v *View) link(s *State) error {
	sealed := s.ids.sealed
	s.ids.sealed = nil
	for li := range v.levels {
		open := v.openTiles(s, li)
		for _, t := range sealed {
			_, ok := slices.BinarySearchFunc(open, t.index, func(o *tile, i int64) int { return cmp.Compare(o.index, i) })
			if t.level == li && !ok {
				return corrupt("open", "a sealed tile without open events")
			}
		}
		if len(open) > 0 {
			v.unmerge(s, li, open, sealed)
		}
	}
	for _, m := range s.ids.opens {
		if i := s.pendingAt(m.offset); i >= 0 {
			return corrupt("open", "the event at offset %d is both open and pending", m.offset)
		}
	}
	byOffset := map[int64]*identity{}
	for _, m := range s.ids.ahead {
		byOffset[m.offset] = s.ids.slab.at(m.r)
	}
	for i := range s.pending {
		if s.pending[i].id = byOffset[s.pending[i].offset]; s.pending[i].id == nil {
			return corrupt("open", "the id of the pending event at offset %d is missing", s.pending[i].offset)
		}
	}
	s.ids.takeChanged()
	return nil
}

// unmerge replaces the merged tiles of a level that open events cover.
func (v *View) unmerge(s *State, li int, open []*tile, sealed []sealedTile) {
	parts := map[int64][]byte{}
	for _, t := range sealed {
		if t.level == li {
			parts[t.index] = appendUvarintBytes(nil, t.body)
		}
	}
	var fresh tileList
	x := &s.levels[li]
	for c := x.walk(); c.next(); {
		for len(open) > 0 && open[0].index < c.index {
			open = open[1:]
		}
		enc := parts[c.index]
		if len(open) == 0 || open[0].index != c.index {
			enc = x.data[c.from+c.dist : c.to]
		}
		if enc != nil {
			fresh.append(c.index, enc)
		}
	}
	*x = fresh
}
