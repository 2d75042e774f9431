package transforms

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/tallystick/tallystick/schemas"
)

// A bucket of a histogram holds the numbers that share their sign, their power
// of two and the six bits of the mantissa below it: a relative width of at most
// 1/64, so that its middle is off by at most 1/128, 0.78 % (V2). Buckets are
// numbered in the order of their numbers, zero's is bucketOfZero.
const (
	bucketBits   = 6
	minExponent  = -1074 // of the least positive double
	maxExponent  = 1023
	bucketOfZero = (maxExponent-minExponent+1)<<bucketBits + 1
	bucketCount  = 2*bucketOfZero - 1 // buckets are 1 … bucketCount
)

type bucket struct {
	index int32
	n     int64
}

// bucketIndex returns the bucket of a finite number.
func bucketIndex(f float64) int32 {
	m, e, neg := decompose(f)
	if m == 0 {
		return bucketOfZero
	}
	top := bits.Len64(m) - 1 // f = ±m × 2^e with m odd
	exp := int32(top) + e
	if top >= bucketBits {
		m >>= uint(top - bucketBits)
	} else {
		m <<= uint(bucketBits - top)
	}
	i := (exp-minExponent)<<bucketBits + int32(m&(1<<bucketBits-1)) + 1
	if neg {
		i = -i
	}
	return bucketOfZero + i
}

// bucketMiddle returns the middle of a bucket, rounded to a double.
func bucketMiddle(index int32) float64 {
	i := index - bucketOfZero
	sign := 1.0
	switch {
	case i == 0:
		return 0
	case i < 0:
		i, sign = -i, -1
	}
	i--
	m := 1<<(bucketBits+1) + (i&(1<<bucketBits-1))<<1 + 1 // twice the mantissa and a half
	return sign * math.Ldexp(float64(m), int(i>>bucketBits)+minExponent-bucketBits-1)
}

// histogram keeps how many inputs fell into each bucket: for quantiles. It is a
// pure function of the set, so it merges exactly.
type histogram struct{}

func (histogram) name() string { return "histogram" }

func (histogram) add(c *cell, v schemas.Value, _ *orderKey) {
	f := 0.0
	if v.Kind() == schemas.Int {
		f = float64(v.Int())
	} else {
		f = v.Double()
	}
	c.n++
	c.fill(bucket{bucketIndex(f), 1})
}

func (c *cell) fill(b bucket) {
	x := c.extra()
	i, found := slices.BinarySearchFunc(x.buckets, b.index, func(b bucket, index int32) int { return int(b.index - index) })
	if found {
		x.buckets[i].n += b.n
		return
	}
	x.buckets = slices.Insert(x.buckets, i, b)
}

func (histogram) merge(c, d *cell) {
	if d.n == 0 {
		return
	}
	c.n += d.n
	for _, b := range d.x.buckets {
		c.fill(b)
	}
}

// append writes the number of buckets, and per bucket the distance to the one
// before and the count, all as unsigned varints.
func (histogram) append(dst []byte, c *cell) []byte {
	if c.n == 0 {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.x.buckets)))
	before := int32(0)
	for _, b := range c.x.buckets {
		dst = binary.AppendUvarint(dst, uint64(b.index-before))
		dst = binary.AppendUvarint(dst, uint64(b.n))
		before = b.index
	}
	return dst
}

func (histogram) parse(b []byte, c *cell) int {
	r := reader{b: b}
	n := r.count(2)
	x := c.extra()
	c.n, x.buckets = 0, x.buckets[:0]
	before := uint64(0)
	for range n {
		d, count := r.uvarint(), r.uvarint()
		if d == 0 || d > bucketCount-before || count == 0 || count > uint64(math.MaxInt64-c.n) {
			return 0
		}
		before += d
		c.n += int64(count)
		x.buckets = append(x.buckets, bucket{int32(before), int64(count)})
	}
	if r.bad {
		return 0
	}
	return len(b) - len(r.b)
}

func (a histogram) fold(b []byte, cells []*cell, tmp *cell) int { return fold(a, b, cells, tmp) }

func (histogram) skip(b []byte) int {
	n, w := uvarint(b)
	for range 2 * n {
		_, l := uvarint(b[w:])
		w += l
	}
	return w
}

// quantile returns the middle of the bucket of the value with rank
// ceil(n·q/QuantileUnit), at least 1: the nearest-rank quantile (the inverse of
// the distribution function), within 0.8 % of it.
func (c *cell) quantile(q int) float64 {
	hi, lo := bits.Mul64(uint64(c.n), uint64(q))
	rank, rest := bits.Div64(hi, lo, QuantileUnit)
	if rest > 0 || rank == 0 {
		rank++
	}
	list := c.x.buckets
	i := 0
	for seen := uint64(list[0].n); seen < rank; seen += uint64(list[i].n) {
		i++
	}
	return bucketMiddle(list[i].index)
}
