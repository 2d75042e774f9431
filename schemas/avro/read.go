package avro

import (
	"encoding/binary"
	"math/bits"
)

// fault says why a body is malformed. It travels as a negative position, so that
// reading allocates nothing.
type fault int

const (
	_ fault = iota
	faultShort
	faultVarint
	faultInt32
	faultLength
	faultUTF8
	faultBool
	faultEnum
	faultUnion
	faultRange
	faultCount
	faultBlock
	faultDepth
	faultTrailing
	faultSymbol
	faultBranch
)

var faultText = [...]string{
	faultShort:    "the body ends within a value",
	faultVarint:   "a number is longer than 64 bits",
	faultInt32:    "an int is beyond 32 bits",
	faultLength:   "a length is negative or more than the bytes that remain",
	faultUTF8:     "a string is not valid UTF-8",
	faultBool:     "a boolean is neither 0 nor 1",
	faultEnum:     "an enum index is beyond the writer's symbols",
	faultUnion:    "a union index is beyond the writer's branches",
	faultRange:    "a timestamp or date is beyond what microseconds in 64 bits can hold",
	faultCount:    "an array or map claims more items than the bytes that remain can hold",
	faultBlock:    "an array or map block does not end where its size says",
	faultDepth:    "values are nested more than 64 deep",
	faultTrailing: "bytes are left after the record: was it written with another schema?",
	faultSymbol:   "the reader's enum has neither the symbol written nor a default",
	faultBranch:   "the reader's type has no place for the union branch written",
}

// failed returns the position that stands for a fault.
func failed(f fault) int { return -int(f) }

// varint reads a zig-zag number at pos and returns it with the position behind
// it, negative for a fault.
func varint(b []byte, pos int) (int64, int) {
	if pos+8 <= len(b) {
		if v, n := shortVarint(binary.LittleEndian.Uint64(b[pos:])); n > 0 {
			return v, pos + n
		}
	}
	var u uint64
	for shift := uint(0); pos < len(b); shift += 7 {
		c := b[pos]
		pos++
		if c < 0x80 {
			if shift == 63 && c > 1 {
				return 0, failed(faultVarint)
			}
			u |= uint64(c) << shift
			return int64(u>>1) ^ -int64(u&1), pos
		}
		if shift == 63 {
			return 0, failed(faultVarint)
		}
		u |= uint64(c&0x7f) << shift
	}
	return 0, failed(faultShort)
}

// shortVarint reads a zig-zag number of up to 8 bytes out of the 8 bytes in x,
// the first lowest, without a loop: an instant in µs takes 8. It returns how many
// bytes it took, 0 for a longer one.
func shortVarint(x uint64) (v int64, n int) {
	last := ^x & 0x8080808080808080 // the sign bits of bytes that may end it
	if last == 0 {
		return 0, 0
	}
	x &= last ^ (last - 1)                             // up to the first such sign bit
	x = x&0x007f007f007f007f | x&0x7f007f007f007f00>>1 // 7 bits each → 14
	x = x&0x00003fff00003fff | x&0x3fff00003fff0000>>2 // → 28
	x = x&0x000000000fffffff | x&0x0fffffff00000000>>4 // → 56
	return int64(x>>1) ^ -int64(x&1), bits.TrailingZeros64(last)/8 + 1
}

// varint32 is varint for an int.
func varint32(b []byte, pos int) (int64, int) {
	v, pos := varint(b, pos)
	if v != int64(int32(v)) {
		return 0, failed(faultInt32)
	}
	return v, pos
}

// extent reads a length at pos and returns where the bytes that it announces
// begin and end; end is negative for a fault.
func extent(b []byte, pos int) (start, end int) {
	if pos < len(b) && b[pos] < 0x80 { // 0 to 63, the usual length of a string
		u := int(b[pos])
		end = pos + 1 + u>>1
		if u&1 == 0 && end <= len(b) {
			return pos + 1, end
		}
	}
	n, pos := varint(b, pos)
	if pos < 0 {
		return 0, pos
	}
	if n < 0 || n > int64(len(b)-pos) {
		return 0, failed(faultLength)
	}
	return pos, pos + int(n)
}
