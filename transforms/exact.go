package transforms

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
)

// exactSum is an exact sum of integers or doubles: m × 2^exp, with m a signed
// 128-bit integer held inline, or big when it does not fit (V2). The same sum
// may be held with different m and exp; only its canonical encoding, an odd
// integer × 2^e, is compared.
type exactSum struct {
	hi  int64
	lo  uint64
	exp int32
	big *big.Int // not nil: the mantissa, and hi, lo mean nothing
}

func (s *exactSum) isZero() bool { return s.big == nil && s.hi == 0 && s.lo == 0 }

// addInt adds an integer.
func (s *exactSum) addInt(x int64) { s.add128(x>>63, uint64(x), 0) }

// addDouble adds a finite double.
func (s *exactSum) addDouble(f float64) {
	m, e, neg := decompose(f)
	if m == 0 {
		return
	}
	if neg {
		s.add128(-1, -m, e)
	} else {
		s.add128(0, m, e)
	}
}

// addSquare adds the square of a number of the form that decompose gives.
func (s *exactSum) addSquare(m uint64, e int32) {
	hi, lo := bits.Mul64(m, m)
	s.add128(int64(hi), lo, 2*e)
}

// decompose splits a finite double into an odd integer (or 0), a power of two
// and a sign.
func decompose(f float64) (m uint64, e int32, neg bool) {
	b := math.Float64bits(f)
	m, e, neg = b&(1<<52-1), int32(b>>52&0x7ff), b>>63 != 0
	if e == 0 {
		e = 1
	} else {
		m |= 1 << 52
	}
	if m == 0 {
		return 0, 0, neg
	}
	tz := bits.TrailingZeros64(m)
	return m >> tz, e - 1075 + int32(tz), neg
}

// add128 adds (hi:lo) × 2^exp.
func (s *exactSum) add128(hi int64, lo uint64, exp int32) {
	if s.big != nil {
		s.addBig(int128ToBig(hi, lo), exp)
		return
	}
	if s.hi == 0 && s.lo == 0 {
		s.hi, s.lo, s.exp = hi, lo, exp
		return
	}
	if hi == 0 && lo == 0 {
		return
	}
	ahi, alo, aexp := s.hi, s.lo, s.exp
	switch d := exp - aexp; {
	case d > 0:
		if int(d) > headroom(hi, lo) {
			s.addBig(int128ToBig(hi, lo), exp)
			return
		}
		hi, lo = shl128(hi, lo, uint(d))
	case d < 0:
		if int(-d) > headroom(ahi, alo) {
			s.addBig(int128ToBig(hi, lo), exp)
			return
		}
		ahi, alo = shl128(ahi, alo, uint(-d))
		aexp = exp
	}
	rlo, carry := bits.Add64(alo, lo, 0)
	rhi := ahi + hi + int64(carry)
	if (ahi^rhi)&(hi^rhi) < 0 { // both addends differ in sign from the result
		s.addBig(int128ToBig(hi, lo), aexp)
		return
	}
	s.hi, s.lo, s.exp = rhi, rlo, aexp
}

// merge adds another sum.
func (s *exactSum) merge(o *exactSum) {
	if o.big != nil {
		s.addBig(o.big, o.exp)
		return
	}
	s.add128(o.hi, o.lo, o.exp)
}

// addBig is the slow path: m × 2^exp is added with as many bits as needed, and
// the sum goes back inline when it fits.
func (s *exactSum) addBig(m *big.Int, exp int32) {
	a, aexp := s.mantissa()
	low := min(aexp, exp)
	r := new(big.Int).Lsh(a, uint(aexp-low))
	r.Add(r, new(big.Int).Lsh(m, uint(exp-low)))
	s.setBig(r, low)
}

// mantissa returns the mantissa as a big integer, not to be changed, and the exponent.
func (s *exactSum) mantissa() (*big.Int, int32) {
	if s.big != nil {
		return s.big, s.exp
	}
	return int128ToBig(s.hi, s.lo), s.exp
}

func (s *exactSum) setBig(r *big.Int, exp int32) {
	if r.Sign() == 0 {
		*s = exactSum{}
		return
	}
	if tz := r.TrailingZeroBits(); tz > 0 {
		r = new(big.Int).Rsh(r, tz)
		exp += int32(tz)
	}
	if r.BitLen() <= 126 {
		var b [16]byte
		new(big.Int).Abs(r).FillBytes(b[:])
		hi, lo := int64(binary.BigEndian.Uint64(b[:8])), binary.BigEndian.Uint64(b[8:])
		if r.Sign() < 0 {
			hi, lo = neg128(hi, lo)
		}
		*s = exactSum{hi: hi, lo: lo, exp: exp}
		return
	}
	*s = exactSum{exp: exp, big: r}
}

