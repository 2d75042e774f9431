// Package spill sorts more rows than memory holds: rows come in any order, and go in
// theirs.
//
//	Add → a buffer → sorted runs in one file → Each: merge
//
// Nothing is written while the rows fit the buffer. What comes out depends on the set
// of rows alone, not on the memory or on the order in which they came (B1, B3), as
// long as no two rows compare equal.
package spill

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/tallystick/tallystick/store/files"
)

// ErrDisk says that the rows would take more disk than allowed.
var ErrDisk = errors.New("the spilled rows would pass the limit of --disk")

var errClosed = errors.New("spill: it is closed")

// Options of a Sorter.
type Options struct {
	// Path is a file of the sorter's own for what memory does not hold. It is there
	// from the first such row until Close; its directory must exist.
	Path    string
	Memory  int                   // bytes that rows may take, 64 KiB at least; one row fits in any case
	Disk    *Disk                 // what the file may take; nil = no limit
	Compare func(a, b []byte) int // orders the rows
	// Prefix returns what orders most rows by itself: where it differs it must order
	// as Compare does. Comparing rows waits for memory, comparing prefixes does not.
	// nil = Compare decides alone.
	Prefix func(row []byte) Prefix
	// Group returns what rows have in common that are kept together, such as their entity,
	// as few of them are out of order. It orders rows first, as bytes compare; none is the
	// beginning of another; and the first 16 bytes of it, or zeros behind what is shorter,
	// are those of the prefix. nil = the first 16 bytes of the prefix are all of it.
	Group func(row []byte) []byte
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

// minBuffer is the least size of a buffer, in bytes.
const minBuffer = 64 << 10

// Sorter is an external sort. It is for one goroutine.
type Sorter struct {
	o      Options
	buffer *buffer
	sorted bool // so is the buffer, and all rows have been added
	file   files.File
	size   int64   // of the file
	runs   []int64 // where each begins in the file
	err    error   // the first one; it stays
}

// New returns a sorter. It must be closed.
func New(o Options) *Sorter {
	if o.Prefix == nil {
		o.Prefix = func([]byte) Prefix { return Prefix{} }
	}
	return &Sorter{o: o, buffer: o.Pool.get(max(o.Memory, minBuffer))}
}

// Add takes a row, of which it keeps nothing, before the first call of Each. Errors:
// ErrDisk, or those of the file; they stay.
func (s *Sorter) Add(row []byte) error {
	if len(row) > math.MaxInt32 {
		return fmt.Errorf("spill: a row of %d bytes is too large", len(row))
	}
	if s.err != nil {
		return s.err
	}
	if !s.buffer.add(row, &s.o) {
		if s.err = s.write(); s.err == nil {
			s.buffer.add(row, &s.o)
		}
	}
	return s.err
}

// write writes the buffer as a run and empties it.
func (s *Sorter) write() (err error) {
	if s.file == nil {
		if s.file, err = s.o.Disk.system().Create(s.o.Path); err != nil {
			return fmt.Errorf("spill: %w", err)
		}
	}
	n := pagesSize(s.buffer.size)
	if err := s.o.Disk.Take(n); err != nil {
		return err
	}
	s.runs, s.size = append(s.runs, s.size), s.size+n
	s.buffer.sortGroups(&s.o)
	err = s.buffer.write(s.file, s.size-n, &s.o)
	s.buffer.clear()
	return err
}

// Spilled returns how many bytes have gone to the file.
func (s *Sorter) Spilled() int64 { return s.size }

// Each calls fn with the rows in order, until it fails or ctx ends, whose cause is
// returned then. A row is valid during the call only. It may be called again, though not by
// fn.
func (s *Sorter) Each(ctx context.Context, fn func(row []byte) error) error {
	m, err := s.open()
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

// open returns the merge of what there is.
func (s *Sorter) open() (*merge, error) {
	if s.err != nil {
		return nil, s.err
	}
	if !s.sorted {
		s.buffer.sortGroups(&s.o)
		s.sorted = true
	}
	m := &merge{o: &s.o, cursors: []*cursor{{memory: &walk{b: s.buffer, o: &s.o}}}}
	for i, from := range s.runs {
		to := s.size
		if i+1 < len(s.runs) {
			to = s.runs[i+1]
		}
		m.cursors = append(m.cursors, &cursor{src: bufio.NewReaderSize(&pageReader{src: s.file, at: from, to: to}, pageSize)})
	}
	return m, m.start()
}

// Close gives up the rows and removes the file. It may be called again.
func (s *Sorter) Close() error {
	if s.err = errClosed; s.buffer != nil {
		s.o.Pool.put(s.buffer)
		s.buffer = nil
	}
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
