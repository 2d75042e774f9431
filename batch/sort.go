package batch

import (
	"bufio"
	"bytes"
	"container/heap"
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
// bytes in memory; beyond that, sorted runs go to files in dir. An entity of any
// size streams through.
type sorter struct {
	dir   string
	limit int

	mu      sync.Mutex
	rows    []byte
	index   []rowAt
	runs    []*run
	spilled int64 // bytes written to runs
	maxDisk int64 // 0 = unbounded
}

// rowAt is a row in memory.
type rowAt struct {
	shard    int32
	from, to int
}

// rowOverhead is what a row costs in memory besides its bytes.
const rowOverhead = 24

// run is a sorted file: rows, each behind its length.
type run struct {
	path   string
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
	from := len(s.rows)
	s.rows = append(s.rows, row...)
	s.index = append(s.index, rowAt{int32(shard), from, len(s.rows)})
	if len(s.rows)+rowOverhead*len(s.index) < s.limit {
		return nil
	}
	return s.spill()
}

func (s *sorter) sortMemory() {
	slices.SortFunc(s.index, func(a, b rowAt) int {
		if a.shard != b.shard {
			return int(a.shard - b.shard)
		}
		return compareRows(s.rows[a.from:a.to], s.rows[b.from:b.to])
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
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	r := &run{path: filepath.Join(s.dir, fmt.Sprintf("run-%05d", len(s.runs)))}
	f, err := os.Create(r.path)
	if err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	s.runs = append(s.runs, r)
	w := bufio.NewWriterSize(f, 1<<18)
	var at int64
	var head [binary.MaxVarintLen64]byte
	for _, x := range s.index { // a shard without rows begins where the next does
		for len(r.starts) <= int(x.shard) {
			r.starts = append(r.starts, at)
		}
		n := binary.PutUvarint(head[:], uint64(x.to-x.from))
		w.Write(head[:n]) // errors stick to w and are seen at Flush
		w.Write(s.rows[x.from:x.to])
		at += int64(n + x.to - x.from)
	}
	r.starts = append(r.starts, at)
	s.spilled += at
	s.rows, s.index = s.rows[:0], s.index[:0]
	err = w.Flush()
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	if s.maxDisk > 0 && s.spilled > s.maxDisk {
		return fmt.Errorf("%w: %d bytes", ErrDisk, s.spilled)
	}
	return nil
}

// finish ends adding. After it, shard may be called.
func (s *sorter) finish() { s.sortMemory() }

// close removes the runs.
func (s *sorter) close() error {
	s.rows, s.index = nil, nil
	if len(s.runs) == 0 {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// shard calls fn with the rows of one shard in order. The row is valid during
// the call only. Several shards may be read at once.
func (s *sorter) shard(shard int, fn func(row []byte) error) error {
	h, closeAll, err := s.open(shard)
	defer closeAll()
	if err != nil {
		return err
	}
	for len(h) > 0 {
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

func (s *sorter) open(shard int) (h merge, closeAll func(), err error) {
	var files []*os.File
	closeAll = func() {
		for _, f := range files {
			f.Close()
		}
	}
	put := func(c *cursor) error {
		if err := c.next(); err != nil || c.row == nil {
			return err
		}
		heap.Push(&h, c)
		return nil
	}
	for _, r := range s.runs {
		if shard+1 >= len(r.starts) || r.starts[shard] == r.starts[shard+1] {
			continue
		}
		f, err := os.Open(r.path)
		if err != nil {
			return nil, closeAll, fmt.Errorf("spill: %w", err)
		}
		files = append(files, f)
		section := io.NewSectionReader(f, r.starts[shard], r.starts[shard+1]-r.starts[shard])
		if err := put(&cursor{src: bufio.NewReaderSize(section, 1<<16)}); err != nil {
			return nil, closeAll, err
		}
	}
	lo, _ := slices.BinarySearchFunc(s.index, shard, func(a rowAt, b int) int { return int(a.shard) - b })
	hi, _ := slices.BinarySearchFunc(s.index, shard+1, func(a rowAt, b int) int { return int(a.shard) - b })
	err = put(&cursor{mem: s.index[lo:hi], rows: s.rows})
	return h, closeAll, err
}

// cursor stands at a row of a run or of the memory; row is nil at the end.
type cursor struct {
	row  []byte
	src  *bufio.Reader
	buf  []byte
	mem  []rowAt
	rows []byte
}

func (c *cursor) next() error {
	if c.src == nil {
		if c.row = nil; len(c.mem) > 0 {
			c.row = c.rows[c.mem[0].from:c.mem[0].to]
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
