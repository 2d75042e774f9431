package transforms

import (
	"encoding/binary"
	"math/big"
	"math/bits"
)

// 128-bit two's complement arithmetic on (hi, lo) pairs.

// headroom returns by how many bits x can be shifted left without overflow.
func headroom(hi int64, lo uint64) int {
	if hi < 0 {
		hi, lo = ^hi, ^lo
	}
	if hi != 0 {
		return bits.LeadingZeros64(uint64(hi)) - 1
	}
	return 63 + bits.LeadingZeros64(lo)
}

func shl128(hi int64, lo uint64, n uint) (int64, uint64) {
	if n >= 64 {
		return int64(lo << (n - 64)), 0
	}
	return hi<<n | int64(lo>>(64-n)), lo << n
}

// shr128 returns the low 64 bits of the unsigned (hi:lo) >> n.
func shr128(hi, lo uint64, n uint) uint64 {
	if n >= 64 {
		return hi >> (n - 64)
	}
	return lo>>n | hi<<(64-n)
}

// mask128 returns the low n bits of (hi:lo).
func mask128(hi, lo uint64, n uint) (uint64, uint64) {
	if n >= 64 {
		return hi & (1<<(n-64) - 1), lo
	}
	return 0, lo & (1<<n - 1)
}

// cmpHalf compares (hi:lo) < 2^n with 2^(n-1).
func cmpHalf(hi, lo uint64, n uint) int {
	var hHi, hLo uint64
	if n > 64 {
		hHi = 1 << (n - 65)
	} else {
		hLo = 1 << (n - 1)
	}
	switch {
	case hi != hHi:
		if hi < hHi {
			return -1
		}
		return 1
	case lo != hLo:
		if lo < hLo {
			return -1
		}
		return 1
	}
	return 0
}

func neg128(hi int64, lo uint64) (int64, uint64) {
	l, borrow := bits.Sub64(0, lo, 0)
	return -hi - int64(borrow), l
}

// mag128 splits x into sign and magnitude.
func mag128(hi int64, lo uint64) (neg bool, mhi, mlo uint64) {
	if hi >= 0 {
		return false, uint64(hi), lo
	}
	h, l := neg128(hi, lo)
	return true, uint64(h), l
}

func int128ToBig(hi int64, lo uint64) *big.Int {
	neg, mhi, mlo := mag128(hi, lo)
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], mhi)
	binary.BigEndian.PutUint64(b[8:], mlo)
	r := new(big.Int).SetBytes(b[:])
	if neg {
		r.Neg(r)
	}
	return r
}

// uvarint reads a canonical unsigned varint and returns its length; 0 when
// there is none, it overflows, or it is longer than needed.
func uvarint(b []byte) (uint64, int) {
	if len(b) == 0 || b[0] >= 0x80 { // nearly all are short: this much is inlined
		return longUvarint(b)
	}
	return uint64(b[0]), 1
}

func longUvarint(b []byte) (uint64, int) {
	x, n := binary.Uvarint(b)
	if n <= 0 || b[n-1] == 0 {
		return 0, 0
	}
	return x, n
}

// varint reads a canonical zigzag varint, like uvarint.
func varint(b []byte) (int64, int) {
	u, n := uvarint(b)
	return int64(u>>1) ^ -int64(u&1), n
}
