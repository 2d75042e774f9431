package spill

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
)

// cursor stands at a row of a run or of a buffer.
type cursor struct {
	row    []byte
	prefix Prefix
	memory *walk         // nil = a run
	src    *bufio.Reader // of a run
	large  []byte        // a row that does not fit src
	taken  int           // bytes of src that row takes
}

// next goes to the next row; io.EOF: there is none. prefix may be nil.
func (c *cursor) next(prefix func(row []byte) Prefix) (err error) {
	if c.memory != nil {
		c.row, err = c.memory.next()
	} else {
		c.row, err = c.read()
	}
	if err == nil && prefix != nil {
		c.prefix = prefix(c.row)
	}
	return err
}

// read returns the next row of a run.
func (c *cursor) read() ([]byte, error) {
	c.src.Discard(c.taken) // it was peeked at
	c.taken = 0
	head, err := c.src.Peek(binary.MaxVarintLen32)
	if len(head) == 0 && err == io.EOF {
		return nil, err
	}
	if err != nil && err != io.EOF { // the last row may be shorter
		return nil, fmt.Errorf("spill: %w", err)
	}
	n, k := binary.Uvarint(head)
	if k <= 0 || n > math.MaxInt32 {
		return nil, &DamagedError{"a row does not fit its run"}
	}
	if k+int(n) <= c.src.Size() {
		row, err := c.src.Peek(k + int(n))
		if err != nil {
			return nil, fmt.Errorf("spill: %w", err)
		}
		c.taken = len(row)
		return row[k:], nil
	}
	c.src.Discard(k)
	c.large = slices.Grow(c.large[:0], int(n))[:n]
	if _, err := io.ReadFull(c.src, c.large); err != nil {
		return nil, fmt.Errorf("spill: %w", err)
	}
	return c.large, nil
}

// walk goes through the rows of a buffer whose groups are sorted, in their order.
type walk struct {
	b     *buffer
	o     *Options
	group int     // the one that follows
	of    *group  // the one before it; nil = none
	piece place   // of its pieces, the one that rest is of
	rest  []byte  // rows of the piece
	index []rowAt // the rest of a group that is out of order
}

// next returns the next row; io.EOF: there is none.
func (w *walk) next() ([]byte, error) {
	for len(w.rest) == 0 {
		if len(w.index) > 0 {
			row := w.b.row(&w.index[0])
			w.index = w.index[1:]
			return row, nil
		}
		if err := w.forth(); err != nil {
			return nil, err
		}
	}
	n, k := binary.Uvarint(w.rest)
	row := w.rest[k : k+int(n)]
	w.rest = w.rest[k+int(n):]
	return row, nil
}

// forth goes to the next piece or group.
func (w *walk) forth() error {
	if w.of != nil && !w.of.disorder && w.piece != w.of.piece {
		w.piece = w.b.after(w.piece)
		w.rest = w.b.in(w.of, w.piece)
		return nil
	}
	if w.group == len(w.b.groups.list) {
		return io.EOF
	}
	w.of = &w.b.groups.list[w.group]
	w.group++
	if w.of.disorder {
		w.index = w.b.sorted(w.of, w.o)
		return nil
	}
	w.piece = w.of.first
	w.rest = w.b.in(w.of, w.piece)
	return nil
}

// merge is a heap of cursors, the least row first.
type merge struct {
	o       *Options
	cursors []*cursor
}

func (m *merge) less(a, b *cursor) bool {
	c := a.prefix.compare(&b.prefix)
	return c < 0 || c == 0 && m.o.Compare(a.row, b.row) < 0
}

// start brings the cursors to their first rows and into order.
func (m *merge) start() error {
	var begun []*cursor
	for _, c := range m.cursors {
		switch err := c.next(m.o.Prefix); err {
		case nil:
			begun = append(begun, c)
		case io.EOF:
		default:
			return err
		}
	}
	m.cursors = begun
	for i := len(begun)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
	return nil
}

// next goes past the least row.
func (m *merge) next() error {
	prefix := m.o.Prefix
	if len(m.cursors) == 1 { // nothing is compared
		prefix = nil
	}
	err := m.cursors[0].next(prefix)
	if err == io.EOF {
		last := len(m.cursors) - 1
		m.cursors[0] = m.cursors[last]
		m.cursors, err = m.cursors[:last], nil
	}
	m.sink(0)
	return err
}

// sink restores the order where the cursor at i may be too high.
func (m *merge) sink(i int) {
	c := m.cursors
	for {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(c) && m.less(c[child], c[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		c[i], c[least] = c[least], c[i]
		i = least
	}
}
