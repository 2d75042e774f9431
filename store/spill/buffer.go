package spill

import (
	"encoding/binary"
	"io"
	"iter"
	"math"
	"math/bits"
	"slices"
	"sort"
	"sync"
)

// buffer holds rows in memory, those of a group together.
type buffer struct {
	limit  int      // bytes
	slabs  [][]byte // pieces of groups, one after the other; never copied to grow
	active int      // the slab that the next piece goes to
	space  int      // bytes of the slabs
	rows   int
	size   int64 // of the rows in a file
	groups groups
	// jumbled is how many rows the largest group has that is out of order: an index of
	// them is made to sort it.
	jumbled int
	index   []rowAt // scratch, of one group
}

// place is where in the slabs a piece begins. In front of its rows stand, little-endian,
// the slab and the place of the piece that follows and where its rows end, 4 bytes each;
// of the last piece of a group they say nothing.
type place struct{ slab, at uint32 }

const pieceHead = 12

// A group's pieces grow with it, so that few rows take little, and rows of many groups
// that come in turn little more than their bytes. A piece has room for rows of one length.
const mostPiece = 1 << 10

// rowAt is where in a slab a row of a group is that is out of order: its length, its
// bytes, its end.
type rowAt struct {
	prefix             Prefix
	slab, at, body, to uint32
}

// indexCost is what a row takes besides in a group that is out of order, in bytes.
const indexCost = 40

func (b *buffer) row(x *rowAt) []byte { return b.slabs[x.slab][x.body:x.to] }

// held returns the bytes that the buffer takes once it is sorted.
func (b *buffer) held() int { return b.space + b.groups.held() + indexCost*b.indexed() }

// indexed is how many rows the index has room for, once the rows are sorted.
func (b *buffer) indexed() int { return max(b.jumbled, cap(b.index)) }

// slabSize is the size of a slab; a larger row gets one of its own.
func (b *buffer) slabSize() int { return min(1<<20, b.limit/16) }

// add adds a row, if the limit allows it; any to an empty buffer.
func (b *buffer) add(row []byte, o *Options) bool {
	p := o.Prefix(row)
	var key []byte
	if o.Group != nil {
		key = o.Group(row)
	}
	n, hash := uint32(rowSize(len(row))), hashOf(&p, key)
	g := b.find(hash, &p, key, o)
	if g != nil && g.rows == math.MaxInt32 {
		return false // the others go to the next run
	}
	disorder := g != nil && (g.disorder || b.before(row, &p, g, o.Compare))
	if g == nil || disorder || g.end-g.fill < n {
		if !b.fits(g, int(n), disorder) && !(b.release() && b.fits(g, int(n), disorder)) {
			if b.rows > 0 {
				return false
			}
			*b = buffer{limit: b.limit} // a row larger than those before
		}
		size := pieceSize(g, int(n))
		if g == nil {
			g = b.groups.insert(hash, &p)
		}
		b.room(g, size, disorder)
	}
	s := binary.AppendUvarint(b.slabs[g.piece.slab][:g.fill], uint64(len(row)))
	g.last = uint32(len(s))
	g.fill = uint32(len(append(s, row...)))
	g.prefix[2] = p[2]
	g.rows++
	b.rows++
	b.size += int64(n)
	return true
}

// before tells whether a row goes before the last one of its group.
func (b *buffer) before(row []byte, p *Prefix, g *group, compare func(a, b []byte) int) bool {
	if p[2] != g.prefix[2] {
		return p[2] < g.prefix[2]
	}
	return compare(row, b.slabs[g.piece.slab][g.last:g.fill]) < 0
}

// fits tells whether a row of a group, nil for a new one, can be added that takes n bytes.
func (b *buffer) fits(g *group, n int, disorder bool) bool {
	held := b.held()
	if g == nil {
		if list, table := b.groups.grown(); list > cap(b.groups.list) || table > len(b.groups.table) {
			held += groupSize*list + slotSize*table // while the old ones are there
		}
	}
	if size := pieceSize(g, n); size > 0 && b.slabFor(size) == len(b.slabs) {
		held += max(size, b.slabSize())
	}
	if disorder {
		held += indexCost * max(0, int(g.rows)+1-b.indexed())
	}
	return held <= b.limit
}

// release gives up what rows of earlier runs took and those of this one do not: else it
// would be as small as what they leave, and so would all after it. It tells whether there
// is any.
func (b *buffer) release() (any bool) {
	if cap(b.index) > 2*b.jumbled {
		b.index, any = nil, true
	}
	for i, s := range b.slabs {
		if len(s) == 0 && cap(s) > 0 {
			b.slabs[i], b.space, any = nil, b.space-cap(s), true // the others are known by their places
		}
	}
	return any
}

// pieceSize is that of the piece that a row of n bytes needs, 0 where there is room.
func pieceSize(g *group, n int) int {
	if g == nil {
		return pieceHead + n
	}
	if int(g.end-g.fill) >= n {
		return 0
	}
	grown := min(mostPiece, 2*int(g.end-g.piece.at))
	return pieceHead + n*max(1, (grown-pieceHead)/n)
}

// slabFor returns the first slab from the active one that has room for n bytes,
// len(b.slabs) when there is none.
func (b *buffer) slabFor(n int) int {
	i := b.active
	for i < len(b.slabs) && cap(b.slabs[i])-len(b.slabs[i]) < n {
		i++
	}
	return i
}

