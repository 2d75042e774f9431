package transforms

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/schemas"
)

// State is the fold of one (view, entity, source partition): everything that
// its records so far determine, and nothing else. Only View.Step, Accept, Trim,
// Join, TakeClosed and Restore change that. It is not safe for concurrent use, not
// even for reads alone: they rearrange what it keeps in memory.
type State struct {
	// What each event looks at comes first, in one line of the processor's cache.
	pending   []held         // ahead of the clock, ascending by offset
	levels    []tileList     // sealed tiles, as View.levels
	clock     schemas.Micros // log clock of the last record that changed it
	last      int64          // and that record's offset; -1 = none
	ids       *identities    // nil until an id is remembered
	trimmed   schemas.Micros // boundary of the last Trim, Never = none
	base      []byte         // what left the coarsest level, for lifetime, encoded; of a table its cell; empty = nothing
	idCount   int            // ids that the open part holds, as the served part says
	old       oldPart
	partition int32

	// strict holds events at the clock itself back as pending, so that Value may
	// be asked at the clock: for training only.
	strict bool
	// KeepEvicted makes tiles that leave the state be kept for Evicted.
	KeepEvicted bool
	evicted     *tilesOut // nil = none
}

// held is an event that is kept raw.
type held struct {
	eventTime schemas.Micros
	version   int64
	offset    int64
	row       string
	id        *identity // ByVersion and ByID: whose event it is; nil when the open part was not parsed
}

// Tile is a sealed tile in its canonical form.
type Tile struct {
	Hop    schemas.Micros
	Start  schemas.Micros
	Events int64
	Cells  string // canonical bytes, as in the online store
}

// NewState returns the state of an entity before its first record.
func (v *View) NewState(partition int32) *State {
	s := v.allocate()
	s.partition, s.last, s.clock, s.trimmed = partition, -1, schemas.Never, schemas.Never
	return s
}

// allocate returns a zero state whose levels, where they are few, lie beside
// it: a worker holds many states, and each miss of the cache counts.
func (v *View) allocate() *State {
	if n := len(v.levels); n <= 2 {
		x := &struct {
			State
			levels [2]tileList
		}{}
		x.State.levels = x.levels[:n:n]
		return &x.State
	}
	return &State{levels: make([]tileList, len(v.levels))}
}

// NewTrainingState returns a state of which Value may be asked at the clock
// itself, not only beyond it. Its encoding is not comparable with others.
func (v *View) NewTrainingState(partition int32) *State {
	s := v.NewState(partition)
	s.strict = true
	return s
}

// LastOffset returns the offset of the last record that changed the state, -1
// for none.
func (s *State) LastOffset() int64 { return s.last }

// Clock returns the log clock of the last record that changed the state.
func (s *State) Clock() schemas.Micros { return s.clock }

// Empty tells whether the state holds nothing: it then equals a missing one.
func (s *State) Empty() bool {
	for i := range s.levels {
		if s.levels[i].count > 0 {
			return false
		}
	}
	return len(s.base) == 0 && len(s.pending) == 0 && s.ids.len() == 0
}

// Evicted returns the tiles that left the state since the last call, in the
// order in which they left. It needs KeepEvicted.
func (s *State) Evicted() []Tile {
	if s.evicted == nil {
		return nil
	}
	t := s.evicted.tiles
	s.evicted = nil
	return t
}

// seal enters a raw event into the tiles of every level for good.
func (v *View) seal(s *State, in *Input) {
	for li := range v.levels {
		l := &v.levels[li]
		if !l.alike {
			in.work.alone = in.work.alone[:0]
		}
		x := &s.levels[li]
		l.enter(x, l.index(in.order.eventTime), &in.work.levels[li], in)
		if x.room < 0 {
			v.age(s, li)
		}
	}
}

// sealHeld seals an event that was kept raw.
func (v *View) sealHeld(s *State, h *held) {
	e := v.scratch.Get().(*evaluation)
	v.seal(s, v.readHeld(s, h, e.in))
	v.scratch.Put(e)
}

// readHeld reads the row of an event that is kept raw into in.
func (v *View) readHeld(s *State, h *held, in *Input) *Input {
	if !v.parseRow(h.row, in) {
		panic("transforms: a row in memory does not decode")
	}
	in.order.set(h.eventTime, h.version, s.partition, h.offset)
	return in
}

// drop removes the tiles of every level that end at or before clock - retention,
// but for old ones where no newer one does: old.go tells why.
func (v *View) drop(s *State, clock schemas.Micros) {
	for li := range v.levels {
		v.dropLevel(s, li, clock)
	}
}

