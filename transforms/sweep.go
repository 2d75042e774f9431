package transforms

import (
	"cmp"
	"math"
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// A training set asks for an entity's features at many t in ascending order. A
// state would add up every window anew for each. A Sweep keeps tiles decoded, and
// of each window two sums: of its tiles from each one on up to some tile, and of
// those behind that but the last. A window that moves on gives up the first, one
// that gets a tile adds it to the second, so that each tile is added up twice,
// however often it is asked about. As merging is exact and associative (V2), it
// gives the same bits as Value does.

// Sweep is what the accepted events of one entity, of all partitions, add up to,
// asked at ascending t. It is not safe for concurrent use.
type Sweep struct {
	v      *View
	levels []sweepLevel
	table  *State // of a table's view, which has no levels
	e      *evaluation
}

// sweepLevel is one level of a Sweep.
type sweepLevel struct {
	l       *level
	tiles   []tile // ascending, from head on
	head    int
	gone    int64 // no window will reach the tiles before this one
	free    []tile
	windows []sweepWindow
	// total has every event; nil where no window is lifetime.
	total *tile
}

// sweepWindow is one window of a level.
type sweepWindow struct {
	kind   windowSum
	probes []int // of the level
	cells  []int // that they read
	first  int64 // tile that it began with when it was last asked
	// front[i] is the sum from the tile of its index on and before mid; front[at:]
	// lie in the window.
	front []tile
	at    int
	mid   int64
	// back is the sum of the tiles from mid on and before upTo.
	back   tile
	upTo   int64
	broken bool // front lacks something
}

// windowSum says how a window is added up.
type windowSum uint8

const (
	byTiles   windowSum = iota // each time anew
	bySums                     // by front and back
	byOneSum                   // lifetime
	noTile    = math.MaxInt64
	firstTile = math.MinInt64
)

// NewSweep returns an empty Sweep.
func (v *View) NewSweep() *Sweep {
	s := &Sweep{v: v, e: newEvaluation(v), levels: make([]sweepLevel, len(v.levels))}
	for li := range v.levels {
		s.levels[li].init(&v.levels[li])
	}
	s.Reset()
	return s
}

func (s *sweepLevel) init(l *level) {
	s.l = l
	for i, w := range l.windows {
		x := sweepWindow{kind: byTiles, back: *l.newTile()}
		switch {
		case w.Kind == Lifetime:
			x.kind, s.total = byOneSum, l.newTile()
		case l.small && !w.ExcludeCurrent:
			x.kind = bySums
		}
		for pi, p := range l.probes {
			if p.window != i {
				continue
			}
			x.probes = append(x.probes, pi)
			if p.cell >= 0 {
				x.cells = append(x.cells, p.cell)
			}
		}
		s.windows = append(s.windows, x)
	}
}

// Reset empties the Sweep for another entity.
func (s *Sweep) Reset() {
	if s.v.spec.Table {
		s.table = s.v.NewState(0)
	}
	for li := range s.levels {
		l := &s.levels[li]
		l.drop(len(l.tiles))
		l.gone = noTile
		if l.total != nil {
			l.total.reset(0)
		}
		for i := range l.windows {
			w := &l.windows[i]
			w.front, w.at, w.mid, w.upTo, w.first, w.broken = w.front[:0], 0, firstTile, firstTile, firstTile, false
			if w.back.reset(0); w.kind != byOneSum {
				l.gone = firstTile
			}
		}
	}
}

// Add enters an accepted event. It must lie before every t asked from then on; the
// events come in any order, but fastest by event time.
func (s *Sweep) Add(in *Input) {
	if s.table != nil {
		s.v.Accept(s.table, in)
		return
	}
	in.order.set(in.EventTime, in.Version, in.Partition, in.Offset)
	for li := range s.levels {
		s.levels[li].add(in)
	}
}

func (s *sweepLevel) add(in *Input) {
	if s.total != nil {
		s.l.add(s.total, in)
	}
	index, n := s.l.index(in.EventTime), len(s.tiles)
	switch {
	case index < s.gone:
	case n == s.head || index > s.tiles[n-1].index:
		s.tiles = append(s.tiles, s.tile(index))
		s.l.add(&s.tiles[n], in)
	case index == s.tiles[n-1].index:
		s.l.add(&s.tiles[n-1], in)
	default:
		s.addOld(index, in)
	}
}

// addOld enters an event before the last tile, and into what sums hold of it.
func (s *sweepLevel) addOld(index int64, in *Input) {
	i := s.search(index)
	if s.tiles[i].index != index {
		s.tiles = slices.Insert(s.tiles, i, s.tile(index))
	}
	s.l.add(&s.tiles[i], in)
	for i := range s.windows {
		w := &s.windows[i]
		switch {
		case w.kind != bySums || index < w.first || index >= w.upTo:
		case index < w.mid:
			w.broken = true
		default:
			s.l.add(&w.back, in)
		}
	}
}

// search returns the place of the first tile at or after index.
func (s *sweepLevel) search(index int64) int {
	n, _ := slices.BinarySearchFunc(s.tiles[s.head:], index, func(t tile, i int64) int { return cmp.Compare(t.index, i) })
	return s.head + n
}

// tile returns an empty tile.
func (s *sweepLevel) tile(index int64) tile {
	var t tile
	if n := len(s.free); n > 0 {
		t, s.free = s.free[n-1], s.free[:n-1]
	} else {
		t.cells = make([]cell, len(s.l.cells))
	}
	t.reset(index)
	return t
}

// drop gives up the tiles before place to.
func (s *sweepLevel) drop(to int) {
	s.free = append(s.free, s.tiles[s.head:to]...)
	if s.head = to; s.head > len(s.tiles)/2 {
		s.tiles = append(s.tiles[:0], s.tiles[s.head:]...)
		s.head = 0
	}
}

// Value returns the features as of t, which is not before the t of any call since
// Reset, as View.ValueFrom does.
func (s *Sweep) Value(dst []Result, t, validFrom schemas.Micros) []Result {
	from := len(dst)
	s.e.reset(s.v, t, false)
	if s.table != nil {
		dst = s.v.tableValue(dst, t, []*State{s.table})
	} else {
		for li := range s.levels {
			s.levels[li].collect(s.e, li)
		}
		dst = s.v.results(dst, s.e)
	}
	s.v.markIncomplete(dst[from:], t, validFrom, s.e.since)
	return dst
}

// collect adds what the level holds to its probes.
func (s *sweepLevel) collect(e *evaluation, li int) {
	reached := int64(noTile)
	for i := range s.windows {
		w, span := &s.windows[i], e.spans[li][i]
		r := s.l.indexes(span)
		if w.kind == byOneSum {
			e.some = e.some || s.total.events > 0
			s.merge(e.accs[li], w, s.total)
			continue
		}
		if span.lo >= span.hi {
			reached = firstTile
			continue
		}
		reached = min(reached, r.first)
		if n := len(s.tiles); n == s.head || s.tiles[n-1].index < r.first {
			continue
		}
		if w.kind == byTiles {
			for at := s.search(r.first); at < len(s.tiles) && s.tiles[at].index < r.end; at++ {
				e.holds(span)
				s.merge(e.accs[li], w, &s.tiles[at])
			}
			continue
		}
		s.settle(w, r.first)
		e.holds(span)
		if w.at < len(w.front) {
			s.merge(e.accs[li], w, &w.front[w.at])
		}
		s.merge(e.accs[li], w, &w.back)
		s.merge(e.accs[li], w, &s.tiles[len(s.tiles)-1])
	}
	if s.gone = max(s.gone, reached); len(s.tiles) > s.head && s.tiles[s.head].index < s.gone {
		s.drop(s.search(s.gone))
	}
}

// merge adds a tile to the probes of a window.
func (s *sweepLevel) merge(accs []cell, w *sweepWindow, t *tile) {
	for _, pi := range w.probes {
		if c := s.l.probes[pi].cell; c < 0 {
			accs[pi].n += t.events
		} else {
			s.l.cells[c].agg.merge(&accs[pi], &t.cells[c])
		}
	}
}

// settle makes front and back the sums of a window that begins with the tile
// first: of all its tiles but the last one.
func (s *sweepLevel) settle(w *sweepWindow, first int64) {
	w.first = first
	for w.at < len(w.front) && w.front[w.at].index < first {
		w.at++
	}
	if w.broken || w.at == len(w.front) && w.mid < first {
		s.rebuild(w)
		return
	}
	last := s.tiles[len(s.tiles)-1].index
	if w.upTo == last {
		return
	}
	for i := s.search(w.upTo); s.tiles[i].index < last; i++ {
		s.sum(w, &w.back, &s.tiles[i])
	}
	w.upTo = last
}

// rebuild makes front the sums of all tiles but the last, and back empty.
func (s *sweepLevel) rebuild(w *sweepWindow) {
	from, to := s.search(w.first), len(s.tiles)-1
	w.front = slices.Grow(w.front[:0], to-from)[:to-from]
	for i := to - from - 1; i >= 0; i-- {
		t := &w.front[i]
		if t.cells == nil {
			t.cells = make([]cell, len(s.l.cells))
		}
		t.reset(s.tiles[from+i].index)
		if i+1 < len(w.front) {
			s.sum(w, t, &w.front[i+1])
		}
		s.sum(w, t, &s.tiles[from+i])
	}
	w.at, w.mid, w.upTo, w.broken = 0, s.tiles[to].index, s.tiles[to].index, false
	w.back.reset(0)
}

// sum adds a tile to a sum of tiles, as far as the window looks at it.
func (s *sweepLevel) sum(w *sweepWindow, t, d *tile) {
	t.events += d.events
	for _, c := range w.cells {
		s.l.cells[c].agg.merge(&t.cells[c], &d.cells[c])
	}
}
