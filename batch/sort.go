package batch

import (
	"bufio"
	"bytes"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/tallystick/tallystick/transforms"
)

// sorter puts rows (transforms.Input.AppendInput) into the order in which they
// are folded: shard, entity, clock, partition, offset. It holds at most limit
// bytes in memory, or one row; beyond that, sorted runs go to files in dir. An
// entity of any size streams through.
type sorter struct {
	dir   string
	limit int

	mu      sync.Mutex
	chunks  [][]byte // rows, back to back; never copied to grow
	active  int      // the chunk that the next row goes to
	held    int      // bytes of the chunks
	index   []rowAt
	runs    []*run
	spilled int64 // bytes written to runs
	maxDisk int64 // 0 = unbounded
}

// rowAt is a row in memory.
type rowAt struct {
	shard, chunk int32
	from, to     int
}

// rowOverhead is what a row costs in memory besides its bytes.
const rowOverhead = 24

func (s *sorter) row(at rowAt) []byte { return s.chunks[at.chunk][at.from:at.to] }

// run is a sorted file: rows, each behind its length.
type run struct {
	file   *os.File
	starts []int64 // per shard, where its rows begin; the last is the file's size
}

// ErrDisk says that the spill would pass --disk.
var ErrDisk = errors.New("the spill would pass the limit of --disk")

func newSorter(dir string, limit int, maxDisk int64) *sorter {
	return &sorter{dir: dir, limit: limit, maxDisk: maxDisk}
}

// add takes a row. It may be called by several goroutines at once.
func (s *sorter) add(shard int, row []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.index) > 0 && !s.fits(len(row)) {
		if err := s.spill(); err != nil {
			return err
		}
		if !s.fits(len(row)) { // a row larger than those before
			s.chunks, s.held = nil, 0
		}
	}
	i := s.room(len(row))
	if i == len(s.chunks) {
		c := make([]byte, 0, max(len(row), s.chunkSize()))
		s.chunks, s.held = append(s.chunks, c), s.held+cap(c)
	}
	from := len(s.chunks[i])
	s.chunks[i] = append(s.chunks[i], row...)
	s.active = i
	s.index = append(s.index, rowAt{int32(shard), int32(i), from, from + len(row)})
	return nil
}

// room returns the first chunk from the active one that has room for n bytes,
// len(s.chunks) when there is none.
func (s *sorter) room(n int) int {
	i := s.active
	for i < len(s.chunks) && cap(s.chunks[i])-len(s.chunks[i]) < n {
		i++
	}
	return i
}

// fits tells whether a row of n bytes can go into memory.
func (s *sorter) fits(n int) bool {
	held := s.held + rowOverhead*cap(s.index)
	if len(s.index) == cap(s.index) { // it will be copied into one of at most twice the size
		held += 2 * rowOverhead * cap(s.index)
	}
	if s.room(n) == len(s.chunks) {
		held += max(n, s.chunkSize())
	}
	return held <= s.limit
}

// chunkSize is the size of a chunk; a larger row gets one of its own.
func (s *sorter) chunkSize() int { return min(1<<20, s.limit/16) }

func (s *sorter) sortMemory() {
	slices.SortFunc(s.index, func(a, b rowAt) int {
		if a.shard != b.shard {
			return int(a.shard - b.shard)
		}
		return compareRows(s.row(a), s.row(b))
	})
}

func compareRows(a, b []byte) int {
	ea, ka := transforms.RowKey(a)
	eb, kb := transforms.RowKey(b)
	if c := bytes.Compare(ea, eb); c != 0 {
		return c
	}
	return bytes.Compare(ka, kb)
}

