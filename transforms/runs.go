package transforms

import (
	"cmp"
	"math"
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// Reading a long window adds up every tile in it. Runs keep, for a state that is
// asked often, the sums of runTiles consecutive tiles each. As merging is exact
// and associative (V2), they give the same bits. They are no part of a state's
// bytes, and only levels whose cells are small have them.

// runTiles is how many tiles a run holds.
const runTiles = 16

// run is the sum of consecutive tiles in data.
type run struct {
	first, last int64 // their indexes
	to          int   // where the last ends in data, before runList.moved
	sum         tile
}

// runList is the runs of a tileList, ascending, one behind the other; none holds
// the last tile.
type runList struct {
	runs  []run
	next  run // of n tiles so far
	n     int
	moved int // by how much data has moved to the front since the list was made
}

// extend adds the tiles that came since, and forgets those dropped. t is working
// memory.
func (l *level) extend(x *tileList, t *tile) {
	if x.runs == nil {
		x.runs = &runList{}
		l.begin(x.runs, math.MinInt64, 0)
	}
	r := x.runs
	r.runs = slices.Delete(r.runs, 0, len(r.runs)-len(r.from(x.first)))
	if r.next.last < x.first {
		l.begin(r, x.first, int(x.head)+r.moved)
	}
	for at, end := r.next.to-r.moved, int(x.at[0]); at < end; {
		if at > int(x.head) {
			d, w := uvarint(x.data[at:])
			r.next.last += int64(d)
			at += w
		}
		body, w := tileBody(x.data[at:])
		at += w
		t.reset(r.next.last)
		l.mustParse(body, t)
		l.merge(&r.next.sum, t)
		if r.next.to = at + r.moved; r.n == 0 {
			r.next.first = r.next.last
		}
		if r.n++; r.n == runTiles {
			r.runs = append(r.runs, r.next)
			l.begin(r, r.next.last, r.next.to)
		}
	}
}

// begin begins a run behind the tile at last, which ends at to.
func (l *level) begin(r *runList, last int64, to int) {
	r.next, r.n = run{last: last, to: to, sum: tile{cells: make([]cell, len(l.cells))}}, 0
}

// change forgets the runs that a change of the tile at index makes wrong, or
// whose tiles it moves.
func (l *level) change(x *tileList, index int64) {
	r := x.runs
	if r == nil || index > r.next.last {
		return
	}
	n := len(r.runs)
	for n > 0 && r.runs[n-1].last >= index {
		n--
	}
	if r.runs = r.runs[:n]; n > 0 {
		l.begin(r, r.runs[n-1].last, r.runs[n-1].to)
	} else {
		l.begin(r, math.MinInt64, 0)
	}
}

// from returns the runs that begin at or after index.
func (r *runList) from(index int64) []run {
	n, _ := slices.BinarySearchFunc(r.runs, index, func(x run, i int64) int { return cmp.Compare(x.first, i) })
	return r.runs[n:]
}

// walkFrom is tileList.walkFrom with the help of runs, which were just extended.
func (r *runList) walkFrom(x *tileList, index int64) (walker, bool) {
	n, _ := slices.BinarySearchFunc(r.runs, index, func(x run, i int64) int { return cmp.Compare(x.last, i) })
	if n == 0 {
		return x.walkFrom(index)
	}
	before := &r.runs[n-1]
	c := walker{x: x, left: int32((len(r.runs)-n)*runTiles + r.n + 1), slot: slot{index: before.last, to: before.to - r.moved}}
	return c, c.seek(index)
}

// skip steps over the tiles of a run, at the first of which the walker stands, to
// the tile behind it.
func (c *walker) skip(r *run) bool {
	c.left -= runTiles - 1
	c.index, c.to = r.last, r.to-c.x.runs.moved
	return c.next()
}

// addRun adds the sum of a run.
func (e *evaluation) addRun(l *level, r *run) {
	for _, c := range e.counts {
		c.n += r.sum.events
	}
	for i, accs := range e.active[:len(l.cells)] {
		for _, c := range accs {
			l.cells[i].agg.merge(c, &r.sum.cells[i])
		}
	}
}

// small tells whether cells of this aggregator have a fixed size and no text.
func small(a aggregator) bool {
	switch a := a.(type) {
	case counts, sums, moments:
		return true
	case extremes:
		return a.kind != schemas.String && a.kind != schemas.Bytes
	}
	return false
}
