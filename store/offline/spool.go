package offline

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
)

// spool sorts rows by key. It holds about memory bytes; what is more goes to
// sorted runs in dir. Rows may come from several goroutines in any order: what
// comes out does not depend on it, nor on memory (B1, B3).
type spool struct {
	dir     string
	limit   int
	maxDisk int64 // 0 = unbounded

	mu      sync.Mutex
	idle    *sync.Cond
	cur     *spoolBuffer
	writing int // buffers being sorted and written
	free    []*spoolBuffer
	runs    []string
	disk    int64
	err     error
}

// spoolBuffers is how many buffers share the memory, one to fill and two to be
// written; as much as one more is slack at the ends of their arrays.
const spoolBuffers = 3

type spoolBuffer struct {
	data  []byte // key and value of each row
	index []spoolRow
}

type spoolRow struct{ from, mid, to int }

const spoolRowBytes = 24

// ErrDisk says that rows would take more disk than allowed.
var ErrDisk = errors.New("the spilled rows would pass the disk limit")

// DuplicateError says that two rows have the same primary key (B6).
type DuplicateError struct {
	Table string
	Key   []byte
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("table %s: two rows have the key %x", e.Table, e.Key)
}

func newSpool(dir string, memory int, maxDisk int64) *spool {
	s := &spool{dir: dir, limit: max(memory/(spoolBuffers+1), 64<<10), maxDisk: maxDisk, cur: &spoolBuffer{}}
	s.idle = sync.NewCond(&s.mu)
	return s
}

// add takes a row. It keeps nothing of the arguments.
func (s *spool) add(key, row []byte) error {
	s.mu.Lock()
	b := s.cur
	from := len(b.data)
	b.data = append(append(b.data, key...), row...)
	b.index = append(b.index, spoolRow{from, from + len(key), len(b.data)})
	if s.err != nil || len(b.data)+spoolRowBytes*len(b.index) < s.limit {
		defer s.mu.Unlock()
		return s.err
	}
	for s.writing >= spoolBuffers-1 {
		s.idle.Wait()
	}
	if s.cur != b { // another goroutine took it meanwhile
		defer s.mu.Unlock()
		return s.err
	}
	path := filepath.Join(s.dir, fmt.Sprintf("run-%06d", len(s.runs)))
	s.runs = append(s.runs, path)
	if n := len(s.free); n > 0 {
		s.cur, s.free = s.free[n-1], s.free[:n-1]
	} else { // growing leaves garbage of twice its size
		s.cur = &spoolBuffer{make([]byte, 0, cap(b.data)), make([]spoolRow, 0, cap(b.index))}
	}
	s.writing++
	s.mu.Unlock()
	n, err := b.spill(s.dir, path)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing--
	b.data, b.index = b.data[:0], b.index[:0]
	s.free = append(s.free, b)
	s.disk += n
	if err == nil && s.maxDisk > 0 && s.disk > s.maxDisk {
		err = fmt.Errorf("%w: %d bytes", ErrDisk, s.disk)
	}
	if s.err == nil {
		s.err = err
	}
	s.idle.Broadcast()
	return s.err
}

func (b *spoolBuffer) sort() {
	slices.SortFunc(b.index, func(x, y spoolRow) int { return bytes.Compare(b.data[x.from:x.mid], b.data[y.from:y.mid]) })
}

func (b *spoolBuffer) spill(dir, path string) (int64, error) {
	b.sort()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, fmt.Errorf("spill: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return 0, fmt.Errorf("spill: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<18)
	var head []byte
	var total int64
	for _, r := range b.index {
		head = binary.AppendUvarint(head[:0], uint64(r.mid-r.from))
		head = binary.AppendUvarint(head, uint64(r.to-r.mid))
		w.Write(head) // errors stick to w and are seen at Flush
		w.Write(b.data[r.from:r.to])
		total += int64(len(head) + r.to - r.from)
	}
	if err = errors.Join(w.Flush(), f.Close()); err != nil {
		return total, fmt.Errorf("spill: %w", err)
	}
	return total, nil
}

// each calls fn with every row in the order of keys. Key and row are valid
// during the call only. No row may be added meanwhile or later.
func (s *spool) each(fn func(key, row []byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.free = nil
	s.cur.sort()
	var h spoolHeap
	var open []io.Closer
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	cursors := []*spoolCursor{{mem: s.cur}}
	for _, path := range s.runs {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("spill: %w", err)
		}
		open = append(open, f)
		cursors = append(cursors, &spoolCursor{src: bufio.NewReaderSize(f, 1<<16)})
	}
	for _, c := range cursors {
		if err := c.next(); err == io.EOF {
			continue
		} else if err != nil {
			return err
		}
		h = append(h, c)
	}
	heap.Init(&h)
	for len(h) > 0 {
		if err := fn(h[0].key, h[0].row); err != nil {
			return err
		}
		switch err := h[0].next(); err {
		case nil:
			heap.Fix(&h, 0)
		case io.EOF:
			heap.Pop(&h)
		default:
			return err
		}
	}
	return nil
}

// close removes what was spilled.
func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cur, s.free = &spoolBuffer{}, nil
	var errs []error
	for _, path := range s.runs {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if len(s.runs) > 0 {
		os.Remove(s.dir) // stays if others use it
	}
	s.runs = nil
	return errors.Join(errs...)
}

type spoolCursor struct {
	key, row []byte
	mem      *spoolBuffer
	at       int
	src      *bufio.Reader
	buf      []byte
}

func (c *spoolCursor) next() error {
	if c.mem != nil {
		if c.at == len(c.mem.index) {
			return io.EOF
		}
		r := c.mem.index[c.at]
		c.at++
		c.key, c.row = c.mem.data[r.from:r.mid], c.mem.data[r.mid:r.to]
		return nil
	}
	k, err := binary.ReadUvarint(c.src)
	if err == io.EOF {
		return err
	}
	var v uint64
	if err == nil {
		v, err = binary.ReadUvarint(c.src)
	}
	if err == nil {
		c.buf = slices.Grow(c.buf[:0], int(k+v))[:k+v]
		_, err = io.ReadFull(c.src, c.buf)
	}
	if err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	c.key, c.row = c.buf[:k], c.buf[k:]
	return nil
}

type spoolHeap []*spoolCursor

func (h spoolHeap) Len() int           { return len(h) }
func (h spoolHeap) Less(i, j int) bool { return bytes.Compare(h[i].key, h[j].key) < 0 }
func (h spoolHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *spoolHeap) Push(x any)        { *h = append(*h, x.(*spoolCursor)) }
func (h *spoolHeap) Pop() any {
	old := *h
	c := old[len(old)-1]
	*h = old[:len(old)-1]
	return c
}