// spill writes the rows in memory as a run.
func (s *sorter) spill() error {
	s.sortMemory()
	r := &run{}
	var size int64
	var head [binary.MaxVarintLen64]byte
	for _, x := range s.index { // a shard without rows begins where the next does
		for len(r.starts) <= int(x.shard) {
			r.starts = append(r.starts, size)
		}
		size += int64(binary.PutUvarint(head[:], uint64(x.to-x.from)) + x.to - x.from)
	}
	r.starts = append(r.starts, size)
	if s.maxDisk > 0 && s.spilled+size > s.maxDisk {
		return fmt.Errorf("%w: %d bytes, %d are allowed", ErrDisk, s.spilled+size, s.maxDisk)
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	var err error
	if r.file, err = os.Create(filepath.Join(s.dir, fmt.Sprintf("run-%05d", len(s.runs)))); err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	s.runs = append(s.runs, r)
	w := bufio.NewWriterSize(r.file, 1<<18)
	for _, x := range s.index {
		n := binary.PutUvarint(head[:], uint64(x.to-x.from))
		w.Write(head[:n]) // errors stick to w and are seen at Flush
		w.Write(s.row(x))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	s.spilled += size
	s.index, s.active = s.index[:0], 0
	for i := range s.chunks {
		s.chunks[i] = s.chunks[i][:0]
	}
	return nil
}

// finish ends adding. After it, shard may be called.
func (s *sorter) finish() { s.sortMemory() }

// close removes the runs.
func (s *sorter) close() error {
	s.chunks, s.index = nil, nil
	if len(s.runs) == 0 {
		return nil
	}
	for _, r := range s.runs {
		r.file.Close() // it was only read since it was written
	}
	s.runs = nil
	return os.RemoveAll(s.dir)
}

// shard calls fn with the rows of one shard in order, until it fails or ctx
// ends. The row is valid during the call only. Several shards may be read at once.
func (s *sorter) shard(ctx context.Context, shard int, fn func(row []byte) error) error {
	h, err := s.open(shard)
	if err != nil {
		return err
	}
	for n := 0; len(h) > 0; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := fn(h[0].row); err != nil {
			return err
		}
		if err := h[0].next(); err != nil {
			return err
		}
		if h[0].row == nil {
			heap.Pop(&h)
		} else {
			heap.Fix(&h, 0)
		}
	}
	return nil
}

// open returns the cursors that have rows of the shard.
func (s *sorter) open(shard int) (merge, error) {
	var h merge
	put := func(c *cursor) error {
		if err := c.next(); err != nil || c.row == nil {
			return err
		}
		heap.Push(&h, c)
		return nil
	}
	// Many runs are read through small buffers, as all of them are read at once.
	buffer := min(1<<16, max(1<<12, s.limit/(16*max(1, len(s.runs)))))
	for _, r := range s.runs {
		if shard+1 >= len(r.starts) || r.starts[shard] == r.starts[shard+1] {
			continue
		}
		section := io.NewSectionReader(r.file, r.starts[shard], r.starts[shard+1]-r.starts[shard])
		if err := put(&cursor{src: bufio.NewReaderSize(section, buffer)}); err != nil {
			return nil, err
		}
	}
	lo, _ := slices.BinarySearchFunc(s.index, shard, func(a rowAt, b int) int { return int(a.shard) - b })
	hi, _ := slices.BinarySearchFunc(s.index, shard+1, func(a rowAt, b int) int { return int(a.shard) - b })
	return h, put(&cursor{sorter: s, mem: s.index[lo:hi]})
}

// cursor stands at a row of a run or of the memory; row is nil at the end.
type cursor struct {
	row    []byte
	src    *bufio.Reader
	buf    []byte
	sorter *sorter // whose memory mem is in
	mem    []rowAt
}

func (c *cursor) next() error {
	if c.src == nil {
		if c.row = nil; len(c.mem) > 0 {
			c.row = c.sorter.row(c.mem[0])
			c.mem = c.mem[1:]
		}
		return nil
	}
	n, err := binary.ReadUvarint(c.src)
	if err == io.EOF {
		c.row = nil
		return nil
	}
	if err == nil {
		c.buf = slices.Grow(c.buf[:0], int(n))[:n]
		_, err = io.ReadFull(c.src, c.buf)
	}
	if err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	c.row = c.buf
	return nil
}

// merge is a heap of cursors, the least row first.
type merge []*cursor

func (m merge) Len() int           { return len(m) }
func (m merge) Less(i, j int) bool { return compareRows(m[i].row, m[j].row) < 0 }
func (m merge) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *merge) Push(x any)        { *m = append(*m, x.(*cursor)) }
func (m *merge) Pop() any {
	old := *m
	c := old[len(old)-1]
	*m = old[:len(old)-1]
	return c
}
