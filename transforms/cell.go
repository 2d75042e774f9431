package transforms

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/tallystick/tallystick/schemas"
)

// cell is one partial aggregate of a tile: what one (aggregation, input,
// filter) has seen. Which fields mean something depends on its aggregator. The
// zero cell has seen nothing. Text in a cell aliases what it was read from.
type cell struct {
	n   int64 // inputs added that were not null
	sum exactSum
	x   *cellExtra // for aggregates that need more, else nil
}

// cellExtra is the part of a cell that most aggregates do without.
type cellExtra struct {
	squares exactSum
	held    ranked
	hashes  []uint64 // ascending
	list    []ranked // ascending by order
	buckets []bucket // ascending by index
}

func (c *cell) extra() *cellExtra {
	if c.x == nil {
		c.x = &cellExtra{}
	}
	return c.x
}

// reset empties the cell for reuse.
func (c *cell) reset() {
	x := c.x
	*c = cell{}
	if x != nil {
		*x = cellExtra{hashes: x.hashes[:0], list: x.list[:0], buckets: x.buckets[:0]}
		c.x = x
	}
}

// aggregator is one row of the table of partial aggregates. Add and merge are
// exact, associative and commutative (V2); append writes canonical bytes; parse
// returns the length it took, 0 for anything that append would not write, and
// overwrites all that the other methods look at. Fold merges what sound bytes
// hold into each of cells, which are at least one; tmp is working memory.
type aggregator interface {
	name() string // part of the order of cells, and so of the state format
	add(c *cell, v schemas.Value, at *orderKey)
	merge(c, d *cell)
	append(dst []byte, c *cell) []byte
	parse(b []byte, c *cell) int
	skip(b []byte) int // the length of what parse would read from sound bytes
	fold(b []byte, cells []*cell, tmp *cell) int
}

// fold is aggregator.fold in terms of the other methods.
func fold[A aggregator](a A, b []byte, cells []*cell, tmp *cell) int {
	w := a.parse(b, tmp)
	for _, c := range cells {
		a.merge(c, tmp)
	}
	return w
}

// partial returns the aggregator that keeps what a feature over inputs of kind
// k, picked by inputs of kind by, needs. Features that need the same share it:
// mean reads a sum.
func (f *Feature) partial(k, by schemas.Kind) aggregator {
	switch f.Aggregation {
	case Count:
		return counts{}
	case Sum, Mean:
		return sums{double: k == schemas.Double}
	case VarPop, VarSamp, StddevPop, StddevSamp:
		return moments{double: k == schemas.Double}
	case Min:
		return extremes{kind: k, sign: 1}
	case Max:
		return extremes{kind: k, sign: -1}
	case First, MinBy:
		return ordered{kind: k, by: by}
	case Last, MaxBy:
		return ordered{kind: k, by: by, last: true}
	case FirstK, LastK:
		return series{kind: k, k: f.K, last: f.Aggregation == LastK}
	case Quantile:
		return histogram{}
	}
	return distinct{}
}

// counts counts.
type counts struct{}

func (counts) name() string { return "counts" }

func (counts) add(c *cell, _ schemas.Value, _ *orderKey) { c.n++ }
func (counts) merge(c, d *cell)                          { c.n += d.n }
func (counts) append(dst []byte, c *cell) []byte         { return binary.AppendUvarint(dst, uint64(c.n)) }
func (counts) parse(b []byte, c *cell) int {
	n, w := uvarint(b)
	c.n = int64(n)
	if n > math.MaxInt64 {
		return 0
	}
	return w
}

func (counts) skip(b []byte) int {
	_, w := uvarint(b)
	return w
}

func (a counts) fold(b []byte, cells []*cell, _ *cell) int {
	n, w := uvarint(b)
	for _, c := range cells {
		c.n += int64(n)
	}
	return w
}

// sums keeps n and Σx.
type sums struct{ double bool }

func (sums) name() string { return "sums" }

func (a sums) add(c *cell, v schemas.Value, _ *orderKey) {
	c.n++
	if a.double {
		c.sum.addDouble(v.Double())
	} else {
		c.sum.addInt(v.Int())
	}
}

func (sums) merge(c, d *cell) {
	c.n += d.n
	c.sum.merge(&d.sum)
}

func (sums) append(dst []byte, c *cell) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.n))
	if c.n == 0 {
		return dst
	}
	return c.sum.append(dst)
}

func (a sums) parse(b []byte, c *cell) int {
	w := counts{}.parse(b, c)
	if c.n == 0 || w == 0 {
		c.sum = exactSum{}
		return w
	}
	n := c.sum.parse(b[w:])
	if n == 0 || !a.double && !c.sum.isZero() && c.sum.exp < 0 {
		return 0
	}
	return w + n
}

