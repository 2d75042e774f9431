package transforms

import (
	"encoding/binary"
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// tile is what one entity did in one interval of a level: how many events, and
// one partial aggregate per cell of the level. Decoded tiles are working memory;
// text in them aliases what they were read from.
type tile struct {
	index  int64 // start / hop
	events int64
	cells  []cell
}

func (l *level) newTile() *tile { return &tile{cells: make([]cell, len(l.cells))} }

// index returns the index of the tile that t lies in.
func (l *level) index(t schemas.Micros) int64 {
	q := t / l.hop
	if q*l.hop > t { // one division: it is the dearest step here
		q--
	}
	return int64(q)
}

// start returns where the tile of that index begins.
func (l *level) start(index int64) schemas.Micros { return startOf(index, l.hop) }

func (t *tile) reset(index int64) {
	t.index, t.events = index, 0
	for i := range t.cells {
		t.cells[i].reset()
	}
}

// recent is how many of a level's newest tiles are found without a walk. Events
// come roughly in order of event time, so nearly all of them land there.
const recent = 14

// tileList holds the sealed tiles of one level, ascending and encoded as a flush
// writes them: data[head:], then tail[:tailEnd]. That is, per tile, an unsigned
// varint of the distance to the index before (not written for the first), an
// unsigned varint length, and the body. A state costs its bytes and little more,
// and a flush copies them, but for the old ones: old.go tells.
//
// New tiles go to the tail, and the last one is kept decoded (hot) once it gets a
// second event, so that an event finds all it needs in one place and waits for
// memory once. Who reads data calls level.freeze first.
type tileList struct {
	data  []byte
	first int64 // index of the first tile
	last  int64 // index of the last tile
	count int32
	head  int32
	hot   *tile
	stale bool  // what hot holds is written nowhere else yet
	marks uint8 // of at
	// tailed is the number of tiles in tail; the length of the last one's body
	// stands at tailLast.
	tailed, tailLast, tailEnd uint8
	tail                      [tailRoom]byte
	moved                     bool // the old tiles are others than State.old knows of
	knownNone                 bool // State.old knows that there are no old tiles
	room                      int8 // how many tiles may come before it is time to age, at least
	// olds is how many tiles are old. Unless that is 0, the first of the newer ones
	// has the index split and starts at oldEnd. (These are looked at rarely.)
	olds, oldEnd int32
	split        int64
	// at[:marks] is where the newest tiles in data start, the newest first.
	at   [recent]int32
	runs *runList // nil until a long window was read
}

// tailRoom is the size of a tail, in bytes: four tiles of a sum and a maximum.
const tailRoom = 96

// slot is a place in a tileList: that of a tile, or one between tiles.
type slot struct {
	index  int64 // of the tile there
	before int64 // index of the tile before, when there is one
	from   int   // where the tile starts, at its distance
	dist   int   // length of its distance
	body   []byte
	to     int // where it ends
}

// slotAt reads the tile that starts at from and has that index.
func (x *tileList) slotAt(from int, index int64) slot {
	s := slot{index: index, before: index, from: from}
	if from > int(x.head) {
		d, w := uvarint(x.data[from:])
		s.before, s.dist = index-int64(d), w
	}
	body, n := tileBody(x.data[from+s.dist:])
	s.body, s.to = body, from+s.dist+n
	return s
}

// find returns the first tile at or after index, which is at most x.last.
func (x *tileList) find(index int64) slot {
	s := x.slotAt(int(x.at[0]), x.last)
	for m := 1; s.index > index; m++ {
		if s.from == int(x.head) || s.before < index {
			return s
		}
		if m == int(x.marks) {
			break
		}
		s = x.slotAt(int(x.at[m]), s.before)
	}
	if s.index == index {
		return s
	}
	c := x.walk()
	for c.next() && c.index < index {
	}
	return c.slot
}

// append writes the encoding (length and body) of a tile beyond the last to data;
// the tail is empty.
func (x *tileList) append(index int64, enc []byte) {
	x.mark(len(x.data))
	if x.count == 0 {
		x.first = index
	} else {
		x.data = binary.AppendUvarint(x.data, uint64(index-x.last))
	}
	x.data = append(x.data, enc...)
	x.last = index
	x.count++
}

// mark notes that the newest tile in data starts there.
func (x *tileList) mark(at int) {
	copy(x.at[1:], x.at[:recent-1])
	x.at[0] = int32(at)
	x.marks = min(x.marks+1, recent)
}

// replace puts b in the place of data[from:to] and moves the marks behind it.
func (x *tileList) replace(from, to int, b []byte) {
	if grow := len(b) - (to - from); grow == 0 {
		copy(x.data[from:], b)
		return
	} else {
		if to <= int(x.oldEnd) {
			x.oldEnd += int32(grow)
		}
		for m := range x.at[:x.marks] {
			if int(x.at[m]) >= to {
				x.at[m] += int32(grow)
			}
		}
	}
	x.data = slices.Replace(x.data, from, to, b...)
}

// insert puts a new tile in front of the one at s.
func (x *tileList) insert(s slot, index int64, enc []byte) {
	var buf [2 * binary.MaxVarintLen64]byte
	b := buf[:0]
	if s.from > int(x.head) {
		b = binary.AppendUvarint(b, uint64(index-s.before))
	} else {
		x.first = index
	}
	b = append(b, enc...)
	n := len(b)
	b = binary.AppendUvarint(b, uint64(s.index-index))
	m := slices.Index(x.at[:x.marks], int32(s.from))
	x.replace(s.from, s.from+s.dist, b)
	x.count++
	x.room--
	if x.olds > 0 && index < x.split {
		if x.olds++; s.index == x.split {
			x.oldEnd = int32(s.from + n)
		}
	}
	if m >= 0 { // the new tile is marked too; the one behind it starts later
		x.marks = min(x.marks+1, recent)
		copy(x.at[m+1:], x.at[m:])
		if x.at[m] = int32(s.from + n); m+1 < recent {
			x.at[m+1] = int32(s.from)
		}
	}
}

// dropBefore removes the tiles before index end and hands each to dropped, if
// there is one.
func (l *level) dropBefore(x *tileList, end int64, dropped func(index int64, body []byte)) {
	at, index, n := int(x.head), x.first, x.count
	start := at
	for n > 0 && index < end {
		if n == 1 || at == len(x.data) {
			l.freeze(x)
		}
		body, w := tileBody(x.data[at:])
		if dropped != nil {
			dropped(index, body)
		}
		at += w
		if n--; n == 0 {
			break
		}
		if at == len(x.data) {
			l.freeze(x)
		}
		d, w := uvarint(x.data[at:])
		start = at
		index += int64(d)
		at += w
	}
	if x.olds > 0 {
		x.olds, x.moved = max(0, x.olds-(x.count-n)), true
	}
	if x.count = n; n == 0 {
		x.clear()
		return
	}
	x.first, x.head = index, int32(at)
	if x.marks = uint8(min(int32(x.marks), n-int32(x.tailed))); x.marks > 0 && int(x.at[x.marks-1]) == start {
		x.at[x.marks-1] = x.head
	}
	if x.head > 64 && int(x.head) > len(x.data)/8 {
		x.compact()
	}
}

// nearSpill tells whether the next new tile goes to data: the tail is nearly full
// or not in use.
func (x *tileList) nearSpill() bool { return x.tailed == 0 || x.tailEnd > tailRoom*3/4 }

// tight tells whether data is about to grow.
func (x *tileList) tight() bool { return x.nearSpill() && len(x.data)+tailRoom > cap(x.data) }

func (x *tileList) clear() {
	x.data, x.head, x.marks, x.hot, x.runs, x.olds = x.data[:0], 0, 0, nil, nil, 0
}

// compact gives back the room of dropped tiles.
func (x *tileList) compact() {
	x.data = x.data[:copy(x.data, x.data[x.head:])]
	for m := range x.at[:x.marks] {
		x.at[m] -= x.head
	}
	if x.runs != nil {
		x.runs.moved += int(x.head)
	}
	x.oldEnd -= x.head
	x.head = 0
}

// walker steps through the tiles, the oldest first.
type walker struct {
	slot
	x    *tileList
	left int32
}

func (x *tileList) walk() walker {
	return walker{x: x, left: x.count, slot: slot{index: x.first, to: int(x.head)}}
}

// newer returns a walker over the tiles that are not old.
func (x *tileList) newer() walker {
	if x.olds == 0 {
		return x.walk()
	}
	d, _ := uvarint(x.data[x.oldEnd:])
	return walker{x: x, left: x.count - x.olds, slot: slot{index: x.split - int64(d), to: int(x.oldEnd)}}
}

// walkFrom returns a walker that stands at the first tile at or after index;
// false when there is none. Where that is one of the newest, the others are not
// walked over.
func (x *tileList) walkFrom(index int64) (walker, bool) {
	if x.count == 0 || index > x.last {
		return walker{x: x}, false
	}
	at := x.last
	for m, from := range x.at[:x.marks] {
		if from == x.head {
			break
		}
		d, _ := uvarint(x.data[from:])
		if at -= int64(d); at < index {
			c := walker{x: x, left: int32(m) + 1, slot: slot{index: at, to: int(from)}}
			return c, c.next()
		}
	}
	c := x.walk()
	return c, c.seek(index)
}

func (c *walker) next() bool {
	if c.left == 0 {
		return false
	}
	b, at := c.x.data, c.to
	c.from, c.dist, c.before = at, 0, c.index
	if c.left != c.x.count {
		d, w := uvarint(b[at:])
		c.index += int64(d)
		c.dist = w
		at += w
	}
	c.left--
	size, w := uvarint(b[at:])
	at += w
	c.to = at + int(size)
	c.body = b[at:c.to]
	return true
}

// seek steps to the first tile at or after index, false when there is none. It
// is next without what nobody asks of the tiles passed over.
func (c *walker) seek(index int64) bool {
	b, at, i := c.x.data, c.to, c.index
	for n := c.left; n > 0; n-- {
		from := at
		if n != c.x.count {
			d, w := uvarint(b[at:])
			at += w
			i += int64(d)
		}
		if i >= index {
			c.left, c.to = n, from
			return c.next()
		}
		c.index = i
		size, w := uvarint(b[at:])
		at += w + int(size)
	}
	c.left = 0
	return false
}

// tileBody returns the body that b begins with and its length with the prefix;
// n is 0 when b is too short.
func tileBody(b []byte) (body []byte, n int) {
	size, w := uvarint(b)
	if w == 0 || size > uint64(len(b)-w) {
		return nil, 0
	}
	return b[w : w+int(size)], w + int(size)
}

// appendTile appends a tile's length and body.
func (l *level) appendTile(dst []byte, t *tile) []byte {
	at := len(dst)
	dst = append(dst, 0)
	dst = l.appendBody(dst, t)
	n := len(dst) - at - 1
	if n < 0x80 {
		dst[at] = byte(n)
		return dst
	}
	var buf [binary.MaxVarintLen64]byte
	w := binary.PutUvarint(buf[:], uint64(n))
	return slices.Replace(dst, at, at+1, buf[:w]...)
}

// appendBody appends the canonical bytes of a tile: its event count and cells.
func (l *level) appendBody(dst []byte, t *tile) []byte {
	dst = binary.AppendUvarint(dst, uint64(t.events))
	for i := range l.cells {
		dst = l.cells[i].agg.append(dst, &t.cells[i])
	}
	return dst
}

// parseBody reads a body into an empty tile; false when it is not canonical.
func (l *level) parseBody(b []byte, t *tile) bool {
	n, w := uvarint(b)
	if w == 0 || n == 0 || n > 1<<62 {
		return false
	}
	t.events, b = int64(n), b[w:]
	for i := range l.cells {
		w := l.cells[i].agg.parse(b, &t.cells[i])
		if w == 0 {
			return false
		}
		b = b[w:]
	}
	return len(b) == 0
}

// mustParse decodes bytes that this process encoded or has already checked.
func (l *level) mustParse(b []byte, t *tile) {
	if !l.parseBody(b, t) {
		panic("transforms: a tile in memory does not decode")
	}
}

// add adds an event to the tile.
func (l *level) add(t *tile, in *Input) {
	t.events++
	for i := range l.cells {
		l.cells[i].addInput(&t.cells[i], in)
	}
}

func (s *cellSpec) addInput(c *cell, in *Input) {
	if s.filter >= 0 && !in.filters[s.filter] {
		return
	}
	switch {
	case s.input < 0:
		s.agg.add(c, schemas.Value{}, &in.order)
	case in.values[s.input].IsNull():
	case s.by < 0:
		s.agg.add(c, in.values[s.input], &in.order)
	case !in.values[s.by].IsNull():
		in.order.by = in.values[s.by]
		s.agg.add(c, in.values[s.input], &in.order)
		in.order.by = schemas.Value{}
	}
}

// merge adds tile d to t.
func (l *level) merge(t, d *tile) {
	t.events += d.events
	for i := range l.cells {
		l.cells[i].agg.merge(&t.cells[i], &d.cells[i])
	}
}
