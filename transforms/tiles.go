package transforms

import (
	"encoding/binary"
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// tile is what one entity did in one interval of a level: how many events, and
// one partial aggregate per cell of the level.
type tile struct {
	index  int64 // start / hop
	events int64
	cells  []cell
}

func (t *tile) reset(index int64) {
	t.index, t.events = index, 0
	for i := range t.cells {
		t.cells[i].reset()
	}
}

// tailSize is how many of a level's newest tiles are kept decoded. Events come
// roughly in order of event time, so nearly all of them land there.
const tailSize = 2

// tileList holds the sealed tiles of one level in ascending order: an encoded,
// frozen prefix, and a short decoded tail whose indexes are all greater. A
// flush copies the prefix as it is.
//
// frozen[head:] is, per tile, an unsigned varint of the distance to the index
// before (not written for the first), an unsigned varint length, and the body.
type tileList struct {
	frozen []byte
	head   int
	first  int64 // index of the first frozen tile
	last   int64 // index of the last frozen tile
	count  int   // frozen tiles
	// Where the last frozen tile starts in frozen (at its distance), and the
	// index before it: known after a freeze or a parse; -1 = not known.
	lastAt int
	before int64
	tail   []tile
	spare  []tile // for reuse: tiles that were frozen
}

func (l *level) newTile() *tile { return &tile{cells: make([]cell, len(l.cells))} }

// len returns the number of tiles.
func (x *tileList) len() int { return x.count + len(x.tail) }

// firstIndex returns the least index; meaningless when len is 0.
func (x *tileList) firstIndex() int64 {
	if x.count > 0 {
		return x.first
	}
	return x.tail[0].index
}

// with calls fn with the decoded tile of that index, which is made when there
// is none.
func (l *level) with(x *tileList, index int64, fn func(*tile)) {
	if x.count > 0 && index <= x.last {
		if index < x.last || x.lastAt < 0 {
			l.splice(x, index, fn)
			return
		}
		l.thaw(x)
	}
	at := len(x.tail)
	for at > 0 && x.tail[at-1].index > index {
		at--
	}
	if at == 0 || x.tail[at-1].index != index {
		x.tail = slices.Insert(x.tail, at, l.take(x, index))
		at++
	}
	fn(&x.tail[at-1])
	for len(x.tail) > tailSize {
		l.freeze(x)
	}
}

// take returns an empty tile, reused where possible.
func (l *level) take(x *tileList, index int64) tile {
	var t tile
	if n := len(x.spare); n > 0 {
		t, x.spare = x.spare[n-1], x.spare[:n-1]
	} else {
		t.cells = make([]cell, len(l.cells))
	}
	t.reset(index)
	return t
}

// freeze encodes the oldest tile of the tail into the frozen prefix.
func (l *level) freeze(x *tileList) {
	t := x.tail[0]
	l.freezeTile(x, &t)
	copy(x.tail, x.tail[1:])
	x.tail = x.tail[:len(x.tail)-1]
	x.spare = append(x.spare, t)
}

func (l *level) freezeTile(x *tileList, t *tile) {
	if x.count == 0 {
		x.frozen, x.head = x.frozen[:0], 0
		x.first = t.index
		x.lastAt, x.before = 0, t.index
	} else {
		x.lastAt, x.before = len(x.frozen), x.last
		x.frozen = binary.AppendUvarint(x.frozen, uint64(t.index-x.last))
	}
	x.frozen = l.appendTile(x.frozen, t)
	x.last = t.index
	x.count++
}

// thaw moves the last frozen tile to the front of the tail, which may then be
// longer than tailSize.
func (l *level) thaw(x *tileList) {
	t := l.take(x, x.last)
	at := x.lastAt
	if x.count > 1 {
		_, n := uvarint(x.frozen[at:])
		at += n
	}
	body, _ := tileBody(x.frozen[at:])
	l.mustParse(body, &t)
	x.frozen = x.frozen[:x.lastAt]
	x.last, x.lastAt = x.before, -1
	x.count--
	x.tail = slices.Insert(x.tail, 0, t)
}

// splice changes or makes a tile within the frozen prefix.
func (l *level) splice(x *tileList, index int64, fn func(*tile)) {
	t := l.take(x, index)
	c := x.walk()
	for c.next() && c.index < index {
	}
	// c stands at the first tile at or after index; there is one.
	from, to := c.from, c.from
	if c.index == index {
		l.mustParse(c.body, &t)
		to = c.to
	}
	fn(&t)
	var buf [256]byte
	repl := buf[:0]
	if from > x.head {
		repl = binary.AppendUvarint(repl, uint64(index-c.before))
	}
	repl = l.appendTile(repl, &t)
	if c.index > index { // a new tile: the distance of the one behind it changes
		repl = binary.AppendUvarint(repl, uint64(c.index-index))
		if to += c.distLen; from == x.head {
			x.first = index
		}
		x.count++
	}
	x.frozen = slices.Replace(x.frozen, from, to, repl...)
	x.lastAt = -1
	x.spare = append(x.spare, t)
}

// dropFirst removes the oldest tile. fn, if not nil, is given it decoded before.
func (l *level) dropFirst(x *tileList, fn func(*tile)) {
	if x.count == 0 {
		t := x.tail[0]
		if fn != nil {
			fn(&t)
		}
		copy(x.tail, x.tail[1:])
		x.tail = x.tail[:len(x.tail)-1]
		x.spare = append(x.spare, t)
		return
	}
	body, n := tileBody(x.frozen[x.head:])
	if fn != nil {
		t := l.take(x, x.first)
		l.mustParse(body, &t)
		fn(&t)
		x.spare = append(x.spare, t)
	}
	x.head += n
	if x.count--; x.count == 0 {
		x.frozen, x.head, x.lastAt = x.frozen[:0], 0, -1
		return
	}
	d, w := uvarint(x.frozen[x.head:])
	if x.lastAt == x.head {
		x.lastAt += w // its distance is not kept any more: it is the first
	}
	x.head += w
	x.first += int64(d)
	if x.head > 64 && x.head > len(x.frozen)/2 {
		x.compact()
	}
}

// compact gives back the room of dropped tiles.
func (x *tileList) compact() {
	n := copy(x.frozen, x.frozen[x.head:])
	x.frozen = x.frozen[:n]
	if x.lastAt >= 0 {
		x.lastAt -= x.head
	}
	x.head = 0
}

// walker steps through the frozen tiles.
type walker struct {
	b       []byte
	at      int // where the next tile starts
	left    int
	started bool
	// The current tile: its index, the one before, its body, the range of its
	// bytes (distance included) and the length of its distance.
	index, before int64
	body          []byte
	from, to      int
	distLen       int
}

func (x *tileList) walk() walker {
	return walker{b: x.frozen, at: x.head, left: x.count, index: x.first}
}

func (c *walker) next() bool {
	if c.left == 0 {
		return false
	}
	c.left--
	c.from, c.before, c.distLen = c.at, c.index, 0
	at := c.at
	if c.started {
		d, w := uvarint(c.b[at:])
		c.index += int64(d)
		c.distLen = w
		at += w
	}
	c.started = true
	var n int
	c.body, n = tileBody(c.b[at:])
	c.at = at + n
	c.to = c.at
	return true
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
	if s.input < 0 {
		s.agg.add(c, schemas.Value{}, &in.order)
	} else if x := in.values[s.input]; !x.IsNull() {
		s.agg.add(c, x, &in.order)
	}
}

// merge adds tile d to t.
func (l *level) merge(t, d *tile) {
	t.events += d.events
	for i := range l.cells {
		l.cells[i].agg.merge(&t.cells[i], &d.cells[i])
	}
}
