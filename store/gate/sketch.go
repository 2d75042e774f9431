package gate

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// A bucket holds the numbers that share their sign, their power of two and the
// four bits of the mantissa below it, as that of the `quantile` aggregate with its
// six: its middle is off by at most 1/32, 3.1 %. Magnitudes below 2^minPower count
// as zero, those from 2^maxPower on as the last bucket: the extremes are kept apart.
const (
	bucketBits = 4
	minPower   = -60
	maxPower   = 64
	pages      = 2*(maxPower-minPower) + 1 // a page is one power of two of one sign
	zeroPage   = maxPower - minPower
	pageSize   = 1 << bucketBits
)

// sketch counts numbers by bucket, in the pages that are in use: at most 32 kB.
type sketch struct {
	index [pages]uint8 // page+1 in counts; 0 = none
	page  [][pageSize]int64
	n     int64
}

// bucketOf returns the page and the place in it of a finite number.
func bucketOf(f float64) (page, slot int) {
	b := math.Float64bits(f)
	power := int(b>>52&0x7ff) - 1023
	slot = int(b >> (52 - bucketBits) & (pageSize - 1))
	switch {
	case power < minPower:
		return zeroPage, 0
	case power >= maxPower:
		power, slot = maxPower-1, pageSize-1
	}
	if b>>63 == 1 { // descending: a bucket farther from zero comes earlier
		return zeroPage - 1 - (power - minPower), pageSize - 1 - slot
	}
	return zeroPage + 1 + power - minPower, slot
}

// middle returns the middle of a bucket.
func middle(page, slot int) float64 {
	switch {
	case page == zeroPage:
		return 0
	case page < zeroPage:
		return -middle(2*zeroPage-page, pageSize-1-slot)
	}
	return math.Ldexp(1+(float64(slot)+0.5)/pageSize, page-zeroPage-1+minPower)
}

func (s *sketch) add(f float64) {
	p, slot := bucketOf(f)
	s.at(p)[slot]++
	s.n++
}

// at returns a page, new when it is not in use.
func (s *sketch) at(p int) *[pageSize]int64 {
	i := s.index[p]
	if i == 0 {
		s.page = append(s.page, [pageSize]int64{})
		i = uint8(len(s.page))
		s.index[p] = i
	}
	return &s.page[i-1]
}

func (s *sketch) merge(o *sketch) {
	s.n += o.n
	for p, i := range o.index {
		if i == 0 {
			continue
		}
		to := s.at(p)
		for slot, n := range o.page[i-1] {
			to[slot] += n
		}
	}
}

// each calls fn with the buckets in use, ascending, until it returns false.
func (s *sketch) each(fn func(page, slot int, n int64) bool) {
	for p, i := range s.index {
		if i == 0 {
			continue
		}
		for slot, n := range s.page[i-1] {
			if n > 0 && !fn(p, slot, n) {
				return
			}
		}
	}
}

// quantile returns the middle of the bucket of the number with rank ceil(n·perMille/1000),
// at least 1.
func (s *sketch) quantile(perMille uint64) (at float64) {
	hi, lo := bits.Mul64(uint64(s.n), perMille)
	rank, rest := bits.Div64(hi, lo, 1000)
	if rest > 0 || rank == 0 {
		rank++
	}
	var seen uint64
	s.each(func(page, slot int, n int64) bool {
		seen += uint64(n)
		at = middle(page, slot)
		return seen < rank
	})
	return at
}

// mean is of the buckets' middles, summed from the least on: a function of the set.
func (s *sketch) mean() float64 {
	sum := 0.0
	s.each(func(page, slot int, n int64) bool {
		sum += float64(middle(page, slot) / float64(s.n) * float64(n))
		return true
	})
	return sum
}

// append writes the number of buckets in use, and per bucket the distance to the
// one before and the count, all as unsigned varints.
func (s *sketch) append(dst []byte) []byte {
	used := uint64(0)
	s.each(func(int, int, int64) bool { used++; return true })
	dst = binary.AppendUvarint(dst, used)
	before := 0
	s.each(func(page, slot int, n int64) bool {
		at := page*pageSize + slot + 1
		dst = binary.AppendUvarint(dst, uint64(at-before))
		dst = binary.AppendUvarint(dst, uint64(n))
		before = at
		return true
	})
	return dst
}

func (s *sketch) parse(r *reader) {
	used, before := r.uvarint(), uint64(0)
	for range used {
		d, n := r.uvarint(), r.uvarint()
		page := (before + d - 1) / pageSize
		if d == 0 || d > pages*pageSize-before || n == 0 || n > uint64(maxCount-s.n) || page == zeroPage && (before+d-1)%pageSize != 0 {
			r.bad = true
		}
		if r.bad {
			return
		}
		before += d
		s.at(int(page))[(before-1)%pageSize] = int64(n)
		s.n += int64(n)
	}
}

// distinctSize is k of the k smallest hashes: exact below, within some 6 % from
// there on.
const distinctSize = 256

// distinct keeps the least hashes seen, ascending.
type distinct []uint64

func (d *distinct) add(h uint64) {
	s := *d
	if len(s) == distinctSize && h >= s[distinctSize-1] {
		return
	}
	i, found := slices.BinarySearch(s, h)
	if found {
		return
	}
	if len(s) == distinctSize {
		s = s[:distinctSize-1]
	}
	*d = slices.Insert(s, i, h)
}

// estimate is that of count_distinct: below k what there is, from there on
// floor((k-1)·2^64/h) with h the k-th smallest hash.
func (d distinct) estimate() int64 {
	if len(d) < distinctSize {
		return int64(len(d))
	}
	h := d[distinctSize-1]
	q, _ := bits.Div64(min(distinctSize-1, h-1), 0, h)
	return int64(min(q, maxCount))
}

func (d distinct) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(d)))
	for _, h := range d {
		dst = binary.BigEndian.AppendUint64(dst, h)
	}
	return dst
}

func (d *distinct) parse(r *reader) {
	n := r.uvarint()
	if n > distinctSize || n*8 > uint64(len(r.b)) {
		r.bad = true
		return
	}
	for range n {
		h := binary.BigEndian.Uint64(r.b)
		if k := len(*d); k > 0 && (*d)[k-1] >= h {
			r.bad = true
			return
		}
		*d, r.b = append(*d, h), r.b[8:]
	}
}
