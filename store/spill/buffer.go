package spill

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"slices"
	"sync"
)

// buffer holds rows in memory.
type buffer struct {
	limit  int      // bytes
	chunks [][]byte // rows, back to back; never copied to grow
	active int      // the chunk that the next row goes to
	held   int      // bytes of the chunks
	index  []rowAt
	size   int64 // of its rows in a file
	groups groups
}

// rowAt is where in a buffer a row is.
type rowAt struct {
	prefix   Prefix
	chunk    int32
	group    int32 // while the rows are brought together
	from, to uint32
}

// rowOverhead is what a row costs in memory besides its bytes.
const rowOverhead = 40 + groupOverhead

func (b *buffer) row(at rowAt) []byte { return b.chunks[at.chunk][at.from:at.to] }

// fits tells whether a row of n bytes can be added: any to an empty buffer.
func (b *buffer) fits(n int) bool { return len(b.index) == 0 || b.with(n) <= b.limit }

// with returns the bytes that the buffer takes while a row of n bytes is added.
func (b *buffer) with(n int) int {
	held := b.held + rowOverhead*cap(b.index)
	if len(b.index) == cap(b.index) { // it will be copied into one of at most twice the size
		held += 2 * rowOverhead * cap(b.index)
	}
	if b.room(n) == len(b.chunks) {
		held += max(n, b.chunkSize())
	}
	return held
}

// room returns the first chunk from the active one that has room for n bytes,
// len(b.chunks) when there is none.
func (b *buffer) room(n int) int {
	i := b.active
	for i < len(b.chunks) && cap(b.chunks[i])-len(b.chunks[i]) < n {
		i++
	}
	return i
}

// chunkSize is the size of a chunk; a larger row gets one of its own.
func (b *buffer) chunkSize() int { return min(1<<20, b.limit/16) }

func (b *buffer) add(row []byte, prefix Prefix) {
	if len(b.index) == 0 && b.with(len(row)) > b.limit { // a row larger than those before
		b.chunks, b.held, b.active = nil, 0, 0
	}
	i := b.room(len(row))
	if i == len(b.chunks) {
		c := make([]byte, 0, max(len(row), b.chunkSize()))
		b.chunks, b.held = append(b.chunks, c), b.held+cap(c)
	}
	from := len(b.chunks[i])
	b.chunks[i] = append(b.chunks[i], row...)
	b.active = i
	b.index = append(b.index, rowAt{prefix: prefix, chunk: int32(i), from: uint32(from), to: uint32(from + len(row))})
	b.size += rowSize(len(row))
}

// rowSize is what a row of n bytes takes in a run: it stands behind its length.
func rowSize(n int) int64 { return int64(max(1, (bits.Len(uint(n))+6)/7) + n) }

// sort brings the rows into order. Those of a group, such as the events of an entity,
// mostly come in theirs: most rows are compared with their neighbours alone.
func (b *buffer) sort(compare func(a, b []byte) int) {
	order := func(x, y rowAt) int {
		if c := x.prefix.compare(&y.prefix); c != 0 {
			return c
		}
		return compare(b.row(x), b.row(y))
	}
	if !b.group() {
		slices.SortFunc(b.index, order)
		return
	}
	for i := range b.groups.list {
		g := &b.groups.list[i]
		if rows := b.index[g.at-int(g.rows) : g.at]; !slices.IsSortedFunc(rows, order) {
			slices.SortFunc(rows, order)
		}
	}
}

// write writes the sorted rows from a place in the file on, and returns their CRC-32C.
func (b *buffer) write(file io.WriterAt, at int64) (uint32, error) {
	sum := crc32.New(castagnoli)
	w := bufio.NewWriterSize(io.MultiWriter(sum, io.NewOffsetWriter(file, at)), 1<<18)
	var head [binary.MaxVarintLen64]byte
	for _, x := range b.index {
		row := b.row(x)
		w.Write(head[:binary.PutUvarint(head[:], uint64(len(row)))]) // errors stick to w and are seen at Flush
		w.Write(row)
	}
	if err := w.Flush(); err != nil {
		return 0, fmt.Errorf("spill: %w", err)
	}
	return sum.Sum32(), nil
}

// clear forgets the rows and keeps the chunks.
func (b *buffer) clear() {
	b.index, b.active, b.size = b.index[:0], 0, 0
	for i := range b.chunks {
		b.chunks[i] = b.chunks[i][:0]
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

// put takes a buffer that nobody uses any more.
func (p *Pool) put(b *buffer) {
	if p != nil {
		b.clear()
		p.free.Put(b)
	}
}
