package offline

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// cursor stands at a row of one file.
type cursor struct {
	file  *DataFile
	rows  *Rows // of an open file
	blob  Blob
	part  int32
	least int // no row of the file is of an earlier shard
	shard int
	order int    // of the file: ties keep it
	key   []byte // orders rows within a shard
	row   []schemas.Value
}

func (c *cursor) next(place func(*cursor, []schemas.Value)) error {
	row, err := c.rows.Next()
	if err == nil {
		c.row, c.key = row, c.key[:0]
		place(c, row)
	}
	return err
}

func (c *cursor) close() { errors.Join(c.rows.Close(), c.blob.Close()) }

// merger brings the rows of files into one order. It holds those open that may have the
// next row: of features the files of one shard, of other tables all, as each may have rows
// of any shard.
type merger struct {
	p       *Published
	name    TableName
	columns []string
	place   func(*cursor, []schemas.Value) // sets shard and key
	waiting []*cursor                      // not open, by least
	open    cursorHeap
}

// merge calls fn with the rows of the chosen files, in order, until it returns
// false; with an error at most once.
func (p *Published) merge(ctx context.Context, name TableName, sel Select, columns []string, place func(*cursor, []schemas.Value), fn func(*cursor, error) bool) {
	m := &merger{p: p, name: name, columns: columns, place: place}
	defer func() {
		for _, c := range m.open {
			c.close()
		}
	}()
	err := m.choose(&sel)
	for ; err == nil; err = m.next() {
		if err = m.begin(ctx); err != nil || len(m.open) == 0 {
			break
		}
		if !fn(m.open[0], nil) {
			return
		}
	}
	if err != nil {
		fn(nil, err)
	}
}

func (m *merger) choose(sel *Select) error {
	files := m.p.snaps[m.name].Files
	for i := range files {
		part, ok, err := sel.file(m.name, &files[i], m.p.t.layout[m.name])
		if err != nil {
			return m.failed(&files[i], err)
		}
		if !ok {
			continue
		}
		c := &cursor{file: &files[i], part: part, least: math.MinInt, order: i}
		if m.name == Features {
			c.least = int(part)
		}
		m.waiting = append(m.waiting, c)
	}
	slices.SortStableFunc(m.waiting, func(a, b *cursor) int { return cmp.Compare(a.least, b.least) })
	return nil
}

// begin opens the files whose turn has come.
func (m *merger) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for len(m.waiting) > 0 && (len(m.open) == 0 || m.waiting[0].least <= m.open[0].shard) {
		c := m.waiting[0]
		m.waiting = m.waiting[1:]
		if err := m.read(ctx, c); err != nil {
			return m.failed(c.file, err)
		}
		switch err := c.next(m.place); err {
		case nil:
			heap.Push(&m.open, c)
		case io.EOF:
			c.close()
		default:
			c.close()
			return m.failed(c.file, err)
		}
	}
	return nil
}

// next goes on to the row after the first.
func (m *merger) next() error {
	switch err := m.open[0].next(m.place); err {
	case nil:
		heap.Fix(&m.open, 0)
	case io.EOF:
		heap.Pop(&m.open).(*cursor).close()
	default:
		return fmt.Errorf("table %s: %w", m.p.t.tables[m.name].name, lost(err))
	}
	return nil
}

// failed names the file, which not all errors do.
func (m *merger) failed(f *DataFile, err error) error {
	return fmt.Errorf("table %s, file %s: %w", m.p.t.tables[m.name].name, f.Path, lost(err))
}

func (m *merger) read(ctx context.Context, c *cursor) error {
	b, err := m.p.t.tables[m.name].store.Open(ctx, c.file.Path)
	if err != nil {
		return err
	}
	if b.Size() != c.file.Size {
		err = fmt.Errorf("it has %d bytes, the log says %d: %w", b.Size(), c.file.Size, errDamaged)
	}
	if err == nil {
		c.rows, err = NewRows(b, b.Size(), c.file.Path, m.columns...)
	}
	if err != nil {
		b.Close()
		return err
	}
	c.blob = b
	return nil
}

type cursorHeap []*cursor

func (h cursorHeap) Len() int      { return len(h) }
func (h cursorHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *cursorHeap) Push(x any)   { *h = append(*h, x.(*cursor)) }
func (h cursorHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.shard != b.shard {
		return a.shard < b.shard
	}
	if c := bytes.Compare(a.key, b.key); c != 0 {
		return c < 0
	}
	return a.order < b.order
}

func (h *cursorHeap) Pop() any {
	old := *h
	c := old[len(old)-1]
	*h = slices.Delete(old, len(old)-1, len(old))
	return c
}
