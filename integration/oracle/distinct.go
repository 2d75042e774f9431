package oracle

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"sort"
)

// sketch is how many hashes a distinct count keeps (V2).
const sketch = 1024

// distinct counts the different values: exactly below 1024, from there on by
// the k-th smallest of their hashes.
func distinct(vs []Val) Result {
	set := map[uint64]bool{}
	for _, v := range vs {
		set[XXH64(Canonical(v))] = true
	}
	if len(set) < sketch {
		return Result{Val{Kind: Int, I: int64(len(set))}, Present}
	}
	hs := make([]uint64, 0, len(set))
	for h := range set {
		hs = append(hs, h)
	}
	sort.Slice(hs, func(a, b int) bool { return hs[a] < hs[b] })
	// k-1 of the hashes lie below the k-th, on [0, 2^64): (k-1) / (h_k / 2^64).
	n := new(big.Int).Lsh(big.NewInt(sketch-1), 64)
	n.Div(n, new(big.Int).SetUint64(hs[sketch-1]))
	return Result{Val{Kind: Int, I: n.Int64()}, Approximate}
}

// Canonical is the typed encoding of a value: tag, then 1 byte, 8 bytes big
// endian, or a length and the bytes.
func Canonical(v Val) []byte {
	b := []byte{byte(v.Kind)}
	switch v.Kind {
	case Bool:
		b = append(b, byte(v.I))
	case Int, Timestamp:
		b = binary.BigEndian.AppendUint64(b, uint64(v.I))
	case Double:
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(v.F))
	case String, Bytes:
		b = binary.AppendUvarint(b, uint64(len(v.S)))
		b = append(b, v.S...)
	}
	return b
}

const (
	p1 uint64 = 0x9E3779B185EBCA87
	p2 uint64 = 0xC2B2AE3D27D4EB4F
	p3 uint64 = 0x165667B19E3779F9
	p4 uint64 = 0x85EBCA77C2B2AE63
	p5 uint64 = 0x27D4EB2F165667C5
)

// XXH64 is xxHash64 with seed 0, written from its specification.
func XXH64(b []byte) uint64 {
	round := func(acc, lane uint64) uint64 { return bits.RotateLeft64(acc+lane*p2, 31) * p1 }
	n, h := uint64(len(b)), p5
	if len(b) >= 32 {
		one := p1 // not constant: the sums wrap
		acc := [4]uint64{one + p2, p2, 0, -one}
		for ; len(b) >= 32; b = b[32:] {
			for i := range acc {
				acc[i] = round(acc[i], binary.LittleEndian.Uint64(b[8*i:]))
			}
		}
		h = bits.RotateLeft64(acc[0], 1) + bits.RotateLeft64(acc[1], 7) + bits.RotateLeft64(acc[2], 12) + bits.RotateLeft64(acc[3], 18)
		for _, a := range acc {
			h = (h^round(0, a))*p1 + p4
		}
	}
	h += n
	for ; len(b) >= 8; b = b[8:] {
		h = bits.RotateLeft64(h^round(0, binary.LittleEndian.Uint64(b)), 27)*p1 + p4
	}
	if len(b) >= 4 {
		h = bits.RotateLeft64(h^uint64(binary.LittleEndian.Uint32(b))*p1, 23)*p2 + p3
		b = b[4:]
	}
	for _, c := range b {
		h = bits.RotateLeft64(h^uint64(c)*p5, 11) * p1
	}
	h = (h ^ h>>33) * p2
	h = (h ^ h>>29) * p3
	return h ^ h>>32
}
