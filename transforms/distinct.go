package transforms

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/tallystick/tallystick/schemas"
)

// sketchSize is k: count_distinct keeps the k smallest hashes. Below k it is
// exact (V2).
const sketchSize = 1024

// HashBytes is the one hash of Tallystick: XXH64 with seed 0 over canonical
// bytes (V2). Shards and distinct counts depend on it.
func HashBytes(b []byte) uint64 { return xxhash.Sum64(b) }

// distinct keeps the sketchSize smallest hashes of the values seen, a pure
// function of the set.
type distinct struct{}

func (distinct) name() string { return "distinct" }

func (distinct) add(c *cell, v schemas.Value, _ *orderKey) {
	var buf [64]byte
	c.addHash(HashBytes(v.Append(buf[:0])))
}

func (c *cell) addHash(h uint64) {
	x := c.extra()
	i, found := slices.BinarySearch(x.hashes, h)
	if found || i == sketchSize {
		return
	}
	if len(x.hashes) == sketchSize {
		x.hashes = x.hashes[:sketchSize-1]
	}
	x.hashes = slices.Insert(x.hashes, i, h)
	c.n = int64(len(x.hashes))
}

func (distinct) merge(c, d *cell) {
	if d.n == 0 {
		return
	}
	x, y := c.extra(), d.x.hashes
	if len(x.hashes) == 0 {
		x.hashes = append(x.hashes, y...)
		c.n = d.n
		return
	}
	out := make([]uint64, 0, min(sketchSize, len(x.hashes)+len(y)))
	for i, j := 0, 0; len(out) < sketchSize && (i < len(x.hashes) || j < len(y)); {
		switch {
		case j == len(y) || i < len(x.hashes) && x.hashes[i] < y[j]:
			out = append(out, x.hashes[i])
			i++
		case i == len(x.hashes) || y[j] < x.hashes[i]:
			out = append(out, y[j])
			j++
		default:
			out = append(out, y[j])
			i, j = i+1, j+1
		}
	}
	x.hashes, c.n = out, int64(len(out))
}

func (distinct) append(dst []byte, c *cell) []byte {
	dst = binary.AppendUvarint(dst, uint64(c.n))
	if c.n == 0 {
		return dst
	}
	for _, h := range c.x.hashes {
		dst = binary.BigEndian.AppendUint64(dst, h)
	}
	return dst
}

func (distinct) parse(b []byte, c *cell) int {
	n, w := uvarint(b)
	if w == 0 || n > sketchSize || uint64(len(b)-w)/8 < n {
		return 0
	}
	c.n = int64(n)
	if n == 0 {
		return w
	}
	x := c.extra()
	x.hashes = x.hashes[:0]
	for range n {
		h := binary.BigEndian.Uint64(b[w:])
		if k := len(x.hashes); k > 0 && x.hashes[k-1] >= h {
			return 0
		}
		x.hashes = append(x.hashes, h)
		w += 8
	}
	return w
}

func (a distinct) fold(b []byte, cells []*cell, tmp *cell) int { return fold(a, b, cells, tmp) }

func (distinct) skip(b []byte) int {
	n, w := uvarint(b)
	return w + 8*int(n)
}

// estimate returns how many distinct values the cell has seen: the count below
// sketchSize; from there on, with h the k-th smallest hash, floor((k-1)·2^64/h),
// the usual k-minimum-values estimator (Bar-Yossef et al. 2002).
func (c *cell) estimate() (n int64, exact bool) {
	if c.n < sketchSize {
		return c.n, true
	}
	h := c.x.hashes[sketchSize-1]
	q, _ := bits.Div64(min(sketchSize-1, h-1), 0, h)
	return int64(min(q, 1<<63-1)), false
}