// settleTiles makes the bytes of the sealed tiles what they are to be seen as.
func (v *View) settleTiles(s *State) {
	v.drop(s, s.clock)
	for li := range v.levels {
		v.levels[li].freeze(&s.levels[li])
	}
}

// dropLater is drop at the state's own clock, put off until a level needs the
// room: finding out what is overdue costs a look at memory far away. Whatever
// looks at a state's bytes, or counts its tiles, drops first, so that nobody sees
// what is overdue. The state gets a new tile or keeps one, so that its emptiness
// does not depend on it.
func (v *View) dropLater(s *State) {
	for li := range v.levels {
		if s.levels[li].tight() {
			v.dropLevel(s, li, s.clock)
		}
	}
}

func (v *View) dropLevel(s *State, li int, clock schemas.Micros) {
	l, x := &v.levels[li], &s.levels[li]
	kept := clock.SubSat(l.retention)
	if x.count == 0 || l.start(x.first+1) > kept { // a replay asks with each event: no division
		return
	}
	if end := l.index(kept); x.olds == 0 || x.split < end {
		v.dropTo(s, li, end)
	}
}

// dropAll is drop, old tiles included.
func (v *View) dropAll(s *State, clock schemas.Micros) {
	for li := range v.levels {
		l := &v.levels[li]
		v.dropTo(s, li, l.index(clock.SubSat(l.retention)))
	}
}

// dropTo removes the tiles of a level before index end.
func (v *View) dropTo(s *State, li int, end int64) {
	l, x := &v.levels[li], &s.levels[li]
	if x.count == 0 || x.first >= end {
		return
	}
	if s.KeepEvicted || v.lifetime && li == len(v.levels)-1 {
		l.dropBefore(x, end, func(index int64, body []byte) { v.evict(s, li, index, body) })
	} else {
		l.dropBefore(x, end, nil)
	}
}

// evict hands on a tile that is dropped.
func (v *View) evict(s *State, li int, index int64, body []byte) {
	if s.KeepEvicted {
		if s.evicted == nil {
			s.evicted = &tilesOut{tiles: make([]Tile, 0, 16)}
		}
		s.evicted.add(&v.levels[li], index, body)
	}
	if v.lifetime && li == len(v.levels)-1 {
		v.absorb(s, body)
	}
}

// tilesOut is tiles in their canonical form. Their cells lie many to a piece of memory: a
// replay has more tiles than anything else.
type tilesOut struct {
	tiles []Tile
	piece strings.Builder
}

const (
	leastPiece = 256     // bytes, of the first one
	mostPiece  = 4 << 10 // and of any, but for cells that are larger
)

// add takes an encoded tile of a level.
func (o *tilesOut) add(l *level, index int64, body []byte) {
	if c := o.piece.Cap(); o.piece.Len()+len(body) > c {
		o.piece.Reset()
		o.piece.Grow(max(min(max(2*c, leastPiece), mostPiece), len(body)))
	}
	at := o.piece.Len()
	o.piece.Write(body)
	n, _ := uvarint(body)
	o.tiles = append(o.tiles, Tile{Hop: l.hop, Start: l.start(index), Events: int64(n), Cells: o.piece.String()[at:]})
}

// absorb merges a tile of the coarsest level into the base.
func (v *View) absorb(s *State, body []byte) {
	l := &v.levels[len(v.levels)-1]
	t, base := l.newTile(), l.newTile()
	l.mustParse(body, t)
	if len(s.base) > 0 && !l.parseBase(s.base, base) {
		panic("transforms: a base in memory does not decode")
	}
	l.merge(base, t)
	s.base = l.appendBase(nil, base)
}

// A base is a uvarint event count and the cells that lifetime features read.

func (l *level) appendBase(dst []byte, base *tile) []byte {
	dst = binary.AppendUvarint(dst, uint64(base.events))
	for _, i := range l.base {
		dst = l.cells[i].agg.append(dst, &base.cells[i])
	}
	return dst
}

func (l *level) parseBase(b []byte, base *tile) bool {
	n, w := uvarint(b)
	if n == 0 || n > 1<<62 {
		return false
	}
	base.events, b = int64(n), b[w:]
	for _, i := range l.base {
		w := l.cells[i].agg.parse(b, &base.cells[i])
		if w == 0 {
			return false
		}
		b = b[w:]
	}
	return len(b) == 0
}

// takePending removes the pending event at that offset.
func (s *State) takePending(offset int64) {
	if i := s.pendingAt(offset); i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
}

// pendingAt returns the index of the pending event at that offset, -1 for none.
func (s *State) pendingAt(offset int64) int {
	return slices.IndexFunc(s.pending, func(h held) bool { return h.offset == offset })
}