func (sums) skip(b []byte) int {
	n, w := uvarint(b)
	if n == 0 {
		return w
	}
	return w + skipSum(b[w:])
}

// fold is most of what a read does: it adds the bytes up as they stand.
func (a sums) fold(b []byte, cells []*cell, tmp *cell) int {
	n, w := uvarint(b)
	if n == 0 {
		return w
	}
	hi, lo, exp, w2 := loadSum(b[w:])
	if w2 == 0 {
		return fold(a, b, cells, tmp)
	}
	for _, c := range cells {
		c.n += int64(n)
		c.sum.add128(hi, lo, exp)
	}
	return w + w2
}

// moments keeps n, Σx and Σx².
type moments struct{ double bool }

func (moments) name() string { return "moments" }

func (a moments) add(c *cell, v schemas.Value, at *orderKey) {
	sums(a).add(c, v, at)
	if a.double {
		m, e, _ := decompose(v.Double())
		c.extra().squares.addSquare(m, e)
		return
	}
	i := v.Int()
	m := uint64(i)
	if i < 0 {
		m = -m
	}
	c.extra().squares.addSquare(m, 0)
}

func (a moments) merge(c, d *cell) {
	if d.n == 0 {
		return
	}
	sums(a).merge(c, d)
	c.extra().squares.merge(&d.x.squares)
}

func (a moments) append(dst []byte, c *cell) []byte {
	dst = sums(a).append(dst, c)
	if c.n == 0 {
		return dst
	}
	return c.x.squares.append(dst)
}

func (a moments) parse(b []byte, c *cell) int {
	w := sums(a).parse(b, c)
	if c.n == 0 || w == 0 {
		return w
	}
	n := c.extra().squares.parse(b[w:])
	q := &c.x.squares
	if n == 0 || q.big == nil && q.hi < 0 || q.big != nil && q.big.Sign() < 0 || !a.double && !q.isZero() && q.exp < 0 {
		return 0
	}
	return w + n
}

func (a moments) fold(b []byte, cells []*cell, tmp *cell) int { return fold(a, b, cells, tmp) }

func (moments) skip(b []byte) int {
	n, w := uvarint(b)
	if n == 0 {
		return w
	}
	w += skipSum(b[w:])
	return w + skipSum(b[w:])
}

// extremes keeps the least (sign 1) or greatest (sign -1) value. n is 1 once
// there is one, so that equal sets give equal bytes.
type extremes struct {
	kind schemas.Kind
	sign int
}

func (extremes) name() string { return "extremes" }

func (a extremes) add(c *cell, v schemas.Value, _ *orderKey) {
	switch {
	case a.kind == schemas.String || a.kind == schemas.Bytes:
		if x := c.extra(); c.n == 0 || v.Compare(x.held.value)*a.sign < 0 {
			x.held.value = v
		}
	case c.n == 0 || v.Compare(a.value(c))*a.sign < 0:
		c.sum.lo = scalarBits(v)
	}
	c.n = 1
}

func (a extremes) value(c *cell) schemas.Value {
	if a.kind == schemas.String || a.kind == schemas.Bytes {
		return c.x.held.value
	}
	return scalarValue(a.kind, c.sum.lo)
}

func (a extremes) merge(c, d *cell) {
	if d.n != 0 {
		a.add(c, a.value(d), nil)
	}
}

func (a extremes) append(dst []byte, c *cell) []byte {
	dst = append(dst, byte(c.n))
	if c.n == 0 {
		return dst
	}
	return appendScalar(dst, a.value(c))
}

func (a extremes) parse(b []byte, c *cell) int {
	if len(b) == 0 || b[0] > 1 {
		return 0
	}
	c.n = int64(b[0])
	if c.n == 0 {
		return 1
	}
	v, w := parseScalar(b[1:], a.kind)
	if w == 0 {
		return 0
	}
	if a.kind == schemas.String || a.kind == schemas.Bytes {
		c.extra().held.value = v
	} else {
		c.sum.lo = scalarBits(v)
	}
	return 1 + w
}

func (a extremes) fold(b []byte, cells []*cell, tmp *cell) int { return fold(a, b, cells, tmp) }

func (a extremes) skip(b []byte) int {
	if b[0] == 0 {
		return 1
	}
	return 1 + skipScalar(b[1:], a.kind)
}

// keep returns v with text of its own: that of a cell aliases what it was read from.
func keep(v schemas.Value) schemas.Value {
	switch v.Kind() {
	case schemas.String:
		return schemas.StringValue(strings.Clone(v.Text()))
	case schemas.Bytes:
		return schemas.BytesValue(strings.Clone(v.Text()))
	}
	return v
}
