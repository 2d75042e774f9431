package avro

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
