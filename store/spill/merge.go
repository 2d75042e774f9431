package spill

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
)

// cursor stands at a row of a run or of a buffer.
type cursor struct {
	row    []byte
	prefix Prefix
	src    *bufio.Reader // nil = in memory
	sum    hash.Hash32   // of what src has read
	want   uint32
	copied []byte // from src
	memory *buffer
	index  []rowAt // the rows of memory that follow
}

// next goes to the next row; io.EOF: there is none.
func (c *cursor) next(prefix func(row []byte) Prefix) error {
	if c.src == nil {
		if len(c.index) == 0 {
			return io.EOF
		}
		c.row, c.prefix, c.index = c.memory.row(c.index[0]), c.index[0].prefix, c.index[1:]
		return nil
	}
	n, err := binary.ReadUvarint(c.src)
	if err == io.EOF {
		if c.sum.Sum32() != c.want {
			return &DamagedError{"a run has changed"}
		}
		return err
	}
	if err == nil && n > math.MaxInt32 {
		return &DamagedError{"a row does not fit its run"}
	}
	if err == nil {
		c.copied = slices.Grow(c.copied[:0], int(n))[:n]
		_, err = io.ReadFull(c.src, c.copied)
	}
	if err != nil {
		return fmt.Errorf("spill: a run is cut short: %w", err)
	}
	c.row, c.prefix = c.copied, prefix(c.copied)
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
	err := m.cursors[0].next(m.o.Prefix)
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
