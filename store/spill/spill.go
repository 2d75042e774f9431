// Package spill sorts more rows than memory holds: rows come in any order from
// any number of goroutines, and go shard by shard, in order.
//
//	Add → three buffers, one to fill → sorted runs in one file → Shard: merge
//
// While a buffer is being written the next one is filled; nothing is written
// while the rows fit two of them. What comes out depends on the set of rows
// alone, not on the memory or on who added them when (B1, B3), as long as no two
// rows of a shard compare equal.
package spill

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/tallystick/tallystick/store/files"
)

// ErrDisk says that the rows would take more disk than allowed.
var ErrDisk = errors.New("the spilled rows would pass the limit of --disk")

var errClosed = errors.New("spill: it is closed")

// Options of a Sorter.
type Options struct {
	// Path is a file of the sorter's own for what memory does not hold. It is there
	// from the first such row until Close; its directory must exist.
	Path   string
	Memory int   // bytes that rows may take, 192 KiB at least; one row fits in any case
	Disk   *Disk // what the file may take; nil = no limit
	// Compare orders the rows of a shard. It is called by several goroutines.
	Compare func(a, b []byte) int
	// Prefix returns what orders most rows by itself: where it differs it must order
	// as Compare does. Comparing rows waits for memory, comparing prefixes does not.
	// nil = Compare decides alone.
	Prefix func(row []byte) Prefix
	// Pool has the memory of sorters that were closed; nil = it is taken anew.
	Pool *Pool
}

// Prefix orders as its three numbers do, the first one first.
type Prefix [3]uint64

func (p *Prefix) compare(o *Prefix) int {
	for i := range p {
		if p[i] != o[i] {
			if p[i] < o[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// PrefixOf returns the first 24 bytes of b, for keys that compare as bytes do.
func PrefixOf(b []byte) Prefix {
	var first [24]byte
	copy(first[:], b)
	return Prefix{binary.BigEndian.Uint64(first[:]), binary.BigEndian.Uint64(first[8:]), binary.BigEndian.Uint64(first[16:])}
}

// buffers is how many share the memory: one is filled while one is written, and
// one is ready where both are slow in turn.
const buffers = 3

// minBuffer is the least size of a buffer, in bytes.
const minBuffer = 64 << 10

// Sorter is an external sort.
type Sorter struct {
	o Options

	mu      sync.Mutex
	idle    *sync.Cond // a buffer has been written
	cur     *buffer    // takes rows
	full    []*buffer
	free    []*buffer
	writing int // buffers that are in none of these
	file    files.File
	size    int64 // of the file, with what is being written
	runs    []run
	err     error // the first one; it stays

	sealing sync.Once // ends adding
	sealed  []*buffer // sorted, what stayed in memory
}

// New returns a sorter. It must be closed.
func New(o Options) *Sorter {
	if o.Prefix == nil {
		o.Prefix = func([]byte) Prefix { return Prefix{} }
	}
	s := &Sorter{o: o}
	s.idle = sync.NewCond(&s.mu)
	for range buffers {
		s.free = append(s.free, o.Pool.get(max(o.Memory/buffers, minBuffer)))
	}
	s.cur, s.free = s.free[0], s.free[1:]
	return s
}

// Add takes a row, of which it keeps nothing. It may be called by several
// goroutines at once, before the first call of Shard. Errors: ErrDisk, or those
// of the file; they stay.
func (s *Sorter) Add(shard int, row []byte) error {
	if len(row) > math.MaxInt32 {
		return fmt.Errorf("spill: a row of %d bytes is too large", len(row))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && !s.cur.fits(len(row)) {
		if len(s.free) == 0 { // whoever took the last one writes a full one
			s.idle.Wait()
			continue
		}
		s.full = append(s.full, s.cur)
		s.cur, s.free = s.free[0], s.free[1:]
		if len(s.free) == 0 {
			s.write()
		}
	}
	if s.err == nil {
		s.cur.add(shard, row, s.o.Prefix(row))
	}
	return s.err
}

// write writes a full buffer as a run and frees it. The lock, which is held
// before and after, is not held meanwhile.
func (s *Sorter) write() {
	b := s.full[0]
	s.full = s.full[1:]
	at, err := s.reserve(b.size)
	if err == nil {
		s.writing++
		s.mu.Unlock()
		b.sort(s.o.Compare)
		starts, e := b.write(s.file, at) // the file stays as it is until nothing is written any more
		s.mu.Lock()
		s.writing--
		s.runs, err = append(s.runs, run{starts}), e
	}
	b.clear()
	s.free = append(s.free, b)
	if s.err == nil {
		s.err = err
	}
	s.idle.Broadcast()
}

// reserve returns where in the file n bytes may be written.
func (s *Sorter) reserve(n int64) (at int64, err error) {
	if s.file == nil {
		if s.file, err = s.o.Disk.system().Create(s.o.Path); err != nil {
			return 0, fmt.Errorf("spill: %w", err)
		}
	}
	if err := s.o.Disk.Take(n); err != nil {
		return 0, err
	}
	at = s.size
	s.size += n
	return at, nil
}

// wait returns when nothing is being written.
func (s *Sorter) wait() {
	for s.writing > 0 {
		s.idle.Wait()
	}
}

// Spilled returns how many bytes have gone to the file.
func (s *Sorter) Spilled() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// Shard calls fn with the rows of one shard in order, until it fails or ctx
// ends, whose cause is returned then. A row is valid during the call only.
// Several shards may be read at once, each any number of times.
func (s *Sorter) Shard(ctx context.Context, shard int, fn func(row []byte) error) error {
	m, err := s.open(shard)
	if err != nil {
		return err
	}
	for n := 0; len(m.cursors) > 0; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := fn(m.cursors[0].row); err != nil {
			return err
		}
		if err := m.next(); err != nil {
			return err
		}
	}
	return nil
}

// open returns the merge of what there is of the shard.
func (s *Sorter) open(shard int) (*merge, error) {
	s.sealing.Do(s.seal)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	m := &merge{o: &s.o}
	for _, b := range s.sealed {
		m.cursors = append(m.cursors, &cursor{memory: b, index: b.shard(shard)})
	}
	// Many runs are read through small buffers, as all of them are read at once.
	size := min(1<<16, max(1<<12, s.o.Memory/(16*max(1, len(s.runs)))))
	for _, r := range s.runs {
		if src := r.shard(s.file, shard, size); src != nil {
			m.cursors = append(m.cursors, &cursor{src: src})
		}
	}
	return m, m.start()
}

// seal sorts what is in memory.
func (s *Sorter) seal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wait()
	if s.err != nil {
		return
	}
	s.sealed, s.full, s.cur = append(s.full, s.cur), nil, nil
	var wg sync.WaitGroup
	for _, b := range s.sealed {
		wg.Go(func() { b.sort(s.o.Compare) })
	}
	wg.Wait()
}

// Close gives up the rows and removes the file. No rows are added or read meanwhile
// or later. It may be called again.
func (s *Sorter) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wait()
	s.err = errClosed
	s.o.Pool.put(append(append(append(s.free, s.full...), s.sealed...), s.cur))
	s.cur, s.full, s.free, s.sealed = nil, nil, nil, nil
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Close(), s.o.Disk.system().Remove(s.o.Path))
	s.file = nil
	s.o.Disk.Give(s.size)
	if err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	return nil
}