// double rounds the sum to the nearest double, ties to even; false when it
// lies beyond the finite ones.
func (s *exactSum) double() (float64, bool) { return s.quotient(1) }

// quotient returns the sum divided by n > 0, rounded once; false when the
// result is not finite.
func (s *exactSum) quotient(n int64) (float64, bool) {
	if s.isZero() {
		return 0, true
	}
	if s.big == nil {
		neg, hi, lo := mag128(s.hi, s.lo)
		if n == 1 {
			if f, ok := roundMag(hi, lo, false, s.exp, neg); ok {
				return f, true
			}
		} else {
			k := uint(bits.LeadingZeros64(hi))
			if hi == 0 {
				k = 64 + uint(bits.LeadingZeros64(lo))
			}
			shi, slo := shl128(int64(hi), lo, k)
			q1, r := uint64(shi)/uint64(n), uint64(shi)%uint64(n)
			q0, r := bits.Div64(r, slo, uint64(n))
			if f, ok := roundMag(q1, q0, r != 0, s.exp-int32(k), neg); ok {
				return f, true
			}
		}
	}
	m, e := s.mantissa()
	return ratio(m, big.NewInt(n), e)
}

// ratio returns num × 2^e / den, rounded once; false when not finite.
func ratio(num, den *big.Int, e int32) (float64, bool) {
	if e > 0 {
		num = new(big.Int).Lsh(num, uint(e))
	} else if e < 0 {
		den = new(big.Int).Lsh(den, uint(-e))
	}
	f, _ := new(big.Rat).SetFrac(num, den).Float64()
	if math.IsInf(f, 0) {
		return 0, false
	}
	return f + 0, true
}

// roundMag rounds (hi:lo) × 2^exp, plus a little when sticky, to the nearest
// double, ties to even. It leaves results outside the normal range to the
// caller's slow path.
func roundMag(hi, lo uint64, sticky bool, exp int32, neg bool) (float64, bool) {
	n := bits.Len64(hi) + 64
	if hi == 0 {
		n = bits.Len64(lo)
	}
	top := int(exp) + n // value in [2^(top-1), 2^top)
	if top > 1023 || top < -1021 || n == 0 {
		return 0, false
	}
	var m uint64
	if n <= 53 {
		if sticky {
			return 0, false
		}
		m = lo
	} else {
		drop := uint(n - 53)
		m = shr128(hi, lo, drop)
		restHi, restLo := mask128(hi, lo, drop)
		half := cmpHalf(restHi, restLo, drop)
		if half > 0 || half == 0 && (sticky || m&1 == 1) {
			m++
		}
		exp += int32(drop)
	}
	f := math.Ldexp(float64(m), int(exp))
	if math.IsInf(f, 0) {
		return 0, false
	}
	if neg {
		f = -f
	}
	return f, true
}

// int64 returns the sum of integers, false when outside int64.
func (s *exactSum) int64() (int64, bool) {
	if s.isZero() {
		return 0, true
	}
	m, e := s.mantissa()
	if e < 0 || e > 63 {
		return 0, false
	}
	r := new(big.Int).Lsh(m, uint(e))
	return r.Int64(), r.IsInt64()
}

// variance returns (n Σx² − (Σx)²) / (n·div), rounded once.
func variance(sum, squares *exactSum, n, div int64) (float64, bool) {
	a, ae := sum.mantissa()
	q, qe := squares.mantissa()
	num := new(big.Int).Mul(q, big.NewInt(n))
	sq := new(big.Int).Mul(a, a)
	low := min(qe, 2*ae)
	num.Lsh(num, uint(qe-low)).Sub(num, sq.Lsh(sq, uint(2*ae-low)))
	return ratio(num, new(big.Int).Mul(big.NewInt(n), big.NewInt(div)), low)
}