// room gives a group another piece of so many bytes, unless they are 0.
func (b *buffer) room(g *group, size int, disorder bool) {
	if disorder {
		g.disorder = true
		b.jumbled = max(b.jumbled, int(g.rows)+1)
	}
	if size == 0 {
		return
	}
	at := b.piece(size)
	if g.rows > 0 {
		head := b.slabs[g.piece.slab][g.piece.at:]
		binary.LittleEndian.PutUint32(head, at.slab)
		binary.LittleEndian.PutUint32(head[4:], at.at)
		binary.LittleEndian.PutUint32(head[8:], g.fill)
	} else {
		g.first = at
	}
	g.piece, g.fill, g.end = at, at.at+pieceHead, at.at+uint32(size)
}

// piece takes so many bytes of a slab.
func (b *buffer) piece(size int) place {
	i := b.slabFor(size)
	if i == len(b.slabs) {
		s := make([]byte, 0, max(size, b.slabSize()))
		b.slabs, b.space = append(b.slabs, s), b.space+cap(s)
	}
	if size <= b.slabSize() { // behind a large row there may be room in those before
		b.active = i
	}
	at := len(b.slabs[i])
	b.slabs[i] = b.slabs[i][:at+size]
	return place{uint32(i), uint32(at)}
}

// in returns the rows in a piece of a group.
func (b *buffer) in(g *group, p place) []byte {
	slab, end := b.slabs[p.slab], g.fill
	if p != g.piece {
		end = binary.LittleEndian.Uint32(slab[p.at+8:])
	}
	return slab[p.at+pieceHead : end]
}

// after returns the piece after one that is not the last of its group.
func (b *buffer) after(p place) place {
	head := b.slabs[p.slab][p.at:]
	return place{binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])}
}

// pieces returns the pieces of a group, and the rows in each.
func (b *buffer) pieces(g *group) iter.Seq2[place, []byte] {
	return func(yield func(place, []byte) bool) {
		for p := g.first; yield(p, b.in(g, p)) && p != g.piece; {
			p = b.after(p)
		}
	}
}

// sorted returns the rows of a group that is out of order, valid until the next call.
func (b *buffer) sorted(g *group, o *Options) []rowAt {
	if cap(b.index) < b.jumbled {
		b.index = make([]rowAt, 0, b.jumbled)
	}
	b.index = b.index[:0]
	for p, rows := range b.pieces(g) {
		for at := p.at + pieceHead; len(rows) > 0; {
			n, k := binary.Uvarint(rows)
			body := at + uint32(k)
			to := body + uint32(n)
			b.index = append(b.index, rowAt{o.Prefix(rows[k : k+int(n)]), p.slab, at, body, to})
			at, rows = to, rows[k+int(n):]
		}
	}
	sort.Sort(rowOrder{b, o})
	return b.index
}

// rowOrder sorts the index where it lies: a comparison by value would copy both.
type rowOrder struct {
	b *buffer
	o *Options
}

func (s rowOrder) Len() int      { return len(s.b.index) }
func (s rowOrder) Swap(i, j int) { s.b.index[i], s.b.index[j] = s.b.index[j], s.b.index[i] }
func (s rowOrder) Less(i, j int) bool {
	x, y := &s.b.index[i], &s.b.index[j]
	c := x.prefix.compare(&y.prefix)
	return c < 0 || c == 0 && s.o.Compare(s.b.row(x), s.b.row(y)) < 0
}

// rowSize is what a row of n bytes takes in a run: it stands behind its length.
func rowSize(n int) int64 { return int64(max(1, (bits.Len(uint(n))+6)/7) + n) }

// write writes the rows, whose groups are sorted, in pages from a place in the file on.
func (b *buffer) write(file io.WriterAt, at int64, o *Options) error {
	w := newPageWriter(file, at)
	for i := range b.groups.list {
		g := &b.groups.list[i]
		if !g.disorder {
			for _, rows := range b.pieces(g) {
				w.write(rows)
			}
			continue
		}
		for _, x := range b.sorted(g, o) {
			w.write(b.slabs[x.slab][x.at:x.to])
		}
	}
	return w.flush()
}

// clear forgets the rows and keeps the memory.
func (b *buffer) clear() {
	b.active, b.rows, b.size, b.jumbled = 0, 0, 0, 0
	b.groups.clear()
	b.slabs = slices.DeleteFunc(b.slabs, func(s []byte) bool { return cap(s) == 0 })
	for i := range b.slabs {
		b.slabs[i] = b.slabs[i][:0]
	}
}

// Pool keeps the memory of sorters that were closed for the next ones: taken anew for
// each it would be garbage, faster than the collector takes it back (B3). What is not
// taken soon is collected. Its zero value is ready.
type Pool struct{ free sync.Pool }

// get returns an empty buffer with that limit.
func (p *Pool) get(limit int) *buffer {
	if p != nil {
		if b, _ := p.free.Get().(*buffer); b != nil && b.limit == limit {
			return b
		}
	}
	return &buffer{limit: limit}
}

// put takes a buffer that nobody uses any more, but for one that had a row beyond its limit.
func (p *Pool) put(b *buffer) {
	if p != nil && b.held() <= b.limit {
		b.clear()
		p.free.Put(b)
	}
}
