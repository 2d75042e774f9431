package transforms

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// Parse reads a state that Encode wrote. Bytes that Encode would not write give
// a *CorruptError. The state keeps nothing of the arguments.
func (v *View) Parse(served []byte, open []Open) (*State, error) {
	s, err := v.ParseServed(served)
	if err != nil {
		return nil, err
	}
	for i, o := range open {
		if i > 0 && open[i-1].Hour >= o.Hour {
			return nil, corrupt("open", "hours are not ascending")
		}
		if err := v.parseOpen(s, o); err != nil {
			return nil, err
		}
	}
	if s.ids.len() != s.idCount {
		return nil, corrupt("open", "%d ids, the served part counts %d", s.ids.len(), s.idCount)
	}
	if s.ids == nil {
		return s, nil
	}
	if err := v.link(s); err != nil {
		return nil, err
	}
	if v.spec.Identity == ByVersion && !bytes.Equal(v.AppendServed(nil, s), served) {
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

// ParseServed reads the served part alone: enough for Value, not for Step.
func (v *View) ParseServed(b []byte) (*State, error) {
	b, err := checkCRC("served", b)
	if err != nil {
		return nil, err
	}
	r := &reader{b: b}
	if f := r.byte(); f != StateFormat {
		return nil, corrupt("served", "format %d, this build reads %d", f, StateFormat)
	}
	p := r.uvarint()
	last := r.varint()
	if p > math.MaxInt32 || last < -1 || len(r.b) < 16 {
		return nil, corrupt("served", "header out of range")
	}
	s := v.NewState(int32(p))
	s.last = last
	s.clock = schemas.Micros(binary.LittleEndian.Uint64(r.b))
	s.trimmed = schemas.Micros(binary.LittleEndian.Uint64(r.b[8:]))
	r.b = r.b[16:]
	for li := range v.levels {
		if err := v.levels[li].parse(r, &s.levels[li]); err != nil {
			return nil, err
		}
	}
	if err := v.parseBase(r, s); err != nil {
		return nil, err
	}
	if err := v.parsePending(r, s); err != nil {
		return nil, err
	}
	s.idCount = int(r.uvarint() & math.MaxInt32)
	if r.bad || len(r.b) != 0 {
		return nil, corrupt("served", "wrong length")
	}
	return s, nil
}

func (l *level) parse(r *reader, x *tileList) error {
	n := r.count(2)
	x.lastAt = -1
	if n == 0 {
		return nil
	}
	first := r.varint()
	lo, hi := int64(schemas.Never/l.hop), int64(schemas.Forever/l.hop)
	if r.bad || first < lo || first >= hi {
		return corrupt("served", "first tile out of range")
	}
	start := len(r.b)
	all := r.b
	x.first, x.last, x.count = first, first, n
	t := l.newTile()
	for i := range n {
		at := start - len(r.b)
		if i > 0 {
			x.before = x.last
			d := r.uvarint()
			if d == 0 || d > uint64(hi-x.last) {
				return corrupt("served", "tiles are not ascending")
			}
			x.last += int64(d)
		}
		x.lastAt = at
		t.reset(x.last)
		if body := r.bytes(); r.bad || !l.parseBody(body, t) {
			return corrupt("served", "tile %d of the %d µs level does not decode", i, int64(l.hop))
		}
	}
	x.frozen = slices.Clone(all[:start-len(r.b)])
	return nil
}

func (v *View) parseBase(r *reader, s *State) error {
	switch r.byte() {
	case 0:
		return nil
	case 1:
	default:
		return corrupt("served", "base flag out of range")
	}
	n := r.uvarint()
	if !v.lifetime || n == 0 || n > 1<<62 {
		return corrupt("served", "a base that the view has no use for")
	}
	l := &v.levels[len(v.levels)-1]
	s.base = l.newTile()
	s.base.events = int64(n)
	for _, i := range l.base {
		w := l.cells[i].agg.parse(r.b, &s.base.cells[i])
		if w == 0 {
			return corrupt("served", "the base does not decode")
		}
		r.b = r.b[w:]
	}
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
	if r.bad || off > math.MaxInt64 || !v.parseRow(h.row, in) {
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
		s.ids = newIdentities()
	}
	r := &reader{b: b}
	n, in, last := r.count(6), v.NewInput(), ""
	for i := range n {
		d, err := v.parseIdentity(r, in)
		if err != nil {
			return err
		}
		if i > 0 && d.id <= last || s.ids.byID[d.id] != nil || bucketOf(d.eventTime) != o.Hour || d.offset > s.last {
			return corrupt("open", "an id out of place")
		}
		last = d.id
		s.ids.put(d, s.clock)
		if d.open {
			s.ids.opened(d, d.row)
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

func (v *View) parseIdentity(r *reader, in *Input) (*identity, error) {
	d := &identity{id: string(r.bytes())}
	d.version = r.varint()
	d.eventTime = schemas.Micros(r.varint())
	more := r.varint()
	off, flags := r.uvarint(), r.byte()
	d.memory = d.eventTime.AddSat(schemas.Micros(more))
	d.offset, d.accepted, d.open = int64(off), flags&1 != 0, flags&2 != 0
	if r.bad || more < 0 || off > math.MaxInt64 || flags > 3 || flags == 2 || d.open && v.spec.Identity != ByVersion {
		return nil, corrupt("open", "an id does not decode")
	}
	if d.open {
		if d.row = string(r.bytes()); r.bad || !v.parseRow(d.row, in) {
			return nil, corrupt("open", "an open event does not decode")
		}
	}
	return d, nil
}

// parseMixed reads the sealed parts of tiles that also have open events, for
// link to put in the place of the merged ones.
func (v *View) parseMixed(r *reader, s *State, hour int64) error {
	for range r.count(4) {
		li := r.uvarint()
		index := r.varint()
		body := r.bytes()
		if r.bad || li >= uint64(len(v.levels)) || v.hourOf(int(li), index) != hour {
			return corrupt("open", "a sealed tile out of place")
		}
		l := &v.levels[li]
		t := l.newTile()
		if t.index = index; !l.parseBody(body, t) {
			return corrupt("open", "a sealed tile does not decode")
		}
		s.ids.sealed = append(s.ids.sealed, sealedTile{int(li), t})
	}
	return nil
}

// sealedTile is the sealed part of a tile that has open events too.
type sealedTile struct {
	level int
	tile  *tile
}

// link finishes a state read from both parts: tiles with open events get back
// their sealed part alone, pending events their ids.
func (v *View) link(s *State) error {
	sealed := s.ids.sealed
	s.ids.sealed = nil
	for li := range v.levels {
		if open := v.openTiles(s, li); len(open) > 0 {
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
		byOffset[m.offset] = m.d
	}
	for i := range s.pending {
		if s.pending[i].id = byOffset[s.pending[i].offset]; s.pending[i].id == nil {
			return corrupt("open", "the id of the pending event at offset %d is missing", s.pending[i].offset)
		}
	}
	clear(s.ids.dirty)
	return nil
}

// unmerge replaces the merged tiles of a level that open events cover.
func (v *View) unmerge(s *State, li int, open []*tile, sealed []sealedTile) {
	l := &v.levels[li]
	parts := map[int64]*tile{}
	for _, t := range sealed {
		if t.level == li {
			parts[t.tile.index] = t.tile
		}
	}
	old := s.levels[li]
	var fresh tileList
	fresh.lastAt = -1
	l.eachSealed(&old, func(index int64, body []byte, _ *tile) {
		for len(open) > 0 && open[0].index < index {
			open = open[1:]
		}
		t := parts[index]
		if len(open) == 0 || open[0].index != index {
			t = l.newTile()
			t.index = index
			l.mustParse(body, t)
		}
		if t != nil {
			l.freezeTile(&fresh, t)
		}
	})
	s.levels[li] = fresh
}