// append appends the canonical encoding: an unsigned varint of twice the
// number of mantissa bytes plus the sign, then, unless zero, the exponent as a
// signed varint and the odd mantissa's magnitude, little-endian.
func (s *exactSum) append(dst []byte) []byte {
	if s.isZero() {
		return append(dst, 0)
	}
	if s.big != nil { // setBig keeps it odd
		b := s.big.Bytes()
		h := uint64(len(b)) << 1
		if s.big.Sign() < 0 {
			h |= 1
		}
		dst = binary.AppendUvarint(dst, h)
		dst = binary.AppendVarint(dst, int64(s.exp))
		for i := len(b) - 1; i >= 0; i-- {
			dst = append(dst, b[i])
		}
		return dst
	}
	neg, hi, lo := mag128(s.hi, s.lo)
	exp := s.exp
	if lo&1 == 0 {
		tz := uint(bits.TrailingZeros64(lo))
		if lo == 0 {
			tz = 64 + uint(bits.TrailingZeros64(hi))
		}
		lo = shr128(hi, lo, tz)
		if tz >= 64 {
			hi = 0
		} else {
			hi >>= tz
		}
		exp += int32(tz)
	}
	n := (bits.Len64(lo) + 7) / 8
	if hi != 0 {
		n = 8 + (bits.Len64(hi)+7)/8
	}
	h := byte(n << 1)
	if neg {
		h |= 1
	}
	dst = binary.AppendVarint(append(dst, h), int64(exp))
	end := len(dst) + n
	dst = binary.LittleEndian.AppendUint64(dst, lo)
	if n > 8 {
		dst = binary.LittleEndian.AppendUint64(dst, hi)
	}
	return dst[:end]
}

// Doubles span 2^-1074 to 2^1024, squares twice that, and 2^63 of them add 63
// bits: so far reach the exponent and the mantissa of an encoded sum.
const (
	minSumExp   = -2 * 1074
	maxSumExp   = 2*1024 + 63
	maxSumBytes = (maxSumExp - minSumExp + 7) / 8
)

// parse reads a sum that append wrote; 0 when b does not begin with one.
func (s *exactSum) parse(b []byte) int {
	if len(b) > 0 && b[0] == 0 {
		*s = exactSum{}
		return 1
	}
	h, w := uvarint(b)
	n := int(h >> 1)
	if w == 0 || h>>1 > maxSumBytes || n == 0 {
		return 0
	}
	e, w2 := varint(b[w:])
	at := w + w2
	if w2 == 0 || e < minSumExp || e > maxSumExp || len(b)-at < n {
		return 0
	}
	m := b[at : at+n]
	if m[0]&1 == 0 || m[n-1] == 0 { // not odd, or longer than needed
		return 0
	}
	if n > 16 || n == 16 && m[15] >= 0x40 {
		s.parseBig(m, h&1 != 0, int32(e))
		return at + n
	}
	lo, hi := load128(b[at:], n)
	if h&1 != 0 {
		hi, lo = neg128(hi, lo)
	}
	s.hi, s.lo, s.exp, s.big = hi, lo, int32(e), nil
	return at + n
}

// load128 reads n ≤ 16 bytes, little-endian.
func load128(b []byte, n int) (lo uint64, hi int64) {
	if len(b) < 16 {
		var t [16]byte
		copy(t[:], b[:n])
		b = t[:]
	}
	lo = binary.LittleEndian.Uint64(b)
	if n <= 8 {
		return lo << (8 * (8 - uint(n))) >> (8 * (8 - uint(n))), 0
	}
	shift := 8 * (16 - uint(n))
	return lo, int64(binary.LittleEndian.Uint64(b[8:]) << shift >> shift)
}

// loadSum reads a sound encoded sum with a mantissa of up to 15 bytes as (hi:lo)
// × 2^exp, and its length; 0 for zero, longer and very short ones.
func loadSum(b []byte) (hi int64, lo uint64, exp int32, length int) {
	h := b[0]
	n := uint(h >> 1)
	e, w := varint(b[1:])
	end := 1 + w + int(n)
	if h >= 32 || n == 0 || end < 8 {
		return 0, 0, 0, 0
	}
	top := binary.LittleEndian.Uint64(b[end-8:])
	if n <= 8 {
		lo = top >> (64 - 8*n)
	} else {
		lo, hi = binary.LittleEndian.Uint64(b[1+w:]), int64(top>>(128-8*n))
	}
	if h&1 != 0 {
		hi, lo = neg128(hi, lo)
	}
	return hi, lo, int32(e), end
}

// skipSum returns the length of a sound encoded sum.
func skipSum(b []byte) int {
	h, w := uvarint(b)
	if h == 0 {
		return w
	}
	_, e := uvarint(b[w:])
	return w + e + int(h>>1)
}

func (s *exactSum) parseBig(m []byte, neg bool, exp int32) {
	be := make([]byte, len(m))
	for i, c := range m {
		be[len(m)-1-i] = c
	}
	r := new(big.Int).SetBytes(be)
	if neg {
		r.Neg(r)
	}
	s.setBig(r, exp)
}
