package transforms

import "encoding/binary"

// workspace is the working memory of one goroutine.
type workspace struct {
	levels []levelSpace
	enc    []byte
	alone  []byte // the tile of an event alone, encoded; empty = not made yet
}

// levelSpace is a tile to work in, and decoded tiles that states have given back.
type levelSpace struct {
	tile *tile
	free []*tile
}

func (v *View) newWorkspace() *workspace {
	w := &workspace{levels: make([]levelSpace, len(v.levels))}
	for li := range v.levels {
		w.levels[li].tile = v.levels[li].newTile()
	}
	return w
}

// maxFree bounds the decoded tiles that wait for their next state.
const maxFree = 1024

// enter adds an event to the tile of that index, which is made when there is
// none. w is working memory.
func (l *level) enter(x *tileList, index int64, w *levelSpace, in *Input) {
	switch {
	case x.count == 0 || index > x.last:
		l.cool(x, w, in)
		l.push(x, index, l.alone(w.tile, in), in.work)
	case index == x.last && !l.text: // text in a decoded tile may alias what it was read from
		if x.hot == nil {
			l.heat(x, w)
		}
		l.add(x.hot, in)
		x.stale = true
	default:
		l.enterOld(x, index, w.tile, in)
	}
}

// enterOld is enter for a tile that is not kept decoded.
func (l *level) enterOld(x *tileList, index int64, t *tile, in *Input) {
	l.freeze(x)
	l.change(x, index)
	if x.olds > 0 && index < x.split {
		x.moved = true
	}
	t.reset(index)
	s := x.find(index)
	if s.index != index {
		l.add(t, in)
		in.work.enc = l.appendTile(in.work.enc[:0], t)
		x.insert(s, index, in.work.enc)
		return
	}
	l.mustParse(s.body, t)
	l.add(t, in)
	in.work.enc = l.appendTile(in.work.enc[:0], t)
	x.replace(s.from+s.dist, s.to, in.work.enc)
}

// alone returns the encoding of a tile that holds this event only, which levels
// with the same cells share.
func (l *level) alone(t *tile, in *Input) []byte {
	if w := in.work; len(w.alone) == 0 {
		t.reset(0)
		l.add(t, in)
		w.alone = l.appendTile(w.alone[:0], t)
	}
	return in.work.alone
}

// push writes an encoded tile beyond the last to the tail.
func (l *level) push(x *tileList, index int64, tile []byte, w *workspace) {
	enc := w.enc[:0]
	if x.count == 0 {
		x.clear()
		x.first = index
	} else {
		enc = binary.AppendUvarint(enc, uint64(index-x.last))
	}
	dist := len(enc)
	enc = append(enc, tile...)
	if w.enc = enc; len(enc) > tailRoom-int(x.tailEnd) {
		x.spill(int(x.tailEnd))
	}
	x.last = index
	x.count++
	x.room--
	if len(enc) > tailRoom {
		x.mark(len(x.data))
		x.data = append(x.data, enc...)
		return
	}
	copy(x.tail[x.tailEnd:], enc)
	x.tailLast = x.tailEnd + uint8(dist)
	x.tailEnd += uint8(len(enc))
	x.tailed++
}

// spill moves tail[:end] to the end of data and empties the tail.
func (x *tileList) spill(end int) {
	base, p := len(x.data), 0
	for i := range x.tailed {
		x.mark(base + p)
		if i > 0 || x.count > int32(x.tailed) { // the very first tile has no distance
			_, w := uvarint(x.tail[p:])
			p += w
		}
		_, n := tileBody(x.tail[p:])
		p += n
	}
	x.data = append(x.data, x.tail[:end]...)
	x.tailed, x.tailEnd = 0, 0
}

// heat decodes the last tile, which gets a second event.
func (l *level) heat(x *tileList, w *levelSpace) {
	if n := len(w.free); n > 0 {
		x.hot, w.free = w.free[n-1], w.free[:n-1]
	} else {
		x.hot = l.newTile()
	}
	last := x.tail[x.tailLast:]
	if x.tailed == 0 {
		last = x.data[x.lastAt():]
	}
	body, _ := tileBody(last)
	x.hot.reset(x.last)
	l.mustParse(body, x.hot)
}

// cool writes the hot tile back, which another one follows.
func (l *level) cool(x *tileList, w *levelSpace, in *Input) {
	if x.hot == nil {
		return
	}
	if x.stale && x.tailed > 0 {
		in.work.enc = l.appendTile(in.work.enc[:0], x.hot)
		if end := int(x.tailLast) + len(in.work.enc); end <= tailRoom {
			copy(x.tail[x.tailLast:], in.work.enc)
			x.tailEnd, x.stale = uint8(end), false
		}
	}
	if x.stale {
		l.freeze(x)
	}
	if len(w.free) < maxFree {
		w.free = append(w.free, x.hot)
	}
	x.hot = nil
}

// freeze brings everything into data: the tail, and what the hot tile has got.
func (l *level) freeze(x *tileList) {
	switch {
	case x.tailed > 0 && x.stale:
		x.spill(int(x.tailLast))
		x.data = l.appendTile(x.data, x.hot)
	case x.tailed > 0:
		x.spill(int(x.tailEnd))
	case x.stale:
		x.data = l.appendTile(x.data[:x.lastAt()], x.hot)
	}
	x.stale = false
}

// lastAt returns where the length of the last tile's body stands in data; the
// tail is empty.
func (x *tileList) lastAt() int {
	at := int(x.at[0])
	if at > int(x.head) {
		_, w := uvarint(x.data[at:])
		at += w
	}
	return at
}
